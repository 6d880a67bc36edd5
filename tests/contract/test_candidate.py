"""A candidate answers as the knowledge base does once the same change is published, and publishes nothing itself."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes.store import OneEncoder, Store, new_store, write_sentences

from kb.catalog.candidate import CandidateFeed
from kb.catalog.revisions import Opening, RevisionDraft, write_revision
from kb.errors import NotFound
from kb.types import Candidate, Filter, RevisionKind
from retrieval.candidate import CandidateIndexes, OneState
from retrieval.sealing import seal_generation
from retrieval.search import Searcher, SearchRequest
from retrieval.state import IndexShelf, IndexState

QUESTIONS = ["the fox number 3", "a warm place near river 12", "lazy dog 7", "number 1 number 2", "quick"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def open_candidate(store: Store, candidate: Candidate) -> CandidateFeed:
    return store.catalog.candidates.open_feed(candidate)


def list_open(store: Store) -> dict[str, int]:
    """The visible version of each document."""
    rows = store.query("SELECT document_id, version_id FROM publication WHERE until_revision IS NULL")
    return {row["document_id"]: row["version_id"] for row in rows}


def list_versions(store: Store) -> dict[int, str]:
    return {row["id"]: row["document_id"] for row in store.query("SELECT id, document_id FROM version ORDER BY id")}


def stage(store: Store, files: dict[str, str]) -> None:
    """Upload and stage, publish nothing; the job is put aside."""
    store.upload(files)
    job = store.claim()
    for version in store.catalog.staging.list_staged(job.id, 100):
        store.stage(job, version.version_id, files[version.path])
    store.catalog.jobs.release(job)
    store.execute("UPDATE job SET state = 'succeeded' WHERE id = :id", id=job.id)


def publish(store: Store, candidate: Candidate) -> None:
    owners = list_versions(store)
    draft = RevisionDraft(
        kb_id=candidate.kb_id,
        space_id=candidate.space_id,
        kind=RevisionKind.SYNC,
        opened=[Opening(version_id=one, document_id=owners[one]) for one in candidate.opened],
        closed={one: owners[one] for one in candidate.closed},
    )
    with store.catalog.database.write() as connection:
        write_revision(connection, draft)


def choose_change(store: Store, rng: random.Random) -> Candidate:
    """Some documents get another version, staged or superseded, some vanish."""
    visible, owners = list_open(store), list_versions(store)
    opened, closed = [], []
    for number, document in enumerate(dict.fromkeys(owners.values())):
        others = [one for one, owner in owners.items() if owner == document and one != visible.get(document)]
        move = "open" if number == 2 else rng.choice(["stay", "open", "close"])  # the third has another in every test
        if move != "stay" and document in visible and (others or move == "close"):
            closed.append(visible[document])
        if move == "open" and others:
            opened.append(rng.choice(others))
    return Candidate(kb_id=store.kb.id, space_id=store.space_id, opened=opened, closed=closed)


def ask_state(store: Store, state: IndexState) -> list[list[tuple[str, str, int]]]:
    searcher = Searcher(OneState(state), store.catalog.feed, store.texts, OneEncoder(store.encoder))
    answers = []
    for question in QUESTIONS:
        request = SearchRequest(query=question, kb_id=store.kb.id, top_k=10)
        passages = searcher.search(request).passages
        answers.append([(passage.path, passage.text, passage.version) for passage in passages])
    return answers


def judge(store: Store, candidate: Candidate) -> Sequence[list[list[tuple[str, str, int]]]]:
    encoders = OneEncoder(store.encoder)
    indexes = CandidateIndexes(store.catalog.candidates, store.texts, encoders, store.folder.indexes)
    with indexes.open_both(candidate) as both:
        return [
            [[(p.path, p.text, p.version) for p in one.ask(question, 10).passages] for question in QUESTIONS]
            for one in both
        ]


@pytest.mark.parametrize("sealed", [False, True], ids=["from-rows", "from-a-generation"])
@pytest.mark.parametrize("seed", range(6))
def test_a_candidate_answers_as_the_published_change_does(store: Store, seed: int, *, sealed: bool) -> None:
    rng = random.Random(seed)
    names = [f"{n}.txt" for n in range(8)]
    store.index({name: write_sentences(*rng.sample(range(15), 4)) for name in names})
    store.index({name: write_sentences(*rng.sample(range(15), 3)) for name in names[:4]})
    if sealed:
        seal_generation(store.catalog.feed, store.kb.id, store.folder.indexes)
        store.index({"late.txt": write_sentences(3, 12)})
    stage(store, {name: write_sentences(*rng.sample(range(15), 5)) for name in [*names[2:5], "new.txt"]})
    candidate = choose_change(store, rng)
    assert candidate.opened
    assert candidate.closed
    head = store.catalog.feed.get_head(store.kb.id)
    shelf = IndexShelf(store.catalog.feed, store.folder.indexes)
    now = ask_state(store, shelf.get_state(store.kb.id))

    before, after = judge(store, candidate)

    assert store.catalog.feed.get_head(store.kb.id) == head
    assert before == now == ask_state(store, shelf.get_state(store.kb.id))
    publish(store, candidate)
    assert after == ask_state(store, shelf.get_state(store.kb.id))
    assert after != before
    shelf.close()
    assert list(store.folder.indexes.glob("live-*")) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_candidates_feed_keeps_the_promises_of_a_feed(store: Store, seed: int) -> None:
    """Rows, changes and visible chunks at the candidate's revision are those of the catalog once it is published."""
    rng = random.Random(seed)
    store.index({f"{n}.txt": write_sentences(n, n + 1) for n in range(6)})
    store.index({f"{n}.txt": write_sentences(n) for n in range(3)})
    stage(store, {f"{n}.txt": write_sentences(n, 20) for n in range(2, 8)})
    candidate, feed = choose_change(store, rng), store.catalog.feed
    found = feed.get_head(store.kb.id)
    judged = open_candidate(store, candidate)
    assert judged.get_head(store.kb.id) == found
    judged.advance()
    publish(store, candidate)
    head = feed.get_head(store.kb.id)
    assert judged.get_head(store.kb.id) == head
    every = [row["id"] for row in store.query("SELECT id FROM chunk")]
    for revision in (found.revision, head.revision):
        ours = [row.chunk_id for rows in judged.iter_rows(head.space_id, revision, 5) for row in rows]
        assert ours == [row.chunk_id for rows in feed.iter_rows(head.space_id, revision, 5) for row in rows]
        for only in (None, Filter(path_prefix="2"), Filter(language="en"), Filter(metadata={"a": 1})):
            wanted = feed.list_visible(store.kb.id, revision, every, only)
            assert judged.list_visible(store.kb.id, revision, every, only) == wanted
        for after in range(revision + 1):
            real, change = (one.list_changes(head.space_id, after, revision) for one in (feed, judged))
            assert (sorted(change.added), sorted(change.removed)) == (sorted(real.added), sorted(real.removed))


def test_what_was_deleted_is_in_no_candidate(store: Store) -> None:
    ids = store.index({"a.txt": write_sentences(1), "b.txt": write_sentences(2)})
    stage(store, {"a.txt": write_sentences(1, 3)})
    (staged,) = store.query("SELECT id FROM version WHERE state = 'staged'")
    store.catalog.documents.delete(store.kb.id, [ids["a.txt"]])
    _, after = judge(store, Candidate(kb_id=store.kb.id, space_id=store.space_id, opened=[staged["id"]]))
    assert {path for answer in after for path, *_ in answer} == {"b.txt"}


def test_a_foreign_space_is_refused(store: Store) -> None:
    other = store.add_kb("other")
    foreign = store.catalog.feed.get_head(other.id).space_id
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        open_candidate(store, Candidate(kb_id=store.kb.id, space_id=foreign))
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        open_candidate(store, Candidate(kb_id="nobody", space_id=store.space_id))
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        open_candidate(store, Candidate(kb_id=store.kb.id, space_id=store.space_id)).get_head(other.id)
