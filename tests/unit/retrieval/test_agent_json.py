"""An answer in JSON whose chat model searches on: no call of the model has both the tool and the schema."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes.agent_model import CallingChatModel, QuerySource, Written, call_search
from fakes.passages import make_passage

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.agent import AgentWriter
from retrieval.answer import Answer, Answerer, AnswerEvent, AskRequest, DoneEvent
from retrieval.events import Usage
from retrieval.instructions import MISSING
from retrieval.prompt import ChatMessage
from retrieval.search_tool import LAST, RULE
from retrieval.talk import HELD
from retrieval.writing import PassagesEvent, StepEvent, TokenEvent

CAMERA = make_passage("The camera was bought in 2019. It cost 4,200 euro.", start=50)
DOME = make_passage(
    "The dome was built first. It weighs eleven tonnes.", document_id="d2", version_id=2, path="dome.md"
)
MOTOR = make_passage("圆顶的电机功率是三千瓦。", document_id="d3", version_id=3, path="电机.md")
QUESTION = "What did the camera cost, and how heavy is the dome?"
FOUND = {QUESTION: [CAMERA], "dome weight": [DOME], "圆顶 电机": [MOTOR]}
SCHEMA = {
    "type": "object",
    "properties": {"euro": {"type": "integer"}, "tonnes": {"type": "integer"}},
    "required": ["tonnes"],
    "additionalProperties": False,
}
ASK = AskRequest(
    question=QUESTION, kb_id="kb1", agent=True, max_context_tokens=1_000, max_tokens=99, response_schema=SCHEMA
)
CALL = [call_search("dome weight")]
GOOD = ['{"answer": {"euro": 4200, "tonnes": 11}, ', '"sources": [2, 7, 1]}']
BAD = ['{"answer": {"tonnes": "secret"}, "sources": [2]}']
NULL = ['{"answer": null, "sources": []}']


def collect(model: CallingChatModel, request: AskRequest = ASK, source: QuerySource | None = None) -> list[AnswerEvent]:
    async def main() -> list[AnswerEvent]:
        return [event async for event in Answerer(source or QuerySource(FOUND), AgentWriter(model)).stream(request)]

    return asyncio.run(main())


def ask(model: CallingChatModel, **change: Any) -> Answer:
    last = collect(model, replace(ASK, **change))[-1]
    assert isinstance(last, DoneEvent)
    return last.answer


def fail(model: CallingChatModel, **change: Any) -> KbError:
    with pytest.raises(KbError) as caught:
        ask(model, **change)
    return caught.value


def list_kinds(model: CallingChatModel) -> list[tuple[bool, bool]]:
    """Of each call: whether it has the tool, and whether it is bound to a schema."""
    return [(bool(options.tools), options.schema is not None) for _, options in model.asked]


ROUND, BOUND = (True, False), (False, True)


@pytest.mark.parametrize("prose", [None, "It cost 4,200 euro [1] and weighs eleven tonnes [2]."])
def test_it_searches_and_cites_by_the_numbers_of_all_passages(prose: str | None) -> None:
    rounds: Sequence[Sequence[Written]] = [CALL, GOOD] if prose is None else [CALL, [prose], GOOD]
    model = CallingChatModel(*rounds)
    events = collect(model)
    assert [type(event) for event in events] == [StepEvent, PassagesEvent, TokenEvent, DoneEvent]
    step, passages, token, done = events
    assert isinstance(passages, PassagesEvent)
    assert isinstance(done, DoneEvent)
    answer = done.answer
    assert answer.steps == (step,)
    assert list(passages.passages) == list(answer.passages) == [CAMERA, DOME]
    assert token == TokenEvent(text='{"euro":4200,"tonnes":11}')
    assert (answer.answer, answer.data) == ('{"euro":4200,"tonnes":11}', {"euro": 4200, "tonnes": 11})
    assert (answer.refused, answer.dropped, list(answer.unsupported)) == (False, 1, [])
    assert [(one.number, one.path, one.quote) for one in answer.citations] == [
        (1, "dome.md", "It weighs eleven tonnes."),
        (2, CAMERA.path, "It cost 4,200 euro."),
    ]
    spent = sum(map(len, rounds))
    assert answer.usage == Usage(prompt_tokens=7 * len(rounds), completion_tokens=spent)
    assert list_kinds(model) == [ROUND, ROUND] + ([] if prose is None else [BOUND])


def test_what_the_model_is_told() -> None:
    model = CallingChatModel(CALL, ["Eleven tonnes."], GOOD)
    ask(model)
    first, second, third = (messages for messages, _ in model.asked)
    system = first[0].content
    assert '{"answer": …, "sources": […]}' in system
    assert '"additionalProperties":false' in system
    assert system.endswith(f"}}\n{RULE['en']}")
    assert list(third[: len(second)]) == list(second)
    wrong = "Your reply cannot be used: it is no JSON: broken at character 1 of 14. "
    assert [(one.role, one.content) for one in third[len(second) :]] == [
        ("assistant", "Eleven tonnes."),
        ("user", f"{wrong}Write the whole JSON anew, nothing but JSON, and shorter."),
    ]
    schema = model.asked[2][1].schema
    assert schema is not None
    assert schema["properties"]["sources"]["items"]["enum"] == [1, 2]


def test_it_answers_in_chinese() -> None:
    source = QuerySource({"电机功率多大？": [CAMERA], "圆顶 电机": [MOTOR]})
    model = CallingChatModel([call_search("圆顶 电机")], ['{"answer": {"千瓦": "三"}, "sources": [2]}'])
    schema = {"type": "object", "properties": {"千瓦": {"type": "string"}}}
    done = collect(model, replace(ASK, question="电机功率多大？", response_schema=schema), source)[-1]
    assert isinstance(done, DoneEvent)
    assert (done.answer.answer, done.answer.citations[0].quote) == ('{"千瓦":"三"}', "圆顶的电机功率是三千瓦。")
    assert model.asked[0][0][0].content.endswith(RULE["zh"])


@pytest.mark.parametrize("rounds", [1, 2, 6])
def test_rounds_end_with_their_number_and_one_call_that_is_bound(rounds: int) -> None:
    model = CallingChatModel(*[[call_search(f"dome {number}")] for number in range(rounds)], GOOD)
    answer = ask(model, max_rounds=rounds)
    assert [step.round for step in answer.steps] == list(range(1, rounds + 1))
    assert list_kinds(model) == [ROUND] * rounds + [BOUND]
    assert model.read_results(rounds)[-1].endswith(LAST["en"])


def test_no_room_for_more_passages_is_no_more_rounds() -> None:
    model = CallingChatModel(['{"answer": {"tonnes": 1}, "sources": [1]}'])
    answer = ask(model, max_context_tokens=40)
    assert (answer.data, list_kinds(model)) == ({"tonnes": 1}, [BOUND])


def test_a_bound_reply_that_does_not_fit_is_corrected_once() -> None:
    model = CallingChatModel(CALL, ["Hm."], BAD, GOOD)
    assert ask(model).data == {"euro": 4200, "tonnes": 11}
    assert list_kinds(model) == [ROUND, ROUND, BOUND, BOUND]
    said, note = model.asked[3][0][-2:]
    assert said == ChatMessage(role="assistant", content=BAD[0])
    assert note.content.startswith(
        'Your reply cannot be used: "answer" does not fit the schema at #/properties/tonnes/type. Write'
    )
    error = fail(CallingChatModel(CALL, ["Hm."], BAD, BAD, GOOD))
    assert (type(error), error.code) == (Unavailable, "llm_bad_json")
    assert "#/properties/tonnes/type" in error.detail
    assert "secret" not in error.detail


def test_a_reply_of_a_round_that_does_not_fit_is_not_the_answer() -> None:
    """It is asked for again with what is wrong, and may be wrong once more."""
    model = CallingChatModel(BAD, BAD, GOOD)
    assert ask(model).data == {"euro": 4200, "tonnes": 11}
    assert list_kinds(model) == [ROUND, BOUND, BOUND]
    cut = CallingChatModel(["{"] * 99, GOOD)
    assert ask(cut).data == {"euro": 4200, "tonnes": 11}
    assert "(it was cut off at max_tokens, 99)" in cut.asked[1][0][-1].content


@pytest.mark.parametrize("silence", [[], [" \n"]])
def test_a_round_without_a_word_is_asked_again_bound(silence: list[Written]) -> None:
    model = CallingChatModel(silence, GOOD)
    assert ask(model).data == {"euro": 4200, "tonnes": 11}
    assert list_kinds(model) == [ROUND, BOUND]
    assert list(model.asked[1][0]) == list(model.asked[0][0])


@pytest.mark.parametrize("rounds", [[NULL], [CALL, NULL], [CALL, ["Hm."], NULL]])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_null_is_a_refusal_wherever_it_comes(rounds: list[Any], language: Any) -> None:
    answer = ask(CallingChatModel(*rounds), language=language)
    assert (answer.answer, answer.data, answer.refused) == (MISSING[language], None, True)
    assert (list(answer.citations), len(answer.steps)) == ([], int(rounds[0] is CALL))


def test_nothing_found_at_first_calls_no_model() -> None:
    model = CallingChatModel(GOOD)
    done = collect(model, ASK, QuerySource({}))[-1]
    assert isinstance(done, DoneEvent)
    assert (model.asked, done.answer.refused, done.answer.data) == ([], True, None)


def test_a_model_that_only_wants_to_search_is_a_refusal() -> None:
    model = CallingChatModel(CALL)
    events = collect(model, replace(ASK, max_rounds=2))
    assert [type(event) for event in events] == [StepEvent, StepEvent, PassagesEvent, TokenEvent, DoneEvent]
    assert isinstance(events[-1], DoneEvent)
    answer = events[-1].answer
    assert (answer.answer, answer.refused, answer.data) == (MISSING["en"], True, None)
    assert list_kinds(model) == [ROUND, ROUND, BOUND, BOUND]
    assert model.asked[3][0][-1].content.endswith(
        "it calls a tool, and there are no more searches. Write the whole JSON anew, nothing but JSON, and shorter."
    )


def test_what_stands_around_a_call_is_no_answer() -> None:
    error = fail(CallingChatModel(CALL, [*GOOD, call_search("more")]), max_rounds=1)
    assert error.code == "llm_bad_json"
    assert "it calls a tool" in error.detail


def test_long_thoughts_before_a_call_are_not_the_answer() -> None:
    """Nothing is shown before the end, so a call counts however much stands before it."""
    thought = "I should look for the dome. " * 20
    model = CallingChatModel([thought, *CALL], GOOD)
    answer = ask(model)
    assert (len(answer.steps), answer.data) == (1, {"euro": 4200, "tonnes": 11})
    assert model.asked[1][0][2].content == thought[:HELD]


def test_a_server_that_takes_no_schema_is_asked_without() -> None:
    refusal = InvalidInput("llm_rejected", "the chat server x answered 400")
    model = CallingChatModel(CALL, [refusal], GOOD)
    assert ask(model, max_rounds=1).data == {"euro": 4200, "tonnes": 11}
    assert list_kinds(model) == [ROUND, BOUND, (False, False)]


def test_a_correction_that_has_no_room_stands_behind_the_last_result() -> None:
    thoughts = "word " * 900
    model = CallingChatModel(CALL, [thoughts], GOOD, window=1_600)
    assert ask(model, max_tokens=300).data == {"euro": 4200, "tonnes": 11}
    second, third = model.asked[1][0], model.asked[2][0]
    assert list(third[:-1]) == list(second[:-1])
    last = third[-1]
    assert (last.role, last.call_id) == ("tool", second[-1].call_id)
    assert last.content.startswith(f"{second[-1].content}\n\nYour reply cannot be used: it is no JSON")


def test_a_schema_is_checked_before_anything_is_searched() -> None:
    model, source = CallingChatModel(GOOD), QuerySource(FOUND)
    with pytest.raises(InvalidInput, match="bad_response_schema"):
        collect(model, replace(ASK, response_schema={"type": "x"}), source)
    assert (model.asked, source.asked) == ([], [])


def test_a_failure_of_the_bound_call_passes_through() -> None:
    fault = Unavailable("llm_timeout", "silent")
    assert fail(CallingChatModel(CALL, [fault]), max_rounds=1) is fault


def test_leaving_ends_the_call_under_way() -> None:
    class Listener(CallingChatModel):
        asking = asyncio.Event()

        async def stream(self, messages: Sequence[ChatMessage], options: Any) -> Any:
            async for piece in super().stream(messages, options):
                if options.schema is not None:
                    self.asking.set()
                    await asyncio.Event().wait()
                yield piece

    async def main() -> None:
        model = Listener(CALL, GOOD)
        stream = Answerer(QuerySource(FOUND), AgentWriter(model)).stream(replace(ASK, max_rounds=1))
        assert isinstance(await anext(stream), StepEvent)
        assert isinstance(await anext(stream), PassagesEvent)
        waiting = asyncio.ensure_future(anext(stream))
        await model.asking.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(model.asked) == 2

    asyncio.run(main())


def test_without_agent_no_tool_is_offered() -> None:
    model = CallingChatModel(['{"answer": {"tonnes": 1}, "sources": [1]}'])
    answer = ask(model, agent=False)
    assert (answer.data, answer.steps, list_kinds(model)) == ({"tonnes": 1}, (), [BOUND])
    assert "call the tool" not in model.asked[0][0][0].content
