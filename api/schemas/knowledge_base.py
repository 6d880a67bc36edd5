"""Knowledge bases as the contract shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from api.schemas.text import Description, Language, Name, RequestBody
from kb.types import KnowledgeBase


class KnowledgeBaseCreation(RequestBody):
    name: Name
    description: Description = ""
    language: Language = "auto"
    embedding_model: str | None = Field(None, min_length=1, max_length=255)


class KnowledgeBaseChange(RequestBody):
    name: Name | None = None
    description: Description | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBaseAnswer:
    id: str
    name: str
    description: str
    language: str
    embedding_model: str
    dimension: int
    revision: int
    documents: int
    chunks: int
    created_at: datetime


def show_knowledge_base(found: KnowledgeBase) -> KnowledgeBaseAnswer:
    return KnowledgeBaseAnswer(
        id=found.id,
        name=found.name,
        description=found.description,
        language=found.language,
        embedding_model=found.embedding_model,
        dimension=found.dimension,
        revision=found.revision,
        documents=found.documents,
        chunks=found.chunks,
        created_at=found.created_at,
    )
