from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog, get_services
from api.json_body import describe_body, read_json
from api.paging import Cursor, Limit, Page, cut_page, read_cursor
from api.responses import JsonAnswer
from api.schemas.knowledge_base import (
    KnowledgeBaseAnswer,
    KnowledgeBaseChange,
    KnowledgeBaseCreation,
    read_changes,
    read_prompt,
    read_refusal,
    show_knowledge_base,
)

router = APIRouter(prefix="/api/v1/knowledge-bases", tags=["knowledge bases"])


@router.post(
    "", status_code=201, response_model=KnowledgeBaseAnswer, openapi_extra=describe_body(KnowledgeBaseCreation)
)
def create_knowledge_base(
    request: Request, body: Annotated[KnowledgeBaseCreation, Depends(read_json(KnowledgeBaseCreation))]
) -> Response:
    """Create a knowledge base."""
    store = get_services(request).store
    created = store.create_knowledge_base(
        body.name, body.description, body.language, body.embedding_model, body.chunk_tokens
    )
    return JsonAnswer(show_knowledge_base(created), 201)


@router.get("", response_model=Page[KnowledgeBaseAnswer])
def list_knowledge_bases(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List knowledge bases by name."""
    found = get_catalog(request).knowledge_bases.list_knowledge_bases(limit + 1, read_cursor(cursor) or "")
    page, next_cursor = cut_page(found, limit, lambda one: one.name)
    return JsonAnswer(Page(items=[show_knowledge_base(one) for one in page], next_cursor=next_cursor))


@router.get("/{kb}", response_model=KnowledgeBaseAnswer)
def get_knowledge_base(request: Request, kb: str) -> Response:
    """Get one knowledge base, by id or name."""
    found = find_knowledge_base(request, kb)
    return JsonAnswer(show_knowledge_base(get_catalog(request).knowledge_bases.get(found.id)))


@router.patch("/{kb}", response_model=KnowledgeBaseAnswer, openapi_extra=describe_body(KnowledgeBaseChange))
def change_knowledge_base(
    request: Request, kb: str, body: Annotated[KnowledgeBaseChange, Depends(read_json(KnowledgeBaseChange))]
) -> Response:
    """Rename or describe a knowledge base, set its limits for what is published, when it refuses, its prompt, or its
    chunk size to come."""
    found = find_knowledge_base(request, kb)
    catalog, prompt = get_catalog(request), read_prompt(body)
    changed = catalog.knowledge_bases.update(found.id, *read_changes(body))
    if "refusal" in body.model_fields_set:
        catalog.refusals.set_refusal(found.id, read_refusal(body))
    if prompt:
        catalog.prompts.set_prompt(found.id, prompt)
    if prompt or "refusal" in body.model_fields_set:
        changed = catalog.knowledge_bases.get(found.id)
    return JsonAnswer(show_knowledge_base(changed))


@router.delete("/{kb}", status_code=204)
def delete_knowledge_base(request: Request, kb: str) -> Response:
    """Delete a knowledge base with all its documents."""
    found = find_knowledge_base(request, kb)
    get_catalog(request).knowledge_bases.delete(found.id)
    get_services(request).indexes.drop(found.id)
    return Response(status_code=204)
