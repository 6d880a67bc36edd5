"""Recording uploads: what is new, what is unchanged, what a repeated request gets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.errors import Conflict, NotFound, Unavailable
from kb.types import DocumentStatus, JobKind, JobState, Lane


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def statuses(answer: dict) -> dict[str, str]:
    return {document["path"]: document["status"] for document in answer["documents"]}


def test_an_upload_is_rows_and_a_job(store: Store) -> None:
    answer = store.upload(
        {"a.txt": "one", "b/c.txt": "two"}, rejected=[{"path": "x", "code": "bad_path", "detail": ""}]
    )
    assert statuses(answer) == {"a.txt": "pending", "b/c.txt": "pending"}
    assert answer["rejected"] == [{"path": "x", "code": "bad_path", "detail": ""}]
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.kind, job.lane, job.state, job.total, job.done) == (
        JobKind.UPLOAD,
        Lane.INTERACTIVE,
        JobState.QUEUED,
        2,
        0,
    )
    document = store.find("a.txt")
    assert document.id == answer["documents"][0]["id"]
    assert (document.status, document.version, document.live_version, document.size) == (
        DocumentStatus.PENDING,
        1,
        None,
        3,
    )
    assert document.sha256 == answer["documents"][0]["sha256"]


def test_the_same_bytes_are_unchanged_and_other_bytes_a_new_version(store: Store) -> None:
    first = store.index({"a.txt": write_sentences(1), "b.txt": write_sentences(2)})
    answer = store.upload({"a.txt": write_sentences(1), "b.txt": write_sentences(3), "c.txt": write_sentences(4)})
    assert statuses(answer) == {"a.txt": "unchanged", "b.txt": "pending", "c.txt": "pending"}
    assert store.catalog.jobs.get(answer["job_id"]).total == 2
    assert {d["path"]: d["id"] for d in answer["documents"] if d["path"] in first} == first
    waiting = store.find("b.txt")
    assert (waiting.version, waiting.live_version, waiting.status) == (2, 1, DocumentStatus.PENDING)
    assert store.list_visible_texts()["b.txt"] == write_sentences(2)
    store.run_job()
    assert store.list_visible_texts()["b.txt"] == write_sentences(3)


def test_bytes_that_wait_already_are_unchanged(store: Store) -> None:
    store.upload({"a.txt": "one"})
    assert statuses(store.upload({"a.txt": "one"})) == {"a.txt": "unchanged"}
    assert store.count("version") == 1


def test_an_upload_of_nothing_new_is_a_job_that_succeeds(store: Store) -> None:
    store.index({"a.txt": write_sentences(1)})
    store.upload({"a.txt": write_sentences(1)})
    outcome = store.run_job()
    assert outcome is not None
    assert outcome.state is JobState.SUCCEEDED
    assert store.catalog.feed.get_head(store.kb.id).revision == 1


def test_bytes_that_failed_are_tried_again(store: Store) -> None:
    store.index({"a.txt": "BAD no_text"})
    assert store.find("a.txt").status is DocumentStatus.FAILED
    assert statuses(store.upload({"a.txt": "BAD no_text"})) == {"a.txt": "pending"}


def test_other_metadata_is_a_new_version(store: Store) -> None:
    store.index({"a.txt": write_sentences(1)}, metadata={"year": 2024})
    assert statuses(store.upload({"a.txt": write_sentences(1)}, metadata={"year": 2024})) == {"a.txt": "unchanged"}
    store.run_job()
    embedded = len(store.encoder.embedded)
    store.index({"a.txt": write_sentences(1)}, metadata={"year": 2025})
    assert store.find("a.txt").metadata == {"year": 2025}
    assert len(store.encoder.embedded) == embedded


def test_one_path_in_two_knowledge_bases_is_two_documents(store: Store) -> None:
    other = store.add_kb("other")
    first = store.upload({"a.txt": "one"})
    second = store.upload({"a.txt": "one"}, kb_id=other.id)
    assert statuses(second) == {"a.txt": "pending"}
    assert first["documents"][0]["id"] != second["documents"][0]["id"]


def test_a_deleted_path_starts_anew(store: Store) -> None:
    first = store.index({"a.txt": write_sentences(1)})
    store.catalog.documents.delete(store.kb.id, ids=list(first.values()))
    answer = store.upload({"a.txt": write_sentences(1)})
    assert statuses(answer) == {"a.txt": "pending"}
    assert answer["documents"][0]["id"] != first["a.txt"]
    assert store.find("a.txt").version == 1


def test_an_idempotency_key_gives_the_stored_answer(store: Store) -> None:
    same = {"idempotency_key": "key-1", "request_sha": "r1"}
    first = store.upload({"a.txt": "one"}, **same)
    assert store.upload({"a.txt": "one"}, **same) == first
    assert (store.count("job"), store.count("version")) == (1, 1)


def test_an_idempotency_key_with_another_request_is_refused(store: Store) -> None:
    store.upload({"a.txt": "one"}, idempotency_key="key-1", request_sha="r1")
    with pytest.raises(Conflict) as refused:
        store.upload({"a.txt": "two"}, idempotency_key="key-1", request_sha="r2")
    assert refused.value.code == "idempotency_mismatch"
    assert store.count("job") == 1


def test_an_idempotency_key_is_of_one_knowledge_base(store: Store) -> None:
    other = store.add_kb("other")
    first = store.upload({"a.txt": "one"}, idempotency_key="key-1", request_sha="r1")
    second = store.upload({"a.txt": "one"}, kb_id=other.id, idempotency_key="key-1", request_sha="r2")
    assert second["job_id"] != first["job_id"]


def test_bytes_that_were_collected_meanwhile_are_refused(store: Store) -> None:
    upload = store.describe({"a.txt": "one"})
    store.blobs.remove(upload.files[0].sha256)
    with pytest.raises(Unavailable) as refused:
        store.catalog.uploads.record(upload)
    assert refused.value.code == "content_gone"
    assert (store.count("document"), store.count("version"), store.count("job")) == (0, 0, 0)


def test_a_deleted_knowledge_base_takes_no_upload(store: Store) -> None:
    store.catalog.knowledge_bases.delete(store.kb.id)
    with pytest.raises(NotFound) as refused:
        store.upload({"a.txt": "one"})
    assert refused.value.code == "knowledge_base_not_found"
    assert store.count("document") == 0


def test_a_retry_stages_the_same_bytes_once_more(store: Store) -> None:
    ids = store.index({"a.txt": "BAD no_text"}, metadata={"year": 2024})
    job_id = store.catalog.uploads.retry(ids["a.txt"])
    assert store.catalog.jobs.get(job_id).total == 1
    document = store.find("a.txt")
    assert (document.version, document.status, document.metadata, document.error) == (
        2,
        DocumentStatus.PENDING,
        {"year": 2024},
        None,
    )
    with pytest.raises(Conflict) as refused:
        store.catalog.uploads.retry(ids["a.txt"])
    assert refused.value.code == "busy"


def test_a_retry_of_no_document(store: Store) -> None:
    with pytest.raises(NotFound) as refused:
        store.catalog.uploads.retry("f" * 32)
    assert refused.value.code == "document_not_found"
