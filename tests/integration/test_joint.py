"""Several knowledge bases as one search, over real indexes and a catalog in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.feed import Encoders, HashEncoder, MemoryFeed

from kb.errors import InvalidInput, NotFound
from kb.tokens import estimate_tokens
from kb.types import Vectors
from retrieval.joint import JointSearcher
from retrieval.search import Searcher, SearchRequest, SearchResult
from retrieval.state import IndexShelf

DOCUMENTS = {
    "zh": {
        "杭州.txt": ["杭州西湖位于浙江省。", "湖面约六平方千米。", "断桥残雪是十景之一。"],
        "共用.txt": ["Dogs stay outside."],
    },
    "en": {"fox.txt": ["The quick brown fox jumps.", "Dogs are lazy in summer.", "Cats sleep all day."]},
    "copies": {"other.txt": ["Dogs stay outside."], "lake.txt": ["The lake froze in winter.", "西湖也会结冰。"]},
}
ALL = list(DOCUMENTS)
ASKED = pytest.mark.parametrize(("query", "kb"), [("杭州西湖在哪里", "zh"), ("quick brown fox", "en")])


class CountingEncoder(HashEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.questions: list[str] = []

    def embed_question(self, question: str) -> Vectors:
        self.questions.append(question)
        return super().embed_question(question)


class House:
    def __init__(self, directory: Path) -> None:
        self.encoder = CountingEncoder()
        self.feed = MemoryFeed()
        for kb_id, documents in DOCUMENTS.items():
            self.feed.add_kb(kb_id)
            self.feed.publish(kb_id, documents)
        self.feed.remove("copies", "lake.txt")
        self.feed.publish("copies", {"lake.txt": DOCUMENTS["copies"]["lake.txt"]})
        self.shelf = IndexShelf(self.feed, directory)
        self.alone = Searcher(self.shelf, self.feed, self.feed, Encoders(self.encoder))
        self.joint = JointSearcher(self.alone, self.feed, self.feed)

    def search(self, query: str, kb_ids: list[str], **options: object) -> SearchResult:
        request = SearchRequest(query=query, kb_id=kb_ids[0], also=kb_ids[1:], **options)  # type: ignore[arg-type]
        return self.joint.search(request)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "indexes")
    yield house
    house.shelf.close()


@ASKED
def test_hits_are_those_of_each_alone(house: House, query: str, kb: str) -> None:
    found = house.search(query, ALL, merge=False, top_k=20).passages
    alone = {one.text: one for kb_id in ALL for one in house.search(query, [kb_id], merge=False, top_k=20).passages}
    assert {one.text for one in found} == set(alone)
    assert len(found) == len(alone)
    assert found[0].kb_id == kb
    assert all(one.scores.fused == alone[one.text].scores.fused for one in found if not one.duplicates)


@ASKED
def test_passages_are_whole_stretches_of_their_own_document(house: House, query: str, kb: str) -> None:
    passages = house.search(query, ALL).passages
    for one in passages:
        text = house.feed.texts[house.feed.versions[one.version_id].text_sha]
        assert one.text == text[one.start : one.end]
        assert one.kb_id == house.feed.versions[one.version_id].kb_id
    path = next(iter(DOCUMENTS[kb]))
    assert passages[0].text == "\n".join(DOCUMENTS[kb][path])


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("budget", [1, 8, 16, 30, 60, 2048])
@ASKED
def test_one_budget_holds_over_all(house: House, query: str, kb: str, budget: int, *, merge: bool) -> None:
    passages = house.search(query, ALL, merge=merge, max_tokens=budget, top_k=20).passages
    spent = sum(house.feed.chunks[i].tokens for one in passages for i in one.chunk_ids)
    assert spent <= budget or (len(passages) == 1 and len(passages[0].chunk_ids) == 1)
    assert len({i for one in passages for i in one.chunk_ids}) == sum(len(one.chunk_ids) for one in passages)
    assert passages[0].kb_id == kb
    assert estimate_tokens(passages[0].text) > 0


def test_revisions_are_told_of_each_and_a_copy_is_told_once(house: House) -> None:
    told = house.search("dogs outside", ALL, merge=False)
    assert (told.revision, told.revisions) == (3, {"zh": 1, "en": 1, "copies": 3})
    [copy] = [one for one in told.passages if one.text == "Dogs stay outside."]
    assert {copy.kb_id, *(one.kb_id for one in copy.duplicates)} == {"zh", "copies"}


def test_a_model_that_all_share_embeds_the_question_once(house: House) -> None:
    house.search("西湖", ALL)
    assert house.encoder.questions == ["西湖"]
    house.search("西湖", [*ALL, "zh"], mode="lexical")
    assert house.encoder.questions == ["西湖"]


def test_without_the_model_the_words_of_all_answer(house: House) -> None:
    house.encoder.down = True
    told = house.search("quick brown fox 西湖", ALL)
    assert told.degraded == ("dense",)
    assert {one.kb_id for one in told.passages} == {"zh", "en", "copies"}


def test_faults_of_one_are_those_of_all(house: House) -> None:
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        house.search("x", ["zh", "nope"])
    with pytest.raises(InvalidInput, match="bad_top_k"):
        house.search("x", ALL, top_k=101)
    assert house.search("x", ["zh", "zh"]).revisions == {"zh": 1}
