"""Knowledge bases as the contract shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.text import Description, Language, Name, RequestBody
from kb.types import KnowledgeBase, RefusalRule, RelevanceMeasure
from retrieval.own_prompt import check_prompt

ChunkTokens = Annotated[int, Field(ge=16, le=256)]


class KnowledgeBaseCreation(RequestBody):
    name: Name
    description: Description = ""
    language: Language = "auto"
    embedding_model: str | None = Field(None, min_length=1, max_length=255)
    chunk_tokens: ChunkTokens | None = None


class GateChange(RequestBody):
    """How far the rates of the golden questions may fall."""

    hit_rate_fall: float | None = Field(None, ge=0, le=1)
    mrr_fall: float | None = Field(None, ge=0, le=1)


class RefusalChange(RequestBody):
    """Questions less relevant than `threshold` are refused; `measure` is that of the search that found it."""

    threshold: float = Field(ge=0, le=1)
    measure: Literal["vectors", "words", "rerank"]


class PromptChange(RequestBody):
    """What the chat model is told in place of our own words; null takes the text of a language away."""

    zh: str | None = None
    en: str | None = None


class KnowledgeBaseChange(RequestBody):
    """`chunk_tokens` is applied by the next full re-index; null takes `refusal` and `prompt` away."""

    name: Name | None = None
    description: Description | None = None
    gate: GateChange | None = None
    vanish_share: float | None = Field(None, ge=0, le=1)
    refusal: RefusalChange | None = None
    prompt: PromptChange | None = None
    chunk_tokens: ChunkTokens | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GateAnswer:
    hit_rate_fall: float
    mrr_fall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusalAnswer:
    threshold: float
    measure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptAnswer:
    zh: str | None
    en: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBaseAnswer:
    """`chunk_tokens` is what the chunks that answer aim at, `wanted_chunk_tokens` those of the next full re-index."""

    id: str
    name: str
    description: str
    language: str
    embedding_model: str
    dimension: int
    chunk_tokens: int
    wanted_chunk_tokens: int
    revision: int
    documents: int
    chunks: int
    gate: GateAnswer
    vanish_share: float
    refusal: RefusalAnswer | None
    prompt: PromptAnswer | None
    created_at: datetime


def read_changes(body: KnowledgeBaseChange) -> tuple[dict[str, str], dict[str, float], int | None]:
    """What is to change: the knowledge base's own fields, its limits, its chunk size."""
    fields = body.model_dump(exclude_none=True, include={"name", "description"})
    limits = body.model_dump(exclude_none=True, include={"vanish_share"})
    return fields, limits | (body.gate.model_dump(exclude_none=True) if body.gate else {}), body.chunk_tokens


def read_refusal(body: KnowledgeBaseChange) -> RefusalRule | None:
    if body.refusal is None:
        return None
    return RefusalRule(threshold=body.refusal.threshold, measure=RelevanceMeasure(body.refusal.measure))


def read_prompt(body: KnowledgeBaseChange) -> Mapping[str, str | None]:
    """What is to change, by language. Raises InvalidInput (`bad_prompt`)."""
    if "prompt" not in body.model_fields_set:
        return {}
    if body.prompt is None:
        return {"zh": None, "en": None}
    given = body.prompt.model_dump(exclude_unset=True)
    return {language: None if text is None else check_prompt(text, language) for language, text in given.items()}


def show_knowledge_base(found: KnowledgeBase) -> KnowledgeBaseAnswer:
    return KnowledgeBaseAnswer(
        id=found.id,
        name=found.name,
        description=found.description,
        language=found.language,
        embedding_model=found.embedding_model,
        dimension=found.dimension,
        chunk_tokens=found.chunk_tokens,
        wanted_chunk_tokens=found.wanted_chunk_tokens,
        revision=found.revision,
        documents=found.documents,
        chunks=found.chunks,
        gate=GateAnswer(hit_rate_fall=found.limits.hit_rate_fall, mrr_fall=found.limits.mrr_fall),
        vanish_share=found.limits.vanish_share,
        refusal=_show_refusal(found.refusal) if found.refusal else None,
        prompt=PromptAnswer(zh=found.prompt.get("zh"), en=found.prompt.get("en")) if found.prompt else None,
        created_at=found.created_at,
    )


def _show_refusal(rule: RefusalRule) -> RefusalAnswer:
    return RefusalAnswer(threshold=rule.threshold, measure=rule.measure.value)
