"""A streamed chat completion: chunks in OpenAI's shape, closed by `[DONE]`.

Citations come with the last chunks, so the numbers in the text must be theirs from the beginning: where a chat model
writes, they are given as they pass (`retrieval/marker_stream.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from api.errors import describe_openai, to_failure
from api.responses import write_json
from api.schemas.openai import ChatBody, name_completion, name_end, show_grounds, show_usage
from api.schemas.search import Names
from retrieval.answer import Answer, AnswerEvent, DoneEvent
from retrieval.marker_stream import MarkerStream
from retrieval.writing import PassagesEvent, TokenEvent

DONE = b"data: [DONE]\n\n"


class Completion:
    """One streamed completion. `renumbers`: its writer's numbers are those of the prompt's passages."""

    def __init__(self, body: ChatBody, names: Names, *, renumbers: bool) -> None:
        self._body = body
        self._names = names
        self._renumbers = renumbers
        self._markers: MarkerStream | None = None
        self._head = {
            "id": name_completion(),
            "object": "chat.completion.chunk",
            "created": int(time()),
            "model": body.model,
        }

    def write(self, event: AnswerEvent) -> bytes:
        """The chunks that an event of the answer makes: none where all of its text is held back, and for a step."""
        if isinstance(event, TokenEvent):
            if self._body.wants_json:  # it comes in one piece, and only at its end is it known what it is
                return b""
            return self._write_text(self._markers.feed(event.text) if self._markers else event.text)
        if isinstance(event, PassagesEvent):
            self._markers = MarkerStream(len(event.passages)) if self._renumbers and event.passages else None
            return self._write_chunk({"role": "assistant"} | ({} if self._body.wants_json else {"content": ""}))
        return self._write_end(event.answer) if isinstance(event, DoneEvent) else b""

    def _write_text(self, text: str) -> bytes:
        return self._write_chunk({"content": text}) if text else b""

    def _write_end(self, answer: Answer) -> bytes:
        if self._body.wants_json:
            rest = self._write_chunk({"refusal" if answer.refused else "content": answer.answer})
        else:
            rest = self._write_text(self._markers.close() if self._markers else "")
        return rest + self._write_last(answer) + DONE

    def _write_last(self, answer: Answer) -> bytes:
        grounds = show_grounds(answer, self._names)
        last = self._write_chunk({}, finish_reason=name_end(answer), **grounds)
        options = self._body.stream_options
        if options is None or not options.include_usage or answer.usage is None:
            return last
        return last + _write_data({**self._head, "choices": [], "usage": show_usage(answer.usage), **grounds})

    def _write_chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:  # noqa: ANN401
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _write_data({**self._head, "choices": [choice], **more})


def write_failure(error: Exception) -> bytes:
    return _write_data(describe_openai(to_failure(error)))


def _write_data(data: Mapping[str, Any]) -> bytes:
    """An event without a name, as OpenAI's clients read them."""
    return b"data: %b\n\n" % write_json(data)
