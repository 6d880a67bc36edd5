"""Between the answerer and who writes: what a writer is given, and what it gives as it goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.citations import Citation
from retrieval.events import Usage
from retrieval.json_answer.validator import ResponseSchema
from retrieval.passages import Passage
from retrieval.prompt import ChatMessage
from retrieval.question import Language
from retrieval.research import Research
from retrieval.sentences import Span

MOST_CHARACTERS = 40_000  # of one answer: against a model that does not stop


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingTask:
    """What a writer answers from; `passages` come best first, `judged` when a rule has found that they bear on it.
    With `research` it may search on, for as many rounds as that allows. `schema` is that of an answer in JSON, `kb_ids`
    are the knowledge bases that were asked, `own` is what they have the model told in place of our own words."""

    question: str
    language: Language
    passages: Sequence[Passage]
    history: Sequence[ChatMessage]
    max_context_tokens: int
    max_tokens: int
    temperature: float
    judged: bool = False
    research: Research | None = None
    schema: ResponseSchema | None = None
    kb_ids: Sequence[str] = ()
    own: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent:
    """Comes when a call of a tool is done: `found` is how many passages it added, `error` the code of what kept it from
    adding any. Before the passages."""

    round: int
    tool: str
    query: str
    found: int
    error: str | None
    took_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PassagesEvent:
    """Comes once, before the first token: what the answer will be written from, as it is numbered."""

    passages: Sequence[Passage]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenEvent:
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What a writer made: the checked text and its citations. `dropped` counts markers that named no passage,
    `unsupported` are the places in `text` of the sentences that no cited passage bears out. `data` is the value that
    the text of an answer in JSON stands for. `only_quotes`: nothing of a passage is in the text but what is cited.
    `cut`: it ends where the model was stopped, not where it would have ended."""

    text: str
    refused: bool = False
    citations: Sequence[Citation] = ()
    dropped: int = 0
    unsupported: Sequence[Span] = ()
    usage: Usage | None = None
    data: Any = None
    only_quotes: bool = False
    cut: bool = False


WriterEvent = StepEvent | PassagesEvent | TokenEvent | Draft


class AnswerWriter(Protocol):
    """Writes an answer from passages."""

    @property
    def name(self) -> str:
        """The `model` of the answer."""
        ...

    @property
    def searches(self) -> bool:
        """Whether it can search on, where a task lets it."""
        ...

    @property
    def takes_schemas(self) -> bool:
        """Whether it can write JSON of a given schema."""
        ...

    def write(self, task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
        """StepEvents, PassagesEvent, TokenEvents as they come and, last, one Draft. Closing the generator stops the
        writing at once.

        Raises what the chat model raises, and InvalidInput (`bad_role`, `question_too_long`).
        """
        ...
