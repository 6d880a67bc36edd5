from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_services
from api.json_body import describe_body, read_json
from api.listening import AwaitedAnswer
from api.schemas.ask import AskAnswer, AskBody, read_question, show_answer
from api.schemas.search import show_passage
from api.sse import Event, EventStream
from retrieval.answer import Answerer, AskRequest, DoneEvent, PassagesEvent

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}", tags=["ask"])


@router.post(
    "/ask",
    response_model=AskAnswer,
    responses={200: {"content": {"text/event-stream": {}}}},
    openapi_extra=describe_body(AskBody),
)
async def ask_knowledge_base(
    request: Request, kb: str, body: Annotated[AskBody, Depends(read_json(AskBody))]
) -> Response:
    """Ask a question; the answer cites its passages. With `stream` it comes as server-sent events."""
    found = await run_in_threadpool(find_knowledge_base, request, kb)
    question, answerer = read_question(body, found), get_services(request).answerer
    if body.stream:
        return EventStream(stream_answer(answerer, question))
    return AwaitedAnswer(answerer.answer(question), show_answer)


async def stream_answer(answerer: Answerer, question: AskRequest) -> AsyncGenerator[Event, None]:
    """The events of the contract; closing it ends the chat model's call."""
    async with aclosing(answerer.stream(question)) as events:
        async for event in events:
            if isinstance(event, PassagesEvent):
                yield Event(name="passages", data={"passages": [show_passage(found) for found in event.passages]})
            elif isinstance(event, DoneEvent):
                yield Event(name="done", data=show_answer(event.answer))
            else:
                yield Event(name="token", data={"text": event.text})
