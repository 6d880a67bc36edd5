"""Documents that a sync or a restore took away: hidden everywhere, kept for a while, back under their path."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.catalog.documents import DocumentFilter
from kb.errors import NotFound
from kb.types import DocumentStatus

ONE, TWO, THREE, FOUR = (write_sentences(n) for n in (1, 2, 3, 4))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def list_paths(store: Store) -> list[str]:
    return [one.path for one in store.catalog.documents.list_documents(DocumentFilter(kb_id=store.kb.id), 50)]


def age_revisions(store: Store, upto: int, days: float) -> None:
    then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert store.execute("UPDATE revision SET created_at = :then WHERE number <= :n", then=then, n=upto) > 0


def test_a_hidden_document_is_in_no_list_and_no_count(store: Store) -> None:
    ids = store.index({"a.txt": ONE, "b.txt": TWO})
    store.hide("a.txt")
    assert list_paths(store) == ["b.txt"]
    found = store.catalog.knowledge_bases.get(store.kb.id)
    assert (found.documents, found.chunks) == (1, 1)
    documents, gone = store.catalog.documents, ids["a.txt"]
    for look in (documents.get, documents.find_text, store.catalog.uploads.retry):
        with pytest.raises(NotFound, match="document_not_found"):
            look(gone)
    with pytest.raises(NotFound):
        documents.list_chunks(gone, 10)
    with pytest.raises(NotFound):
        store.find("a.txt")
    assert store.list_visible_texts() == {"b.txt": TWO}


def test_the_text_that_a_citation_names_opens_while_it_is_kept(store: Store) -> None:
    document = store.index({"a.txt": ONE})["a.txt"]
    store.hide("a.txt")
    documents = store.catalog.documents
    assert documents.find_home(document) == store.kb.id
    assert store.texts.read_text(documents.find_text(document, 1).text_sha) == ONE
    documents.delete(store.kb.id, ids=[document])
    for look in (documents.find_home, lambda one: documents.find_text(one, 1)):
        with pytest.raises(NotFound):
            look(document)


def test_an_upload_brings_the_path_back_as_the_same_document(store: Store) -> None:
    document = store.index({"a.txt": ONE})["a.txt"]
    store.hide("a.txt")
    answer = store.upload({"a.txt": ONE})
    assert [(one["id"], one["status"]) for one in answer["documents"]] == [(document, "pending")]
    assert store.find("a.txt").status is DocumentStatus.PENDING
    store.run_job()
    found = store.find("a.txt")
    assert (found.id, found.version, found.live_version) == (document, 2, 2)
    assert store.check() == set()


def test_an_upload_that_fails_is_seen_though_the_document_was_hidden(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.hide("a.txt")
    store.index({"a.txt": "BAD no_text"})
    found = store.find("a.txt")
    assert (found.status, found.live_version) == (DocumentStatus.FAILED, None)
    assert store.check() == set()


def test_a_delete_by_prefix_takes_hidden_documents_for_good(store: Store) -> None:
    store.index({"x/a.txt": ONE, "x/b.txt": TWO})
    store.hide("x/a.txt")
    assert store.catalog.documents.delete(store.kb.id, path_prefix="x/").documents == 2
    store.restore(1)
    assert store.list_visible_texts() == {}


# -- what is unchanged, after a restore -----------------------------------------------------------------------------


def upload_status(store: Store, text: str) -> str:
    status: str = store.upload({"a.txt": text})["documents"][0]["status"]
    return status


def test_unchanged_means_what_answers(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": TWO})
    store.restore(1)
    found = store.find("a.txt")
    assert (found.version, found.live_version, found.size) == (1, 1, len(ONE))
    assert upload_status(store, ONE) == "unchanged"
    assert upload_status(store, TWO) == "pending"
    assert upload_status(store, TWO) == "unchanged"  # it waits already
    assert upload_status(store, ONE) == "pending"  # what was sent last is to answer


def test_a_retry_indexes_what_answers(store: Store) -> None:
    document = store.index({"a.txt": ONE})["a.txt"]
    store.index({"a.txt": TWO})
    store.restore(1)
    store.catalog.uploads.retry(document)
    store.run_job()
    assert store.list_visible_texts() == {"a.txt": ONE}
    assert store.find("a.txt").version == 3


# -- retention ------------------------------------------------------------------------------------------------------


def test_a_version_that_was_restored_is_kept_from_the_last_time_it_was_closed(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": TWO})  # closes 1 at revision 2
    store.restore(1)
    store.restore(2)  # closes 1 again at revision 4
    age_revisions(store, 3, 30)
    store.garbage.sweep(retention_days=7)
    store.restore(1)
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_a_hidden_document_goes_with_its_last_version(store: Store) -> None:
    store.index({"a.txt": ONE, "b.txt": TWO})
    store.index({"a.txt": THREE})
    job = store.upload({"a.txt": "BAD no_text"})["job_id"]
    store.run_job()
    store.hide("a.txt")
    age_revisions(store, 3, 30)
    store.garbage.sweep(retention_days=7)
    assert store.count("document") == 2, "what failed is younger"
    store.execute("UPDATE version SET updated_at = '2020-01-01 00:00:00.000000' WHERE job_id = :job", job=job)
    store.garbage.sweep(retention_days=7)
    assert [row["path"] for row in store.query("SELECT path FROM document")] == ["b.txt"]
    assert store.check() == set()
    assert store.index({"a.txt": ONE})
    assert store.find("a.txt").version == 1


def test_a_number_is_never_given_to_another_content(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": TWO})
    store.index({"a.txt": THREE})
    store.restore(1)
    age_revisions(store, 4, 30)
    store.garbage.sweep(retention_days=7)
    store.index({"a.txt": FOUR})
    assert store.find("a.txt").version == 4
    assert [row["number"] for row in store.query("SELECT number FROM version ORDER BY number")] == [1, 3, 4]


@pytest.mark.parametrize(("kept", "restorable"), [(0, [4]), (1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])])
def test_the_last_revisions_stay_restorable_however_old(store: Store, kept: int, restorable: list[int]) -> None:
    for text in (ONE, TWO, THREE, FOUR):
        store.index({"a.txt": text})
    age_revisions(store, 4, 30)
    store.garbage.sweep(7, kept)
    revisions = store.catalog.history.list_revisions(store.kb.id, 50)
    assert sorted(one.number for one in revisions if one.restorable) == restorable


def test_idempotency_keys_go_with_retention(store: Store) -> None:
    store.index({"a.txt": ONE}, idempotency_key="old", request_sha="1")
    store.execute("UPDATE idempotency_key SET created_at = '2020-01-01 00:00:00.000000'")
    store.index({"b.txt": ONE}, idempotency_key="new", request_sha="2")
    store.garbage.sweep(retention_days=7)
    assert [row["key"] for row in store.query("SELECT key FROM idempotency_key")] == ["new"]
