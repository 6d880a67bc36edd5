from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_services
from api.json_body import describe_body, read_json
from api.responses import JsonAnswer
from api.schemas.document import StartedJob
from api.schemas.reindex import ReindexBody

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}", tags=["re-indexing"])


@router.post("/reindex", status_code=202, response_model=StartedJob, openapi_extra=describe_body(ReindexBody))
def reindex_knowledge_base(
    request: Request, kb: str, body: Annotated[ReindexBody, Depends(read_json(ReindexBody))]
) -> Response:
    """Sync every source, or split and embed everything anew beside the live index and swap."""
    found = find_knowledge_base(request, kb)
    store = get_services(request).store
    job_id = store.start_reindex(found.id, body.mode, body.embedding_model, gate=body.gate)
    return JsonAnswer(StartedJob(job_id=job_id), 202)
