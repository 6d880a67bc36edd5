from __future__ import annotations

import pytest

from kb.errors import InvalidInput
from retrieval.question import AnswerKind, check_question, choose_language, find_kind, holds_kind, list_terms


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("谁负责镜面镀膜？", "zh"),
        ("Kubernetes Deployment Controller 是什么", "zh"),
        ("如何使用 The Great Wall 的 API？", "zh"),
        ("開放夜的學生票多少錢？", "zh"),
        ("What does 道德经 mean?", "en"),
        ("How long does the dewar stay cold?", "en"),
        ("¿?", "en"),
        ("惊蛰", "zh"),
    ],
)
def test_language_is_that_of_the_questions_own_words(question: str, language: str) -> None:
    assert choose_language(question) == language


def test_a_language_that_was_asked_for_wins() -> None:
    assert choose_language("谁？", "en") == "en"
    assert choose_language("Who?", "zh") == "zh"


def test_check_question() -> None:
    assert check_question("  谁？\n", 2) == "谁？"
    for question, code in (("", "question_empty"), (" \u3000\n", "question_empty"), ("x" * 9, "question_too_long")):
        with pytest.raises(InvalidInput) as caught:
            check_question(question, 8)
        assert caught.value.code == code


def test_terms_leave_function_words_out() -> None:
    assert list_terms("What is the H31 error of GB/T-23776?") == {
        "h31",
        "h",
        "31",
        "error",
        "gb/t-23776",
        "gb",
        "t",
        "23776",
    } - {"t"}
    assert list_terms("谁负责镜面镀膜？") == {"负责", "责镜", "镜面", "面镀", "镀膜"}
    assert list_terms("它有多少？？ 😀 ;DROP TABLE x --") == {"drop", "tabl", "x"}
    assert list_terms("誰負責這個？為什麼？") == list_terms("谁负责这个？为什么？") == {"负责"}
    assert list_terms("running runs") == {"run"}
    assert list_terms("什么是什么？ the of") == set()


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who found the nova?", AnswerKind.PERSON),
        ("1979 年是谁发现了新星？", AnswerKind.PERSON),
        ("When did the warranty end?", AnswerKind.TIME),
        ("什么时候开馆？", AnswerKind.TIME),
        ("How many beds are there?", AnswerKind.NUMBER),
        ("半山站有多少张床位？", AnswerKind.NUMBER),
        ("住了几夜？", AnswerKind.NUMBER),
        ("Where is it kept?", AnswerKind.PLACE),
        ("为什么停办？", AnswerKind.REASON),
        ("What does D11 mean?", AnswerKind.OTHER),
        ("住了幾夜？", AnswerKind.NUMBER),
        ("是誰發現了新星？", AnswerKind.PERSON),
        ("為什麼停辦？", AnswerKind.REASON),
        ("什麼時候開館？", AnswerKind.TIME),
        ("放在哪裡？", AnswerKind.PLACE),
        ("鎮上有多遠？", AnswerKind.NUMBER),
        ("哪個世紀建成？", AnswerKind.TIME),
        ("哪個縣最大？", AnswerKind.PLACE),
    ],
)
def test_kind_of_answer(question: str, kind: AnswerKind) -> None:
    assert find_kind(question) is kind


def test_holds_kind() -> None:
    assert holds_kind("The cause was a loose screw.", AnswerKind.REASON)
    assert holds_kind("為了省水", AnswerKind.REASON)
    assert holds_kind("床位十四張", AnswerKind.NUMBER)
    assert holds_kind("十九世紀", AnswerKind.TIME)
    assert holds_kind("張醫生", AnswerKind.PERSON)
    assert holds_kind("坐落鎮上", AnswerKind.PLACE)
    assert holds_kind("有床位十四张", AnswerKind.NUMBER)
    assert holds_kind("seven nights", AnswerKind.NUMBER)
    assert not holds_kind("many nights", AnswerKind.NUMBER)
    assert holds_kind("it ran until 31 August 2025", AnswerKind.TIME)
    assert not holds_kind("it ran out", AnswerKind.TIME)
    assert not holds_kind("31", AnswerKind.OTHER)
