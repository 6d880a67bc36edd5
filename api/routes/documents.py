from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.archives import ArchiveLimits
from api.deps import find_document, find_knowledge_base, get_catalog, get_sealers, get_services
from api.json_body import describe_body, iter_body, read_json
from api.paging import Cursor, Limit, Page, cut_page, read_cursor
from api.responses import JsonAnswer
from api.schemas.document import (
    Deletion,
    DocumentAnswer,
    DocumentDeletion,
    StartedJob,
    UploadAnswer,
    show_document,
)
from api.schemas.text import PathPrefix
from api.uploads import LONGEST_PASSWORD, UploadIntake, UploadLimits
from kb.catalog.documents import DocumentFilter
from kb.config import Settings
from kb.errors import InvalidInput, NotFound
from kb.types import DocumentStatus

FEED_BYTES = 262_144  # handed to a thread at a time: fewer hops than the pieces that come from the socket
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}/documents", tags=["documents"])

_UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "each file's name may be a relative path; the path is the document's identity",
        },
        "archive": {
            "type": "string",
            "format": "binary",
            "description": "one .zip or .tar.gz of a folder: each file in it is a document under its path there",
        },
        "metadata": {"type": "object", "description": "put on each document of the request"},
        "password": {
            "type": "string",
            "maxLength": LONGEST_PASSWORD,
            "format": "password",
            "description": "tried on those PDFs of the request that need one; forgotten once they are read",
        },
    },
    "anyOf": [{"required": ["files"]}, {"required": ["archive"]}],
}
_IDEMPOTENCY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "the same key with the same request gets the first answer again",
}


@router.post(
    "",
    status_code=202,
    response_model=UploadAnswer,
    openapi_extra={
        "parameters": [_IDEMPOTENCY_HEADER],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD_SCHEMA}}},
    },
)
async def upload_documents(request: Request, kb: str) -> Response:
    """Upload files, or an archive of them. Answered once bytes and rows are durable; a worker indexes them then."""
    found = await run_in_threadpool(find_knowledge_base, request, kb)
    store, key = get_services(request).store, _read_key(request)
    settings = store.settings
    intake = UploadIntake(
        store.blobs,
        _read_limits(settings),
        request.headers.get("content-type", ""),
        get_sealers(request),
    )
    try:
        await _receive(request, intake, settings.max_request_bytes)
        upload = await run_in_threadpool(intake.keep_files, found.id, key)
        return JsonAnswer(await run_in_threadpool(store.catalog.uploads.record, upload), 202)
    finally:
        await run_in_threadpool(intake.close)


@router.get("", response_model=Page[DocumentAnswer])
def list_documents(
    request: Request,
    kb: str,
    status: DocumentStatus | None = None,
    path_prefix: Annotated[PathPrefix, Query(max_length=1024)] = "",
    coverage: Annotated[
        Literal["partial"] | None, Query(description="only those of which some pages have text and others have none")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List documents by path."""
    found = find_knowledge_base(request, kb)
    only = DocumentFilter(
        kb_id=found.id,
        status=status,
        path_prefix=path_prefix,
        partial=coverage == "partial",
        after=read_cursor(cursor) or "",
    )
    page, next_cursor = cut_page(get_catalog(request).documents.list_documents(only, limit + 1), limit, _get_path)
    return JsonAnswer(Page(items=[show_document(one) for one in page], next_cursor=next_cursor))


@router.post("/delete", response_model=Deletion, openapi_extra=describe_body(DocumentDeletion))
def delete_documents(
    request: Request, kb: str, body: Annotated[DocumentDeletion, Depends(read_json(DocumentDeletion))]
) -> Response:
    """Delete documents by id, by path prefix, or both."""
    if not body.ids and body.path_prefix is None:
        raise InvalidInput("missing_field", "name what to delete: ids, path_prefix or both")
    found = find_knowledge_base(request, kb)
    return JsonAnswer(Deletion(deleted=_delete(request, found.id, body.ids, body.path_prefix)))


@router.get("/{document_id}", response_model=DocumentAnswer)
def get_document(request: Request, kb: str, document_id: str) -> Response:
    """Get one document."""
    return JsonAnswer(show_document(find_document(request, kb, document_id)))


@router.delete("/{document_id}", status_code=204)
def delete_document(request: Request, kb: str, document_id: str) -> Response:
    """Delete one document: from then on no search returns it."""
    document = find_document(request, kb, document_id)
    if not _delete(request, document.kb_id, [document.id], None):
        raise NotFound("document_not_found", f"there is no document {document_id[:64]!r}")
    return Response(status_code=204)


@router.post("/{document_id}/retry", status_code=202, response_model=StartedJob)
def retry_document(request: Request, kb: str, document_id: str) -> Response:
    """Index the newest bytes of a document once more."""
    document = find_document(request, kb, document_id)
    return JsonAnswer(StartedJob(job_id=get_catalog(request).uploads.retry(document.id)), 202)


def _read_limits(settings: Settings) -> UploadLimits:
    archive = ArchiveLimits(entries=settings.max_archive_entries, bytes=settings.max_archive_bytes)
    return UploadLimits(
        file_bytes=settings.max_file_bytes,
        files=settings.max_request_files,
        archive=archive,
        readers=settings.reader_classes.keys(),
    )


async def _receive(request: Request, intake: UploadIntake, limit: int) -> None:
    waiting = bytearray()
    async for piece in iter_body(request, limit):
        waiting += piece
        if len(waiting) >= FEED_BYTES:
            await run_in_threadpool(intake.feed, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(intake.feed, bytes(waiting))


def _read_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput(
            "bad_idempotency_key", "an Idempotency-Key has 1 to 255 printable ASCII characters, no space"
        )
    return key


def _delete(request: Request, kb_id: str, ids: Sequence[str], path_prefix: str | None) -> int:
    return get_services(request).store.delete_documents(kb_id, ids, path_prefix)


def _get_path(document: Any) -> str:  # noqa: ANN401
    return str(document.path)
