"""The lexical index: what must be found, in which order, and that scores do not depend on where a row lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kb.errors import Unavailable
from kb.types import IndexRow
from retrieval.lexical import LexicalView, WorkingCopy, find_stem

TEXTS = {
    1: "杭州西湖位于浙江省，面积约6.39平方千米。",
    2: "北京是中华人民共和国的首都。",
    3: "The quick brown foxes were jumping over lazy dogs.",
    4: "本标准依据 GB/T 23776—2018 制定，软件版本 v2.5.1。",
    5: "Ｆｕｌｌ ｗｉｄｔｈ letters and max_model_len in C++ code.",
    6: "西湖龙井是中国名茶，产于杭州西湖。西湖西湖。",
    7: "Running a knowledge base: how to run the server.",
    8: "A café in Zürich.",
}


def make_row(chunk_id: int, text: str, title: str = "") -> IndexRow:
    return IndexRow(
        chunk_id=chunk_id, text=text, title=title, path="notes.txt", heading="", vector=np.zeros(2, dtype=np.float16)
    )


def find(view: LexicalView, question: str, k: int = 20) -> list[int]:
    return [match.chunk_id for match in view.search(question, k)]


@pytest.fixture
def view(tmp_path: Path) -> LexicalView:
    return WorkingCopy(tmp_path / "copy").apply([[make_row(i, text) for i, text in TEXTS.items()]])


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("浙江的西湖在哪？", 1),
        ("首都是哪里", 2),
        ("fox", 3),
        ("JUMPED", 3),
        ("GB/T 23776-2018", 4),
        ("gb/t23776—2018", 4),
        ("23776", 4),
        ("2.5.1", 4),
        ("V2.5.1", 4),
        ("full width", 5),
        ("max_model_len", 5),
        ("model", 5),
        ("c++", 5),
        ("6.39", 1),
        ("zürich", 8),
    ],
)
def test_the_right_row_comes_first(view: LexicalView, question: str, first: int) -> None:
    assert find(view, question)[0] == first


def test_the_very_same_word_beats_a_shared_stem(view: LexicalView) -> None:
    view_scores = {m.chunk_id: m.score for m in view.search("run", 5)}
    other = {m.chunk_id: m.score for m in view.search("runs", 5)}
    assert set(view_scores) == set(other) == {7}
    assert view_scores[7] > other[7]


def test_a_number_in_the_question_leads(tmp_path: Path) -> None:
    texts = {
        1: "2022年春运首日，铁路旅客发送量创春运新高。",
        2: "今年是2023年，旅客很多。",
        3: "2023年春运首日发送旅客。",
    }
    found = find(WorkingCopy(tmp_path / "copy").apply([[make_row(i, text) for i, text in texts.items()]]), "2023春运")
    assert found == [3, 2, 1]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("开放夜的学生票", [1, 2]),
        ("開放夜的學生票", [1, 2]),
        ("什么是开放夜", [1, 2]),
        ("什麼是開放夜", [1, 2]),
        ("头发", [3]),
        ("頭髮", [3]),
        ("发", [3, 4]),
        ("發", [3, 4]),
        ("ひらがな", [5]),
        ("ﾋﾗｶﾞﾅ", []),
    ],
)
def test_traditional_and_simplified_find_each_other(tmp_path: Path, question: str, found: list[int]) -> None:
    texts = ["開放夜的學生票八十元。", "开放夜的学生票八十元。", "她的頭髮很長。", "发展很快。", "ひらがな"]
    view = WorkingCopy(tmp_path / "copy").apply([[make_row(i, text) for i, text in enumerate(texts, start=1)]])
    assert sorted(find(view, question)) == found
    scores = {match.chunk_id: match.score for match in view.search(question, 5)}
    if found == [1, 2]:
        assert scores[1] == pytest.approx(scores[2])


@pytest.mark.parametrize(("question", "found"), [("湖", {1, 6}), ("茶", {6}), ("都", {2}), ("Ａ", {8, 7})])
def test_one_character_finds_every_place_of_it(view: LexicalView, question: str, found: set[int]) -> None:
    assert set(find(view, question)) == found


@pytest.mark.parametrize("question", ["", "   ", "，。！？", '"', "* ( ) [ ] ^ ~ :", "\x00", "🙂"])
def test_a_question_without_terms_finds_nothing(view: LexicalView, question: str) -> None:
    assert view.search(question, 5) == []


@pytest.mark.parametrize(
    "question",
    ["* OR NEAR(fox", '"fox" AND (', "fox^9999", "body:fox", "+fox -dogs", "fox~2", "title:[a TO z} fox", "fox\\"],
)
def test_operators_are_just_characters(view: LexicalView, question: str) -> None:
    assert 3 in find(view, question)


def test_a_pasted_page_is_a_question_too(view: LexicalView) -> None:
    assert 6 in find(view, "西湖龙井" * 4000)
    assert find(view, "x" * 100_000) == []


def test_question_words_alone_still_find_their_text(tmp_path: Path) -> None:
    view = WorkingCopy(tmp_path / "copy").apply([[make_row(1, "什么是什么"), make_row(2, "别的事情")]])
    assert find(view, "什么") == [1]


def test_a_name_in_capitals_is_no_question_word(tmp_path: Path) -> None:
    view = WorkingCopy(tmp_path / "copy").apply([[make_row(1, "The WHO reports."), make_row(2, "A report on tea.")]])
    assert find(view, "WHO reports") == [1, 2]
    assert find(view, "who reports")[0] in (1, 2)
    scores = [view.search(question, 1)[0].score for question in ("WHO reports", "Who reports")]
    assert scores[0] > scores[1]


def test_titles_count_but_less_than_text(tmp_path: Path) -> None:
    rows = [make_row(1, "甲乙丙丁戊己", title="西湖"), make_row(2, "西湖甲乙丙丁"), make_row(3, "甲乙丙丁戊己")]
    assert find(WorkingCopy(tmp_path / "copy").apply([rows]), "西湖") == [2, 1]


def test_more_of_the_term_in_less_text_scores_higher(view: LexicalView) -> None:
    assert find(view, "西湖") == [6, 1]
    scores = [match.score for match in view.search("西湖", 5)]
    assert scores[0] > scores[1] > 0


def test_scores_are_the_same_in_one_commit_and_in_many(tmp_path: Path, view: LexicalView) -> None:
    copy = WorkingCopy(tmp_path / "many")
    for chunk_id, text in TEXTS.items():
        many = copy.apply([[make_row(chunk_id, text)]])
    for question in ("西湖", "the server", "GB/T 23776"):
        one = {m.chunk_id: m.score for m in view.search(question, 10)}
        assert {m.chunk_id: m.score for m in many.search(question, 10)} == pytest.approx(one)


def test_removed_and_replaced_rows(tmp_path: Path) -> None:
    copy = WorkingCopy(tmp_path / "copy")
    old = copy.apply([[make_row(i, text) for i, text in TEXTS.items()]])
    new = copy.apply([[make_row(2, "换了内容")]], removed=[1, 99])
    assert (len(old), len(new)) == (8, 7)
    assert (find(old, "首都"), find(new, "首都")) == ([2], [])
    assert find(new, "西湖") == [6]
    assert find(new, "内容") == [2]
    assert find(old, "西湖") == [6, 1]


def test_sealed_files_are_shared_and_never_changed(tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    WorkingCopy(sealed).apply([[make_row(i, text) for i, text in TEXTS.items()]])
    before = {path.name: path.read_bytes() for path in sealed.iterdir() if not path.name.startswith(".")}
    copy = WorkingCopy(tmp_path / "copy", sealed)
    assert find(copy.open_view(), "西湖") == [6, 1]
    view = copy.apply([[make_row(20, "西湖")]], removed=[6])
    assert find(view, "西湖") == [20, 1]
    copy.close()
    assert find(view, "西湖") == [20, 1]
    assert not copy.folder.exists()
    assert {path.name: path.read_bytes() for path in sealed.iterdir() if not path.name.startswith(".")} == before


def test_rows_that_fail_half_way_leave_the_copy_as_it_was(tmp_path: Path) -> None:
    copy = WorkingCopy(tmp_path / "copy")
    copy.apply([[make_row(1, "西湖")]])

    def break_off():  # type: ignore[no-untyped-def]
        yield [make_row(2, "西湖")]
        raise Unavailable("database_unavailable", "gone")

    with pytest.raises(Unavailable, match="database_unavailable"):
        copy.apply(break_off(), removed=[1])
    assert find(copy.open_view(), "西湖") == [1]
    assert find(copy.apply([[make_row(3, "西湖")]]), "西湖") == [1, 3]


def test_a_copy_of_nothing_readable_is_unavailable(tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    (sealed / "meta.json").write_text("{}")
    with pytest.raises(Unavailable, match="index_unavailable"):
        WorkingCopy(tmp_path / "copy", sealed)


def test_k_must_be_positive(view: LexicalView) -> None:
    with pytest.raises(ValueError, match="k is 0"):
        view.search("西湖", 0)


@pytest.mark.parametrize(("word", "stem"), [("running", "run"), ("foxes", "fox"), ("gb", "gb"), ("西湖", "西湖")])
def test_stems(word: str, stem: str) -> None:
    assert find_stem(word) == stem


@pytest.mark.parametrize(
    ("terms", "counts", "together"),
    [
        ({"西湖"}, {"西湖": 2}, 2),
        ({"西湖", "杭州"}, {"西湖": 2, "杭州": 2}, 2),
        ({"西湖", "首都"}, {"西湖": 2, "首都": 1}, 0),
        ({"中国", "名茶"}, {"中国": 1, "名茶": 1}, 1),
        ({"runs", "knowledge"}, {"runs": 1, "knowledge": 1}, 1),  # by the stem
        ({"note"}, {"note": 8}, 8),  # by the stem, in the path of all
        ({"notes"}, {"notes": 8}, 8),
        ({"notes", "fox"}, {"notes": 8, "fox": 1}, 1),
        ({"nothing", "西湖"}, {"nothing": 0, "西湖": 2}, 0),
        (set(), {}, 0),
    ],
)
def test_how_many_rows_hold_terms(view: LexicalView, terms: set[str], counts: dict[str, int], together: int) -> None:
    assert view.count_terms(terms) == counts
    assert view.count_together(terms) == together
