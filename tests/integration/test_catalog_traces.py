"""Traces on a real catalog: by id or path, at one revision, of documents that answer, wait, failed or are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.errors import NotFound
from kb.types import DocumentStatus, DocumentTrace

PATH = "制度/年假.txt"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    store.index({PATH: write_sentences(1, 2, 3), "en/leave.txt": write_sentences(4)})
    yield store
    store.close()


def trace(store: Store, name: str, revision: int | None = None) -> DocumentTrace:
    head = store.catalog.feed.get_head(store.kb.id)
    at = head.revision if revision is None else revision
    return store.catalog.traces.trace(store.kb.id, name, head.space_id, at)


def list_chunk_ids(store: Store, path: str, number: int) -> list[int]:
    query = (
        "SELECT c.id FROM chunk c JOIN version v ON v.id = c.version_id JOIN document d ON d.id = v.document_id "
        "WHERE d.path = :path AND v.number = :number ORDER BY c.ordinal"
    )
    return [row["id"] for row in store.query(query, path=path, number=number)]


@pytest.mark.parametrize("path", [PATH, "en/leave.txt"])
def test_a_document_that_answers(store: Store, path: str) -> None:
    found = trace(store, path)
    assert (found.path, found.deleted_at, found.removed_revision, found.removed_at) == (path, None, None, None)
    assert found.newest == store.find(path)
    assert found.answering is not None
    assert (found.answering.number, found.answering.language, found.answering.verdicts) == (1, "en", {"indexed": 1})
    assert list(found.answering.chunk_ids) == list_chunk_ids(store, path, 1) != []
    assert trace(store, found.id) == found


def test_the_version_that_answered_at_a_revision(store: Store) -> None:
    store.index({PATH: write_sentences(7, 8)}, metadata={"年": 2025})
    before, now = trace(store, PATH, 1).answering, trace(store, PATH).answering
    assert before is not None
    assert now is not None
    assert (before.number, now.number) == (1, 2)
    assert (before.metadata, now.metadata) == ({}, {"年": 2025})
    assert list(before.chunk_ids) == list_chunk_ids(store, PATH, 1)
    assert list(now.chunk_ids) == list_chunk_ids(store, PATH, 2)
    assert trace(store, PATH, 0).answering is None
    head = store.catalog.feed.get_head(store.kb.id)
    elsewhere = store.catalog.traces.trace(store.kb.id, PATH, head.space_id + 1, head.revision).answering
    assert elsewhere is not None
    assert list(elsewhere.chunk_ids) == []


def test_one_that_waits_and_one_that_failed(store: Store) -> None:
    store.upload({"new.txt": "words", PATH: "BAD no_text"})
    assert [trace(store, name).newest.status for name in ("new.txt", PATH)] == [DocumentStatus.PENDING] * 2  # type: ignore[union-attr]
    store.run_job()
    found = trace(store, PATH)
    assert found.newest is not None
    assert found.newest.error is not None
    assert (found.newest.version, found.newest.error.code) == (2, "no_text")
    assert found.answering is not None
    assert found.answering.number == 1


def test_one_that_a_sync_took_away_tells_the_revision(store: Store) -> None:
    number = store.hide(PATH)
    found = trace(store, PATH)
    assert (found.removed_revision, found.deleted_at, found.newest, found.answering) == (number, None, None, None)
    assert found.removed_at is not None
    assert abs(datetime.now(UTC) - found.removed_at) < timedelta(minutes=5)
    assert trace(store, PATH, number - 1).answering is not None


def test_a_path_means_the_document_that_is_there_and_else_the_one_deleted_last(store: Store) -> None:
    ids = []
    for number in (1, 2):
        ids.append(store.index({"a.txt": write_sentences(number)})["a.txt"])
        store.catalog.documents.delete(store.kb.id, [ids[-1]])
    found = trace(store, "a.txt")
    assert (found.id, found.newest, found.answering) == (ids[1], None, None)
    assert found.deleted_at is not None
    assert abs(datetime.now(UTC) - found.deleted_at) < timedelta(minutes=5)
    ids.append(store.index({"a.txt": write_sentences(3)})["a.txt"])
    assert (trace(store, "a.txt").id, trace(store, "a.txt").deleted_at) == (ids[2], None)
    assert [trace(store, name).deleted_at is None for name in ids] == [False, False, True]


def test_an_id_comes_before_a_path_that_looks_like_it(store: Store) -> None:
    document_id = store.find(PATH).id
    store.index({document_id: write_sentences(9)})
    assert trace(store, document_id).path == PATH


@pytest.mark.parametrize("name", ["没有.txt", "制度", "", "0" * 32, "x" * 5_000])
def test_what_was_never_uploaded(store: Store, name: str) -> None:
    with pytest.raises(NotFound, match="document_not_found"):
        trace(store, name)


def test_another_knowledge_base_has_none_of_them(store: Store) -> None:
    other = store.add_kb("other")
    for name in (PATH, store.find(PATH).id):
        with pytest.raises(NotFound, match="document_not_found"):
            store.catalog.traces.trace(other.id, name, 1, 1)
