from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_services
from api.json_body import describe_body, read_json
from api.responses import JsonAnswer
from api.schemas.search import SearchAnswer, SearchBody, read_filter, show_result
from api.schemas.text import check_metadata
from retrieval.question import check_question
from retrieval.search import SearchRequest

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}", tags=["search"])


@router.post("/search", response_model=SearchAnswer, openapi_extra=describe_body(SearchBody))
def search_knowledge_base(
    request: Request, kb: str, body: Annotated[SearchBody, Depends(read_json(SearchBody))]
) -> Response:
    """Find the passages nearest to a query."""
    services = get_services(request)
    query = check_question(body.query, services.store.settings.max_question_characters)
    if body.filter is not None:
        check_metadata(body.filter.metadata)
    found = find_knowledge_base(request, kb)
    result = services.searcher.search(
        SearchRequest(
            query=query,
            kb_id=found.id,
            top_k=body.top_k,
            mode=body.mode,
            rerank=body.rerank,
            merge=body.merge,
            max_tokens=body.max_tokens,
            only=read_filter(body.filter),
        )
    )
    return JsonAnswer(show_result(result))
