"""Faults planted in whole runs: what a re-index or a sync would publish is refused while golden questions suffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes.nights import NAME, Nights
from fakes.reindexing import OTHER, OtherEncoder, Reindexing
from fakes.store import Store, new_store

from ingest import indexing
from ingest.splitter import SplitterSettings, split_document
from kb.ports import TokenCounter
from kb.types import JobState, NewGoldenQuestion, ParsedDocument, TextChunk, Vectors
from retrieval.candidate import CandidateIndexes
from retrieval.gate import GoldenGate

PLACES = ("Lochmoor", "Arden", "Birkdale", "Calder", "Dunmore", "Elgin", "Falkirk", "Girvan", "Hawick", "Irvine")


def write_report(place: str, built: int) -> str:
    return (
        "This report is about one of our many stations on the coast, and begins like all of them. "
        f"The lighthouse of {place} was built in {built}. 灯塔{place}建于{built}年，由值班员看守。"
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    questions = [
        NewGoldenQuestion(question=f"When was the lighthouse of {place} built?", answers=[f"built in {1800 + number}"])
        for number, place in enumerate(PLACES)
    ]
    store.catalog.golden.add(store.kb.id, questions)
    yield store
    store.close()


@pytest.fixture
def nights(store: Store, tmp_path: Path) -> Nights:
    """A folder that was synced once, behind a real gate."""
    nights = Nights(store=store, folder=tmp_path / "shared" / "docs")
    nights.write({f"{place}.txt": write_report(place, 1800 + n) for n, place in enumerate(PLACES)})
    assert nights.run().state is JobState.SUCCEEDED
    nights.gate = make_gate(store, Reindexing(store))
    return nights


def make_gate(store: Store, reindexing: Reindexing) -> GoldenGate:
    indexes = CandidateIndexes(store.catalog.candidates, store.texts, reindexing.encoders, store.folder.indexes)
    return GoldenGate(store.catalog.golden, store.catalog.knowledge_bases, indexes)


class StuckEncoder(OtherEncoder):
    """Broken: whatever it is given has the same vector, and it says that vectors carry meaning."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return np.tile(super().embed_texts(["x"]), (len(texts), 1))


def split_badly(parsed: ParsedDocument, counter: TokenCounter, settings: SplitterSettings) -> list[TextChunk]:
    """Broken: the first words of a document, and nothing of the rest."""
    return [TextChunk(ordinal=0, start=0, end=20, tokens=5, page_start=1, page_end=1)]


def run_reindex(store: Store, reindexing: Reindexing, **params: object) -> tuple[JobState, str | None]:
    reindexing.gate = make_gate(store, reindexing)  # type: ignore[assignment]  # a real one
    job = reindexing.reindex(**params)
    return job.state, job.error_code


@pytest.mark.usefixtures("nights")
def test_a_bad_splitter_is_stopped_and_a_good_one_passes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before, space = store.list_visible_texts(), store.space_id
    monkeypatch.setattr(indexing, "split_document", split_badly)
    assert run_reindex(store, Reindexing(store, chunk_tokens=32)) == (JobState.FAILED, "gate_refused")
    assert (store.list_visible_texts(), store.space_id) == (before, space)
    monkeypatch.setattr(indexing, "split_document", split_document)
    assert run_reindex(store, Reindexing(store, chunk_tokens=32)) == (JobState.SUCCEEDED, None)
    assert store.space_id != space
    assert store.check() == set()


@pytest.mark.usefixtures("nights")
def test_a_bad_encoder_is_stopped_and_a_good_one_passes(store: Store) -> None:
    before, space = store.list_visible_texts(), store.space_id
    reindexing = Reindexing(store)
    reindexing.encoders.encoders[OTHER] = StuckEncoder()
    reindexing.encoders.encoders[OTHER].lexical_leads = False  # as a real model says of itself
    assert run_reindex(store, reindexing, embedding_model=OTHER) == (JobState.FAILED, "gate_refused")
    assert (store.list_visible_texts(), store.space_id) == (before, space)
    assert run_reindex(store, Reindexing(store), embedding_model=OTHER) == (JobState.SUCCEEDED, None)
    assert store.space_id != space
    assert store.check() == set()


def test_a_folder_whose_content_was_spoilt_is_stopped_and_one_that_was_corrected_passes(
    nights: Nights, store: Store
) -> None:
    before = nights.visible()
    good = {f"{place}.txt": write_report(place, 1800 + n) for n, place in enumerate(PLACES)}
    nights.write(dict.fromkeys(good, "Page not found. Please sign in again to see this report."))
    job = nights.run()
    assert (job.state, job.error_code) == (JobState.FAILED, "gate_refused")
    assert job.result is not None
    assert len(job.result["gate"]["lost"]) == len(PLACES)
    assert nights.visible() == before
    nights.write(good | {"new.txt": write_report("Nairn", 1900)})
    assert nights.run().state is JobState.SUCCEEDED
    assert nights.visible()[f"{NAME}/new.txt"] == write_report("Nairn", 1900)
    assert store.check() == set()


def test_a_mount_that_is_gone_is_stopped_without_any_question(nights: Nights, store: Store) -> None:
    before = nights.visible()
    aside = nights.folder.rename(nights.folder.with_name("aside"))
    assert nights.run().error_code == "root_missing"
    nights.folder.mkdir()  # the mount point without its disk
    assert nights.run().error_code == "vanish_refused"
    assert nights.visible() == before
    nights.folder.rmdir()
    aside.rename(nights.folder)
    assert nights.run().state is JobState.SUCCEEDED
    assert nights.visible() == before
    assert store.check() == set()
