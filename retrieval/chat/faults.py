"""What a chat server's refusals mean. Messages name its host, its status and its error's name: its own words may
repeat the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.chat.server import ChatServer
from retrieval.events import list_error_names, name_error

BUSY = frozenset({429, 502, 503, 504})
REPEATED = BUSY | {500}
# How servers name it: vLLM twice, llama-server, OpenAI and those that follow it.
TOO_LONG = frozenset({"input_tokens", "input_text", "exceed_context_size_error", "context_length_exceeded"})


class Repeatable(Exception):
    """A failure before any text: the call may be made again, after what the server asks for; `final` is the error to
    give up with."""

    def __init__(self, final: KbError, pause_s: float | None = None) -> None:
        super().__init__(final.detail)
        self.final = final
        self.pause_s = pause_s


def explain_refusal(server: ChatServer, status: int, told: object) -> KbError:
    """The error that an answer with a status other than 200 stands for; `told` is the JSON that came with it."""
    body = told if isinstance(told, dict) else {}
    said = f"the chat server {server.host} answered {status}{name_error(body)}"
    if status in REPEATED:
        return Unavailable("llm_unavailable" if status in BUSY else "llm_error", said)
    if status in {401, 403}:
        return Unavailable("llm_key_refused", f"{said}: it does not take our key; set KB_LLM_API_KEY")
    if status == 404 and _knows_path(body):
        return Unavailable("llm_model_unknown", f"{said}: it serves no model {server.model!r}; set KB_LLM_MODEL")
    if 300 <= status < 500 and status in {301, 302, 303, 307, 308, 404, 405}:
        return Unavailable("llm_unavailable", f"{said}: no chat there; KB_LLM_BASE_URL ends in /v1 as a rule")
    if 400 <= status < 500 and TOO_LONG.intersection(list_error_names(body)):
        return InvalidInput("llm_prompt_too_long", f"{said}: the prompt is longer than its window; set KB_LLM_WINDOW")
    if 400 <= status < 500:
        return InvalidInput("llm_rejected", f"{said}: it does not take this request")
    return Unavailable("llm_error", said)


def _knows_path(body: Mapping[str, Any]) -> bool:
    """Whether a 404 is about the model. Of a path that is not there servers speak in `detail`, in HTML or not at all,
    llama-server with this one message, which repeats nothing."""
    error = body.get("error")
    return bool(error) and not (isinstance(error, dict) and error.get("message") == "File Not Found")
