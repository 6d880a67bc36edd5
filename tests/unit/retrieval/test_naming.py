"""Whether a question names something is told by how rare its words are in the documents."""

from __future__ import annotations

from collections.abc import Sequence, Set

import pytest

from retrieval.naming import RARE_SHARE, TermCounts, names_something
from retrieval.question import list_matchable


class Texts:
    """A TermSource over texts, each a chunk."""

    def __init__(self, *texts: str) -> None:
        self.chunks = [list_matchable(text) for text in texts]

    def count_terms(self, kb_ids: Sequence[str], terms: Set[str]) -> TermCounts:
        counts = {term: sum(term in chunk for chunk in self.chunks) for term in terms}
        return TermCounts(chunks=len(self.chunks), counts=counts)

    def count_together(self, kb_ids: Sequence[str], terms: Set[str]) -> int:
        return sum(terms <= chunk for chunk in self.chunks)


MACHINES = ("离心机", "干燥机", "切割机", "显微镜", "振荡器", "色谱仪")
GRANTS = ("bicycle scheme", "training budget", "meal subsidy", "relocation allowance", "childcare voucher")
TEXTS = Texts(
    *(f"{name}的价格是三万元，使用费每小时五元，由小王管理。" for name in MACHINES[1:]),
    "离心机的价格是三万元，使用费每小时五元，由何静管理。常见故障是转头报警。",
    *(f"The {name} pays a limit of 500 pounds to part-time staff." for name in GRANTS[1:]),
    "The bicycle scheme pays a limit of 500 pounds to part-time staff, helmets too.",
)


@pytest.mark.parametrize(
    ("question", "subject", "named"),
    [
        ("价格", "离心机", False),
        ("使用费多少", "离心机", False),
        ("价格和使用费", "离心机", False),
        ("离心机的价格", "显微镜", True),
        ("何静管什么", "显微镜", True),
        ("转头报警", "显微镜", True),
        ("is there a limit", "the bicycle scheme", False),
        ("what is paid to part-time staff", "the meal subsidy", False),
        ("are helmets paid", "the meal subsidy", True),
        ("meal subsidy limit", "the bicycle scheme", True),
    ],
)
def test_by_the_words_that_few_chunks_hold(question: str, subject: str, named: bool) -> None:  # noqa: FBT001
    assert names_something(question, subject, TEXTS, ["kb"]) is named


@pytest.mark.parametrize(
    "question", ["", "的吗", "法国的首都", "What is the capital of France", "limit on gold mining"]
)
def test_where_most_of_it_stands_nowhere_nothing_is_known(question: str) -> None:
    assert names_something(question, "the bicycle scheme", TEXTS, ["kb"]) is None


def test_what_few_of_many_chunks_hold_is_rare_whatever_the_conversation_is_about() -> None:
    many = Texts(*["The price is high."] * 1_000, *["The annual leave is long."] * int(RARE_SHARE * 1_000), "The inn.")
    assert names_something("annual leave", "the inn", many, ["kb"]) is True
    assert names_something("price", "the inn", many, ["kb"]) is False


def test_a_pair_across_the_border_of_a_word_is_no_word() -> None:
    """「费价」 of 「使用费价格」 stands nowhere, and says nothing."""
    assert names_something("使用费价格", "离心机", TEXTS, ["kb"]) is False


def test_a_conversation_about_what_stands_nowhere_is_no_measure() -> None:
    assert names_something("价格", "the quay", TEXTS, ["kb"]) is None
    assert names_something("转头报警", "the quay", TEXTS, ["kb"]) is True
    assert names_something("望江塔在哪里", "the quay", Texts("望江塔位于北门外。", "The mill."), ["kb"]) is True


def test_an_empty_knowledge_base_tells_nothing() -> None:
    assert names_something("价格", "离心机", Texts(), ["kb"]) is None
