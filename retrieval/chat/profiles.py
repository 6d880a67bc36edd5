"""What each kind of chat server takes, tells and does wrong: one row each, so that no other code asks which it is.

All of them take `model`, `messages`, `max_tokens` (never `max_completion_tokens`, which Ollama and llama-cpp-python
ignore: they then run on), `temperature`, `top_p`, `stop`, `seed` and `stream`. `docs/chat-models.md` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.chat.hermes import write_tool
from retrieval.chat.model import ChatOptions
from retrieval.prompt import ChatMessage

MOST_STOPS = 4  # OpenAI and TGI refuse more


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """`usage`: takes `stream_options` and then tells what a call has used. `window`: where it tells how much the model
    reads and writes. `count`: how it counts the tokens of messages. `assumed_window`: what to go by when neither it nor
    the settings tell. `chooses_model`: refuses a model that it does not list. `widest_top_p`, `least_seed`: the most
    and the least that it takes. `tools`: takes tools and calls as fields; where it does not they are written as text
    (`retrieval/chat/hermes.py`). `schema`: how it is told the JSON Schema of an answer, None where it knows none."""

    usage: bool = False
    window: Literal["models", "props", "info"] | None = None
    count: Literal["vllm", "llamacpp"] | None = None
    assumed_window: int | None = None
    chooses_model: bool = False
    widest_top_p: float = 1.0
    least_seed: int | None = None
    tools: bool = True
    schema: Literal["strict", "named", "value"] | None = None


PROFILES: Mapping[str, Profile] = {
    # Enforces a schema; `guided_*` fields it takes and ignores.
    "vllm": Profile(usage=True, window="models", count="vllm", chooses_model=True, schema="strict"),
    # Unknown fields are 422, a schema is taken and ignored; it tells usage unasked; its list of models is empty without
    # a network. Not every version takes tools.
    "transformers": Profile(tools=False),
    # Serves the one model it was started with, whatever a call names. The window is that of one slot.
    "llamacpp": Profile(usage=True, window="props", count="llamacpp", schema="strict"),
    # Cuts a longer prompt silently at its beginning, where the instructions stand, unless OLLAMA_CONTEXT_LENGTH is set.
    "ollama": Profile(usage=True, assumed_window=4_096, chooses_model=True, schema="strict"),
    # Wants top_p below 1 and a positive seed. Any name of a model will do.
    "tgi": Profile(usage=True, window="info", widest_top_p=0.99, least_seed=1, schema="value"),
    # Any other server: what is standard and no more. Some of them tell the window as vLLM does.
    # OpenAI takes a strict schema only where every property is required and no other allowed.
    "openai": Profile(window="models", chooses_model=True, schema="named"),
}


def write_body(model: str, profile: Profile, messages: Sequence[ChatMessage], options: ChatOptions) -> dict[str, Any]:
    """The request that a server of this kind takes."""
    body: dict[str, Any] = {
        "model": model,
        "messages": write_messages(messages),
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "stream": True,
    }
    if options.top_p is not None:
        body["top_p"] = min(options.top_p, profile.widest_top_p)
    if options.stop:
        body["stop"] = list(options.stop)[:MOST_STOPS]
    if options.seed is not None:
        body["seed"] = options.seed if profile.least_seed is None else max(options.seed, profile.least_seed)
    if options.tools:
        body["tools"] = [write_tool(tool) for tool in options.tools]
    if profile.usage:
        body["stream_options"] = {"include_usage": True}
    if options.schema is not None and profile.schema is not None:
        body["response_format"] = _write_format(profile, options.schema)
    return body


def _write_format(profile: Profile, schema: Mapping[str, Any]) -> dict[str, Any]:
    if profile.schema == "value":
        return {"type": "json_object", "value": schema}
    named = {"name": "answer", "schema": schema} | ({"strict": True} if profile.schema == "strict" else {})
    return {"type": "json_schema", "json_schema": named}


def write_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    return [_write_message(message) for message in messages]


def _write_message(message: ChatMessage) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.role == "tool":
        written["tool_call_id"] = message.call_id
    return written
