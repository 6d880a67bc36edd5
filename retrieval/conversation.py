"""Conversations around the answerer: what was said before goes in, the new turn is kept once its answer is whole.

Nothing is written while an answer streams, so that an open stream holds no connection to the database.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from kb.errors import NotFound, Unavailable
from kb.types import KeptCitation, KeptTurn, NewTurn
from retrieval.answer import Answer, Answerer, AnswerEvent, AskRequest, DoneEvent, take_answer
from retrieval.citations import Citation
from retrieval.prompt import ChatMessage

LATEST = 20  # turns that are read for the next answer; the prompt trims them by tokens

log = logging.getLogger(__name__)


class TurnStore(Protocol):
    """Where conversations are kept. Blocks; called in a thread."""

    def list_latest(self, conversation_id: str, kb_ids: Sequence[str], limit: int) -> Sequence[KeptTurn]:
        """Oldest first. Raises NotFound (`conversation_not_found`), also for one with other knowledge bases."""
        ...

    def keep(self, new: NewTurn) -> bool:
        """False when the conversation or a knowledge base was deleted meanwhile. Raises Unavailable."""
        ...


class Talker:
    """Answers questions within conversations, and those outside of any."""

    def __init__(self, answerer: Answerer, turns: TurnStore, *, keeps: bool = True) -> None:
        self._answerer = answerer
        self._turns = turns
        self._keeps = keeps

    async def answer(self, request: AskRequest) -> Answer:
        """The whole answer. Raises what `stream` raises."""
        return await take_answer(self.stream(request))

    async def stream(self, request: AskRequest) -> AsyncGenerator[AnswerEvent, None]:
        """The answerer's events. Raises what it raises, and NotFound (`conversation_not_found`)."""
        turns = await self._recall(request)
        # what a caller says was said before counts for more than what we remember
        asked = request if request.history or not turns else replace(request, history=write_history(turns))
        async with aclosing(self._answerer.stream(asked)) as events:
            async for event in events:
                if isinstance(event, DoneEvent):
                    yield DoneEvent(answer=await self._keep(event.answer, request, turns))
                else:
                    yield event

    async def _recall(self, request: AskRequest) -> Sequence[KeptTurn]:
        if request.conversation_id is None:
            return ()
        if not self._keeps:
            reason = f"there is no conversation {request.conversation_id[:64]!r}: this server keeps none"
            raise NotFound("conversation_not_found", reason)
        bases = [request.kb_id, *request.also]
        return await asyncio.to_thread(self._turns.list_latest, request.conversation_id, bases, LATEST)

    async def _keep(self, answer: Answer, request: AskRequest, turns: Sequence[KeptTurn]) -> Answer:
        """The answer under the id of its conversation; under none when it cannot be kept: the answer itself stands."""
        if not self._keeps or not (request.keep or request.conversation_id):
            return answer
        new = NewTurn(
            conversation_id=request.conversation_id or uuid.uuid4().hex,
            kb_ids=[request.kb_id, *request.also],
            turn=describe_turn(answer, request.question.strip(), turns),
            is_first=request.conversation_id is None,
        )
        try:
            kept = await asyncio.to_thread(self._turns.keep, new)
        except Unavailable as error:
            log.warning("conversation.not_kept code=%s", error.code)
            kept = False
        return replace(answer, conversation_id=new.conversation_id if kept else None)


def write_history(turns: Sequence[KeptTurn]) -> list[ChatMessage]:
    """Questions as they were searched for, which says the same without the turns before."""
    history: list[ChatMessage] = []
    for turn in turns:
        history.append(ChatMessage(role="user", content=turn.query))
        if turn.answer is not None:
            history.append(ChatMessage(role="assistant", content=turn.answer))
    return history


def describe_turn(answer: Answer, question: str, turns: Sequence[KeptTurn] = ()) -> KeptTurn:
    """`turns` went before it, and a chat model may repeat what they say."""
    return KeptTurn(
        question=question,
        query=answer.query,
        answer=answer.answer,
        refused=answer.refused,
        model=answer.model,
        citations=[_keep_citation(citation) for citation in answer.citations],
        created_at=datetime.now(UTC),
        unsupported=[(span.start, span.end) for span in answer.unsupported],
        read=_list_read(answer, question, turns),
    )


def _list_read(answer: Answer, question: str, turns: Sequence[KeptTurn]) -> list[str]:
    """Documents whose words may be in the answer or the query: a chat model was shown the passages and what was
    answered before, and a follow-up was completed from that."""
    is_told_freely = not (answer.refused or answer.only_quotes)
    read = {passage.document_id for passage in answer.passages} if is_told_freely else set()
    if is_told_freely or answer.query != question:
        for turn in turns:
            read.update(turn.read, (one.document_id for one in turn.citations))
    return sorted(read)


def _keep_citation(citation: Citation) -> KeptCitation:
    return KeptCitation(
        number=citation.number,
        kb_id=citation.kb_id,
        document_id=citation.document_id,
        path=citation.path,
        version=citation.version,
        page_start=citation.page_start,
        page_end=citation.page_end,
        start=citation.start,
        end=citation.end,
        quote=citation.quote,
    )
