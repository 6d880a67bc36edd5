"""What is in a document: its bytes, its extracted text, its chunks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_document, find_knowledge_base, get_catalog, get_services
from api.paging import Cursor, Limit, Page, WholeNumber, cut_page, read_number_cursor
from api.responses import FileAnswer, JsonAnswer
from api.schemas.document import ChunkAnswer, PageAnswer, TextAnswer, show_chunk, show_page
from kb.blobs import LastText
from kb.document_path import name_file
from kb.errors import NotFound

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}/documents/{document_id}", tags=["documents"])


@router.get("/content", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
def get_content(request: Request, kb: str, document_id: str) -> Response:
    """Download the original bytes, as an attachment."""
    document = find_document(request, kb, document_id)
    file = get_services(request).store.blobs.open(document.sha256)
    name = name_file(document.path, document.media_type)
    return FileAnswer(file, name=name, size=document.size, media_type=document.media_type)


@router.get("/chunks", response_model=Page[ChunkAnswer])
def list_chunks(request: Request, kb: str, document_id: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the chunks of the version that answers now."""
    document = find_document(request, kb, document_id)
    after = read_number_cursor(cursor)
    found = get_catalog(request).documents.list_chunks(document.id, limit + 1, -1 if after is None else after)
    page, next_cursor = cut_page(found, limit, lambda pair: str(pair[1].ordinal))
    texts = LastText(get_services(request).store.texts)
    chunks = [show_chunk(chunk, texts.read_text(text_sha)) for text_sha, chunk in page]
    return JsonAnswer(Page(items=chunks, next_cursor=next_cursor))


@router.get("/pages", response_model=Page[PageAnswer])
def list_pages(request: Request, kb: str, document_id: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List what became of each page in the newest attempt."""
    document = find_document(request, kb, document_id)
    after = read_number_cursor(cursor) or 0
    found = [one for one in get_catalog(request).documents.list_ledger(document.id) if one.number > after]
    page, next_cursor = cut_page(found[: limit + 1], limit, lambda one: str(one.number))
    return JsonAnswer(Page(items=[show_page(one) for one in page], next_cursor=next_cursor))


@router.get("/text", response_model=TextAnswer)
def get_text(
    request: Request, kb: str, document_id: str, version: Annotated[WholeNumber | None, Query(ge=1, le=2**31)] = None
) -> Response:
    """Get the extracted text that offsets point into, of the version that answers now or of another one."""
    documents = get_catalog(request).documents
    if version is None:
        find_document(request, kb, document_id)
    elif documents.find_home(document_id) != find_knowledge_base(request, kb).id:
        raise NotFound("document_not_found", f"there is no document {document_id[:64]!r}")
    found = documents.find_text(document_id, version)
    text = get_services(request).store.texts.read_text(found.text_sha)
    pages = [(page.start, page.end) for page in found.pages]
    return JsonAnswer(TextAnswer(version=found.version, text=text, pages=pages))
