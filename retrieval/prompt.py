"""The prompt: instructions, history and numbered passages, in the question's language, within the token budget.

What users wrote and what documents hold is data. It is joined by concatenation alone, so that braces, `%s` or `$x` mean
nothing, and character sequences that a chat template would read as its own marks are broken up by a space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kb.errors import InvalidInput, KbError, Unavailable
from kb.tokens import estimate_tokens
from retrieval.citations import strip_markers
from retrieval.events import parse_json
from retrieval.instructions import Wording
from retrieval.passages import Passage
from retrieval.question import Language
from retrieval.sentences import cut_sentences
from retrieval.tool_calls import ToolCall

Role = Literal["system", "user", "assistant", "tool"]

# Marks of the chat templates in use: Qwen and Phi <|…|>, DeepSeek <｜…｜>, Llama and Mistral [INST] <<SYS>> <s>,
# GLM <sop>, Gemma <start_of_turn>, tool and thinking tags; and our own passage tag.
SPECIAL = re.compile(
    r"<(?=[|｜][^<>\n]{1,60}[|｜]>)"
    r"|<(?=/?(?:s|bos|eos|pad|unk|mask|cls|sep|sop|eop|start_of_turn|end_of_turn|tools?|tool_call|tool_response|think)>)"
    r"|<(?=/?passage\b[^<>\n]{0,60}>)"  # a reader takes `</passage >` for ours as well
    r"|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|sMASK|MASK|CLS|SEP|PAD|UNK)\])",
    re.IGNORECASE,
)
SPENT = 0.9  # of the window
MESSAGE_TOKENS = 8  # what a template spends on a message beside its content
CALL_MARKS = '<tool_call>{"name": "", "arguments": }</tool_call>'  # what stands around a call
LONGEST_LABEL = 200  # characters of a title or path in a passage's first line

PASSAGES_LABEL: dict[Language, str] = {"zh": "资料：", "en": "Passages:"}
QUESTION_LABEL: dict[Language, str] = {"zh": "问题：", "en": "Question: "}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """`calls` are those of an assistant; a tool's message is the answer to the call `call_id`."""

    role: Role
    content: str
    calls: Sequence[ToolCall] = ()
    call_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Estimated tokens (kb.tokens). `window` is what the model reads and writes in all, None where it is not known;
    `prompt` bounds the whole prompt further, where a count has shown that its estimate is too low."""

    passages: int
    answer: int
    history: int = 1_000
    turns: int = 20  # messages of the history at most
    window: int | None = None
    prompt: float = math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """`passages[0]` stands in the prompt as `[1]`, and so on: exactly these may be cited."""

    messages: Sequence[ChatMessage]
    passages: Sequence[Passage]


def write_prompt(
    question: str, passages: Sequence[Passage], history: Sequence[ChatMessage], wording: Wording, budget: Budget
) -> Prompt:
    """The messages for the chat model. `passages` come best first; from the end they are left out until all fits.

    Raises, where not one sentence fits beside the question, what says whose fault it is: InvalidInput (`bad_role`,
    `bad_max_context_tokens`, `question_too_long`), Unavailable (`llm_window_too_small`).
    """
    system, language = ChatMessage(role="system", content=wording.system), wording.language
    asked = neutralise(question)
    room = _find_room(budget, [system.content, asked])
    turns = trim_history(history, min(budget.history, room / 3), budget.turns)
    room -= sum(_count(turn.content) for turn in turns)
    kept = fit_passages(passages, budget.passages, room, language)
    if passages and not kept:
        raise _explain_no_room(budget, asked, room)
    blocks = [_write_passage(number, passage, language) for number, passage in enumerate(kept, start=1)]
    content = "\n\n".join([PASSAGES_LABEL[language], *blocks, QUESTION_LABEL[language] + asked])
    return Prompt(messages=join_turns([system, *turns, ChatMessage(role="user", content=content)]), passages=kept)


def join_turns(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same with no two of one role in a row, as where an answer is gone with its document: templates of Mistral and
    Gemma refuse those."""
    joined: list[ChatMessage] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = replace(joined[-1], content=f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined


def write_passages(passages: Sequence[Passage], first: int, language: Language) -> str:
    """As they stand in a prompt, numbered from `first`."""
    return "\n\n".join(_write_passage(number, passage, language) for number, passage in enumerate(passages, first))


def neutralise(text: str) -> str:
    """The same text for a reader, with no template mark in it: one space behind the opening bracket of each."""
    return SPECIAL.sub(lambda match: match.group() + " ", text)


def trim_history(history: Sequence[ChatMessage], tokens: float, turns: int) -> list[ChatMessage]:
    """The latest messages that fit, oldest left out first, beginning with the user's. Numbers that an earlier answer
    cited are taken out: they named other passages.

    Raises InvalidInput (`bad_role`) for any role but user and assistant.
    """
    for message in history:
        if message.role not in ("user", "assistant"):
            raise InvalidInput("bad_role", f"role in history is {message.role!r}, it must be user or assistant")
    kept: list[ChatMessage] = []
    left = tokens
    for message in reversed(history[max(0, len(history) - turns) :]):
        cites = message.role == "assistant" and parse_json(message.content.encode()) is None  # [1] in JSON is a list
        content = strip_markers(message.content) if cites else message.content
        turn = ChatMessage(role=message.role, content=neutralise(content))
        left -= _count(turn.content)
        if left < 0:
            break
        kept.insert(0, turn)
    while kept and kept[0].role == "assistant":
        kept.pop(0)
    return kept


def fit_passages(passages: Sequence[Passage], tokens: int, room: float, language: Language) -> list[Passage]:
    """The first passages whose texts fit into `tokens` and which, as they are written, fit into `room`.

    When not even the best one fits, its first whole sentences stay; nothing when that is none.
    """
    kept: list[Passage] = []
    spent = written = 0.0
    for number, passage in enumerate(passages, start=1):
        spent += estimate_tokens(passage.text)
        written += estimate_tokens(_write_passage(number, passage, language)) + 1
        if spent > tokens or written > room:
            break
        kept.append(passage)
    if kept or not passages:
        return kept
    label = estimate_tokens(_write_passage(1, replace(passages[0], text=""), language))
    return _shorten(passages[0], min(float(tokens), room - label - 1))


def _shorten(passage: Passage, tokens: float) -> list[Passage]:
    ends = [span.end for span in cut_sentences(passage.text)]
    fitting = [end for end in ends if estimate_tokens(neutralise(passage.text[:end])) <= tokens]
    return [replace(passage, text=passage.text[:end], end=passage.start + end) for end in fitting[-1:]]


def _explain_no_room(budget: Budget, asked: str, room: float) -> KbError:
    if budget.window is None or budget.passages < room:
        reason = f"max_context_tokens is {budget.passages}: not one sentence of the best passage fits, ask for more"
        return InvalidInput("bad_max_context_tokens", reason)
    left = f"of the chat model's window of {budget.window} tokens {max(0, int(room))} are left for passages"
    if _count(asked) > budget.window / 4:
        return InvalidInput("question_too_long", f"{left}: the question takes {int(_count(asked))}, shorten it")
    way_out = "serve it with a longer window, or ask for a shorter answer (max_tokens)"
    return Unavailable("llm_window_too_small", f"{left}, too few for one sentence: {way_out}")


def estimate_prompt(prompt: Prompt) -> float:
    """Tokens of the whole prompt, as the budget counts them."""
    return sum(_count(_join_content(message)) for message in prompt.messages)


def bound_prompt(prompt: Prompt) -> int:
    """More tokens than that no tokenizer makes of the prompt: none in use gives a byte more than one."""
    contents = (_join_content(message).encode("utf-8", "surrogatepass") for message in prompt.messages)
    return sum(len(content) + MESSAGE_TOKENS for content in contents)


def _join_content(message: ChatMessage) -> str:
    """With what is written of its calls."""
    return message.content + "".join(CALL_MARKS + call.name + call.arguments for call in message.calls)


def _find_room(budget: Budget, fixed: Sequence[str]) -> float:
    """Tokens for history and passages; a tenth of the window is kept back because tokens are estimated."""
    whole = math.inf if budget.window is None else SPENT * budget.window - budget.answer
    return min(whole, budget.prompt) - sum(_count(text) for text in fixed)


def _count(text: str) -> float:
    return estimate_tokens(text) + MESSAGE_TOKENS


def _write_passage(number: int, passage: Passage, language: Language) -> str:
    title, path = _clean_label(passage.title or ""), _clean_label(passage.path)
    name = title + (f"（{path}）" if language == "zh" else f" ({path})") if title else path
    where = _name_pages(passage, language) + _name_date(passage, language)
    return "\n".join(["<passage>", f"[{number}] {name}{where}", neutralise(passage.text), "</passage>"])


def _name_pages(passage: Passage, language: Language) -> str:
    first, last = passage.page_start, passage.page_end
    pages = str(first) if first == last else f"{first}–{last}"
    return f"，第 {pages} 页" if language == "zh" else f", {'page' if first == last else 'pages'} {pages}"


def _name_date(passage: Passage, language: Language) -> str:
    """The document's own date, or the day on which it came in, told apart: the second says little about the first."""
    if passage.date is not None:
        return f"{'，日期 ' if language == 'zh' else ', dated '}{_clean_label(passage.date)}"
    return f"{'，入库 ' if language == 'zh' else ', added '}{passage.added_at:%Y-%m-%d}"


def _clean_label(label: str) -> str:
    return neutralise(" ".join(label.split()))[:LONGEST_LABEL]
