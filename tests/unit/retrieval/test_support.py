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


def test_a_claim_in_the_other_script_weighs_the_same() -> None:
    sentences = list_sentences([make_passage("鏡面鍍膜每五年更換一次。負責人是王小明。", title="設備", path="")])
    for traditional, simplified in (("鏡面鍍膜的負責人", "镜面镀膜的负责人"), ("設備、更換", "设备、更换")):
        claims = weigh_claim(traditional, sentences), weigh_claim(simplified, sentences)
        assert claims[0] == claims[1]
        assert measure_cover(claims[1], sentences) == pytest.approx(1)


def test_a_row_stands_under_the_head_of_its_table_and_every_sentence_under_its_title() -> None:
    table = make_passage("|票种|开放夜|\n|---|---|\n|学生|80 元|\n\n后文没有关系。", title="票价", path="a.md")
    head, rule, row, rest = list_sentences([table])
    assert head.text == "|票种|开放夜|"
    assert {"票种", "开放", "票价"} <= row.context
    assert "票种" not in rest.context
    scores = score_sentences(weigh_claim("学生的开放夜票价", [head, rule, row, rest]), [head, rule, row, rest])
    assert scores[2] > 2 * scores[3]
    assert scores[3] > 0  # its title has the word


def test_a_row_knows_its_head_only_where_a_rule_says_that_it_is_one() -> None:
    marked = list_sentences([make_passage("|票种|开放夜|\n|---|---|\n|学生|80 元|\n|成人|160 元|")])
    assert [sentence.head for sentence in marked] == [None, None, "|票种|开放夜|", "|票种|开放夜|"]
    bare = list_sentences([make_passage("|学生|80 元|\n|成人|160 元|\n|老人|80 元|")])
    assert [sentence.head for sentence in bare] == [None, None, None]


def test_sentences_stand_under_the_last_line_that_is_none() -> None:
    text = "Alarm codes\nPress the button. Wait.\nYearly care\nOil the rail."
    sentences = list_sentences([make_passage(text, title=None, path="")])
    under = {sentence.text: sentence.context for sentence in sentences}
    assert "alarm" in under["Press the button."]
    assert "alarm" in under["Wait."]
    assert "alarm" not in under["Oil the rail."]
    assert "alarm" not in under["Alarm codes"]


def test_cover_spans_a_sentence_and_its_neighbours() -> None:
    passage = make_passage("The dome was bought. It cost much. The crank broke.", title=None, path="")
    sentences = list_sentences([passage, make_passage("Nothing.", title=None, path="")])
    assert measure_cover(weigh_claim("dome cost crank", sentences), sentences) == pytest.approx(1)
    assert measure_cover(weigh_claim("dome ethanol", sentences), sentences) < 0.5
    assert measure_cover(weigh_claim("crank nothing", sentences), sentences) < 0.6  # of another passage
    assert measure_cover(weigh_claim("the of", sentences), sentences) == 0
    assert measure_cover(weigh_claim("dome", []), []) == 0


def test_a_pair_of_characters_that_stand_apart_covers_a_little() -> None:
    sentences = list_sentences([make_passage("天窗走到一半停住，齿轮卡死。", title=None, path="")])
    assert measure_cover(weigh_claim("卡住", sentences), sentences) == pytest.approx(0.2)
    assert measure_cover(weigh_claim("卡车", sentences), sentences) == pytest.approx(0.1)
    assert measure_cover(weigh_claim("ab", sentences), sentences) == 0
