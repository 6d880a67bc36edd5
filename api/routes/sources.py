from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog, get_services
from api.json_body import describe_body, read_json
from api.paging import Cursor, Limit, Page, cut_page, read_cursor
from api.responses import JsonAnswer
from api.schemas.document import StartedJob
from api.schemas.source import SourceAnswer, SourceChange, SourceCreation, SyncRequest, show_source
from api.schemas.text import normalize_name
from kb.catalog.sources import NewSource
from kb.types import Source, SourceKind

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}/sources", tags=["sources"])


@router.post("", status_code=201, response_model=SourceAnswer, openapi_extra=describe_body(SourceCreation))
def create_source(
    request: Request, kb: str, body: Annotated[SourceCreation, Depends(read_json(SourceCreation))]
) -> Response:
    """Create a source. Nothing is read before its first sync."""
    new = NewSource(
        kb_id=find_knowledge_base(request, kb).id,
        name=body.name,
        kind=SourceKind(body.kind),
        uri=body.uri,
        include=tuple(body.include),
        exclude=tuple(body.exclude),
        max_pages=body.max_pages,
        depth=body.depth,
        schedule=body.schedule,
        timezone=body.timezone,
    )
    return JsonAnswer(show_source(get_services(request).sources.create(new)), 201)


@router.get("", response_model=Page[SourceAnswer])
def list_sources(request: Request, kb: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List sources by name."""
    found = find_knowledge_base(request, kb)
    sources = get_catalog(request).sources.list_sources(found.id, limit + 1, read_cursor(cursor) or "")
    page, next_cursor = cut_page(sources, limit, lambda one: one.name)
    return JsonAnswer(Page(items=[show_source(one) for one in page], next_cursor=next_cursor))


@router.get("/{source}", response_model=SourceAnswer)
def get_source(request: Request, kb: str, source: str) -> Response:
    """Get one source, by id or name."""
    return JsonAnswer(show_source(_find(request, kb, source)))


@router.patch("/{source}", response_model=SourceAnswer, openapi_extra=describe_body(SourceChange))
def change_source(
    request: Request, kb: str, source: str, body: Annotated[SourceChange, Depends(read_json(SourceChange))]
) -> Response:
    """Change a source's folder or addresses, patterns, bounds or schedule; the next sync goes by it."""
    changes = body.model_dump(exclude_unset=True)
    return JsonAnswer(show_source(get_services(request).sources.change(_find(request, kb, source), changes)))


@router.delete("/{source}", status_code=204)
def delete_source(
    request: Request,
    kb: str,
    source: str,
    keep_documents: Annotated[bool, Query(description="leave its documents as if they had been uploaded")] = False,
) -> Response:
    """Delete a source with its documents."""
    get_services(request).store.delete_source(_find(request, kb, source), keep_documents=keep_documents)
    return Response(status_code=204)


@router.post(
    "/{source}/sync",
    status_code=202,
    response_model=StartedJob,
    responses={200: {"description": "of a dry run: what a sync would do"}},
    openapi_extra=describe_body(SyncRequest, may_be_empty=True),
)
def sync_source(
    request: Request,
    kb: str,
    source: str,
    body: Annotated[SyncRequest, Depends(read_json(SyncRequest, may_be_empty=True))],
) -> Response:
    """Sync a source now, or say what a sync would do (`dry_run`)."""
    found = _find(request, kb, source)
    if body.dry_run:
        return JsonAnswer(get_services(request).planner.plan(found))
    job_id = get_catalog(request).sources.request_sync(found.id, force=body.force, include_deleted=body.include_deleted)
    return JsonAnswer(StartedJob(job_id=job_id), 202)


def _find(request: Request, kb: str, source: str) -> Source:
    """Raises NotFound (`knowledge_base_not_found`, `source_not_found`)."""
    return get_catalog(request).sources.find(find_knowledge_base(request, kb).id, normalize_name(source))
