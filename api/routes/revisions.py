from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog
from api.json_body import describe_body, read_json
from api.paging import Cursor, Limit, Page, cut_page, read_number_cursor
from api.responses import JsonAnswer
from api.schemas.document import StartedJob
from api.schemas.revision import Restoration, RevisionAnswer, RevisionDetail, show_revision, show_revision_detail
from kb.errors import NotFound

PATHS = 1_000  # of each kind that one revision is shown with
LONGEST_NUMBER = 18  # digits: what every database keeps

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}/revisions", tags=["revisions"])


@router.get("", response_model=Page[RevisionAnswer])
def list_revisions(request: Request, kb: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List revisions, newest first."""
    found = find_knowledge_base(request, kb)
    rows = get_catalog(request).history.list_revisions(found.id, limit + 1, read_number_cursor(cursor))
    page, next_cursor = cut_page(rows, limit, lambda one: str(one.number))
    return JsonAnswer(Page(items=[show_revision(one) for one in page], next_cursor=next_cursor))


@router.get("/{number}", response_model=RevisionDetail)
def get_revision(request: Request, kb: str, number: str) -> Response:
    """Get one revision with the paths of the documents that it changed."""
    found, history = find_knowledge_base(request, kb), get_catalog(request).history
    wanted = _read_number(number)
    revision, paths = history.get(found.id, wanted), history.list_paths(found.id, wanted, PATHS)
    return JsonAnswer(show_revision_detail(revision, paths))


@router.post(
    "/{number}/restore",
    status_code=202,
    response_model=StartedJob,
    openapi_extra=describe_body(Restoration, may_be_empty=True),
)
def restore_revision(
    request: Request,
    kb: str,
    number: str,
    body: Annotated[Restoration, Depends(read_json(Restoration, may_be_empty=True))],
) -> Response:
    """Let answer again what answered at a revision, as one more revision."""
    found = find_knowledge_base(request, kb)
    job_id = get_catalog(request).restores.start(found.id, _read_number(number), gate=body.gate)
    return JsonAnswer(StartedJob(job_id=job_id), 202)


def _read_number(number: str) -> int:
    """Raises NotFound (`revision_not_found`) for what is no number."""
    if not (number.isascii() and number.isdecimal() and len(number) <= LONGEST_NUMBER):
        raise NotFound("revision_not_found", f"there is no revision {number[:64]!r}")
    return int(number)
