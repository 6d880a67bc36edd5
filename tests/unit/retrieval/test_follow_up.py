"""Completing follow-ups by rule."""

from __future__ import annotations

from time import process_time

import pytest

from retrieval.follow_up import LATEST, LONGEST_CONTEXT, complete_question, is_follow_up
from retrieval.prompt import ChatMessage


def say(*texts: str) -> list[ChatMessage]:
    """User and assistant in turn."""
    return [ChatMessage(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("before", "answer", "question", "full"),
    [
        ("望江塔在哪里？", "在小山上[1]。", "它有多高？", "望江塔有多高？"),
        ("望江塔有多高？", "46米。", "其设计者是谁？", "望江塔的设计者是谁？"),
        ("鏡湖船塢在哪裡？", "西岸。", "它是甚麼時候建成的？", "鏡湖船塢是甚麼時候建成的？"),
        ("成人票多少钱？", "一百六十元。", "学生票呢？", "成人票多少钱？学生票呢？"),
        ("手册有中文版吗？", "有。", "那英文版呢？", "手册有中文版吗？那英文版呢？"),
        ("红叶客栈在哪里？", "枫岭脚下。", "价格呢？", "红叶客栈在哪里？价格呢？"),
        ("年假有多少天？", "十五天。", "为什么？", "年假，为什么？"),
        ("白鹭灯塔是谁设计的？", "由林守礁设计[1]。", "他毕业于哪所学校？", "林守礁毕业于哪所学校？"),
        ("为什么灯塔关闭？", "因为检修。", "它什么时候恢复？", "灯塔关闭，它什么时候恢复？"),
        ("Where is the stone bridge?", "At Stow [1].", "Who built it?", "the stone bridge: Who built it?"),
        ("When does the museum open?", "At nine.", "And in winter?", "When does the museum open? And in winter?"),
        ("What does a boat cost?", "Twelve pounds.", "How about oars?", "What does a boat cost? How about oars?"),
        ("Where is the inn?", "Below the ridge.", "Why?", "the inn: Why?"),
        ("Who designed the light?", "It was Tom Sayer [1].", "Where did he study?", "Tom Sayer: Where did he study?"),
    ],
)
def test_what_is_left_out_is_put_in(before: str, answer: str, question: str, full: str) -> None:
    assert complete_question(question, say(before, answer)) == full


@pytest.mark.parametrize(
    "question",
    [
        "职工年假有多少天？",
        "其他城市的灯塔有多高？",
        "尤其是冬天，船坞开放吗？",
        "青石桥的负责人说过它有多长吗？",
        "What does a boat for a day cost?",
        "When was the Barley Mill built?",
        "What did the bakery on Lark Street do before it closed?",
        "Is there a café at the station?",
        "How do I reset the password of the printer?",
        "KB_LLM_MODEL 有什么用？",
        "谁设计了白鹭灯塔？",
        "为什么灯塔关闭？",
    ],
)
def test_a_question_that_stands_by_itself_is_left_as_it_is(question: str) -> None:
    assert not is_follow_up(question)
    assert complete_question(question, say("望江塔在哪里？", "在山上。", "Where is it?", "There.")) == question


@pytest.mark.parametrize("question", ["它有多高？", "那学生票呢？", "And in winter?", "Why?"])
def test_without_anything_before_there_is_nothing_to_put_in(question: str) -> None:
    assert complete_question(question, []) == question
    assert complete_question(question, say(" ")) == question
    assert complete_question(question, [ChatMessage(role="assistant", content="你好")]) == question


@pytest.mark.parametrize(
    ("question", "named", "full"),
    [
        ("找谁修", False, "望江塔，找谁修"),
        ("找谁修", True, "找谁修"),
        ("找谁修", None, "找谁修"),
        ("is there a limit", False, "望江塔: is there a limit"),
        ("removal vans", True, "removal vans"),  # by its words a fragment
        ("removal vans", None, "望江塔在哪里? removal vans"),
        ("它有多高？", True, "望江塔有多高？"),  # a pronoun is a sure sign
        ("学生票呢？", True, "望江塔在哪里？学生票呢？"),
        ("And in winter?", True, "望江塔在哪里? And in winter?"),
        ("2024 年的价格", False, "2024 年的价格"),  # and so is a name, that it stands by itself
        ("How high is Garnet Tower", False, "How high is Garnet Tower"),
        ("职工在探亲假期间的工资和路费应该如何计算和发放", False, "职工在探亲假期间的工资和路费应该如何计算和发放"),
    ],
)
def test_where_the_words_are_no_sure_sign_the_documents_tell(question: str, named: bool | None, full: str) -> None:  # noqa: FBT001
    asked: list[tuple[str, str]] = []

    def names(text: str, subject: str) -> bool | None:
        asked.append((text, subject))
        return named

    assert complete_question(question, say("望江塔在哪里？", "在山上。"), names) == full
    assert asked in ([], [(question, "望江塔")])
    assert complete_question(question, [], names) == question


def test_follow_ups_of_follow_ups_keep_what_the_first_was_about() -> None:
    said = say("夜市几点开门？", "十八点。", "那早市呢？", "五点。")
    assert complete_question("周末呢？", said) == "夜市几点开门？周末呢？"
    assert complete_question("它在哪里？", said) == "夜市 早市在哪里？"
    english = say("Where is the night market?", "Here.", "Who runs it?", "The guild.")
    assert "the night market" in complete_question("And in winter?", english)


def test_the_latest_questions_count_of_a_thousand_turns() -> None:
    said = say(*(text for n in range(1_000) for text in (f"第{n}号灯塔在哪里？", "在海边。")))
    assert complete_question("它有多高？", said) == "第999号灯塔有多高？"
    out_of_sight = say("灯塔在哪里？", "海边。", *["它有多高？", "十米。"] * LATEST)
    assert complete_question("它有多高？", out_of_sight) == "它有多高？"


@pytest.mark.parametrize("filler", [" ", "\n", "什么", "的", "a b ", "[1", "of that "])
def test_a_turn_of_a_megabyte_costs_no_more_than_its_beginning(filler: str) -> None:
    long = filler * (900_000 // len(filler))
    subjects: list[str] = []

    def names(question: str, subject: str) -> bool:
        subjects.append(subject)
        return False

    before = process_time()
    for question in ("找谁修", "它有多高？", "is there a limit", "How tall is it?"):
        complete_question(question, say(f"望江塔{long}", f"谁{long}"), names)
    assert process_time() - before < 5
    assert all(len(subject) <= LONGEST_CONTEXT for subject in subjects)


def test_what_is_taken_from_a_conversation_is_bounded() -> None:
    long = "灯塔" * 5_000
    for question in ("它有多高？", "学生票呢？", "Why?"):
        assert len(complete_question(question, say(f"{long}在哪里？", long))) <= LONGEST_CONTEXT + len(question) + 4
