"""The writer whose chat model may search on before it answers, in bounded rounds.

The prompt is that of any answer and has one tool with it. A round is one call of the model. While the tool is offered
its text is held back: it is either what the model thinks before it calls, or the answer, and it is the answer when the
round ends without a call or the text has grown long. Then the passages are told and the text flows. What calls bring is
numbered on and goes back; when the rounds or the room for passages are used up the model is asked without the tool, so
that there is an end to it.

A chat server that is bound to a schema lets its model write nothing else, no call either (vLLM's issue 39929). So where
the answer is JSON no round is bound to it. What a round ends with is the answer where it fits; else, and when there are
no more rounds, the model is asked once more, without the tool and bound.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from math import ceil
from time import perf_counter

from kb.tokens import estimate_tokens
from retrieval.chat.hermes import describe_tools
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.chat_writer import ChatWriter, cite_answer, fit_prompt, plan_budget, say_empty
from retrieval.events import add_usage
from retrieval.instructions import MISSING
from retrieval.json_answer.validator import ResponseSchema
from retrieval.json_writer import JsonTask, Written, is_cut, write_json
from retrieval.prompt import SPENT, Budget, ChatMessage, Prompt, estimate_prompt, neutralise
from retrieval.research import SHARES, Research
from retrieval.search_tool import LAST, LEFT_OUT, NAME, RULE, describe_search, tidy_call
from retrieval.talk import HELD, Round, Talk
from retrieval.writing import Draft, PassagesEvent, StepEvent, WriterEvent, WritingTask

CALLS_A_ROUND = 3
LEAST_FIRST = 300  # tokens that the first search's passages get, where there are so many
LONGEST_SHOWN = 1_000  # characters of a query in a step
CAUTION = 1.3  # times the estimate of the tool's description, which servers word in their own ways


class AgentWriter:
    """An AnswerWriter over a chat model, which lets it search on where the task does."""

    searches = True
    takes_schemas = True

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._plain = ChatWriter(model)

    @property
    def name(self) -> str:
        return self._model.name

    def write(self, task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
        return self._plain.write(task) if task.research is None else self._search_and_write(task, task.research)

    async def _search_and_write(self, task: WritingTask, research: Research) -> AsyncGenerator[WriterEvent, None]:
        self._model.check_room()  # before anything is sent, so that the answer can still be a 429
        talk = await self._begin(task, research)
        writing = self._write_text(talk) if task.schema is None else self._write_json(talk, task.schema)
        async with aclosing(writing) as events:
            async for event in events:
                yield event

    async def _write_text(self, talk: Talk) -> AsyncGenerator[WriterEvent, None]:
        rounds = talk.research.rounds
        for number in range(1, rounds + 2):
            turn = Round(number=number, offers=number <= rounds and not talk.is_full)
            async with aclosing(self._take_turn(talk, turn)) as events:
                async for event in events:
                    yield event
            if not turn.calls_on:
                break
        draft = await self._finish(talk, turn)
        if not turn.text:
            for event in talk.tell(draft.text):
                yield event
        yield draft

    async def _write_json(self, talk: Talk, schema: ResponseSchema) -> AsyncGenerator[WriterEvent, None]:
        said = None
        for number in range(1, talk.research.rounds + 1):
            if talk.is_full:
                break
            turn = Round(number=number, offers=True, holds=True)
            async with aclosing(self._take_turn(talk, turn)) as events:
                async for event in events:
                    yield event
            if not turn.calls_on:
                said = turn
                break
        yield PassagesEvent(passages=tuple(talk.passages))
        async with aclosing(write_json(self._model, _ask_for_json(talk, schema, said))) as events:
            async for event in events:
                yield replace(event, usage=add_usage(talk.usage, event.usage)) if isinstance(event, Draft) else event

    async def _take_turn(self, talk: Talk, turn: Round) -> AsyncGenerator[WriterEvent, None]:
        """The model speaks, and what it calls is made."""
        async with aclosing(self._listen(talk, turn)) as events:
            async for event in events:
                yield event
        if turn.calls_on:
            async with aclosing(self._make_calls(talk, turn)) as steps:
                async for step in steps:
                    yield step

    async def _begin(self, task: WritingTask, research: Research) -> Talk:
        """The prompt of the first round."""
        rule = ("6. " if task.own is None and task.schema is None else "") + RULE[task.language]  # behind five of ours
        budget = await self._plan_budget(task)
        prompt = await fit_prompt(self._model, task, await self._share_budget(task, budget))
        system, *others = prompt.messages
        messages = [replace(system, content=f"{system.content}\n{rule}"), *others]
        return Talk(
            model=self._model,
            task=task,
            research=research,
            budget=budget,
            messages=messages,
            passages=list(prompt.passages),
        )

    async def _plan_budget(self, task: WritingTask) -> Budget:
        """As for any answer, in a window that has the tool in it."""
        budget = plan_budget(task, await self._model.find_window())
        if budget.window is None:
            return budget
        added = RULE[task.language] + describe_tools([describe_search(task.language)])
        return replace(budget, window=max(1, budget.window - ceil(CAUTION * estimate_tokens(added))))

    async def _share_budget(self, task: WritingTask, budget: Budget) -> Budget:
        """What of it the first prompt may take: the rest is for what later rounds bring. The window is made smaller for
        it, so that the share holds by the server's count as well."""
        share = replace(budget, passages=max(1, budget.passages // SHARES))
        if budget.window is None:
            return share
        bare = estimate_prompt(await fit_prompt(self._model, replace(task, passages=()), share))
        room = SPENT * budget.window - budget.answer - bare
        kept_back = min(room - room / SHARES, room - LEAST_FIRST)
        return replace(share, window=budget.window - max(0, int(kept_back)))

    async def _listen(self, talk: Talk, turn: Round) -> AsyncGenerator[WriterEvent, None]:
        """One call of the model: what of it is the answer."""
        tools = [describe_search(talk.task.language)] if turn.offers else []
        options = replace(_choose_options(talk), tools=tools)
        async with aclosing(self._model.stream(talk.messages, options)) as pieces:
            async for piece in pieces:
                for event in talk.tell(turn.take(piece)):
                    yield event
                if turn.is_full:
                    break
        talk.usage = add_usage(talk.usage, turn.usage)
        if not turn.calls_on and not turn.holds:
            for event in talk.tell(turn.release()):
                yield event

    async def _make_calls(self, talk: Talk, turn: Round) -> AsyncGenerator[StepEvent, None]:
        """One after the other, each as a step; what they bring is added to the talk."""
        language, calls = talk.task.language, turn.calls[:CALLS_A_ROUND]
        thought = turn.held.strip()[:HELD]
        ids = [f"call{turn.number:02}{place:03}" for place in range(len(calls))]  # nine characters, as Mistral wants
        tidy = [tidy_call(call, call_id) for call, call_id in zip(calls, ids, strict=True)]
        talk.messages.append(ChatMessage(role="assistant", content=neutralise(thought), calls=tidy))
        for call, call_id in zip(calls, ids, strict=True):
            began = perf_counter()
            result = await talk.make_call(call)
            talk.messages.append(ChatMessage(role="tool", content=result.content, call_id=call_id))
            yield StepEvent(
                round=turn.number,
                tool=call.name or NAME,
                query=result.query[:LONGEST_SHOWN],
                found=result.found,
                error=result.error,
                took_ms=round(1000 * (perf_counter() - began), 3),
            )
        notes = [LEFT_OUT[language]] if len(turn.calls) > CALLS_A_ROUND else []
        notes += [LAST[language]] if talk.is_full or turn.number == talk.research.rounds else []
        last = talk.messages[-1]
        talk.messages[-1] = replace(last, content="\n\n".join([last.content, *notes]))

    async def _finish(self, talk: Talk, turn: Round) -> Draft:
        """The checked answer. A model that only wants to search for ever has none, which is a refusal."""
        draft = await cite_answer(turn.text, talk.passages, talk.task, talk.usage)
        if draft.text:
            return replace(draft, cut=turn.cut or turn.is_full)
        if not turn.calls:
            raise say_empty(self._model)
        return replace(draft, text=MISSING[talk.task.language], refused=True)


def _choose_options(talk: Talk) -> ChatOptions:
    return ChatOptions(max_tokens=talk.budget.answer, temperature=talk.task.temperature)


def _ask_for_json(talk: Talk, schema: ResponseSchema, said: Round | None) -> JsonTask:
    """`said` is the round that ended without a call."""
    options, written = _choose_options(talk), None
    if said is not None and said.held.strip():
        written = Written(text=said.held, usage=None, cut=said.cut or is_cut(said.usage, options))
    return JsonTask(
        task=talk.task,
        schema=schema,
        prompt=Prompt(messages=talk.messages, passages=talk.passages),
        options=options,
        window=talk.budget.window,
        said=written,
    )
