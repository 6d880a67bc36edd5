"""A streamed chat completion: chunks in OpenAI's shape, closed by `[DONE]`.

Citations come with the last chunks, so the numbers in the text must be theirs from the beginning: where a chat model
writes, they are given as they pass (`retrieval/marker_stream.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from typing import Any

from api.errors import describe_openai, to_failure
from api.responses import write_json
from api.schemas.openai import ChatBody, name_completion, show_grounds, show_usage
from api.schemas.search import Names
from api.sse import Event, EventStream
from retrieval.answer import Answer, Answerer, AskRequest, DoneEvent
from retrieval.marker_stream import MarkerStream
from retrieval.writing import PassagesEvent, TokenEvent

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One streamed completion. `renumbers`: its writer's numbers are those of the prompt's passages."""

    body: ChatBody
    names: Names
    renumbers: bool
    id: str = field(default_factory=name_completion)
    created: int = field(default_factory=lambda: int(time()))

    def write_chunk(self, delta: Mapping[str, Any] | None, **more: Any) -> Event:  # noqa: ANN401
        finish = more.pop("finish_reason", None)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.body.model,
            "choices": [] if delta is None else [choice],
        }
        return Event(name="chunk", data=head | more)

    def write_text(self, text: str) -> Event:
        return self.write_chunk({"content": text})

    def write_last(self, answer: Answer) -> list[Event]:
        grounds = show_grounds(answer, self.names)
        events = [self.write_chunk({}, finish_reason="stop", **grounds)]
        options = self.body.stream_options
        if options is not None and options.include_usage and answer.usage is not None:
            events.append(self.write_chunk(None, usage=show_usage(answer.usage), **grounds))
        return [*events, Event(name="end", data=None)]


async def stream_completion(
    answerer: Answerer, question: AskRequest, completion: Completion
) -> AsyncGenerator[Event, None]:
    """Closing it ends the chat model's call."""
    markers: MarkerStream | None = None
    async with aclosing(answerer.stream(question)) as events:
        async for event in events:
            match event:
                case PassagesEvent(passages=passages):
                    markers = MarkerStream(len(passages)) if completion.renumbers and passages else None
                    head = {} if completion.body.wants_json else {"content": ""}
                    yield completion.write_chunk({"role": "assistant", **head})
                case TokenEvent(text=text):
                    if not completion.body.wants_json and (shown := markers.feed(text) if markers else text):
                        yield completion.write_text(shown)
                case DoneEvent(answer=answer):
                    if completion.body.wants_json:  # it comes in one piece, and only now is it known what it is
                        yield completion.write_chunk({"refusal" if answer.refused else "content": answer.answer})
                    if markers and (rest := markers.close()):
                        yield completion.write_text(rest)
                    for last in completion.write_last(answer):
                        yield last


class CompletionStream(EventStream):
    """Events without names, as OpenAI's clients read them."""

    def write(self, event: Event) -> bytes:
        return DONE if event.name == "end" else b"data: %b\n\n" % write_json(event.data)

    def write_failure(self, error: Exception) -> bytes:
        return b"data: %b\n\n" % write_json(describe_openai(to_failure(error)))
