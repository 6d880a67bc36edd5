"""The gate over a real store: planted faults in a second space are refused, a good one passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.feed import HashEncoder
from fakes.store import Store, new_store

from ingest.encoders.builtin import BuiltinEncoder
from kb.catalog.jobs import NewJob
from kb.catalog.staging import VersionToStage
from kb.errors import Unavailable
from kb.ports import Encoder
from kb.types import (
    Candidate,
    ChunkToStage,
    GateReport,
    Job,
    JobKind,
    Lane,
    NewGoldenQuestion,
    Page,
    PageVerdict,
    ParsedDocument,
    TextChunk,
    Vectors,
)
from retrieval.candidate import CandidateIndexes
from retrieval.gate import GoldenGate
from retrieval.sealing import seal_generation
from retrieval.state import IndexShelf

PLACES = "Lochmoor Arden Birkdale Calder Dunmore Elgin Falkirk Girvan Hawick Irvine Jedburgh Kelso Largs Moffat Nairn "
PLACES += "Oban Peebles Rothes Selkirk Troon Ullapool Vementry Wick Yell Zetland"
NAMES = PLACES.split()


def write_report(number: int) -> str:
    name = NAMES[number]
    return (
        f"This report is about one of our many stations on the coast. The lighthouse of {name} was built in "
        f"{1800 + number}. Its keeper counts {number + 30} steps up to the lamp. In winter the supply boat to {name} "
        f"leaves from pier number {number + 70}. Every station sends its log to the office at the end of the month."
    )


class ConstantEncoder(HashEncoder):
    """Broken: every text has the same vector."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "constant"

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return np.tile(super().embed_texts(["x"]), (len(texts), 1))


class Encoders:
    def __init__(self, *encoders: Encoder) -> None:
        self.encoders = {encoder.name: encoder for encoder in encoders}

    def get_encoder(self, name: str) -> Encoder:
        if name not in self.encoders:
            raise Unavailable("embedding_unavailable", f"{name} is not here")
        return self.encoders[name]


def split_sentences(text: str) -> list[tuple[int, int]]:
    ends = [place + 1 for place, c in enumerate(text) if c == "."]
    return list(zip([0, *ends], ends, strict=False))


def split_pairs(text: str) -> list[tuple[int, int]]:
    spans = split_sentences(text)
    return [(spans[n][0], spans[min(n + 1, len(spans) - 1)][1]) for n in range(0, len(spans), 2)]


def split_badly(text: str) -> list[tuple[int, int]]:
    return [(0, 12)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    store.index({f"stations/{name}.txt": write_report(n) for n, name in enumerate(NAMES)})
    questions = [
        NewGoldenQuestion(
            question=f"When was the lighthouse of {name} built?", answers=[f"{name} was built in {1800 + n}"]
        )
        for n, name in enumerate(NAMES)
    ]
    questions += [
        NewGoldenQuestion(question=f"supply boat to {name}", paths=[f"stations/{name}.txt"]) for name in NAMES
    ]
    store.catalog.golden.add(store.kb.id, questions)
    yield store
    store.close()


def make_gate(store: Store, *encoders: Encoder) -> GoldenGate:
    source = Encoders(store.encoder, *encoders)
    indexes = CandidateIndexes(store.catalog.candidates, store.texts, source, store.folder.indexes)
    return GoldenGate(store.catalog.golden, store.catalog.knowledge_bases, indexes)


def add_space(store: Store, encoder: Encoder) -> int:
    statement = """INSERT INTO space (kb_id, embedding_model, fingerprint, dimension, state, chunk_tokens)
                   VALUES (:kb, :model, :model, :dimension, 'building', 50)"""
    store.execute(statement, kb=store.kb.id, model=encoder.name, dimension=encoder.dimension)
    (row,) = store.query("SELECT max(id) AS id FROM space")
    return int(row["id"])


def fill_space(store: Store, space_id: int, encoder: Encoder, split: Callable[[str], list[tuple[int, int]]]) -> None:
    """Chunks and vectors of every version that is visible, as `split` cuts and `encoder` embeds."""
    store.catalog.jobs.enqueue(NewJob(kind=JobKind.REINDEX, lane=Lane.BULK, kb_id=store.kb.id, dedupe_key="reindex"))
    job = store.claim()
    statement = (
        "SELECT v.id, v.text_sha FROM version v JOIN publication p ON p.version_id = v.id WHERE until_revision IS NULL"
    )
    for row in store.query(statement):
        text = store.texts.read_text(row["text_sha"])
        stage_version(store, job, (space_id, row["id"]), text, (encoder, split))


def stage_version(store: Store, job: Job, place: tuple[int, int], text: str, making: tuple[Encoder, Any]) -> None:
    (space_id, version_id), (encoder, split) = place, making
    pages = [Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)]
    chunks = [
        ChunkToStage(
            chunk=TextChunk(ordinal=n, start=a, end=b, tokens=20, page_start=1, page_end=1),
            input_sha=hashlib.sha256(text[a:b].encode()).hexdigest(),
        )
        for n, (a, b) in enumerate(split(text))
    ]
    version = VersionToStage(
        version_id=version_id,
        parsed=ParsedDocument(text=text, pages=pages, language="en"),
        text_sha=store.texts.put_text(text),
        chunks=chunks,
    )
    missing = store.catalog.staging.stage_chunks(job, space_id, [version])
    inputs = {item.input_sha: text[item.chunk.start : item.chunk.end] for item in chunks}
    if missing:
        vectors = encoder.embed_texts([inputs[sha] for sha in missing])
        store.catalog.staging.stage_vectors(job, space_id, missing, vectors)


def judge_space(store: Store, encoder: Encoder, split: Callable[[str], list[tuple[int, int]]]) -> GateReport:
    space_id = add_space(store, encoder)
    fill_space(store, space_id, encoder, split)
    report = make_gate(store, encoder).judge(Candidate(kb_id=store.kb.id, space_id=space_id))
    assert report is not None
    return report


def test_a_good_second_space_passes(store: Store) -> None:
    report = judge_space(store, BuiltinEncoder(), split_pairs)
    assert (report.passed, report.questions, report.hit_rate_before) == (True, 50, 1)
    assert report.mrr_after > 0.9


def test_another_good_encoder_embeds_the_question_itself(store: Store) -> None:
    report = judge_space(store, HashEncoder(dimension=256), split_sentences)
    assert (report.passed, report.hit_rate_after) == (True, 1)


def test_a_bad_encoder_is_refused(store: Store) -> None:
    report = judge_space(store, ConstantEncoder(), split_sentences)
    assert not report.passed
    assert report.mrr_after < report.mrr_before - 0.05


def test_a_bad_splitter_is_refused(store: Store) -> None:
    report = judge_space(store, BuiltinEncoder(), split_badly)
    assert not report.passed
    assert len(report.lost) > 20


def test_an_encoder_that_is_not_here_is_no_judgement(store: Store) -> None:
    encoder = HashEncoder()
    space_id = add_space(store, encoder)
    fill_space(store, space_id, encoder, split_sentences)
    with pytest.raises(Unavailable, match="embedding_unavailable"):
        make_gate(store).judge(Candidate(kb_id=store.kb.id, space_id=space_id))


def test_a_sync_that_takes_answers_away_is_refused_and_leaves_no_trace(store: Store) -> None:
    rows = store.query("SELECT version_id FROM publication ORDER BY version_id")
    versions = [row["version_id"] for row in rows]
    gate = make_gate(store)
    head = store.catalog.feed.get_head(store.kb.id)
    few = gate.judge(Candidate(kb_id=store.kb.id, space_id=store.space_id, closed=versions[:1]))
    many = gate.judge(Candidate(kb_id=store.kb.id, space_id=store.space_id, closed=versions[:5]))
    assert few is not None
    assert many is not None
    assert (few.passed, many.passed) == (True, False)
    assert f"When was the lighthouse of {NAMES[0]} built?" in many.lost
    store.catalog.knowledge_bases.update(store.kb.id, {}, {"hit_rate_fall": 0.2, "mrr_fall": 0.2})
    again = gate.judge(Candidate(kb_id=store.kb.id, space_id=store.space_id, closed=versions[:5]))
    assert again is not None
    assert again.passed
    assert store.catalog.feed.get_head(store.kb.id) == head
    assert list(store.folder.indexes.glob("live-*")) == []


def test_the_state_at_the_head_stands_on_the_sealed_generation(store: Store) -> None:
    """Only what came since is read: vectors of 25 documents are not."""
    seal_generation(store.catalog.feed, store.kb.id, store.folder.indexes)
    indexes = CandidateIndexes(store.catalog.candidates, store.texts, Encoders(store.encoder), store.folder.indexes)
    (first,) = store.query("SELECT min(version_id) AS id FROM publication")
    candidate = Candidate(kb_id=store.kb.id, space_id=store.space_id, closed=[first["id"]])
    with indexes.open_both(candidate) as (before, after):
        assert before.state.sealed == after.state.sealed == store.catalog.feed.get_head(store.kb.id).revision
        assert after.state.dense.base is before.state.dense.base
        assert len(after.state.dense) < len(before.state.dense)


def test_an_index_that_cannot_be_advanced_is_not_taken_for_the_candidates(store: Store) -> None:
    """A shelf answers from the state before when the next one cannot be built; that would pass every gate."""
    (first,) = store.query("SELECT min(version_id) AS id FROM publication")
    feed = store.catalog.candidates.open_feed(
        Candidate(kb_id=store.kb.id, space_id=store.space_id, closed=[first["id"]])
    )

    class Torn:
        """A feed whose changes cannot be read once it has advanced."""

        def open_feed(self, candidate: Candidate) -> Any:
            return self

        def __getattr__(self, name: str) -> Any:
            return getattr(feed, name)

        def list_changes(self, space_id: int, after: int, upto: int) -> Any:
            raise Unavailable("database_unavailable", "down")

    indexes = CandidateIndexes(Torn(), store.texts, Encoders(store.encoder), store.folder.indexes)
    with (
        pytest.raises(Unavailable, match="index_unavailable"),
        indexes.open_both(Candidate(kb_id=store.kb.id, space_id=store.space_id)),
    ):
        pass
    IndexShelf(store.catalog.feed, store.folder.indexes).close()
