"""Explanations over a state in memory: each loss is planted, and a search of the same request is the oracle."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from fakes.rerankers import PairReranker, share_pairs
from fakes.walks import NOON, House
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.errors import InvalidInput, NotFound
from kb.types import DocumentTrace, Filter, Match
from retrieval.dense import open_view
from retrieval.explain import Explanation
from retrieval.search import Mode
from retrieval.stages import Stage

NAMES = ["parsed", "chunked", "dense", "lexical", "fused", "merged", "budget"]
DOCUMENTS = {
    "zh/年假.txt": ["职工年假为十五天。", "年假须提前申请。", "病假另有规定。"],
    "zh/天窗.txt": ["天窗停在半途时先断电。"],
    "en/leave.txt": ["Annual leave is fifteen days.", "Ask for leave early."],
    "en/dome.txt": ["The dome shutter froze halfway."],
}
CROWD = {f"bulk/{i:03}.txt": [f"年假 annual leave 年假 {i}"] for i in range(70)}


@pytest.fixture(scope="module")
def house() -> House:
    return House(DOCUMENTS)


@pytest.fixture(scope="module")
def crowd() -> House:
    """Seventy documents with the words of both questions, and those above."""
    return House({**CROWD, **DOCUMENTS, "en/far.txt": ["zq jx vk wp"]})


def get_stage(explanation: Explanation, name: str) -> Stage:
    return next(stage for stage in explanation.stages if stage.name == name)


@pytest.mark.parametrize(("question", "path"), [("年假有几天？", "zh/年假.txt"), ("annual leave", "en/leave.txt")])
def test_a_document_that_is_found_says_so_at_every_stage(house: House, question: str, path: str) -> None:
    told = house.explain(question, path)
    passages = house.search(question).passages
    assert (told.verdict, told.path, told.revision, told.degraded) == ("found", path, 1, ())
    assert [stage.name for stage in told.stages] == NAMES
    assert all(stage.present for stage in told.stages)
    assert [get_stage(told, name).rank for name in ("dense", "lexical", "fused", "merged", "budget")] == [1] * 5
    assert passages[0].path == path
    for name, score in (("dense", "dense"), ("lexical", "lexical"), ("fused", "fused")):
        assert get_stage(told, name).score == getattr(passages[0].scores, score)
    assert get_stage(told, "budget").score == passages[0].score
    assert get_stage(told, "dense").reason == "place 1 of 7 candidates; 50 were asked for"


def test_a_document_is_named_by_its_id_as_well(house: House) -> None:
    told = house.explain("年假", "zh/天窗.txt")
    assert house.explain("年假", told.document_id) == told


ASKED_OF_OTHERS = pytest.mark.parametrize(("question", "path"), [("年假", "zh/天窗.txt"), ("leave", "en/dome.txt")])


@ASKED_OF_OTHERS
def test_below_the_candidates_of_the_vectors(crowd: House, question: str, path: str) -> None:
    told = crowd.explain(question, path, mode="dense")
    order = [passage.path for passage in crowd.search(question, mode="dense", top_k=100, merge=False).passages]
    stage, rank = get_stage(told, "dense"), order.index(path) + 1
    assert rank > 50
    assert (told.verdict, stage.present, stage.rank) == ("below_candidates_dense", False, rank)
    assert stage.reason.startswith(f"place {rank}, below the 50 candidates asked for, the last of which scores ")
    assert get_stage(told, "lexical").reason == "mode is dense: the words were not asked"


@ASKED_OF_OTHERS
def test_a_document_without_the_words(crowd: House, question: str, path: str) -> None:
    told = crowd.explain(question, path, mode="lexical")
    reason = f"it holds none of the question's terms ({question}); 72 other chunks do"
    assert (told.verdict, get_stage(told, "lexical").reason) == ("no_match_lexical", reason)
    assert get_stage(told, "dense").reason == "mode is lexical: the vectors were not asked"


@pytest.mark.parametrize(
    ("question", "path"),
    [("年假须提前申请多少天 annual", "zh/年假.txt"), ("annual 年假 early", "en/leave.txt")],
)
def test_below_the_candidates_of_the_words(question: str, path: str) -> None:
    crowd = {f"bulk/{i:03}.txt": [f"{question} {question} {question} {i}"] for i in range(60)}
    house = House({**crowd, **DOCUMENTS})
    order = [p.path for p in house.search(question, mode="lexical", top_k=100, merge=False).passages]
    told = house.explain(question, path, mode="lexical")
    stage = get_stage(told, "lexical")
    assert (told.verdict, stage.present, stage.rank) == ("below_candidates_lexical", False, order.index(path) + 1)
    assert house.explain(question, path).verdict == "below_candidates"


def test_without_a_common_word_the_vectors_decide(crowd: House) -> None:
    told = crowd.explain("annual leave", "en/far.txt")
    assert told.verdict == "below_candidates_dense"
    assert get_stage(told, "fused").reason.startswith(
        "in neither ranking: none of its chunks is among the 50 candidates"
    )
    assert [stage.reason for stage in told.stages[-2:]] == ["not reached: lost before, at stage fused"] * 2


@pytest.mark.parametrize(("question", "path"), [("年假 十五天", "zh/年假.txt"), ("leave early", "en/leave.txt")])
def test_below_top_k(house: House, question: str, path: str) -> None:
    order = [passage.path for passage in house.search(question, merge=False).passages]
    other = "en/dome.txt" if path.startswith("zh") else "zh/天窗.txt"
    rank = order.index(other) + 1
    told = house.explain(question, other, top_k=2)
    stage = get_stage(told, "fused")
    assert (told.verdict, stage.present, stage.rank) == ("below_top_k", False, rank)
    assert stage.reason == f"place {rank} of what may be seen; top_k 2 takes the first 2"
    assert house.explain(question, path, top_k=2).verdict == "found"


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("question", "path"), [("年假", "en/dome.txt"), ("annual leave", "zh/天窗.txt")])
def test_over_the_budget(house: House, question: str, path: str, *, merge: bool) -> None:
    hits = house.search(question, merge=False).passages
    rank = [hit.path for hit in hits].index(path) + 1
    tokens = [house.feed.chunks[hit.chunk_ids[0]].tokens for hit in hits]
    budget = sum(tokens[: rank - 1])
    told = house.explain(question, path, max_tokens=budget, merge=merge)
    stage = get_stage(told, "budget")
    assert (told.verdict, stage.present, stage.rank) == ("over_budget", False, rank)
    spent: Counter[str] = Counter()
    for hit, count in zip(hits[: rank - 1], tokens, strict=False):
        spent[hit.path] += count
    filled = ", ".join(f"{name} {count}" for name, count in spent.items())
    assert stage.reason == (
        f"max_tokens {budget} holds the first {rank - 1} hits ({budget} tokens); its best one is hit {rank}, of "
        f"{tokens[rank - 1]} tokens; filled by {filled}"
    )
    assert get_stage(told, "merged").present
    assert house.explain(question, path, max_tokens=budget + tokens[rank - 1], merge=merge).verdict == "found"


@pytest.mark.parametrize(("question", "path"), [("年假", "zh/年假.txt"), ("annual leave", "en/leave.txt")])
def test_a_filter_is_named_though_both_legs_have_the_document(house: House, question: str, path: str) -> None:
    told = house.explain(question, path, only=Filter(path_prefix="bulk/"))
    stage = get_stage(told, "fused")
    assert (told.verdict, stage.present) == ("filtered", False)
    assert stage.reason == f"the filter excludes it by path_prefix 'bulk/': its path is {path!r}"
    assert get_stage(told, "dense").rank == get_stage(told, "lexical").rank == 1


def test_lost_before_any_index_is_asked(house: House) -> None:
    house.traces["old.txt"] = DocumentTrace(id="d9", path="old.txt", deleted_at=NOON)
    told = house.explain("年假", "old.txt")
    assert (told.verdict, told.title) == ("deleted", None)
    assert [stage.name for stage in told.stages] == NAMES
    assert not any(stage.present for stage in told.stages)
    assert {stage.reason for stage in told.stages[1:]} == {"not reached: lost before, at stage parsed"}


WITH_RERANK = [*NAMES[:5], "reranked", *NAMES[5:]]


def test_a_rerank_that_cannot_be_had_is_a_stage_when_it_was_asked_for(house: House) -> None:
    told = house.explain("年假", "zh/年假.txt", rerank=True)
    assert [stage.name for stage in told.stages] == WITH_RERANK
    stage = get_stage(told, "reranked")
    assert (stage.present, stage.rank, stage.score, told.degraded) == (True, 1, None, ("rerank",))
    assert stage.reason.endswith("stands: no reranker is set (KB_RERANKER)")
    lost = house.explain("年假", "zh/年假.txt", rerank=True, only=Filter(language="en"))
    assert [stage.name for stage in lost.stages] == WITH_RERANK


RERANKED = pytest.mark.parametrize(
    ("question", "path", "other"),
    [("年假 申请", "zh/年假.txt", "zh/天窗.txt"), ("annual leave", "en/leave.txt", "en/dome.txt")],
)


@RERANKED
def test_a_document_that_the_reranker_brings_up(question: str, path: str, other: str) -> None:
    house = House(DOCUMENTS, reranker=PairReranker(favourite=DOCUMENTS[other][0]))
    told = house.explain(question, other, top_k=1)
    stage = get_stage(told, "reranked")
    assert [stage.name for stage in told.stages] == WITH_RERANK
    assert (told.verdict, stage.present, stage.rank, stage.score) == ("found", True, 1, 1000.0)
    assert stage.reason == "place 1 of the 7 that were read; top_k 1 takes the first 1"
    fused = get_stage(told, "fused")
    assert fused.present
    assert (fused.rank or 0) > 1
    assert fused.reason == f"place {fused.rank} of the 7 hits; all are reranked"
    assert {get_stage(told, name).score for name in ("merged", "budget")} == {1000.0}
    assert house.explain(question, other, top_k=1, rerank=False).verdict == "below_top_k"


@RERANKED
def test_a_document_that_the_reranker_drops(question: str, path: str, other: str) -> None:
    house = House(DOCUMENTS, reranker=PairReranker(favourite=DOCUMENTS[other][0]))
    told = house.explain(question, path, top_k=1)
    stage = get_stage(told, "reranked")
    assert (told.verdict, stage.present, stage.rank) == ("dropped_by_rerank", False, 2)
    assert stage.score == max(share_pairs(question, text) for text in DOCUMENTS[path])
    assert stage.reason == (
        "place 2 of the 7 that were read; top_k 1 takes the first 1, the last of which scores 1000.0000, its best "
        f"chunk {stage.score:.4f}; the fused ranking had it at place 1"
    )
    assert [stage.reason for stage in told.stages[-2:]] == ["not reached: lost before, at stage reranked"] * 2
    assert house.explain(question, path, top_k=1, rerank=False).verdict == "found"
    third = "en/dome.txt" if path.startswith("zh") else "zh/天窗.txt"
    told = house.explain(question, third, top_k=1)
    assert (told.verdict, get_stage(told, "reranked").present) == ("below_top_k", False)


@pytest.mark.parametrize(("question", "path"), [("年假 leave", "zh/天窗.txt"), ("annual leave", "en/dome.txt")])
def test_a_document_that_the_reranker_never_read(question: str, path: str) -> None:
    crowd = dict(list(CROWD.items())[:35])
    house = House({**crowd, **DOCUMENTS}, reranker=PairReranker(favourite=DOCUMENTS[path][0]))
    told = house.explain(question, path, mode="dense")
    order = [p.path for p in house.search(question, mode="dense", top_k=100, merge=False, rerank=False).passages]
    stage, rank = get_stage(told, "fused"), order.index(path) + 1
    assert rank > 32
    assert (told.verdict, stage.present, stage.rank) == ("below_rerank", False, rank)
    assert stage.reason == f"place {rank} of what may be seen; the reranker reads the first 32"
    assert get_stage(told, "reranked").reason == "not reached: lost before, at stage fused"


@RERANKED
def test_a_reranker_that_cannot_answer_is_named(question: str, path: str, other: str) -> None:
    reranker = PairReranker(favourite=DOCUMENTS[other][0])
    reranker.down = True
    house = House(DOCUMENTS, reranker=reranker)
    told = house.explain(question, path, top_k=1)
    stage = get_stage(told, "reranked")
    assert (told.verdict, told.degraded, stage.present, stage.rank, stage.score) == (
        "found",
        ("rerank",),
        True,
        1,
        None,
    )
    assert stage.reason.endswith("stands: the fake reranker was switched off")
    assert get_stage(told, "fused").reason == "place 1 of the 1 hits; top_k is 1"
    assert house.explain(question, other, top_k=1).verdict == "below_top_k"


def test_a_model_that_cannot_answer_is_named() -> None:
    house = House(DOCUMENTS)
    house.encoder.down = True
    told = house.explain("年假", "zh/天窗.txt")
    reason = "the embedding model fake cannot answer: the words alone were asked"
    assert (told.verdict, told.degraded, get_stage(told, "dense").reason) == ("no_match_lexical", ("dense",), reason)
    assert house.explain("年假", "zh/年假.txt").verdict == "found"


def test_an_index_that_lacks_the_document_is_named() -> None:
    house = House(DOCUMENTS)
    house.use_state(dense=open_view(32))
    told = house.explain("年假", "zh/天窗.txt", mode="dense")
    assert told.verdict == "not_indexed"
    assert get_stage(told, "dense").reason.startswith("none of its chunks is in the dense index of revision 1")


class EndlessView:
    """An index of 20,000 chunks of which those of the document come last."""

    dimension = 32

    def __init__(self, own: list[int]) -> None:
        self.own = own

    def __len__(self) -> int:
        return 20_000

    def list_ids(self) -> set[int]:
        return set(self.own)

    def search(self, question: object, k: int) -> list[Match]:
        return [Match(chunk_id=1_000_000 + i, score=1 / (1 + i)) for i in range(k)]


@pytest.mark.parametrize("name", ["dense", "lexical"])
@pytest.mark.parametrize("path", ["zh/天窗.txt", "en/dome.txt"])
def test_so_far_down_that_no_search_would_ask_for_it(name: Mode, path: str) -> None:
    house = House(DOCUMENTS)
    version = next(one for one in house.feed.versions.values() if one.path == path)
    view = EndlessView([chunk.id for chunk in version.chunks])
    house.use_state(**{name: view})
    told = house.explain("年假 leave", path, mode=name)
    stage = get_stage(told, name)
    assert (told.verdict, stage.rank, stage.score) == (f"below_candidates_{name}", None, None)
    size = " of 20,000 chunks" if name == "dense" else ""
    assert stage.reason.startswith(f"beyond place 10,000{size}; ")


def test_a_text_that_is_gone_is_named() -> None:
    house = House(DOCUMENTS)
    house.feed.texts.pop(house.feed.versions[1].text_sha)
    assert house.explain("年假", "zh/年假.txt").verdict == "text_gone"


def test_a_document_there_never_was(house: House) -> None:
    with pytest.raises(NotFound, match="document_not_found"):
        house.explain("年假", "zh/没有.txt")
    with pytest.raises(InvalidInput, match="bad_top_k"):
        house.explain("年假", "zh/年假.txt", top_k=0)


VOCABULARY = ["年假", "天窗", "病假", "leave", "dome", "annual", "shutter", "申请", "report", "十五天"]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 140),
    mode=st.sampled_from(["hybrid", "dense", "lexical"]),
    top_k=st.integers(1, 12),
    max_tokens=st.sampled_from([1, 12, 30, 90, 2048]),
    merge=st.booleans(),
    only=st.sampled_from([None, Filter(path_prefix="zh/"), Filter(language="en")]),
    reranker=st.sampled_from([None, PairReranker(), PairReranker(favourite="天窗"), PairReranker(favourite="dome")]),
)
def test_found_is_said_exactly_when_the_search_finds(
    *,
    seed: int,
    count: int,
    mode: Mode,
    top_k: int,
    max_tokens: int,
    merge: bool,
    only: Filter | None,
    reranker: PairReranker | None,
) -> None:
    draw = random.Random(seed)
    documents = {
        f"{draw.choice(['zh', 'en'])}/{i}.txt": [" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 6)))]
        * draw.randint(1, 3)
        for i in range(count)
    }
    house = House(documents, reranker=reranker)
    question = " ".join(draw.sample(VOCABULARY, 2))
    options = {"mode": mode, "top_k": top_k, "max_tokens": max_tokens, "merge": merge, "only": only}
    found = {passage.path for passage in house.search(question, **options).passages}
    for path in sorted(found.union(draw.sample(sorted(documents), min(count, 20)))):
        told = house.explain(question, path, **options)
        assert (told.verdict == "found") == (path in found)
        assert told.stages[-1].present == (path in found)
        lost = [stage for stage in told.stages if stage.name not in ("dense", "lexical") and not stage.present]
        assert all(stage.reason.startswith("not reached") for stage in lost[1:])


@pytest.mark.parametrize(("question", "path"), [("年假有几天", "zh/年假.txt"), ("annual leave", "en/leave.txt")])
def test_a_copy_is_collapsed_into_the_one_that_stands_for_it(question: str, path: str) -> None:
    house = House({**DOCUMENTS, f"copy/{path}": DOCUMENTS[path]})
    told = house.explain(question, f"copy/{path}")
    stage = get_stage(told, "fused")
    assert (told.verdict, stage.present, stage.rank) == ("collapsed", False, 1)
    assert stage.reason.startswith(f"collapsed into hit 1, of {path}, ")
    assert house.explain(question, path).verdict == "found"
    assert {one.path for passage in house.search(question).passages for one in passage.duplicates} >= {f"copy/{path}"}
