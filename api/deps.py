"""What routes take from the application they run in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from starlette.requests import Request

from api.bootstrap.services import Services
from api.schemas.text import normalize_name
from kb.catalog.catalog import Catalog
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from kb.errors import NotFound
from kb.types import Document


def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def get_catalog(request: Request) -> Catalog:
    return get_services(request).store.catalog


def get_sealers(request: Request) -> Executor:
    """The threads that fsync uploaded files."""
    sealers: Executor = request.app.state.sealers
    return sealers


def find_knowledge_base(request: Request, kb: str) -> KnowledgeBaseKey:
    """By id or name. Blocks. Raises NotFound (`knowledge_base_not_found`)."""
    return get_catalog(request).knowledge_bases.find(normalize_name(kb))


def find_knowledge_bases(request: Request, named: Sequence[str]) -> list[KnowledgeBaseKey]:
    """Each once, in order. Blocks. Raises NotFound (`knowledge_base_not_found`) for the first that is not there."""
    found = [find_knowledge_base(request, kb) for kb in named]
    return list({one.id: one for one in found}.values())


def find_document(request: Request, kb: str, document_id: str) -> Document:
    """Blocks. Raises NotFound (`knowledge_base_not_found`, `document_not_found`), also for one of another base."""
    found = find_knowledge_base(request, kb)
    document = get_catalog(request).documents.get(document_id)
    if document.kb_id != found.id:
        raise NotFound("document_not_found", f"there is no document {document_id[:64]!r}")
    return document
