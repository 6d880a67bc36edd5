"""The answer as JSON of the caller's schema: ask, read, where it does not fit ask once more, cite.

Nothing is told before the whole is there and fits: half of a JSON text is of no use to anybody, and one that has to be
corrected cannot be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from kb.errors import KbError, Unavailable
from kb.tokens import estimate_tokens
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.citations import Citation, cite_values
from retrieval.events import Usage, add_usage
from retrieval.instructions import MISSING
from retrieval.json_answer.reply import BadReply, Reply, list_leaves, read_reply, write_value
from retrieval.json_answer.validator import ResponseSchema
from retrieval.json_answer.wrapper import wrap_schema
from retrieval.prompt import SPENT, ChatMessage, Prompt, estimate_prompt, neutralise
from retrieval.question import Language
from retrieval.writing import MOST_CHARACTERS, Draft, TokenEvent, WriterEvent, WritingTask

TRIES = 2
MOST_SPACE = 400  # characters in a row: between two marks JSON may have any number, and a model can get lost there
REFUSED = frozenset({"llm_rejected", "llm_error"})  # may be for the schema
CORRECTION: dict[Language, str] = {
    "zh": "你的回复不能使用：{reason}。请重新写出完整的 JSON，只写 JSON，写得短一些。",
    "en": "Your reply cannot be used: {reason}. Write the whole JSON anew, nothing but JSON, and shorter.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """`calls`: that it calls a tool, which there is none of."""

    text: str
    usage: Usage | None
    cut: bool  # by max_tokens, as far as the server tells
    calls: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonTask:
    """`window` is the model's, None where nobody knows it. `said` is what it has written before it was bound to the
    schema: the answer, where it fits."""

    task: WritingTask
    schema: ResponseSchema
    prompt: Prompt
    options: ChatOptions
    window: int | None
    said: Written | None = None


async def write_json(model: ChatModel, asked: JsonTask) -> AsyncGenerator[WriterEvent, None]:
    """The whole text, then the Draft. Raises what the model raises, Unavailable (`llm_bad_json`), InvalidInput
    (`bad_response_schema`)."""
    options = replace(asked.options, schema=wrap_schema(asked.schema, len(asked.prompt.passages)))
    written = asked.said or await _ask(model, asked.prompt.messages, options)
    reply = await _read(written, asked)
    usage, left = written.usage, TRIES if asked.said else TRIES - 1
    while isinstance(reply, BadReply) and left:
        written = await _ask(model, _correct(asked, written, reply), options)
        reply = await _read(written, asked)
        usage, left = add_usage(usage, written.usage), left - 1
    if isinstance(reply, BadReply):
        if not written.calls or written.text.strip():
            raise _explain(model.name, written, reply, options)
        reply = Reply(value=None)  # all that it wants is to search on
    draft = await asyncio.to_thread(_draft, reply, asked)
    yield TokenEvent(text=draft.text)
    yield replace(draft, usage=usage)


async def _ask(model: ChatModel, messages: Sequence[ChatMessage], options: ChatOptions) -> Written:
    """A server that refuses the schema, as not every one of its kind takes each, is asked without it: the prompt has
    it. In a stream vLLM says so with an error in place of the first piece."""
    try:
        return await _take(model, messages, options)
    except KbError as error:
        if error.code not in REFUSED:
            raise
        return await _take(model, messages, replace(options, schema=None))


async def _take(model: ChatModel, messages: Sequence[ChatMessage], options: ChatOptions) -> Written:
    pieces: list[str] = []
    size, space, usage, calls, cut = 0, 0, None, False, False
    async with aclosing(model.stream(messages, options)) as stream:
        async for piece in stream:
            usage = piece.usage or usage
            calls, cut = calls or bool(piece.calls), cut or piece.cut
            pieces.append(piece.text)
            size += len(piece.text)
            space = len(piece.text) - len(piece.text.rstrip()) + (0 if piece.text.strip() else space)
            if size > MOST_CHARACTERS or space > MOST_SPACE:
                break
    cut = cut or size > MOST_CHARACTERS or is_cut(usage, options)
    return Written(text="".join(pieces)[:MOST_CHARACTERS], usage=usage, cut=cut, calls=calls)


def is_cut(usage: Usage | None, options: ChatOptions) -> bool:
    return usage is not None and usage.completion_tokens >= options.max_tokens


async def _read(written: Written, asked: JsonTask) -> Reply | BadReply:
    if written.calls:  # what stood around a call is not the whole reply
        return BadReply(reason="it calls a tool, and there are no more searches")
    return await asyncio.to_thread(read_reply, written.text, asked.schema, len(asked.prompt.passages))


def _correct(asked: JsonTask, written: Written, reply: BadReply) -> list[ChatMessage]:
    """The prompt with what is wrong, and with the reply itself where the window has room for it."""
    reason = f"{reply.reason}{_tell_cut(written, asked.options)}"
    note = CORRECTION[asked.task.language].replace("{reason}", neutralise(reason))
    *before, last = asked.prompt.messages
    text = neutralise(written.text)
    spent = estimate_prompt(asked.prompt) + estimate_tokens(text) + estimate_tokens(note) + asked.options.max_tokens
    if text.strip() and (asked.window is None or spent <= SPENT * asked.window):
        said = ChatMessage(role="assistant", content=text)
        return [*asked.prompt.messages, said, ChatMessage(role="user", content=note)]
    return [*before, replace(last, content=f"{last.content}\n\n{note}")]


def _tell_cut(written: Written, options: ChatOptions) -> str:
    return f" (it was cut off at max_tokens, {options.max_tokens:,})" if written.cut else ""


def _explain(name: str, written: Written, reply: BadReply, options: ChatOptions) -> Unavailable:
    way_out = "ask for more max_tokens" if written.cut else "ask again, or for a simpler schema"
    told = f"the chat model {name} wrote no usable JSON, twice: {reply.reason}{_tell_cut(written, options)}; {way_out}"
    return Unavailable("llm_bad_json", told)


def _draft(reply: Reply, asked: JsonTask) -> Draft:
    if reply.value is None:
        return Draft(text=MISSING[asked.task.language], refused=True, dropped=reply.dropped)
    citations: list[Citation] = []
    leaves = list_leaves(reply.value)
    for number, place in enumerate(reply.places, start=1):
        citations.append(cite_values(number, asked.prompt.passages[place], leaves, asked.task.question))
    return Draft(text=write_value(reply.value), data=reply.value, citations=citations, dropped=reply.dropped)
