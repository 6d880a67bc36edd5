"""Golden questions as the catalog keeps them, and the limits beside them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.store import Store, new_store

from kb.catalog.golden import MOST_QUESTIONS
from kb.errors import InvalidInput, NotFound
from kb.types import NewGoldenQuestion, SafetyLimits

DRAFTS = [
    NewGoldenQuestion(question="年假有几天？", paths=["hr/手册.md"], answers=["十五天"]),
    NewGoldenQuestion(question="When?", answers=["1998"]),
    NewGoldenQuestion(question="Where?", paths=["a/", "b.txt"]),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def list_texts(store: Store) -> list[str]:
    return [question.question for question in store.catalog.golden.list_all(store.kb.id)]


def test_what_is_added_is_there_in_order(store: Store) -> None:
    golden = store.catalog.golden
    added = golden.add(store.kb.id, DRAFTS)
    assert (added.added, added.total) == (3, 3)
    kept = golden.list_all(store.kb.id)
    assert list(added.questions) == kept
    assert [NewGoldenQuestion(question=q.question, paths=q.paths, answers=q.answers) for q in kept] == [
        replace(draft, paths=list(draft.paths), answers=list(draft.answers)) for draft in DRAFTS
    ]
    assert golden.get(store.kb.id, kept[1].id) == kept[1]
    first, *rest = golden.list_questions(store.kb.id, 2)
    assert [q.question for _, q in (first, *rest)] == ["年假有几天？", "When?"]
    assert [q.question for _, q in golden.list_questions(store.kb.id, 2, rest[0][0])] == ["Where?"]


def test_what_is_there_already_is_not_added_twice(store: Store) -> None:
    golden = store.catalog.golden
    first = golden.add(store.kb.id, DRAFTS)
    turned = replace(DRAFTS[2], paths=["b.txt", "a/"])
    again = golden.add(store.kb.id, [turned, DRAFTS[0], replace(DRAFTS[1], answers=["1999"])])
    assert (again.added, again.total) == (1, 4)
    assert [q.id for q in again.questions[:2]] == [first.questions[2].id, first.questions[0].id]
    assert golden.add(store.kb.id, [DRAFTS[0], DRAFTS[0]]).total == 4


def test_replacing_takes_all_others_out_and_keeps_those_that_stay(store: Store) -> None:
    golden = store.catalog.golden
    first = golden.add(store.kb.id, DRAFTS)
    again = golden.add(store.kb.id, [NewGoldenQuestion(question="New?", answers=["x"]), DRAFTS[1]], replace=True)
    assert (again.added, again.total) == (1, 2)
    assert list_texts(store) == ["When?", "New?"]
    assert again.questions[1].id == first.questions[1].id
    assert golden.add(store.kb.id, [], replace=True).total == 0


def test_a_knowledge_base_takes_a_thousand_and_nothing_of_what_is_too_much(store: Store) -> None:
    golden = store.catalog.golden
    many = [NewGoldenQuestion(question=f"q{n}", answers=["x"]) for n in range(MOST_QUESTIONS)]
    golden.add(store.kb.id, many)
    with pytest.raises(InvalidInput, match="too_many_golden_questions"):
        golden.add(store.kb.id, DRAFTS[:1])
    with pytest.raises(InvalidInput, match="too_many_golden_questions"):
        golden.add(store.kb.id, [*many, DRAFTS[0]], replace=True)
    assert len(list_texts(store)) == MOST_QUESTIONS
    assert golden.add(store.kb.id, [*many[1:], DRAFTS[0]], replace=True).added == 1


def test_change_and_delete(store: Store) -> None:
    golden = store.catalog.golden
    one, other, _ = golden.add(store.kb.id, DRAFTS).questions
    changed = golden.update(store.kb.id, one.id, NewGoldenQuestion(question="new", answers=["y"]))
    assert changed == replace(one, question="new", paths=[], answers=["y"])
    golden.delete(store.kb.id, other.id)
    assert list_texts(store) == ["new", "Where?"]
    for call in (golden.get, golden.delete):
        with pytest.raises(NotFound, match="golden_question_not_found"):
            call(store.kb.id, other.id)
    with pytest.raises(NotFound, match="golden_question_not_found"):
        golden.update(store.kb.id, other.id, DRAFTS[0])


def test_knowledge_bases_do_not_see_each_others(store: Store) -> None:
    golden, other = store.catalog.golden, store.add_kb("other")
    (one,) = golden.add(store.kb.id, DRAFTS[:1]).questions
    golden.add(other.id, DRAFTS[:1], replace=True)
    assert golden.get(store.kb.id, one.id) == one
    with pytest.raises(NotFound):
        golden.get(other.id, one.id)
    with pytest.raises(NotFound):
        golden.delete(other.id, one.id)
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        golden.add("nobody", DRAFTS)
    store.catalog.knowledge_bases.delete(other.id)
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        golden.add(other.id, DRAFTS)
    store.catalog.purges.purge_knowledge_base(other.id)
    assert store.count("golden_question") == 1


def test_limits_are_kept_one_by_one(store: Store) -> None:
    bases = store.catalog.knowledge_bases
    assert bases.get_limits(store.kb.id) == bases.get(store.kb.id).limits == SafetyLimits()
    assert SafetyLimits() == SafetyLimits(hit_rate_fall=0.05, mrr_fall=0.05, vanish_share=0.5)
    bases.update(store.kb.id, {"name": "x"}, {"mrr_fall": 0.0})
    assert bases.get_limits(store.kb.id) == SafetyLimits(mrr_fall=0)
    changed = bases.update(store.kb.id, {}, {"hit_rate_fall": 1.0, "vanish_share": 0.25})
    assert changed.limits == SafetyLimits(hit_rate_fall=1, mrr_fall=0, vanish_share=0.25)
    assert bases.update(store.kb.id, {}).limits == bases.get_limits(store.kb.id) == changed.limits
    (row,) = store.query("SELECT settings FROM knowledge_base")
    assert '"embedding_model": "builtin"' in row["settings"]
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        bases.get_limits("nobody")
