"""Kept conversations as the contract shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.schemas.ask import Unsupported
from kb.types import Conversation, KeptCitation, KeptTurn


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationAnswer:
    """`knowledge_bases` are ids, `turns` is a number."""

    id: str
    title: str
    knowledge_bases: Sequence[str]
    turns: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptDocument:
    id: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptCitationAnswer:
    """`quote` is null when the document was deleted since."""

    number: int
    document: KeptDocument
    version: int
    page_start: int
    page_end: int
    start: int
    end: int
    quote: str | None
    knowledge_base: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnAnswer:
    """`answer` is null when a document that it cites was deleted since; then `unsupported` is as well, and in turns
    that were kept before it was."""

    question: str
    query: str
    answer: str | None
    refused: bool
    citations: Sequence[KeptCitationAnswer]
    model: str
    unsupported: Sequence[Unsupported] | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeConversation:
    """`turns` are the turns themselves, oldest first."""

    id: str
    title: str
    knowledge_bases: Sequence[str]
    turns: Sequence[TurnAnswer]
    created_at: datetime
    updated_at: datetime


def show_conversation(found: Conversation) -> ConversationAnswer:
    return ConversationAnswer(
        id=found.id,
        title=found.title,
        knowledge_bases=found.kb_ids,
        turns=found.turns,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def show_turns(found: Conversation, turns: Sequence[KeptTurn]) -> WholeConversation:
    return WholeConversation(
        id=found.id,
        title=found.title,
        knowledge_bases=found.kb_ids,
        turns=[_show_turn(turn) for turn in turns],
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def _show_turn(turn: KeptTurn) -> TurnAnswer:
    return TurnAnswer(
        question=turn.question,
        query=turn.query,
        answer=turn.answer,
        refused=turn.refused,
        citations=[_show_citation(citation) for citation in turn.citations],
        model=turn.model,
        unsupported=_show_unsupported(turn),
        created_at=turn.created_at,
    )


def _show_unsupported(turn: KeptTurn) -> Sequence[Unsupported] | None:
    if turn.unsupported is None:
        return None
    return [Unsupported(start=start, end=end) for start, end in turn.unsupported]


def _show_citation(kept: KeptCitation) -> KeptCitationAnswer:
    return KeptCitationAnswer(
        number=kept.number,
        document=KeptDocument(id=kept.document_id, path=kept.path),
        version=kept.version,
        page_start=kept.page_start,
        page_end=kept.page_end,
        start=kept.start,
        end=kept.end,
        quote=kept.quote,
        knowledge_base=kept.kb_id,
    )
