"""Conversations: what was asked and answered one after another, as it is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptCitation:
    """`quote` is None when the document was deleted since: a purge takes its text from here as well."""

    number: int
    kb_id: str
    document_id: str
    path: str
    version: int
    page_start: int
    page_end: int
    start: int
    end: int
    quote: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptTurn:
    """A question and its answer. `query` is what was searched for; `answer` is None when it rested on a document that
    was deleted since. `unsupported` are the places `(start, end)` in it of the sentences that no cited passage bears
    out, None where the answer is gone or was kept before they were. `read` are the documents that words of `answer` or
    `query` may come from beside those that are cited."""

    question: str
    query: str
    answer: str | None
    refused: bool
    model: str
    citations: Sequence[KeptCitation]
    created_at: datetime
    unsupported: Sequence[tuple[int, int]] | None = None
    read: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTurn:
    """A turn to keep. `is_first` begins the conversation; otherwise it must be there still."""

    conversation_id: str
    kb_ids: Sequence[str]
    turn: KeptTurn
    is_first: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """`title` is the beginning of its first question, `turns` their number."""

    id: str
    title: str
    kb_ids: Sequence[str]
    turns: int
    created_at: datetime
    updated_at: datetime
