from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_services
from api.json_body import describe_body, read_json
from api.responses import JsonAnswer
from api.schemas.search import SearchAnswer, SearchBody, read_request, show_result
from retrieval.question import check_question

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}", tags=["search"])


@router.post("/search", response_model=SearchAnswer, openapi_extra=describe_body(SearchBody))
def search_knowledge_base(
    request: Request, kb: str, body: Annotated[SearchBody, Depends(read_json(SearchBody))]
) -> Response:
    """Find the passages nearest to a query."""
    services = get_services(request)
    query = check_question(body.query, services.store.settings.max_question_characters)
    found = find_knowledge_base(request, kb)
    return JsonAnswer(show_result(services.searcher.search(read_request(body, found.id, query))))
