"""Re-indexing in a second space over a real catalog: nothing lost, nothing embedded twice, nothing seen in part."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.reindexing import OTHER, FixedGate, Reindexing
from fakes.store import Store, new_store, write_sentences

from ingest import reindex
from kb.catalog.spaces import GRACE
from kb.errors import Gone, StaleLease, Unavailable
from kb.types import JobState, VersionState


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


FILES = {f"{i:02}.txt": write_sentences(*range(10 * i, 10 * i + 6)) for i in range(5)}


def texts(store: Store) -> dict[str, str]:
    return store.list_visible_texts()


def spaces(store: Store) -> list[tuple[str, int]]:
    """State and number of chunks of each space, oldest first."""
    rows = store.query(
        "SELECT state, (SELECT count(*) FROM chunk WHERE space_id = space.id) AS chunks FROM space ORDER BY id"
    )
    return [(row["state"], row["chunks"]) for row in rows]


def collect(store: Store, *, later: timedelta = timedelta(0)) -> None:
    """What housekeeping does with spaces."""
    retired = store.catalog.retired_spaces
    retired.abandon_orphans()
    for _, space_id in retired.list_collectable(datetime.now(UTC) + later):
        while retired.collect_slice(space_id):
            pass


# -- what it makes ------------------------------------------------------------------------------------------------


def test_nothing_changed_is_said_and_costs_nothing(store: Store) -> None:
    store.index(FILES)
    job = Reindexing(store).reindex()
    assert job.state is JobState.SUCCEEDED
    assert job.message.startswith("nothing changed")
    assert store.catalog.feed.get_head(store.kb.id).revision == 2
    assert len(store.query("SELECT * FROM space")) == 1


def test_another_chunk_size_splits_anew_and_swaps(store: Store) -> None:
    store.index(FILES)
    before = store.catalog.feed.get_head(store.kb.id)
    work = Reindexing(store, chunk_tokens=48)
    job = work.reindex()
    head = store.catalog.feed.get_head(store.kb.id)
    assert (head.revision, head.embedding_model) == (before.revision + 1, "builtin")
    assert head.space_id != before.space_id
    assert texts(store) == FILES
    row = store.query("SELECT * FROM revision WHERE number = :n", n=head.revision)[0]
    assert (row["kind"], row["space_id"], row["added"], row["changed"], row["removed"], row["job_id"]) == (
        "reindex", head.space_id, 0, 0, 0, job.id,
    )  # fmt: skip
    assert store.catalog.knowledge_bases.get_settings(store.kb.id).chunk_tokens == 48
    assert store.find("00.txt").chunks == len(store.catalog.documents.list_chunks(store.find("00.txt").id, 100)) < 6
    assert (job.done, job.total) == (5, 5)
    assert store.check() == set()


def test_an_upload_after_it_is_split_as_the_new_space_is(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store, chunk_tokens=48)
    work.reindex()
    work.index({"new.txt": write_sentences(*range(90, 96))})
    assert store.find("new.txt").chunks == store.find("00.txt").chunks
    assert texts(store) == {**FILES, "new.txt": write_sentences(*range(90, 96))}
    assert store.check() == set()


def test_strings_that_stay_equal_are_copied_not_embedded(store: Store) -> None:
    """Documents of one sentence come out the same at any chunk size; one long document does not."""
    short = {f"s{i}.txt": write_sentences(i) for i in range(8)}
    store.index({**short, **FILES})
    store.encoder.embedded.clear()
    job = Reindexing(store, chunk_tokens=48).reindex()
    assert job.result is not None
    assert job.result["reused"] >= 8
    assert not set(short.values()) & set(store.encoder.embedded)
    assert len(store.encoder.embedded) == len(set(store.encoder.embedded)) == job.result["embedded"]
    assert store.check() == set()


def test_another_encoder_embeds_everything_once_and_nothing_is_copied(store: Store) -> None:
    store.index({**FILES, "twin.txt": FILES["00.txt"]})
    store.encoder.embedded.clear()
    work = Reindexing(store)
    job = work.reindex(embedding_model=OTHER)
    assert job.result is not None
    head = store.catalog.feed.get_head(store.kb.id)
    assert (head.embedding_model, head.dimension) == (OTHER, 32)
    assert store.encoder.embedded == []
    assert len(work.other.embedded) == len(set(work.other.embedded)) == job.result["embedded"]
    assert job.result["reused"] == 0
    assert store.catalog.knowledge_bases.get(store.kb.id).embedding_model == OTHER
    assert texts(store) == {**FILES, "twin.txt": FILES["00.txt"]}
    assert store.check() == set()


def test_headings_are_kept_so_that_it_splits_as_an_upload_does(store: Store) -> None:
    store.index(FILES)
    store.execute("UPDATE version SET headings = '[[0, 9, 1, \"The quick\"]]'")
    work = Reindexing(store, chunk_tokens=48)
    work.reindex()
    chunks = store.catalog.documents.list_chunks(store.find("00.txt").id, 100)
    assert {chunk.heading for _, chunk in chunks} == {"The quick"}


def test_rows_from_before_headings_were_kept_do(store: Store) -> None:
    store.index(FILES)
    store.execute("UPDATE version SET headings = NULL")
    Reindexing(store, chunk_tokens=48).reindex()
    assert texts(store) == FILES


def test_only_what_answers_is_taken_along(store: Store) -> None:
    store.index({"a.txt": write_sentences(1), "b.txt": write_sentences(2)})
    store.index({"a.txt": write_sentences(3)})
    Reindexing(store, chunk_tokens=48).reindex()
    assert spaces(store) == [("retired", 3), ("live", 2)]
    assert store.check() == set()


def test_an_empty_knowledge_base_is_swapped_too(store: Store) -> None:
    job = Reindexing(store).reindex(embedding_model=OTHER)
    assert (job.state, job.total) == (JobState.SUCCEEDED, 0)
    assert store.catalog.feed.get_head(store.kb.id).embedding_model == OTHER
    assert store.check() == set()


# -- what goes on meanwhile ---------------------------------------------------------------------------------------


def test_uploads_replacements_and_deletes_during_the_laps_are_taken_along(store: Store) -> None:
    ids = store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    events = [
        lambda: store.index({"new.txt": write_sentences(91, 92)}),
        lambda: store.index({"01.txt": write_sentences(93)}),
        lambda: store.catalog.documents.delete(store.kb.id, ids=[ids["02.txt"]]),
        lambda: store.index({"new.txt": write_sentences(94)}),
    ]

    def disturb() -> None:
        if events:
            events.pop(0)()

    work.other.on_embed = disturb
    work.on_seal = lambda: store.index({"late.txt": write_sentences(95)})
    outcome = work.run(job)
    assert outcome is not None
    assert outcome.result is not None
    assert events == []
    kept = {path: text for path, text in FILES.items() if path != "02.txt"}
    new = {"01.txt": write_sentences(93), "new.txt": write_sentences(94), "late.txt": write_sentences(95)}
    assert texts(store) == {**kept, **new}
    assert len(work.other.embedded) == len(set(work.other.embedded))
    store.catalog.jobs.finish(job, outcome.state)
    assert store.check() == set()


def test_the_swap_waits_for_what_was_published_just_before(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    space_id = store.catalog.spaces.open_building(job, _wanted(work))
    assert store.catalog.swaps.swap(job, space_id, None) == 0
    assert spaces(store) == [("live", 30), ("building", 0)]
    assert texts(store) == FILES


def _wanted(work: Reindexing) -> reindex.NewSpace:
    splitter = reindex.SplitterSettings(target_tokens=work.chunk_tokens)
    return reindex.NewSpace(
        embedding_model=OTHER, fingerprint=splitter.name_space("fake-32"), dimension=32, chunk_tokens=16
    )


def test_an_upload_that_began_before_the_swap_publishes_into_the_new_space(store: Store) -> None:
    """It stages into the old space, which is live no longer when it publishes."""
    store.index(FILES)
    work = Reindexing(store)
    answer = store.upload({"a.txt": write_sentences(70), "00.txt": write_sentences(71)})
    upload = store.claim()
    swaps: list[int] = []

    def swap_first() -> None:
        if not swaps:
            swaps.append(1)
            work.reindex(embedding_model=OTHER)

    store.encoder.on_embed = swap_first
    outcome = work.make_pipeline().run(upload, lambda: False)
    assert outcome is not None
    store.catalog.jobs.finish(upload, outcome.state, outcome.message)
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.state, job.done, job.failed) == (JobState.SUCCEEDED, 2, 0)
    assert texts(store) == {**FILES, "a.txt": write_sentences(70), "00.txt": write_sentences(71)}
    assert store.check() == set()


def test_an_upload_that_meets_a_swap_in_each_pass_is_not_given_up(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store)
    store.upload({"a.txt": write_sentences(70)})
    upload = store.claim()
    models = [OTHER, "builtin", OTHER]

    def swap_again() -> None:
        if models:
            work.reindex(embedding_model=models.pop(0))

    store.parser.on_parse = lambda _: swap_again()
    outcome = work.make_pipeline().run(upload, lambda: False)
    assert outcome is not None
    assert outcome.state is JobState.SUCCEEDED
    assert outcome.message == ""
    assert texts(store) == {**FILES, "a.txt": write_sentences(70)}


def test_a_version_overtaken_by_a_newer_one_is_still_given_up(store: Store) -> None:
    store.upload({"a.txt": write_sentences(1)})
    old = store.claim()
    store.index({"a.txt": write_sentences(2)})
    store.pipeline.run(old, lambda: False)
    states = {row["number"]: row["state"] for row in store.query("SELECT number, state FROM version")}
    assert states == {1: VersionState.FAILED, 2: VersionState.PUBLISHED}


# -- stops, crashes, failures -------------------------------------------------------------------------------------


def test_stopped_after_every_step_it_still_gets_to_its_end_and_embeds_nothing_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex, "CHUNKS_A_STEP", 1)
    monkeypatch.setattr(reindex, "EMBEDDED_A_STEP", 2)
    store.index(FILES)
    work = Reindexing(store)
    job_id = work.enqueue(embedding_model=OTHER)
    runs, done = 0, []
    while True:
        job = store.claim()
        outcome = work.run(job, lambda: True)
        runs += 1
        if outcome is not None:
            break
        store.catalog.jobs.release(job)
        done.append(store.catalog.jobs.get(job_id).done)
    assert outcome.state is JobState.SUCCEEDED
    assert runs > 15
    assert done == sorted(done)
    assert len(work.other.embedded) == len(set(work.other.embedded)) == 30
    assert texts(store) == FILES
    store.catalog.jobs.finish(job, outcome.state)
    assert store.check() == set()


def test_what_a_crash_left_without_vectors_is_embedded_and_not_split_again(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    work.other.down = True
    with pytest.raises(Unavailable, match="embedding_unavailable"):
        work.run(job)
    work.other.down = False
    work.other.embedded.clear()
    first = store.query("SELECT max(id) AS id FROM chunk")[0]["id"]
    assert store.check() == set()
    outcome = work.run(job)
    assert outcome is not None
    assert store.query("SELECT max(id) AS id FROM chunk")[0]["id"] == first
    assert len(work.other.embedded) == 30
    assert texts(store) == FILES


def test_a_job_that_swapped_and_died_says_so_when_it_is_taken_up(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    work.run(job)
    again = work.run(job)
    assert again is not None
    assert again.result == {"revision": 3}
    assert store.catalog.feed.get_head(store.kb.id).revision == 3


def test_a_lost_job_writes_nothing(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    lost = store.claim(lease=-1)
    space_id = store.catalog.spaces.open_building(lost, _wanted(work))
    store.claim(owner="other")
    for call in (
        lambda: store.catalog.spaces.open_building(lost, _wanted(work)),
        lambda: store.catalog.spaces.stage_chunks(lost, space_id, {}, None),
        lambda: store.catalog.spaces.abandon_building(lost),
        lambda: store.catalog.swaps.swap(lost, space_id, None),
    ):
        with pytest.raises(StaleLease):
            call()
    assert spaces(store) == [("live", 30), ("building", 0)]


def test_a_lost_text_fails_the_job_and_leaves_everything_answering(store: Store) -> None:
    store.index(FILES)
    sha = store.query("SELECT text_sha FROM version ORDER BY id LIMIT 1")[0]["text_sha"]
    data = store.texts.blobs.path(sha).read_bytes()
    store.texts.forget(sha)
    store.texts.blobs.remove(sha)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    with pytest.raises(Gone, match="upload that document again"):
        work.run(job)
    store.texts.blobs.put(data)
    assert texts(store) == FILES


def test_a_space_of_other_settings_is_abandoned_and_begun_anew(store: Store) -> None:
    store.index(FILES)
    work = Reindexing(store, chunk_tokens=48)
    work.enqueue()
    job = store.claim()
    assert work.run(job, lambda: True) is None
    work.chunk_tokens = 32
    outcome = work.run(job)
    assert outcome is not None
    assert [state for state, _ in spaces(store)] == ["retired", "retired", "live"]
    assert store.catalog.knowledge_bases.get_settings(store.kb.id).chunk_tokens == 32
    store.catalog.jobs.finish(job, outcome.state)
    collect(store)
    assert [state for state, _ in spaces(store)] == ["retired", "live"]
    assert store.check() == set()


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_the_space_of_a_job_that_ended_without_its_swap_is_collected(store: Store, end: str) -> None:
    store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    assert work.run(job, lambda: True) is None
    collect(store)
    assert [state for state, _ in spaces(store)] == ["live", "building"]  # its job lives
    if end == "cancel":
        store.catalog.jobs.cancel(job.id)
    else:
        store.catalog.jobs.fail(job, "internal_error", "the test said so")
    collect(store)
    assert spaces(store) == [("live", 30)]
    assert store.check() == set()


# -- the gate -----------------------------------------------------------------------------------------------------


def test_a_refused_candidate_changes_nothing_and_is_dropped(store: Store) -> None:
    store.index(FILES)
    gate = FixedGate(passed=False)
    job = Reindexing(store, gate=gate).reindex(embedding_model=OTHER)
    assert (job.state, job.error_code) == (JobState.FAILED, "gate_refused")
    assert job.result == {"gate": gate.report.describe()}
    assert store.catalog.feed.get_head(store.kb.id).embedding_model == "builtin"
    assert [state for state, _ in spaces(store)] == ["live", "retired"]
    collect(store)
    assert spaces(store) == [("live", 30)]
    assert store.check() == set()


def test_a_gate_that_passes_is_kept_with_the_revision(store: Store) -> None:
    store.index(FILES)
    gate = FixedGate(passed=True)
    job = Reindexing(store, gate=gate).reindex(embedding_model=OTHER)
    assert [one.space_id for one in gate.asked] == [store.space_id]
    assert job.result is not None
    assert job.result["gate"] == gate.report.describe()
    assert '"passed": true' in store.query("SELECT gate FROM revision ORDER BY number DESC LIMIT 1")[0]["gate"]


def test_without_the_gate_nothing_is_asked(store: Store) -> None:
    gate = FixedGate(passed=False)
    job = Reindexing(store, gate=gate).reindex(embedding_model=OTHER, gate=False)
    assert (job.state, gate.asked) == (JobState.SUCCEEDED, [])


# -- old spaces ---------------------------------------------------------------------------------------------------


def test_the_old_space_is_collected_after_its_grace_and_not_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.catalog.retired_spaces.VERSIONS_A_SLICE", 2)
    store.index(FILES)
    Reindexing(store, chunk_tokens=48).reindex()
    collect(store, later=GRACE / 2)
    assert spaces(store)[0] == ("retired", 30)
    collect(store, later=GRACE * 2)
    assert spaces(store)[0] == ("retired", 0)
    old = store.query("SELECT min(id) AS id FROM space")[0]["id"]
    for table in ("vector", "change_log"):
        assert store.query(f"SELECT count(*) AS n FROM {table} WHERE space_id = :old", old=old)[0]["n"] == 0
    assert texts(store) == FILES
    assert store.catalog.retired_spaces.list_collectable(datetime.now(UTC) + 2 * GRACE) == []
    assert store.check() == set()


def test_a_deleted_document_leaves_both_spaces_at_once(store: Store) -> None:
    ids = store.index(FILES)
    work = Reindexing(store)
    work.enqueue(embedding_model=OTHER)
    job = store.claim()
    assert work.run(job, lambda: True) is None
    store.catalog.documents.delete(store.kb.id, ids=[ids[path] for path in FILES])
    assert spaces(store) == [("live", 0), ("building", 0)]
    assert store.count("vector") == 0
    assert work.run(job) is not None
    store.catalog.jobs.finish(job, JobState.SUCCEEDED)
    assert store.check() == set()


# -- requests -----------------------------------------------------------------------------------------------------


def test_two_requests_are_one_job(store: Store) -> None:
    work = Reindexing(store)
    assert work.enqueue() == work.enqueue(embedding_model=OTHER)


def test_changed_queues_a_sync_of_every_source(store: Store) -> None:
    for name in ("a", "b"):
        store.execute(
            "INSERT INTO source (id, kb_id, name, kind, uri, include, exclude, timezone, created_at, updated_at)"
            " VALUES (:id, :kb, :id, 'folder', '/x', '[]', '[]', 'UTC', '2025-01-01', '2025-01-01')",
            id=name, kb=store.kb.id,
        )  # fmt: skip
    work = Reindexing(store)
    job = work.reindex(mode="changed")
    assert job.result is not None
    started = [store.catalog.jobs.get(job_id) for job_id in job.result["sync_jobs"]]
    assert [(one.kind, one.lane, one.params) for one in started] == [
        ("sync", "bulk", {"source_id": "a"}),
        ("sync", "bulk", {"source_id": "b"}),
    ]


def test_changed_without_a_source_says_so(store: Store) -> None:
    job = Reindexing(store).reindex(mode="changed")
    assert (job.state, job.message, job.result) == (JobState.SUCCEEDED, "there is no source to sync", {"sync_jobs": []})
