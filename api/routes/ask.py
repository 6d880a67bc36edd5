from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, find_knowledge_bases, get_services
from api.json_body import describe_body, read_json
from api.listening import AwaitedAnswer
from api.responses import write_json
from api.schemas.ask import AskAnswer, AskBody, JointAskBody, read_question, show_answer, show_step
from api.schemas.search import Names, name_all, show_passage
from api.sse import Event, EventStream, write_event
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from retrieval.answer import AnswerEvent
from retrieval.writing import PassagesEvent, StepEvent, TokenEvent

TOKEN = b'event: token\ndata: {"text":%b}\n\n'  # filled in thousands of times a second, so by the quickest way
SCHEMA = "response_schema"

router = APIRouter(prefix="/api/v1", tags=["ask"])


@router.post(
    "/knowledge-bases/{kb}/ask",
    response_model=AskAnswer,
    responses={200: {"content": {"text/event-stream": {}}}},
    openapi_extra=describe_body(AskBody),
)
async def ask_knowledge_base(
    request: Request, kb: str, body: Annotated[AskBody, Depends(read_json(AskBody, exact=SCHEMA))]
) -> Response:
    """Ask a question; the answer cites its passages. With `stream` it comes as server-sent events."""
    found = await run_in_threadpool(find_knowledge_base, request, kb)
    return _answer(request, body, [found])


@router.post(
    "/ask",
    response_model=AskAnswer,
    responses={200: {"content": {"text/event-stream": {}}}},
    openapi_extra=describe_body(JointAskBody),
)
async def ask_several(
    request: Request, body: Annotated[JointAskBody, Depends(read_json(JointAskBody, exact=SCHEMA))]
) -> Response:
    """Ask several knowledge bases one question; the answer cites passages of any of them."""
    return _answer(request, body, await run_in_threadpool(find_knowledge_bases, request, body.knowledge_bases))


def _answer(request: Request, body: AskBody, asked: Sequence[KnowledgeBaseKey]) -> Response:
    question, names, talker = read_question(body, asked), name_all(asked), get_services(request).talker
    if body.stream:
        return EventStream(talker.stream(question), lambda event: write_answer_event(event, names))
    return AwaitedAnswer(talker.answer(question), lambda answer: show_answer(answer, names))


def write_answer_event(event: AnswerEvent, names: Names) -> bytes:
    """The events of the contract."""
    if isinstance(event, TokenEvent):
        return TOKEN % write_json(event.text)
    if isinstance(event, PassagesEvent):
        told = Event(name="passages", data={"passages": [show_passage(found, names) for found in event.passages]})
    elif isinstance(event, StepEvent):
        told = Event(name="step", data=show_step(event))
    else:
        told = Event(name="done", data=show_answer(event.answer, names))
    return write_event(told)
