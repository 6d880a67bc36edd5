"""What a prompt of a knowledge base's own may be, and what the chat model is told with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from fakes.passages import make_passage
from fakes.replying_model import ReplyingChatModel

from kb.errors import InvalidInput
from retrieval.answer import Answerer, AskRequest
from retrieval.chat_writer import ChatWriter
from retrieval.instructions import DATA_RULE, MISSING, choose_own, word_answer
from retrieval.own_prompt import LONGEST, MOST_TOKENS, check_prompt
from retrieval.prompted_writer import PromptedWriter
from retrieval.question import Language
from retrieval.search import SearchRequest, SearchResult

EN = "You are the night porter. Cite like [1]. Without an answer say only: {missing}"
ZH = "你是值班员，语气温和。引用写作 [1]。没有答案时只说：{missing}"


def refuse(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_prompt(text, "en")
    assert caught.value.code == "bad_prompt"
    assert caught.value.detail.startswith("prompt.en ")
    return caught.value.detail.removeprefix("prompt.en ")


@pytest.mark.parametrize("text", [EN, ZH, "{missing}", "Passages stand between <passage> and </passage>. {missing}"])
def test_what_is_taken(text: str) -> None:
    assert check_prompt(text, "en") == text
    assert check_prompt(f"\r\n {text}\r\nMore.\r\n", "en") == f"{text}\nMore."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("x" * LONGEST + "{missing}", "has 8,009 characters"),
        ("字" * (MOST_TOKENS + 1_700) + "{missing}", "takes about 3,057 tokens"),
        ("Answer.", "has {missing} 0 times"),
        ("{missing}\n{missing}", "has {missing} 2 times"),
        ("One.\nIn {language}: {missing}", "line 2, character 4 is a placeholder that is not known"),
        ("{missing} {", "line 1, character 11 is a brace"),
        ("a}\n{missing}", "line 1, character 2 is a brace"),
        ("{{missing}}", "line 1, character 1 is a brace"),
        ("{Missing} {missing}", "line 1, character 1 is a placeholder"),
        ("{0.__class__}{missing}", "line 1, character 1 is a placeholder"),
        ("{missing}\n\n<|im_end|>", "line 3, character 1 begins a mark of a chat template"),
        ("你好[INST]{missing}", "line 1, character 3 begins a mark"),
        ("<PASSAGE>{missing}", "line 1, character 1 begins a mark"),
        ("{missing}</Passage>", "line 1, character 10 begins a mark"),
        ("{missing}\x1b[31m", "line 1, character 10 is a control character"),
    ],
)
def test_what_is_refused_is_located(text: str, said: str) -> None:
    assert refuse(text).startswith(said)


@pytest.mark.parametrize("text", ["%s %(x)d $x ${missing}", "\\1 \\g<0> {missing}"])
def test_it_is_put_in_as_it_stands(text: str) -> None:
    said = word_answer("en", check_prompt(text, "en")).system
    assert said.startswith(text.replace("{missing}", MISSING["en"]))


def test_several_knowledge_bases_have_one_prompt_only_where_they_agree() -> None:
    assert choose_own([], "en") is None
    assert choose_own([{"en": EN}], "en") == EN
    assert choose_own([{"en": EN}, {"en": EN, "zh": ZH}], "en") == EN
    assert choose_own([{"en": EN}, {"en": EN, "zh": ZH}], "zh") is None
    assert choose_own([{"en": EN}, {}], "en") is None


class Prompts:
    def __init__(self, **texts: Mapping[str, str]) -> None:
        self.texts = texts

    def get_prompt(self, kb_id: str) -> Mapping[str, str]:
        return self.texts.get(kb_id, {})


class Source:
    def search(self, request: SearchRequest) -> SearchResult:
        found = [make_passage(f"{request.query} 圆顶重二百吨。", title=request.query)]
        return SearchResult(passages=found, revision=1, degraded=(), timings_ms={})


def read_system(kb_id: str, question: str = "圆顶有多重？", *also: str, json: bool = False) -> str:
    """What the model is told when this knowledge base, and those others, are asked."""
    model = ReplyingChatModel('{"answer": 1, "sources": []}')
    prompts = Prompts(own={"zh": ZH, "en": EN}, same={"zh": ZH}, other={"zh": "别的 {missing}"})
    schema = {"type": "integer"} if json else None
    request = AskRequest(question=question, kb_id=kb_id, also=also, response_schema=schema)
    asyncio.run(Answerer(Source(), PromptedWriter(ChatWriter(model), prompts)).answer(request))
    return model.asked[0][0][0].content


@pytest.mark.parametrize(
    ("question", "own", "language"), [("圆顶有多重？", ZH, "zh"), ("What does the dome weigh?", EN, "en")]
)
def test_the_model_is_told_it_and_that_passages_are_data(question: str, own: str, language: Language) -> None:
    written, rule = own.replace("{missing}", MISSING[language]), DATA_RULE[language]
    assert read_system("own", question) == f"{written}\n{rule}"
    told = read_system("own", question, json=True)
    assert told.startswith(f"{written}\n{rule}\n")
    assert told.endswith('{"type":"integer"}')


def test_of_several_the_default_holds_unless_all_agree() -> None:
    default = read_system("none")
    assert default == word_answer("zh").system
    assert DATA_RULE["zh"] in default
    assert (
        read_system("own", "圆顶有多重？", "same") == read_system("own", "圆顶有多重？", "own") == read_system("same")
    )
    assert read_system("own", "圆顶有多重？", "other") == read_system("own", "圆顶有多重？", "none") == default


@pytest.mark.parametrize("kb_id", ["own", "none"])
def test_two_questions_begin_with_the_same_bytes(kb_id: str) -> None:
    """So that a chat server which keeps the beginnings of prompts reads them once."""
    for json in (False, True):
        first, second = read_system(kb_id, "圆顶有多重？", json=json), read_system(kb_id, "谁负责望远镜？", json=json)
        assert first == second
