"""What the server says of itself: /openapi.json, and /docs as a plain page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.schemas.ask import AskBody, JointAskBody
from api.schemas.document import DocumentDeletion
from api.schemas.explain import ExplainBody
from api.schemas.golden_question import GoldenQuestionBody, GoldenQuestionChange, GoldenQuestionImport
from api.schemas.knowledge_base import KnowledgeBaseChange, KnowledgeBaseCreation
from api.schemas.openai import ChatBody, EmbeddingsBody
from api.schemas.reindex import ReindexBody
from api.schemas.revision import Restoration
from api.schemas.search import JointSearchBody, SearchBody
from api.schemas.source import SourceChange, SourceCreation, SyncRequest

REQUEST_BODIES: Sequence[type[BaseModel]] = (
    KnowledgeBaseCreation,
    KnowledgeBaseChange,
    DocumentDeletion,
    Restoration,
    SourceCreation,
    SourceChange,
    SyncRequest,
    SearchBody,
    JointSearchBody,
    ExplainBody,
    AskBody,
    JointAskBody,
    GoldenQuestionBody,
    GoldenQuestionChange,
    GoldenQuestionImport,
    ReindexBody,
    ChatBody,
    EmbeddingsBody,
)
PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable; docs/errors.md lists them all"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status", "code", "detail"],
}
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.2rem 1rem .2rem 0}"


def describe_api(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with the request bodies that we read ourselves, and problems in place of FastAPI's own errors."""
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    _, bodies = models_json_schema(
        [(body, "validation") for body in REQUEST_BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas.update(bodies["$defs"])
    schemas["Problem"] = PROBLEM
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in described["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "an error", "content": problem}
    return described


def write_docs_page(described: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><b>{method.upper()}</b></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('description', ''))}</td></tr>"
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(described["info"]["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(described['info']['title'])} {escape(described['info']['version'])}</h1>"
        f'<p>The whole description: <a href="/openapi.json">/openapi.json</a></p><table>{"".join(rows)}</table></html>'
    )
