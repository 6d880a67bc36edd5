from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, find_knowledge_bases, get_services
from api.json_body import describe_body, read_json
from api.responses import JsonAnswer
from api.schemas.search import JointSearchBody, SearchAnswer, SearchBody, name_all, read_request, show_result
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from retrieval.question import check_question
from retrieval.relevance import measure_relevance

router = APIRouter(prefix="/api/v1", tags=["search"])


@router.post("/knowledge-bases/{kb}/search", response_model=SearchAnswer, openapi_extra=describe_body(SearchBody))
def search_knowledge_base(
    request: Request, kb: str, body: Annotated[SearchBody, Depends(read_json(SearchBody))]
) -> Response:
    """Find the passages nearest to a query."""
    query = _check_query(request, body)
    return _search(request, body, query, [find_knowledge_base(request, kb)])


@router.post("/search", response_model=SearchAnswer, openapi_extra=describe_body(JointSearchBody))
def search_several(request: Request, body: Annotated[JointSearchBody, Depends(read_json(JointSearchBody))]) -> Response:
    """Find the passages nearest to a query in several knowledge bases."""
    query = _check_query(request, body)
    return _search(request, body, query, find_knowledge_bases(request, body.knowledge_bases))


def _check_query(request: Request, body: SearchBody) -> str:
    return check_question(body.query, get_services(request).store.settings.max_question_characters)


def _search(request: Request, body: SearchBody, query: str, asked: Sequence[KnowledgeBaseKey]) -> Response:
    wanted = read_request(body, [one.id for one in asked], query)
    found = get_services(request).joint.search(wanted)
    relevance = measure_relevance(query, found.passages) if body.relevance and found.passages else None
    return JsonAnswer(show_result(found, name_all(asked), relevance))
