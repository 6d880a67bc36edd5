"""Reading a JSON request: size, type and syntax first, then strict validation against its schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from api.errors import BadRequest, FieldFault
from kb.errors import InvalidInput
from retrieval.json_answer.exact import read_exact

LONGEST_BODY = 1_000_000  # bytes
IDLE_S = 30.0  # a client that sends nothing for so long is not waited for

Model = TypeVar("Model", bound=BaseModel)


async def iter_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece. Raises InvalidInput (`too_large` past `limit` bytes, `request_timeout`)."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise _too_large(limit)
    received = 0
    pieces = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise InvalidInput("request_timeout", f"nothing more of the request came for {IDLE_S:g} s") from None
        if piece is None:
            return
        received += len(piece)
        if received > limit:
            raise _too_large(limit)
        if piece:
            yield piece


def read_json(
    model: type[Model], *, may_be_empty: bool = False, exact: str | None = None
) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that gives the request's body as `model`; where it may be empty, no body is `{}`. `exact` is the
    field whose integers stay whole beyond 64 bits: nothing of it goes into a database."""

    async def read(request: Request) -> Model:
        if may_be_empty and not has_body(request.headers):
            return validate_json(model, {})
        if read_media_type(request) != "application/json":
            raise InvalidInput("unsupported_media_type", "send the body as application/json")
        body = b"".join([piece async for piece in iter_body(request, LONGEST_BODY)])
        return validate_json(model, parse_json(body, exact))

    return read


def read_media_type(request: Request) -> str:
    """Without parameters such as `charset`, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def describe_body(model: type[BaseModel], *, may_be_empty: bool = False) -> dict[str, Any]:
    """What a route that reads `model` tells OpenAPI; `api.openapi` adds the schema it points to."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": not may_be_empty, "content": {"application/json": {"schema": schema}}}}


def parse_json(body: bytes, exact: str | None = None) -> Any:  # noqa: ANN401
    """Of equal keys the last one counts. Raises InvalidInput (`bad_json`, `bad_text`)."""
    try:
        value = orjson.loads(body)
        if exact is not None and isinstance(value, dict) and exact in value:
            value[exact] = read_exact(body)[exact]
    except orjson.JSONDecodeError as error:
        reason = error.msg
        if "surrogate in string" in reason:
            raise InvalidInput("bad_text", "the text holds half of a surrogate pair, which is no character") from None
        raise InvalidInput("bad_json", f"the body is not JSON: {reason}") from None
    if b"\\u0000" in body:
        check_no_nul(value)
    return value


def check_no_nul(value: Any) -> None:  # noqa: ANN401
    """Raises InvalidInput (`bad_text`) for a NUL in any text of a JSON value."""
    todo = [value]
    while todo:  # not recursive: it may be nested a thousand deep
        match todo.pop():
            case str(text) if "\0" in text:
                raise InvalidInput("bad_text", "the text holds a NUL character; remove it")
            case dict(fields):
                todo += [*fields.keys(), *fields.values()]
            case list(items):
                todo += items


def validate_json(model: type[Model], value: Any) -> Model:  # noqa: ANN401
    """Raises BadRequest with the code of the first fault and all of them in `errors`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [to_fault(fault["loc"], fault) for fault in error.errors(include_url=False, include_context=False)]
        raise refuse_faults(faults) from None


def refuse_faults(faults: Sequence[FieldFault]) -> BadRequest:
    first = faults[0]
    detail = f"{first.field}: {first.detail}" if first.field else first.detail
    return BadRequest(first.code, detail, errors=list(faults))


def to_fault(place: Sequence[int | str], fault: Any) -> FieldFault:  # noqa: ANN401
    """A fault as pydantic tells it, under our code and without the value that was sent."""
    return FieldFault(
        field=".".join(str(part)[:64] for part in place), code=_find_code(fault["type"], place), detail=fault["msg"]
    )


def _find_code(kind: str, place: Sequence[Any]) -> str:
    if kind == "extra_forbidden":
        return "unknown_field"
    if kind == "missing":
        return "missing_field"
    if not place:
        return "bad_body"
    return "bad_role" if place[-1] == "role" else f"bad_{place[0]}"


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput("too_large", f"the request is larger than {limit} bytes")
