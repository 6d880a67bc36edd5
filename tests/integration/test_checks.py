"""The checker is checked: each invariant is broken on purpose, and exactly that is to be named."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fakes.store import Store, copy_store, new_store, write_sentences

from kb.checks import check_store
from kb.types import JobState, KeptCitation, KeptTurn, NewTurn

OLD = time.time() - 7200


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three published documents (one in its second version), one failed, one staged in a queued job; and a kept turn
    that cites two of them, the first in its first version."""
    store = new_store(tmp_path_factory.mktemp("template") / "store")
    store.index({"a.txt": write_sentences(1, 2, 3), "b.txt": write_sentences(3, 4), "bad.txt": "BAD no_text"})
    store.index({"a.txt": write_sentences(1, 2, 5)})
    store.index({"c.txt": write_sentences(6)})
    store.upload({"d.txt": write_sentences(7)})
    keep_turn(store, ("a.txt", 1), ("b.txt", 1))
    store.close()
    return store.folder.root


def keep_turn(store: Store, *cited: tuple[str, int]) -> None:
    citations = [
        KeptCitation(
            number=number, kb_id=store.kb.id, document_id=store.find(path).id, path=path, version=version, page_start=1,
            page_end=1, start=0, end=4, quote="text",
        )
        for number, (path, version) in enumerate(cited, start=1)
    ]  # fmt: skip
    turn = KeptTurn(
        question="q",
        query="q",
        answer="a[1][2]",
        refused=False,
        model="m",
        citations=citations,
        created_at=datetime.now(UTC),
    )
    assert store.catalog.conversations.keep(
        NewTurn(conversation_id="c", kb_ids=[store.kb.id], turn=turn, is_first=True)
    )


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    store = copy_store(template, tmp_path / "store")
    yield store
    store.close()


def age(path: Path) -> None:
    os.utime(path, (OLD, OLD))


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def write_vector(store: Store, value: bytes) -> None:
    assert store.execute("UPDATE vector SET value = :value WHERE rowid = 1", value=value) == 1


def blob_of(store: Store, path: str) -> Path:
    return store.blobs.path(store.find(path).sha256)


def text_of(store: Store, path: str) -> Path:
    return store.texts.blobs.path(store.catalog.documents.find_text(store.find(path).id).text_sha)


def test_a_healthy_store_has_no_findings(store: Store) -> None:
    assert check_store(store.catalog.database, store.blobs, store.texts, True) == []
    assert check_store(store.catalog.database, store.blobs, store.texts, False) == []


def test_an_empty_store_has_no_findings(tmp_path: Path) -> None:
    fresh = new_store(tmp_path / "fresh")
    assert fresh.check() == set()
    fresh.close()


SQL_MUTATIONS = {
    "a vector is gone": (
        (
            "DELETE FROM vector WHERE input_sha ="
            " (SELECT c.input_sha FROM chunk c JOIN version v ON v.id = c.version_id"
            " WHERE v.state = 'published' ORDER BY c.id DESC LIMIT 1)"
        ),
        {"chunk_without_vector"},
    ),
    "a vector that nobody uses": (
        "INSERT INTO vector SELECT space_id, 'f00', value FROM vector LIMIT 1",
        {"vector_unused"},
    ),
    "a published chunk is gone": (
        (
            "DELETE FROM chunk WHERE id = (SELECT min(c.id) FROM chunk c JOIN document d ON d.path = 'b.txt'"
            " JOIN version v ON v.id = c.version_id AND v.document_id = d.id WHERE c.ordinal = 1)"
        ),
        {"chunk_count_wrong", "change_log_wrong", "vector_unused"},
    ),
    "ordinals with a gap": (
        "UPDATE chunk SET ordinal = 9 WHERE id = (SELECT max(id) FROM chunk)",
        {"chunk_count_wrong"},
    ),
    "chunks that overlap": (
        "UPDATE chunk SET start = start - 5 WHERE id = (SELECT max(id) FROM chunk WHERE ordinal = 1)",
        {"chunk_offsets_wrong"},
    ),
    "a chunk without length": (
        'UPDATE chunk SET "end" = start WHERE id = (SELECT max(id) FROM chunk)',
        {"chunk_offsets_wrong"},
    ),
    "an open publication of a deleted document": (
        "UPDATE document SET deleted_at = '2026-01-01 00:00:00' WHERE path = 'c.txt'",
        {"publication_of_deleted"},
    ),
    "a publication was closed": (
        "UPDATE publication SET until_revision = since_revision WHERE id = (SELECT max(id) FROM publication)",
        {"publication_wrong", "change_log_wrong"},
    ),
    "an open publication of a version that is not published": (
        "UPDATE version SET state = 'superseded' WHERE id = (SELECT version_id FROM publication ORDER BY id DESC)",
        {"publication_wrong"},
    ),
    "chunks of a failed version": (
        (
            "UPDATE chunk SET version_id = (SELECT id FROM version WHERE state = 'failed') WHERE version_id ="
            " (SELECT id FROM version WHERE state = 'superseded')"
        ),
        {"chunk_of_failed"},
    ),
    "a staged version whose job has ended": (
        "UPDATE job SET state = 'succeeded' WHERE state = 'queued'",
        {"staged_without_job"},
    ),
    "a staged version whose job is not there": (
        "DELETE FROM job WHERE state = 'queued'",
        {"staged_without_job"},
    ),
    "a revision is gone": ("DELETE FROM revision WHERE number = 2", {"revision_gap"}),
    "a head without its revision": (
        "UPDATE knowledge_base SET head_revision = head_revision + 1",
        {"revision_gap"},
    ),
    "two live spaces": (
        (
            "INSERT INTO space (kb_id, embedding_model, fingerprint, dimension, state)"
            " SELECT kb_id, embedding_model, fingerprint, dimension, state FROM space"
        ),
        {"live_space_wrong"},
    ),
    "a change above the head": (
        "UPDATE change_log SET revision = 99 WHERE id = (SELECT max(id) FROM change_log)",
        {"change_log_ahead"},
    ),
    "a change is gone": (
        "DELETE FROM change_log WHERE id = (SELECT max(id) FROM change_log)",
        {"change_log_wrong"},
    ),
    "a removal is gone": ("DELETE FROM change_log WHERE op = '-' AND revision = 2", {"change_log_wrong"}),
    "a change twice": (
        (
            "INSERT INTO change_log (kb_id, revision, space_id, op, chunk_id)"
            " SELECT kb_id, revision, space_id, op, chunk_id FROM change_log"
            " WHERE id = (SELECT max(id) FROM change_log)"
        ),
        {"change_log_wrong"},
    ),
    "a deleted knowledge base that nobody purges": (
        (
            "INSERT INTO knowledge_base"
            " (id, name, description, language, settings, head_revision, created_at, deleted_at)"
            " SELECT 'x', 'gone', '', 'auto', settings, 0, created_at, created_at FROM knowledge_base"
        ),
        {"purge_missing"},
    ),
    "a chunk of no version": (
        "INSERT INTO chunk SELECT 999, space_id, 999, 0, 0, 5, 1, 1, NULL, 2, input_sha FROM chunk LIMIT 1",
        {"foreign_key_broken"},
    ),
    "a turn without its conversation": ("DELETE FROM conversation", {"foreign_key_broken"}),
    "a conversation of a knowledge base that is gone": (
        "UPDATE conversation_base SET kb_id = 'gone'",
        {"foreign_key_broken"},
    ),
    "a citation without its turn": ("DELETE FROM message", {"foreign_key_broken"}),
    "a conversation of no knowledge base": ("DELETE FROM conversation_base", {"conversation_of_none"}),
    "a conversation of a deleted knowledge base": (
        "UPDATE knowledge_base SET deleted_at = '2026-01-01 00:00:00'",
        {"conversation_of_deleted", "purge_missing"},
    ),
    "a cited version that is gone": ("UPDATE citation SET version = 9 WHERE number = 2", {"cited_text_gone"}),
    "a cited version without its text": (
        "UPDATE citation SET document_id = (SELECT id FROM document WHERE path = 'bad.txt') WHERE number = 1",
        {"cited_text_gone"},
    ),
    "a quote of a document that is not there": (
        "UPDATE citation SET document_id = 'gone' WHERE number = 1",
        {"quote_of_deleted"},
    ),
    "an answer whose model was shown a deleted document": (
        "INSERT INTO reading (message_id, document_id) SELECT max(id), 'gone' FROM message",
        {"quote_of_deleted"},
    ),
    "an answer from a deleted document": (
        "UPDATE citation SET quote = NULL, document_id = 'gone'",
        {"quote_of_deleted"},
    ),
}


@pytest.mark.parametrize("name", SQL_MUTATIONS)
def test_a_broken_row_is_named(store: Store, name: str) -> None:
    statement, codes = SQL_MUTATIONS[name]
    assert store.execute(statement) >= 1
    assert store.check(deep=False) == codes


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        (np.full(512, 2.0, "<f2").tobytes(), {"vector_value_wrong"}),
        (np.zeros(512, "<f2").tobytes(), {"vector_value_wrong"}),
        (np.full(512, np.nan, "<f2").tobytes(), {"vector_value_wrong"}),
        (np.full(512, np.inf, "<f2").tobytes(), {"vector_value_wrong"}),
        (b"short", {"vector_size_wrong"}),
    ],
)
def test_a_wrong_vector_is_named(store: Store, value: bytes, codes: set[str]) -> None:
    write_vector(store, value)
    assert store.check(deep=True) == codes
    assert store.check(deep=False) == codes - {"vector_value_wrong"}


def spoil_temporary(store: Store) -> None:
    for root in (store.blobs.root, store.texts.blobs.root):
        (root / "tmp" / "left").write_bytes(b"half")
        age(root / "tmp" / "left")


FILE_MUTATIONS: dict[str, tuple[Callable[[Store], object], set[str], set[str]]] = {
    "a blob is gone": (lambda s: blob_of(s, "a.txt").unlink(), {"blob_missing"}, {"blob_missing"}),
    "a blob was cut": (
        lambda s: blob_of(s, "a.txt").write_bytes(b"x"),
        {"blob_size_wrong"},
        {"blob_size_wrong", "blob_hash_wrong"},
    ),
    "a byte of a blob": (lambda s: flip_byte(blob_of(s, "a.txt")), set(), {"blob_hash_wrong"}),
    "a byte of a staged blob": (lambda s: flip_byte(blob_of(s, "d.txt")), set(), {"blob_hash_wrong"}),
    "a text is gone": (lambda s: text_of(s, "b.txt").unlink(), {"text_missing"}, {"text_missing"}),
    "a byte of a text": (lambda s: flip_byte(text_of(s, "b.txt")), set(), {"text_hash_wrong"}),
    "an unfinished file": (spoil_temporary, {"temporary_left"}, {"temporary_left"}),
    "a blob that nobody names": (
        lambda s: age(s.blobs.path(s.blobs.put(b"nobody's"))),
        {"blob_unreferenced"},
        {"blob_unreferenced"},
    ),
    "a text that nobody names": (
        lambda s: age(s.texts.blobs.path(s.texts.put_text("nobody's"))),
        {"text_unreferenced"},
        {"text_unreferenced"},
    ),
}


@pytest.mark.parametrize("name", FILE_MUTATIONS)
def test_a_broken_file_is_named(store: Store, name: str) -> None:
    spoil, shallow, deep = FILE_MUTATIONS[name]
    spoil(store)
    assert store.check(deep=False) == shallow
    assert store.check(deep=True) == deep


def test_pages_and_chunks_beyond_the_text_are_named(store: Store) -> None:
    store.execute("UPDATE version SET ledger = '[[1, 0, 100000, \"indexed\"]]' WHERE id = 2")
    assert store.check() == {"text_too_short"}
    store.execute("UPDATE version SET ledger = '[]' WHERE id = 2")
    assert store.check() == set()
    store.execute('UPDATE chunk SET "end" = 100000 WHERE id = (SELECT max(id) FROM chunk WHERE version_id = 2)')
    assert store.check() == {"text_too_short"}


def test_young_files_that_nobody_names_yet_are_no_finding(store: Store) -> None:
    store.blobs.put(b"on its way")
    (store.blobs.root / "tmp" / "half").write_bytes(b"half")
    assert store.check() == set()


def test_a_running_job_with_staged_chunks_is_no_finding(store: Store) -> None:
    job = store.claim(owner="a worker that is gone")
    assert job.state is JobState.RUNNING
    assert store.check() == set()


def test_a_deleted_document_leaves_no_finding_in_the_turns_that_cite_it(store: Store) -> None:
    store.catalog.documents.delete(store.kb.id, [store.find("b.txt").id])
    assert store.check(deep=False) - {"blob_unreferenced", "text_unreferenced"} == set()
    _, [turn] = store.catalog.conversations.get("c")
    assert (turn.answer, [one.quote for one in turn.citations]) == (None, ["text", None])


def test_a_document_that_was_taken_out_while_it_was_answered_leaves_no_text(store: Store) -> None:
    cited = KeptCitation(
        number=1, kb_id=store.kb.id, document_id="gone", path="x", version=1, page_start=1, page_end=1, start=0, end=4,
        quote="text",
    )  # fmt: skip
    turn = KeptTurn(
        question="q", query="q", answer="a", refused=False, model="m", citations=[cited], created_at=datetime.now(UTC)
    )
    assert store.catalog.conversations.keep(NewTurn(conversation_id="c", kb_ids=[], turn=turn, is_first=False))
    assert store.check(deep=False) == set()


def test_a_deleted_knowledge_base_is_no_finding_while_its_purge_waits(store: Store) -> None:
    store.catalog.knowledge_bases.delete(store.kb.id)
    assert store.check() == set()
    store.catalog.purges.purge_slice(store.kb.id)
    assert store.check() - {"blob_unreferenced"} == set()


def test_findings_name_ids_and_counts_and_stay_short(store: Store) -> None:
    removed = store.execute("DELETE FROM vector")
    (finding,) = check_store(store.catalog.database, store.blobs, store.texts, False)
    assert finding.code == "chunk_without_vector"
    assert finding.count == 6  # a.txt has 3, b.txt 2, c.txt 1
    assert removed == 6
    assert finding.detail.count("of published version") == 5
    assert finding.detail.endswith("; and 1 more")


def test_a_damaged_database_is_a_finding_not_an_error(tmp_path: Path) -> None:
    store = new_store(tmp_path / "torn")
    store.index({f"{i}.txt": write_sentences(*range(i, i + 6)) for i in range(12)})
    store.close()
    path = store.folder.root / "catalog.sqlite3"
    data = bytearray(path.read_bytes())
    for page in range(12, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes(bytes(data))
    torn = check_store(store.catalog.database, store.blobs, store.texts, True)
    assert {finding.code for finding in torn} == {"database_damaged"}
    store.close()
