from __future__ import annotations

import pytest
from fakes.passages import make_passage

from retrieval.support import list_sentences, measure_cover, score_sentences, weigh_claim


def test_sentences_know_their_passage_and_place() -> None:
    passages = [make_passage("One. Two."), make_passage("三。 四。")]
    sentences = list_sentences(passages)
    assert [(s.place, s.text) for s in sentences] == [(0, "One."), (0, "Two."), (1, "三。"), (1, "四。")]
    assert all(passages[s.place].text[s.start : s.end] == s.text for s in sentences)


def test_rare_terms_count_more_and_no_term_counts_nothing() -> None:
    sentences = list_sentences([make_passage("The dome is open. The dome is white. The crank is heavy. It rains.")])
    scores = score_sentences(weigh_claim("dome crank", sentences), sentences)
    assert scores[2] > scores[0] > 0
    assert scores[3] == 0


def test_a_row_stands_under_the_head_of_its_table_and_every_sentence_under_its_title() -> None:
    table = make_passage("|票种|开放夜|\n|---|---|\n|学生|80 元|\n\n后文没有关系。", title="票价", path="a.md")
    head, rule, row, rest = list_sentences([table])
    assert head.text == "|票种|开放夜|"
    assert {"票种", "开放", "票价"} <= row.context
    assert "票种" not in rest.context
    scores = score_sentences(weigh_claim("学生的开放夜票价", [head, rule, row, rest]), [head, rule, row, rest])
    assert scores[2] > 2 * scores[3]
    assert scores[3] > 0  # its title has the word


def test_cover_spans_a_sentence_and_the_one_before_it() -> None:
    sentences = list_sentences([make_passage("The dome was bought. It cost much."), make_passage("Nothing.")])
    assert measure_cover(weigh_claim("dome cost", sentences), sentences) == pytest.approx(1)
    assert measure_cover(weigh_claim("dome ethanol", sentences), sentences) < 0.5
    assert measure_cover(weigh_claim("the of", sentences), sentences) == 0
    assert measure_cover(weigh_claim("dome", []), []) == 0
