"""Sources in the catalog: names and paths are theirs alone, one sync at a time, and what goes when one is deleted."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.catalog.sources import NewSource, Plan
from kb.errors import Conflict, NotFound, NothingAccepted
from kb.types import JobKind, JobState, Lane, Source, SourceKind

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def add(store: Store, name: str = "docs", **fields: Any) -> Source:
    given = {"kb_id": store.kb.id, "kind": SourceKind.FOLDER, "uri": "/srv/docs", **fields}
    return store.catalog.sources.create(NewSource(name=name, **given))


def give_documents(store: Store, source: Source, files: dict[str, str]) -> dict[str, str]:
    """Documents of a source, as a sync would leave them; ids by path."""
    moved = {f"~{path}": text for path, text in files.items()}
    ids = {path[1:]: document_id for path, document_id in store.index(moved).items()}
    for path, document_id in ids.items():
        store.execute(
            "UPDATE document SET path = :path, source_id = :source WHERE id = :id",
            path=path, source=source.id, id=document_id,
        )  # fmt: skip
    return ids


def hide(store: Store, document_id: str) -> None:
    """As a sync leaves a document whose file is gone."""
    store.execute("UPDATE document SET removed_revision = 1 WHERE id = :id", id=document_id)


def refuse_plan(schedule: str | None, timezone: str) -> datetime | None:
    raise AssertionError(f"{schedule} {timezone}: nobody asked for another schedule")


def plan_noon(schedule: str | None, timezone: str) -> datetime | None:
    return None if schedule is None else NOON


# -- create, find, list -------------------------------------------------------------------------------------------


def test_a_source_is_found_by_name_and_id(store: Store) -> None:
    made = add(
        store, "资料", include=("*.md",), exclude=("tmp/*",), schedule="30 2 * * *", timezone="Asia/Shanghai",
        next_run=NOON,
    )  # fmt: skip
    assert (made.name, made.kind, made.uri) == ("资料", SourceKind.FOLDER, "/srv/docs")
    assert (list(made.include), list(made.exclude)) == (["*.md"], ["tmp/*"])
    assert (made.next_run, made.last_due, made.listing_sha) == (NOON, None, None)
    sources = store.catalog.sources
    assert sources.get(made.id) == sources.find(store.kb.id, "资料") == sources.find(store.kb.id, made.id) == made
    with pytest.raises(NotFound, match="source_not_found"):
        sources.find(store.kb.id, "资")
    with pytest.raises(NotFound, match="source_not_found"):
        sources.find(store.add_kb("other").id, made.id)


def test_a_name_that_looks_like_an_id_loses_against_it(store: Store) -> None:
    first = add(store, "first")
    add(store, first.id)
    assert store.catalog.sources.find(store.kb.id, first.id) == first


def test_sources_are_listed_by_name(store: Store) -> None:
    for name in ("c", "a", "b"):
        add(store, name)
    sources = store.catalog.sources
    assert [source.name for source in sources.list_sources(store.kb.id, 2)] == ["a", "b"]
    assert [source.name for source in sources.list_sources(store.kb.id, 2, "b")] == ["c"]


def test_a_name_is_taken_once_in_a_knowledge_base(store: Store) -> None:
    add(store)
    with pytest.raises(Conflict, match="source_exists"):
        add(store)
    add(store, kb_id=store.add_kb("other").id)


def test_none_is_made_in_a_knowledge_base_that_was_deleted_meanwhile(store: Store) -> None:
    store.catalog.knowledge_bases.delete(store.kb.id)
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        add(store)


def test_paths_that_are_taken(store: Store) -> None:
    store.upload({"docs/a.txt": "one", "docsx/b.txt": "two", "x/docs/c.txt": "three", "notes": "four"})
    with pytest.raises(Conflict, match=r"path_taken: .*docs/a\.txt"):
        add(store)
    assert store.count("source") == 0
    add(store, "doc")
    add(store, "notes")  # a document of that very name is not below it
    add(store, "docs", kb_id=store.add_kb("other").id)
    store.catalog.documents.delete(store.kb.id, path_prefix="docs/")
    add(store)


def test_what_an_earlier_source_left_hidden_is_taken_over(store: Store) -> None:
    first = add(store)
    ids = give_documents(store, first, {"docs/a.txt": write_sentences(1)})
    hide(store, ids["docs/a.txt"])
    store.catalog.sources.delete(first.id, keep_documents=True)
    second = add(store)
    owners = store.query("SELECT source_id, removed_revision FROM document WHERE id = :id", id=ids["docs/a.txt"])
    assert [dict(row) for row in owners] == [{"source_id": second.id, "removed_revision": 1}]


# -- change -------------------------------------------------------------------------------------------------------


def change(store: Store, source: Source, plan: Plan = refuse_plan, **changes: Any) -> Source:
    return store.catalog.sources.update(source.id, changes, plan)


def test_what_changes_is_compared_anew(store: Store) -> None:
    source = add(store)
    for changes in ({"uri": "/srv/other"}, {"include": ["*.md"]}, {"exclude": ["*.tmp"]}):
        store.execute("UPDATE source SET listing_sha = 'known'")
        changed = change(store, source, **changes)
        assert (changed.listing_sha, changed.next_run) == (None, None)
        assert changed.updated_at > source.updated_at
    assert (changed.uri, changed.include, changed.exclude) == ("/srv/other", ["*.md"], ["*.tmp"])


def test_another_schedule_or_zone_is_planned_anew_and_the_listing_still_holds(store: Store) -> None:
    source = add(store)
    store.execute("UPDATE source SET listing_sha = 'known'")
    planned = change(store, source, plan_noon, schedule="0 12 * * *")
    assert (planned.schedule, planned.next_run, planned.listing_sha) == ("0 12 * * *", NOON, "known")
    moved = change(store, source, lambda schedule, zone: NOON.replace(hour=4) if zone == "Asia/Shanghai" else None,
                   timezone="Asia/Shanghai")  # fmt: skip
    assert moved.next_run == NOON.replace(hour=4)
    assert change(store, source, plan_noon, schedule=None).next_run is None


def test_a_change_that_changes_nothing_leaves_a_missed_night_due(store: Store) -> None:
    source = add(store, schedule="0 12 * * *", next_run=NOON)
    assert change(store, source, schedule="0 12 * * *", timezone="UTC", include=[], uri="/srv/docs") == source
    with pytest.raises(NotFound, match="source_not_found"):
        store.catalog.sources.update("nothing", {}, refuse_plan)


# -- delete -------------------------------------------------------------------------------------------------------


def test_a_deleted_source_takes_its_documents_and_their_files(store: Store) -> None:
    source = add(store)
    give_documents(store, source, {"docs/a.txt": write_sentences(1), "docs/b.txt": write_sentences(2)})
    store.index({"mine.txt": write_sentences(3)})
    purged = store.catalog.sources.delete(source.id)
    assert (purged.documents, len(purged.sha256s), len(purged.text_shas)) == (2, 2, 2)
    store.garbage.collect(purged)
    assert set(store.list_visible_texts()) == {"mine.txt"}
    assert len(list(store.blobs.iter_names())) == 1
    assert store.check() == set()
    with pytest.raises(NotFound, match="source_not_found"):
        store.catalog.sources.delete(source.id)


def test_documents_may_be_kept(store: Store) -> None:
    source = add(store)
    give_documents(store, source, {"docs/a.txt": write_sentences(1)})
    assert store.catalog.sources.delete(source.id, keep_documents=True).documents == 0
    assert store.find("docs/a.txt").source_id is None
    assert set(store.list_visible_texts()) == {"docs/a.txt"}
    answer = store.upload({"docs/a.txt": write_sentences(2)})  # the path is nobody's again
    assert answer["documents"][0]["status"] == "pending"


@pytest.mark.parametrize("keep", [True, False])
def test_a_sync_under_way_ends_with_its_source(store: Store, *, keep: bool) -> None:
    source, other = add(store), add(store, "other")
    job_id, other_job = (store.catalog.sources.request_sync(one.id) for one in (source, other))
    assert store.claim().id == job_id
    store.catalog.sources.delete(source.id, keep_documents=keep)
    ended = store.catalog.jobs.get(job_id)
    assert (ended.state, ended.message) == (JobState.CANCELLED, "the source was deleted")
    assert store.catalog.jobs.get(other_job).state is JobState.QUEUED


# -- syncs --------------------------------------------------------------------------------------------------------


def test_a_sync_is_a_bulk_job_and_there_is_one_at_a_time(store: Store) -> None:
    source = add(store)
    sources = store.catalog.sources
    job_id = sources.request_sync(source.id)
    job = store.catalog.jobs.get(job_id)
    assert (job.kind, job.lane, job.kb_id, job.params) == (
        JobKind.SYNC, Lane.BULK, store.kb.id, {"source_id": source.id}
    )  # fmt: skip
    assert sources.request_sync(source.id, force=True) == job_id
    running = store.claim()
    assert sources.request_sync(source.id) == job_id
    store.catalog.jobs.finish(running, JobState.SUCCEEDED)
    forced = sources.request_sync(source.id, force=True)
    assert store.catalog.jobs.get(forced).params == {"source_id": source.id, "force": True}
    with pytest.raises(NotFound, match="source_not_found"):
        sources.request_sync("nothing")


def test_two_requests_at_once_are_one_job(store: Store) -> None:
    source = add(store)
    start, found = Barrier(8), set()

    def ask() -> None:
        start.wait()
        found.add(store.catalog.sources.request_sync(source.id))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert store.count("job") == 1


def test_of_two_that_saw_the_same_night_the_second_starts_nothing_even_when_the_first_sync_is_over(
    store: Store,
) -> None:
    seen = add(store, schedule="0 12 * * *", next_run=NOON)
    following = NOON.replace(day=2)
    assert store.catalog.sources.start_due(seen, NOON, following) is not None
    store.catalog.jobs.finish(store.claim(), JobState.SUCCEEDED)
    assert store.catalog.sources.start_due(seen, NOON, following) is None
    assert store.count("job") == 1


def test_what_is_due_is_not_started_for_what_changed_meanwhile(store: Store) -> None:
    source = add(store, schedule="0 12 * * *", next_run=NOON)
    sources = store.catalog.sources
    assert sources.list_scheduled() == [source]
    for stale in (
        replace(source, next_run=None),
        replace(source, schedule="0 13 * * *"),
        replace(source, timezone="x"),
    ):
        assert sources.start_due(stale, NOON, NOON) is None
    store.catalog.knowledge_bases.delete(store.kb.id)
    assert sources.list_scheduled() == []
    assert sources.start_due(source, NOON, NOON) is None
    assert store.query("SELECT kind FROM job WHERE kind = 'sync'") == []


# -- uploads ------------------------------------------------------------------------------------------------------


def test_an_upload_into_a_sources_folder_is_rejected_file_by_file(store: Store) -> None:
    add(store, "资料")
    earlier = {"path": "x", "code": "bad_path", "detail": ""}
    answer = store.upload({"资料/a.txt": "one", "资料": "two", "资料2/b.txt": "three", "x/资料/c.txt": "four"},
                          rejected=[earlier])  # fmt: skip
    assert [document["path"] for document in answer["documents"]] == ["资料", "资料2/b.txt", "x/资料/c.txt"]
    assert [(one["path"], one["code"]) for one in answer["rejected"]] == [
        ("x", "bad_path"), ("资料/a.txt", "path_of_source")
    ]  # fmt: skip
    assert store.catalog.jobs.get(answer["job_id"]).total == 3


def test_an_upload_of_nothing_else_leaves_no_rows(store: Store) -> None:
    add(store)
    with pytest.raises(NothingAccepted) as refused:
        store.upload({"docs/a.txt": "one"}, idempotency_key="k")
    assert [one["code"] for one in refused.value.rejected] == ["path_of_source"]
    assert (store.count("job"), store.count("document"), store.count("idempotency_key")) == (0, 0, 0)
    assert store.upload({"docs/a.txt": "one"}, kb_id=store.add_kb("other").id)["rejected"] == []
