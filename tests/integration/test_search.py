"""A whole search over real indexes and a catalog in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.clock import LONG_AGO
from fakes.feed import Encoders, HashEncoder, MemoryFeed

from ingest.encoders.builtin import BuiltinEncoder
from kb.errors import InvalidInput, NotFound, Unavailable
from kb.ports import Encoder
from kb.types import Filter
from retrieval.passages import Passage
from retrieval.rerank import Reranker
from retrieval.search import Searcher, SearchRequest, SearchResult
from retrieval.state import IndexShelf

DOCUMENTS = {
    "zh/杭州.txt": ["杭州西湖位于浙江省。", "湖面约六平方千米。", "断桥残雪是十景之一。", "龙井茶产于附近。"],
    "en/animals.txt": ["The quick brown fox jumps.", "Dogs are lazy in summer.", "Cats sleep all day long."],
    "en/norms.txt": ["The norm GB/T 23776—2018 applies.", "Version v2.5.1 was released."],
}


class House:
    """A knowledge base with a searcher over it."""

    def __init__(self, directory: Path, encoder: Encoder | None = None, reranker: Reranker | None = None) -> None:
        self.encoder = encoder or HashEncoder()
        self.feed = MemoryFeed(self.encoder.dimension)
        self.feed.encoder = self.encoder
        self.feed.add_kb("kb1")
        self.shelf = IndexShelf(self.feed, directory)
        self.searcher = Searcher(self.shelf, self.feed, self.feed, Encoders(self.encoder), reranker)

    def search(self, query: str, **options) -> SearchResult:  # type: ignore[no-untyped-def]
        request = SearchRequest(query=query, kb_id="kb1", **options)
        return self.searcher.search(request)

    def list_texts(self, query: str, **options) -> list[str]:  # type: ignore[no-untyped-def]
        return [passage.text for passage in self.search(query, merge=False, **options).passages]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "indexes")
    house.feed.publish("kb1", DOCUMENTS)
    yield house
    house.shelf.close()


@pytest.fixture(params=[HashEncoder(), BuiltinEncoder()], ids=lambda encoder: encoder.name)
def coded_house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    house = House(tmp_path / "indexes", request.param)
    house.feed.publish("kb1", DOCUMENTS)
    yield house
    house.shelf.close()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize(
    ("query", "text"),
    [("杭州西湖位于浙江", DOCUMENTS["zh/杭州.txt"][0]), ("brown fox", DOCUMENTS["en/animals.txt"][0])],
)
def test_each_mode_finds_the_text_asked_for(house: House, mode: str, query: str, text: str) -> None:
    assert house.list_texts(query, mode=mode)[0] == text


SYNTAX = ["AND", "OR", "NOT", "AND OR NOT", *'+-"*?:()~^', "[]", "{}", "\\", "/", '""', "( ) AND", "*:*", "body:", "^~"]
FULL_WIDTH = str.maketrans({code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {" ": "\u3000"})


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_syntax_and_punctuation_alone_are_no_error_and_have_no_words(coded_house: House, mode: str) -> None:
    questions = [*SYNTAX, *(one.translate(FULL_WIDTH) for one in SYNTAX), "，。！？、；：", "“”‘’「」《》……——", "｡､･"]
    for question in questions:
        result = coded_house.search(question, mode=mode, merge=False)
        assert result.degraded == ()
        assert [passage.text for passage in result.passages if passage.scores.lexical is not None] == [], question
        if mode == "lexical":  # by their vectors texts are near to anything
            assert list(result.passages) == [], question


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_syntax_around_words_changes_nothing(house: House, mode: str) -> None:
    for question in ('+fox -dogs "quick"~2', "(fox AND quick) OR dogs^4", "body:fox quick* dogs?"):
        for written in (question, question.translate(FULL_WIDTH)):
            assert DOCUMENTS["en/animals.txt"][0] in house.list_texts(written, mode=mode)


def test_a_simplified_question_finds_a_traditional_document_and_back(house: House) -> None:
    house.feed.publish("kb1", {"繁/杭州.txt": ["運河博物館位於拱墅區。", "開放夜的學生票八十元。"]})
    assert house.list_texts("开放夜的学生票", mode="lexical") == ["開放夜的學生票八十元。"]
    assert house.list_texts("運河博物館", mode="lexical") == house.list_texts("运河博物馆", mode="lexical")
    assert house.list_texts("龍井茶產於哪裡", mode="lexical")[0] == DOCUMENTS["zh/杭州.txt"][3]


def test_a_passage_says_where_it_comes_from(house: House) -> None:
    result = house.search("西湖", top_k=1, max_tokens=8)
    passage = result.passages[0]
    assert passage == Passage(
        text="杭州西湖位于浙江省。",
        score=passage.score,
        scores=passage.scores,
        document_id=passage.document_id,
        path="zh/杭州.txt",
        title="杭州",
        version=1,
        version_id=1,
        chunk_ids=(1,),
        page_start=1,
        page_end=1,
        start=0,
        end=10,
        heading=None,
        kb_id="kb1",
        date=None,
        added_at=LONG_AGO,
    )
    assert passage.scores.fused == passage.score > 0
    assert passage.scores.lexical is not None
    assert passage.scores.rerank is None
    assert result.revision == 1
    assert result.degraded == ()
    assert list(result.timings_ms) == ["embed", "dense", "lexical", "fuse", "rerank", "merge", "total"]
    assert result.timings_ms["total"] > 0


def test_a_merged_passage_is_one_stretch_of_the_text(house: House) -> None:
    passage = house.search("西湖", top_k=1).passages[0]
    assert passage.text == "\n".join(DOCUMENTS["zh/杭州.txt"])
    assert (passage.start, passage.end, passage.chunk_ids) == (0, len(passage.text), (1, 2, 3, 4))


@pytest.mark.parametrize("merge", [True, False])
def test_the_budget_is_kept(house: House, *, merge: bool) -> None:
    for budget in (1, 10, 20, 40, 2048):
        passages = house.search("fox dogs cats 西湖", merge=merge, max_tokens=budget, top_k=20).passages
        spent = sum(house.feed.chunks[i].tokens for passage in passages for i in passage.chunk_ids)
        assert spent <= budget or len(passages) == len(passages[0].chunk_ids) == 1


def test_what_is_not_visible_is_not_shown_even_by_an_old_state(house: House) -> None:
    house.search("fox")
    state = house.shelf.get_state("kb1")
    house.feed.remove("kb1", "en/animals.txt", purge=False)

    class Old:
        def get_state(self, kb_id):  # type: ignore[no-untyped-def]
            return state

    searcher = Searcher(Old(), house.feed, house.feed, Encoders(house.encoder))
    request = SearchRequest(query="brown fox", kb_id="kb1")
    assert "en/animals.txt" not in {passage.path for passage in searcher.search(request).passages}


def test_a_changed_document_answers_with_its_new_text_at_once(house: House) -> None:
    house.search("fox")
    house.feed.publish("kb1", {"en/animals.txt": ["A red fox digs."]})
    result = house.search("fox", merge=False)
    assert result.passages[0].text == "A red fox digs."
    assert (result.passages[0].version, result.revision) == (2, 2)
    assert "The quick brown fox jumps." not in [passage.text for passage in result.passages]


def test_a_text_purged_meanwhile_drops_its_passage(house: House) -> None:
    house.search("fox")
    house.feed.texts.pop(house.feed.versions[2].text_sha)
    paths = {passage.path for passage in house.search("brown fox norm").passages}
    assert paths == {"zh/杭州.txt", "en/norms.txt"}


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_a_narrow_filter_is_filled_from_further_down(house: House, mode: str) -> None:
    house.feed.publish("kb1", {f"bulk/{i}.txt": [f"brown fox {i}"] * 2 for i in range(300)})
    house.feed.publish("kb1", {"far/away.txt": ["Once there was some old story, long and winding, with a brown bear."]})
    result = house.search("brown fox", mode=mode, top_k=3, only=Filter(path_prefix="far/"))
    assert [passage.path for passage in result.passages] == ["far/away.txt"]
    assert len(house.search("brown fox", top_k=100, merge=False).passages) == 100


def test_filters(house: House) -> None:
    house.feed.publish("kb1", {"x.txt": ["fox one"]}, metadata={"team": "a"}, language="en")
    assert house.list_texts("fox", only=Filter(metadata={"team": "a"})) == ["fox one"]
    assert house.list_texts("fox", only=Filter(metadata={"team": "b"})) == []
    assert house.list_texts("fox", only=Filter(language="en")) == ["fox one"]
    assert set(house.list_texts("fox", only=Filter(path_prefix="zh/"))) == set(DOCUMENTS["zh/杭州.txt"])


@pytest.mark.parametrize("broken", ["down", "missing", "dimension"])
def test_without_a_model_a_hybrid_search_answers_from_the_words(house: House, broken: str) -> None:
    house.feed.embedding_model = "missing" if broken == "missing" else "fake"
    house.encoder.down = broken == "down"
    if broken == "dimension":
        house.encoder.dimension = 48
    result = house.search("brown fox", merge=False)
    assert result.degraded == ("dense",)
    assert [passage.text for passage in result.passages] == ["The quick brown fox jumps."]
    assert result.passages[0].scores.dense is None
    with pytest.raises(Unavailable, match="embedding_unavailable"):
        house.search("brown fox", mode="dense")
    assert house.search("brown fox", mode="lexical").degraded == ()


def test_a_rerank_that_cannot_be_had_is_said(house: House) -> None:
    assert house.search("fox", rerank=True).degraded == ("rerank",)
    for rerank in (None, False):
        assert house.search("fox", rerank=rerank).degraded == ()


def test_when_words_lead_they_decide_the_order(house: House) -> None:
    house.encoder.lexical_leads = True
    result = house.search("lazy", merge=False, top_k=5)
    assert result.passages[0].text == "Dogs are lazy in summer."
    assert len(result.passages) == 5


@pytest.mark.parametrize("query", ["", "，。", "*", "🙂"])
def test_a_question_without_words_does_not_fail(house: House, query: str) -> None:
    assert house.search(query, mode="lexical").passages == []
    house.search(query)


def test_an_empty_knowledge_base_answers_with_nothing(house: House) -> None:
    house.feed.add_kb("empty")
    request = SearchRequest(query="fox", kb_id="empty")
    result = house.searcher.search(request)
    assert (result.passages, result.revision) == ([], 0)


def test_bad_requests_say_why(house: House) -> None:
    for top_k in (0, 101, -3):
        with pytest.raises(InvalidInput, match="bad_top_k"):
            house.search("fox", top_k=top_k)
    with pytest.raises(InvalidInput, match="bad_max_tokens"):
        house.search("fox", max_tokens=0)
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        house.searcher.search(SearchRequest(query="fox", kb_id="nope"))


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("query", "path"), [("杭州西湖在哪里", "zh/杭州.txt"), ("quick brown fox", "en/animals.txt")])
def test_a_file_in_many_places_is_answered_with_once(house: House, query: str, path: str, *, merge: bool) -> None:
    """Seventy copies are more than the fifty candidates that are asked for at first."""
    alone = house.search(query, top_k=4, merge=merge).passages
    house.feed.publish("kb1", {f"copies/{i:02}-{path[3:]}": DOCUMENTS[path] for i in range(70)})
    found = house.search(query, top_k=4, merge=merge).passages
    assert (len(found), found[0].text) == (len(alone), alone[0].text)
    assert len({passage.text for passage in found}) == len(found)
    named = {one.path for passage in found for one in passage.duplicates}
    assert named <= {path, *(f"copies/{i:02}-{path[3:]}" for i in range(70))}
    assert max(len(passage.duplicates) for passage in found) == 20
    assert all(one.document_id != passage.document_id for passage in found for one in passage.duplicates)


def test_a_paragraph_that_two_documents_share_names_both(house: House) -> None:
    shared = "The dome opens at nine in the evening."
    house.feed.publish("kb1", {"a.txt": [shared, "Tickets cost ten pounds."], "b.txt": ["Parking is free.", shared]})
    passages = house.search("When does the dome open?", merge=False).passages
    assert [passage.text for passage in passages].count(shared) == 1
    best = passages[0]
    assert (best.text, best.path, [one.path for one in best.duplicates]) == (shared, "a.txt", ["b.txt"])


def test_a_footer_of_hundreds_is_looked_past_within_bounds(house: House) -> None:
    """Of 300 copies, 400 candidates at most reach what stands behind them; behind 500 they do not."""
    footer = "西湖景区管理处版权所有。"
    house.feed.publish("kb1", {f"{i:03}.txt": [footer] for i in range(300)})
    texts = house.list_texts("西湖景区版权", mode="lexical", top_k=2)
    assert texts == [footer, DOCUMENTS["zh/杭州.txt"][0]]
    house.feed.publish("kb1", {f"{i:03}.txt": [footer] for i in range(300, 500)})
    assert house.list_texts("西湖景区版权", mode="lexical", top_k=2) == [footer]
