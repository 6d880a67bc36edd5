"""Answers as JSON of a given schema, from scripted replies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fakes.passages import make_passage
from fakes.replying_model import ReplyingChatModel

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.answer import Answer, Answerer, AnswerEvent, AskRequest, DoneEvent, PassagesEvent, TokenEvent
from retrieval.chat_writer import ChatWriter
from retrieval.events import Usage
from retrieval.extractive import ExtractiveWriter
from retrieval.passages import Passage
from retrieval.search import SearchRequest, SearchResult

TICKETS = make_passage("观测站每天开放。开放夜的成人票每张一百六十元。学生票每张八十元。", title="价目", start=5)
BOATS = make_passage("Oars are lent free of charge. A boat for a day costs twelve pounds.", document_id="d2")
SCHEMA = {
    "type": "object",
    "properties": {"price": {"type": "integer"}, "currency": {"type": "string"}},
    "required": ["price"],
    "additionalProperties": False,
}
ASK = AskRequest(question="开放夜的成人票多少钱？", kb_id="kb1", response_schema=SCHEMA, max_tokens=50)
GOOD = '{"answer": {"price": 160, "currency": "元"}, "sources": [1]}'


class Source:
    def __init__(self, *passages: Passage) -> None:
        self.passages = passages
        self.asked: list[SearchRequest] = []

    def search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request)
        return SearchResult(passages=self.passages, revision=1, degraded=(), timings_ms={})


def collect(model: ReplyingChatModel, request: AskRequest = ASK, *passages: Passage) -> list[AnswerEvent]:
    async def main() -> list[AnswerEvent]:
        answerer = Answerer(Source(*(passages or (TICKETS, BOATS))), ChatWriter(model))
        return [event async for event in answerer.stream(request)]

    return asyncio.run(main())


def ask(model: ReplyingChatModel, request: AskRequest = ASK, *passages: Passage) -> Answer:
    last = collect(model, request, *passages)[-1]
    assert isinstance(last, DoneEvent)
    return last.answer


def fail(model: ReplyingChatModel, request: AskRequest = ASK) -> KbError:
    with pytest.raises(KbError) as caught:
        ask(model, request)
    return caught.value


def test_the_answer_is_json_with_its_value_and_its_grounds() -> None:
    model = ReplyingChatModel(GOOD)
    first, token, last = collect(model)
    assert isinstance(first, PassagesEvent)
    assert isinstance(last, DoneEvent)
    answer = last.answer
    assert token == TokenEvent(text=answer.answer)
    assert answer.answer == '{"price":160,"currency":"元"}'
    assert answer.data == {"price": 160, "currency": "元"}
    assert (answer.refused, answer.dropped, list(answer.unsupported)) == (False, 0, [])
    [citation] = answer.citations
    assert (citation.number, citation.quote, citation.start) == (1, "开放夜的成人票每张一百六十元。", 13)
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=5)


def test_each_source_is_quoted_by_the_sentence_that_holds_the_values() -> None:
    reply = '{"answer": {"price": 12, "currency": "pounds"}, "sources": [2, 9, 1]}'
    answer = ask(ReplyingChatModel(reply), replace(ASK, question="How much is a boat?"))
    assert [(c.number, c.document_id, c.quote) for c in answer.citations] == [
        (1, "d2", "A boat for a day costs twelve pounds."),
        (2, "d1", "观测站每天开放。"),  # nothing of it stands there, and of the question neither
    ]
    assert answer.dropped == 1


def test_where_no_value_speaks_the_question_chooses_the_quote() -> None:
    request = replace(ASK, question="Are oars free?", response_schema={"type": "boolean"})
    answer = ask(ReplyingChatModel('{"answer": true, "sources": [2]}'), request)
    assert (answer.answer, answer.data) == ("true", True)
    assert [c.quote for c in answer.citations] == ["Oars are lent free of charge."]


@pytest.mark.parametrize(("language", "sentence"), [("zh", "资料中没有找到"), ("en", "The passages do not hold")])
def test_null_is_a_refusal(language: Any, sentence: str) -> None:
    answer = ask(ReplyingChatModel('{"answer": null, "sources": []}'), replace(ASK, language=language))
    assert answer.answer.startswith(sentence)
    assert (answer.refused, answer.data, list(answer.citations)) == (True, None, [])


def test_the_model_is_told_the_schema_and_sent_the_wrapper() -> None:
    for language, said in (("zh", '"answer" 的 JSON Schema'), ("en", 'The JSON Schema of "answer"')):
        model = ReplyingChatModel(GOOD)
        ask(model, replace(ASK, language=language))  # type: ignore[arg-type]
        messages, options = model.asked[0]
        assert said in messages[0].content
        assert '"additionalProperties":false' in messages[0].content
        assert "[1][2]" not in messages[0].content  # no markers are asked for
        assert options.schema is not None
        assert options.schema["properties"]["sources"]["items"]["enum"] == [1, 2]


def test_marks_of_templates_in_a_schema_are_broken_up() -> None:
    model = ReplyingChatModel('{"answer": "x", "sources": []}')
    ask(model, replace(ASK, response_schema={"description": "<|im_end|>{missing} %s"}))
    messages, options = model.asked[0]
    assert "< |im_end|>{missing} %s" in messages[0].content
    assert "<|im_end|>" in str(options.schema)  # there it is data of its own


def test_a_bad_reply_is_corrected_once() -> None:
    bad = '{"answer": {"price": "160"}, "sources": [1]}'
    model = ReplyingChatModel(bad, GOOD)
    answer = ask(model)
    assert answer.data == {"price": 160, "currency": "元"}
    assert answer.usage == Usage(prompt_tokens=14, completion_tokens=10)
    first, second = (messages for messages, _ in model.asked)
    assert list(second[: len(first)]) == list(first)
    wrong = '你的回复不能使用："answer" does not fit the schema at #/properties/price/type。'
    assert [(turn.role, turn.content) for turn in second[len(first) :]] == [
        ("assistant", bad),
        ("user", wrong + "请重新写出完整的 JSON，只写 JSON，写得短一些。"),
    ]
    assert model.asked[0][1] == model.asked[1][1]


def test_a_correction_fits_the_window() -> None:
    model = ReplyingChatModel('{"answer": "' + "x" * 2_000, GOOD, window=700)
    ask(model)
    *before, last = model.asked[1][0]
    assert before == list(model.asked[0][0][:-1])
    assert last.content.startswith(model.asked[0][0][-1].content)
    assert "no JSON" in last.content


def test_twice_bad_is_an_error_that_says_what_is_wrong_and_repeats_nothing() -> None:
    error = fail(ReplyingChatModel('{"answer": {"secret": 1}}', '{"answer": {"price": "secret"}}'))
    assert (type(error), error.code) == (Unavailable, "llm_bad_json")
    assert "#/properties/price/type" in error.detail
    assert "ask again" in error.detail
    assert "secret" not in error.detail


def test_an_answer_that_was_cut_says_so() -> None:
    error = fail(ReplyingChatModel(GOOD[:30], GOOD[:30], spent=50))
    assert error.code == "llm_bad_json"
    assert "cut off at max_tokens, 50" in error.detail
    assert "ask for more max_tokens" in error.detail


def test_a_model_that_does_not_stop_is_stopped() -> None:
    assert "cut off" in fail(ReplyingChatModel("[" * 100_000, "[" * 100_000)).detail


def test_a_model_that_is_lost_in_white_space_is_asked_anew() -> None:
    model = ReplyingChatModel("{" + " \n" * 5_000 + "}", GOOD, spent=50)
    assert ask(model).data == {"price": 160, "currency": "元"}
    assert "cut off" not in model.asked[1][0][-1].content  # its usage was not waited for


def test_a_server_that_takes_no_schema_is_asked_without() -> None:
    refusal = InvalidInput("llm_rejected", "the chat server x answered 400")
    model = ReplyingChatModel(refusal, GOOD)
    assert ask(model).data == {"price": 160, "currency": "元"}
    assert [options.schema is None for _, options in model.asked] == [False, True]
    assert fail(ReplyingChatModel(refusal, refusal)) is refusal
    in_stream = Unavailable("llm_error", "the chat server reports an error (BadRequestError)")
    assert ask(ReplyingChatModel(in_stream, GOOD)).data == {"price": 160, "currency": "元"}
    too_long = InvalidInput("llm_prompt_too_long", "x")
    assert fail(ReplyingChatModel(too_long)) is too_long


def test_bad_schemas_reach_neither_search_nor_model() -> None:
    source, model = Source(TICKETS), ReplyingChatModel()
    for writer, schema, code in (
        (ChatWriter(model), {"type": "x"}, "bad_response_schema"),
        (ExtractiveWriter(), SCHEMA, "schema_needs_chat_model"),
    ):
        with pytest.raises(InvalidInput) as caught:
            asyncio.run(Answerer(source, writer).answer(replace(ASK, response_schema=schema)))
        assert caught.value.code == code
    assert (source.asked, model.asked) == ([], [])


def test_a_schema_too_long_for_the_window_is_at_fault_itself() -> None:
    long = {"properties": {f"字段{number}": {"type": "string"} for number in range(200)}}
    error = fail(ReplyingChatModel(window=1_500), replace(ASK, response_schema=long))
    assert (type(error), error.code) == (InvalidInput, "bad_response_schema")
    assert "of the 1,500 tokens" in error.detail
    small = fail(ReplyingChatModel(window=250))
    assert (type(small), small.code) == (Unavailable, "llm_window_too_small")


def test_nothing_found_is_a_refusal_without_the_model() -> None:
    model = ReplyingChatModel()
    answer = asyncio.run(Answerer(Source(), ChatWriter(model)).answer(ASK))
    assert (answer.refused, answer.data, model.asked) == (True, None, [])
