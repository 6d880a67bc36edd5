"""What is kept of an answer, and when."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes.chat_model import ScriptedChatModel
from fakes.passages import make_passage

from kb.errors import NotFound, Unavailable
from kb.types import KeptCitation, KeptTurn, NewTurn
from retrieval.answer import Answer, Answerer, AskRequest, DoneEvent, TokenEvent
from retrieval.chat_writer import ChatWriter
from retrieval.conversation import LATEST, Talker
from retrieval.extractive import ExtractiveWriter
from retrieval.instructions import MISSING
from retrieval.prompt import ChatMessage
from retrieval.search import SearchRequest, SearchResult

TOWER = make_passage("望江塔高四十六米。", start=3)
ASK = AskRequest(question="望江塔有多高？", kb_id="kb1", also=("kb2",), keep=True)
TURN = KeptTurn(
    question="它在哪里？",
    query="望江塔在哪里？",
    answer="北门外[1]。",
    refused=False,
    model="m",
    citations=(),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)

EARLIER = KeptCitation(
    number=1, kb_id="kb1", document_id="earlier", path="a.md", version=1, page_start=1, page_end=1, start=0, end=3,
    quote="北门外",
)  # fmt: skip


class Turns:
    """A TurnStore in memory: one conversation `c` of two knowledge bases. `fault` is raised when a turn is kept."""

    def __init__(self, *turns: KeptTurn, fault: Exception | None = None, gone: bool = False) -> None:
        self.turns = turns
        self.fault = fault
        self.gone = gone
        self.kept: list[NewTurn] = []

    def list_latest(self, conversation_id: str, kb_ids: Sequence[str], limit: int) -> Sequence[KeptTurn]:
        assert limit == LATEST
        if conversation_id != "c" or set(kb_ids) != {"kb1", "kb2"}:
            raise NotFound("conversation_not_found", conversation_id)
        return self.turns

    def keep(self, new: NewTurn) -> bool:
        if self.fault is not None:
            raise self.fault
        self.kept.append(new)
        return not self.gone


class Source:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request.query)
        return SearchResult(passages=(TOWER,), revision=1, degraded=(), timings_ms={})


def talk(turns: Turns, model: ScriptedChatModel | None = None, *, keeps: bool = True) -> tuple[Talker, Source]:
    source = Source()
    writer = ChatWriter(model or ScriptedChatModel("四十六米[1]。"))
    return Talker(Answerer(source, writer), turns, keeps=keeps), source


def ask(turns: Turns, request: AskRequest = ASK, *, keeps: bool = True) -> Answer:
    return asyncio.run(talk(turns, keeps=keeps)[0].answer(request))


def test_a_question_begins_a_conversation() -> None:
    turns = Turns()
    answer = ask(turns, replace(ASK, question=" 望江塔有多高？ "))
    [new] = turns.kept
    assert re.fullmatch("[0-9a-f]{32}", new.conversation_id)
    assert (new.conversation_id, new.is_first, list(new.kb_ids)) == (answer.conversation_id, True, ["kb1", "kb2"])
    kept = new.turn
    assert (kept.question, kept.query, kept.answer, kept.model) == (
        "望江塔有多高？",
        "望江塔有多高？",
        "四十六米[1]。",
        "scripted",
    )
    [cited] = kept.citations
    told = answer.citations[0]
    assert all(getattr(cited, name) == getattr(told, name) for name in ("number", "path", "version", "start", "quote"))


def test_one_that_names_a_conversation_goes_on_with_it() -> None:
    turns = Turns(TURN)
    talker, source = talk(turns)
    answer = asyncio.run(talker.answer(replace(ASK, question="它有多高？", conversation_id="c", keep=False)))
    assert source.asked == ["望江塔有多高？"]
    assert (answer.query, answer.conversation_id) == ("望江塔有多高？", "c")
    [new] = turns.kept
    assert (new.conversation_id, new.is_first, new.turn.question) == ("c", False, "它有多高？")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("四十六米[1]。", ["d1", "earlier", "shown"]),
        ("It does not say.", ["d1", "earlier", "shown"]),
        (MISSING["zh"], []),
    ],
)
def test_what_a_chat_model_was_shown_is_kept_with_its_answer(text: str, read: list[str]) -> None:
    """Cited or not, its words may come from there; those of the refusal are ours."""
    turns = Turns(replace(TURN, citations=[EARLIER], read=["shown"]))
    talker, _ = talk(turns, ScriptedChatModel(text))
    asyncio.run(talker.answer(replace(ASK, conversation_id="c")))
    assert turns.kept[0].turn.read == read


def test_a_follow_up_is_completed_from_what_was_said_before() -> None:
    turns = Turns(replace(TURN, citations=[EARLIER]))
    talker, _ = talk(turns, ScriptedChatModel(MISSING["zh"]))
    answer = asyncio.run(talker.answer(replace(ASK, question="它有多高？", conversation_id="c")))
    assert (answer.refused, turns.kept[0].turn.read) == (True, ["earlier"])


def test_quotes_hold_nothing_but_what_they_cite() -> None:
    turns = Turns(replace(TURN, citations=[EARLIER]))
    answer = asyncio.run(
        Talker(Answerer(Source(), ExtractiveWriter()), turns).answer(replace(ASK, conversation_id="c"))
    )
    assert (answer.refused, turns.kept[0].turn.read) == (False, [])


def test_of_an_answer_that_was_taken_out_the_question_still_counts() -> None:
    model = ScriptedChatModel("x")
    talker, source = talk(Turns(replace(TURN, answer=None)), model)
    asyncio.run(talker.answer(replace(ASK, question="它有多高？", conversation_id="c")))
    assert source.asked == ["望江塔有多高？"]
    system, user = model.asked[0][0]  # as many templates have it: no two messages of one role in a row
    assert (system.role, user.role) == ("system", "user")
    assert user.content.startswith(f"{TURN.query}\n\n资料：")


def test_a_history_that_is_sent_counts_for_more() -> None:
    history = [ChatMessage(role="user", content="白鹭灯塔在哪里？")]
    talker, source = talk(Turns(TURN))
    asyncio.run(talker.answer(replace(ASK, question="它有多高？", conversation_id="c", history=history)))
    assert source.asked == ["白鹭灯塔有多高？"]


@pytest.mark.parametrize("request_", [replace(ASK, keep=False), replace(ASK, keep=False, history=())])
def test_who_keeps_the_conversation_has_none_kept(request_: AskRequest) -> None:
    turns = Turns()
    assert ask(turns, request_).conversation_id is None
    assert turns.kept == []


@pytest.mark.parametrize("turns", [Turns(fault=Unavailable("disk_full", "x")), Turns(gone=True)])
def test_an_answer_that_cannot_be_kept_stands_all_the_same(turns: Turns) -> None:
    answer = ask(turns, replace(ASK, conversation_id="c"))
    assert (answer.answer, answer.conversation_id) == ("四十六米[1]。", None)


def test_a_conversation_of_others_is_unknown() -> None:
    for request in (replace(ASK, conversation_id="d"), replace(ASK, conversation_id="c", also=())):
        with pytest.raises(NotFound):
            ask(Turns(TURN), request)
    with pytest.raises(NotFound):
        ask(Turns(TURN), replace(ASK, conversation_id="c"), keeps=False)
    assert ask(Turns(), keeps=False).conversation_id is None


def test_a_reader_who_leaves_leaves_nothing_behind() -> None:
    turns, model = Turns(), ScriptedChatModel("四十", "六米", endless=True)

    async def leave() -> None:
        events = talk(turns, model)[0].stream(ASK)
        async for event in events:
            if isinstance(event, TokenEvent):
                break
        await events.aclose()

    asyncio.run(leave())
    assert (turns.kept, model.closed) == ([], 1)


def test_an_answer_that_fails_is_not_kept() -> None:
    turns = Turns()
    talker, _ = talk(turns, ScriptedChatModel("四十", Unavailable("llm_error", "x")))

    async def main() -> list[object]:
        return [event async for event in talker.stream(ASK) if isinstance(event, DoneEvent)]

    with pytest.raises(Unavailable):
        asyncio.run(main())
    assert turns.kept == []
