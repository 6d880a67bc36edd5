from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_services
from api.json_body import describe_body, read_json
from api.responses import JsonAnswer
from api.schemas.explain import ExplainBody, ExplanationAnswer, show_explanation
from api.schemas.search import read_request
from retrieval.question import check_question

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}", tags=["search"])


@router.post("/explain", response_model=ExplanationAnswer, openapi_extra=describe_body(ExplainBody))
def explain_search(
    request: Request, kb: str, body: Annotated[ExplainBody, Depends(read_json(ExplainBody))]
) -> Response:
    """Say at which stage a search finds or loses one document, and why."""
    services = get_services(request)
    query = check_question(body.query, services.store.settings.max_question_characters)
    found = find_knowledge_base(request, kb)
    explanation = services.explainer.explain(read_request(body, [found.id], query), body.document)
    return JsonAnswer(show_explanation(explanation))
