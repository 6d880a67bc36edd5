"""From a follow-up to a full question, by the chat model: one short call, and the rule where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from kb.errors import KbError
from kb.tokens import HAN
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.citations import strip_markers
from retrieval.follow_up import Rewriter, RuleRewriter
from retrieval.prompt import ChatMessage, join_turns, neutralise, trim_history
from retrieval.question import list_terms

LIMIT_S = 8.0  # of the whole call: the answer has not even begun
ANSWER_TOKENS = 128
HISTORY_TOKENS = 600
HISTORY_MESSAGES = 8
LONGEST_TURN = 1_000  # characters: the beginning of an answer says what it is about
ADDED = 400  # characters that a full question may be longer than the follow-up

INSTRUCTIONS = {
    True: (
        "把用户的最后一个问题改写成一个不依赖上文也能看懂的完整问题：补上它省略的主语，把代词换成所指的名称。\n"
        "保持原来的语言和意思，不要回答，不要解释；本来就完整的问题原样写出。只写这一个问题。"
    ),
    False: (
        "Rewrite the user's last question so that it can be understood without the conversation: put in what it "
        "leaves out, and names for pronouns.\nKeep its language and meaning. Do not answer and do not explain; a "
        "question that is complete stays as it is. Write that one question only."
    ),
}
LABEL = {True: "最后一个问题：", False: "Last question: "}


class ModelRewriter:
    """A Rewriter over a chat model. Never raises what the model raises: a worse query is better than no answer."""

    def __init__(self, model: ChatModel, limit_s: float = LIMIT_S, rule: Rewriter | None = None) -> None:
        """`rule` serves where the model fails."""
        self._model = model
        self._limit_s = limit_s
        self._rule = rule or RuleRewriter()

    async def rewrite(self, question: str, history: Sequence[ChatMessage], kb_ids: Sequence[str] = ()) -> str:
        messages = write_messages(question, history)
        try:
            async with asyncio.timeout(self._limit_s):
                written = await self._ask(messages)
        except (KbError, TimeoutError):
            written = ""
        full = read_question(written, question)
        return await self._rule.rewrite(question, history, kb_ids) if full is None else full

    async def _ask(self, messages: Sequence[ChatMessage]) -> str:
        pieces: list[str] = []
        options = ChatOptions(max_tokens=ANSWER_TOKENS, temperature=0.0)
        async with aclosing(self._model.stream(messages, options)) as stream:
            async for piece in stream:
                pieces.append(piece.text)
                if sum(map(len, pieces)) > 4 * ADDED:  # it is not writing a question
                    break
        return "".join(pieces)


def write_messages(question: str, history: Sequence[ChatMessage]) -> list[ChatMessage]:
    chinese = bool(HAN.search(question))
    latest = history[max(0, len(history) - HISTORY_MESSAGES) :]
    short = [ChatMessage(role=turn.role, content=turn.content[:LONGEST_TURN]) for turn in latest]
    return join_turns(
        [
            ChatMessage(role="system", content=INSTRUCTIONS[chinese]),
            *trim_history(short, HISTORY_TOKENS, HISTORY_MESSAGES),
            ChatMessage(role="user", content=LABEL[chinese] + neutralise(question)),
        ]
    )


def read_question(written: str, question: str) -> str | None:
    """The model's full question; None for what cannot be one: nothing, more than a line's worth, or one that shares no
    word with what was asked."""
    lines = [line.strip() for line in strip_markers(written).splitlines() if line.strip()]
    if not lines:
        return None
    full = lines[0]
    for label in LABEL.values():
        full = full.removeprefix(label.strip()).strip()
    full = full.strip("\"'“”「」`* ")
    terms = list_terms(question)
    if not full or len(full) > len(question) + ADDED or (terms and terms.isdisjoint(list_terms(full))):
        return None
    return full
