"""Documents as a user sees them, and their deletion, which is a purge."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.catalog.documents import DocumentFilter
from kb.errors import NotFound
from kb.types import DocumentStatus, PageVerdict

ONE, TWO, THREE = (write_sentences(n) for n in (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def delete(store: Store, *paths: str) -> None:
    """As the server does it: rows, then files."""
    purged = store.catalog.documents.delete(store.kb.id, ids=[store.find(path).id for path in paths])
    assert purged.documents == len(paths)
    store.garbage.collect(purged)


def test_a_page_of_documents_in_order_of_path(store: Store) -> None:
    store.index({"b/2.txt": ONE, "a.txt": TWO, "b/1.txt": THREE, "bad.txt": "BAD no_text"})
    store.upload({"c.txt": "new"})

    def paths(limit: int = 50, **only: object) -> list[str]:
        found = store.catalog.documents.list_documents(DocumentFilter(kb_id=store.kb.id, **only), limit)  # type: ignore[arg-type]
        return [document.path for document in found]

    assert paths() == ["a.txt", "b/1.txt", "b/2.txt", "bad.txt", "c.txt"]
    assert paths(2) == ["a.txt", "b/1.txt"]
    assert paths(2, after="b/1.txt") == ["b/2.txt", "bad.txt"]
    assert paths(path_prefix="b/") == ["b/1.txt", "b/2.txt"]
    assert paths(status=DocumentStatus.READY) == ["a.txt", "b/1.txt", "b/2.txt"]
    assert paths(status=DocumentStatus.FAILED) == ["bad.txt"]
    assert paths(status=DocumentStatus.PENDING) == ["c.txt"]
    store.claim()
    assert paths(status=DocumentStatus.INDEXING) == ["c.txt"]
    assert paths(status=DocumentStatus.PENDING) == []
    assert store.find("c.txt").status is DocumentStatus.INDEXING


def test_a_ready_document_says_what_was_read(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2)})
    document = store.find("a.txt")
    assert (document.chunks, document.pages, document.coverage, document.language) == (2, 1, 1.0, "en")
    assert document.title == write_sentences(1, 2)[:20]
    chunks = store.catalog.documents.list_chunks(document.id, 50)
    assert [(chunk.ordinal, chunk.start, chunk.page_start) for _, chunk in chunks] == [(0, 0, 1), (1, len(ONE) + 1, 1)]
    assert [c.ordinal for _, c in store.catalog.documents.list_chunks(document.id, 50, after=0)] == [1]


def test_a_failed_new_version_leaves_the_old_one_answering(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": "BAD encrypted"})
    document = store.find("a.txt")
    assert (document.status, document.version, document.live_version) == (DocumentStatus.FAILED, 2, 1)
    assert document.error is not None
    assert (document.error.code, document.error.detail) == ("encrypted", "the test said so")
    assert store.list_visible_texts() == {"a.txt": ONE}
    assert store.check() == set()


def test_the_text_of_a_version(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": TWO})
    store.upload({"b.txt": THREE})
    document = store.find("a.txt")
    live = store.catalog.documents.find_text(document.id)
    assert (live.version, store.texts.read_text(live.text_sha)) == (2, TWO)
    assert [(p.number, p.start, p.end, p.verdict) for p in live.pages] == [(1, 0, len(TWO), PageVerdict.INDEXED)]
    assert store.texts.read_text(store.catalog.documents.find_text(document.id, 1).text_sha) == ONE
    for document_id, number, code in (
        (document.id, 3, "no_version"),
        (store.find("b.txt").id, None, "no_version"),
        (store.find("b.txt").id, 1, "no_version"),
        ("nobody", None, "document_not_found"),
    ):
        with pytest.raises(NotFound) as refused:
            store.catalog.documents.find_text(document_id, number)
        assert refused.value.code == code


def test_a_delete_takes_rows_and_files(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.index({"a.txt": TWO, "b.txt": THREE})
    sha = store.find("a.txt").sha256
    text_sha = store.catalog.documents.find_text(store.find("a.txt").id).text_sha
    assert store.texts.read_text(text_sha) == TWO
    document_id = store.find("a.txt").id
    delete(store, "a.txt")
    assert (store.count("version"), store.count("chunk"), store.count("vector"), store.count("publication")) == (
        1,
        1,
        1,
        1,
    )
    assert len(list(store.blobs.iter_names())) == 1
    assert not store.blobs.exists(sha)
    assert not store.texts.blobs.exists(text_sha)
    log = store.query("SELECT revision, op FROM change_log WHERE revision = 3")
    assert [(row["revision"], row["op"]) for row in log] == [(3, "-")]
    row = store.query("SELECT * FROM revision WHERE number = 3")[0]
    assert (row["added"], row["changed"], row["removed"], row["job_id"]) == (0, 0, 1, None)
    with pytest.raises(NotFound):
        store.catalog.documents.get(document_id)
    with pytest.raises(NotFound):
        store.catalog.documents.find_by_path(store.kb.id, "a.txt")
    assert store.list_visible_texts() == {"b.txt": THREE}
    assert store.check() == set()


def test_vectors_and_files_that_others_share_stay(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2), "b.txt": write_sentences(2, 3), "c.txt": write_sentences(1, 2)})
    assert (store.count("chunk"), store.count("vector")) == (6, 3)
    sha = store.find("a.txt").sha256
    assert store.find("c.txt").sha256 == sha
    delete(store, "a.txt")
    assert (store.count("chunk"), store.count("vector")) == (4, 3)
    assert store.blobs.exists(sha)
    assert store.check() == set()
    delete(store, "c.txt")
    assert (store.count("chunk"), store.count("vector")) == (2, 2)
    assert not store.blobs.exists(sha)
    assert store.check() == set()


def test_a_delete_by_prefix_is_literal_and_of_one_knowledge_base(store: Store) -> None:
    store.index({"x_1/a.txt": ONE, "x%/b.txt": TWO, "xy1/c.txt": THREE})
    other = store.add_kb("other")
    store.index({"x_1/a.txt": ONE}, kb_id=other.id)
    assert store.catalog.documents.delete(store.kb.id, path_prefix="x_").documents == 1
    assert store.catalog.documents.delete(store.kb.id, path_prefix="x%").documents == 1
    assert store.catalog.documents.delete(store.kb.id, path_prefix="y").documents == 0
    assert store.list_visible_texts() == {"xy1/c.txt": THREE}
    assert store.catalog.documents.find_by_path(other.id, "x_1/a.txt").live_version == 1


def test_a_delete_of_nothing_is_no_revision(store: Store) -> None:
    ids = store.index({"a.txt": ONE})
    delete(store, "a.txt")
    assert store.catalog.documents.delete(store.kb.id).documents == 0
    assert store.catalog.documents.delete(store.kb.id, ids=[ids["a.txt"], "nobody"]).documents == 0
    assert store.catalog.feed.get_head(store.kb.id).revision == 2


def test_a_document_of_another_knowledge_base_is_not_deleted(store: Store) -> None:
    other = store.add_kb("other")
    ids = store.index({"a.txt": ONE})
    assert store.catalog.documents.delete(other.id, ids=list(ids.values())).documents == 0
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_vectors_of_a_document_deleted_while_it_was_embedded_are_dropped(store: Store) -> None:
    store.upload({"a.txt": ONE, "b.txt": TWO})
    store.encoder.on_embed = lambda: delete(store, "a.txt")
    store.run_job()
    assert store.list_visible_texts() == {"b.txt": TWO}
    assert store.count("vector") == 1
    assert store.check() == set()


def test_chunk_ids_are_never_given_twice(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3)})
    delete(store, "a.txt")
    store.index({"b.txt": ONE})
    assert store.query("SELECT id FROM chunk")[0]["id"] == 4
