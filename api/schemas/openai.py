"""OpenAI's shapes. What a client sends beyond these fields is ignored and goes nowhere."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from time import time
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from api.schemas.ask import show_answer
from api.schemas.search import Names
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from kb.errors import InvalidInput
from kb.types import KnowledgeBase, Vectors
from retrieval.answer import Answer, AnswerLimits, AskRequest
from retrieval.events import Usage
from retrieval.prompt import ChatMessage

MOST_INPUTS = 2_048
ANSWER_TOKENS = 1_024  # where a request names no number
UNUSED_ROLES = frozenset({"system", "developer"})


class OpenAIBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ContentPart(OpenAIBody):
    type: str
    text: str | None = None


class Message(OpenAIBody):
    role: str
    content: str | list[ContentPart] | None = None


class StreamOptions(OpenAIBody):
    include_usage: bool = False


class NamedSchema(OpenAIBody):
    """`schema` is a name that pydantic keeps for itself."""

    schema_: dict[str, Any] | None = Field(None, alias="schema")


class ResponseFormat(OpenAIBody):
    """Of the types only `json_schema` is known here."""

    type: str
    json_schema: NamedSchema | None = None


class ChatBody(OpenAIBody):
    """`model` is a knowledge base's name or id."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None

    @property
    def wants_json(self) -> bool:
        return self.response_format is not None and self.response_format.type == "json_schema"


class EmbeddingsBody(OpenAIBody):
    """`model` is a knowledge base's name or id, or the server's own embedding model."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _check_input(cls, value: object) -> object:
        """What several clients send unless they are told not to is refused in words that say so."""
        if value == []:
            raise PydanticCustomError("bad_input", "the list is empty")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise PydanticCustomError(
                "bad_input", "only texts are taken, no lists of tokens: those of another model say nothing here"
            )
        return value


def read_chat(body: ChatBody, found: KnowledgeBaseKey) -> AskRequest:
    """The last message of the user is the question, those before it are its history.

    Raises InvalidInput (`bad_role`, `bad_messages`, `bad_n`, `bad_response_format`, `question_empty`).
    """
    if body.n not in (None, 1):
        raise InvalidInput("bad_n", f"n is {body.n}: a knowledge base gives one answer")
    turns = [_read_message(message) for message in body.messages if message.role not in UNUSED_ROLES]
    last = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        raise InvalidInput("question_empty", "no message is the user's: the last one of them is the question")
    limits = AnswerLimits()
    named = (body.max_completion_tokens, body.max_tokens)
    wanted = next((number for number in named if number is not None and number > 0), ANSWER_TOKENS)
    return AskRequest(
        question=turns[last].content,
        kb_id=found.id,
        history=turns[:last],
        max_tokens=min(wanted, limits.answer_tokens),
        temperature=body.temperature or 0.0,
        response_schema=_read_format(body.response_format),
    )


def _read_format(wanted: ResponseFormat | None) -> Mapping[str, Any] | None:
    """`text` and `json_object` ask for nothing that can be checked."""
    if wanted is None or wanted.type != "json_schema":
        return None
    if wanted.json_schema is None or wanted.json_schema.schema_ is None:
        raise InvalidInput("bad_response_format", "response_format of type json_schema has no json_schema.schema")
    return wanted.json_schema.schema_


def _read_message(message: Message) -> ChatMessage:
    if message.role not in ("user", "assistant"):
        reason = f"a message's role is {message.role[:32]!r}, it must be user, assistant, system or developer"
        raise InvalidInput("bad_role", reason)
    return ChatMessage(role="user" if message.role == "user" else "assistant", content=_read_content(message.content))


def _read_content(content: str | Sequence[ContentPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type != "text" or part.text is None:
            raise InvalidInput("bad_messages", f"content of type {part.type[:32]!r} cannot be read, only text can")
    return "\n".join(part.text or "" for part in content)


def name_completion() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def show_completion(body: ChatBody, answer: Answer, names: Names) -> Mapping[str, Any]:
    message = {"role": "assistant", "content": answer.answer, "refusal": None}
    if body.wants_json and answer.refused:  # no JSON: who reads `content` as such must not find a sentence there
        message |= {"content": None, "refusal": answer.answer}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": name_end(answer)}
    return {
        "id": name_completion(),
        "object": "chat.completion",
        "created": int(time()),
        "model": body.model,
        "choices": [choice],
        "usage": show_usage(answer.usage),
        **show_grounds(answer, names),
    }


def name_end(answer: Answer) -> str:
    """The `finish_reason`."""
    return "length" if answer.cut else "stop"


def show_grounds(answer: Answer, names: Names) -> Mapping[str, Any]:
    """What stands beside `choices`: what the answer rests on."""
    shown = show_answer(answer, names)
    return {
        "citations": shown.citations,
        "unsupported": shown.unsupported,
        "refused": shown.refused,
        "query": shown.query,
    }


def show_usage(usage: Usage | None) -> Mapping[str, int] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def show_model(found: KnowledgeBase) -> Mapping[str, Any]:
    return {"id": found.name, "object": "model", "created": int(found.created_at.timestamp()), "owned_by": "kb-server"}


def show_embeddings(body: EmbeddingsBody, vectors: Vectors, tokens: int) -> Mapping[str, Any]:
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    packed = body.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode("ascii") if packed else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}
