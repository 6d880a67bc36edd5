"""What a chat server tells of itself: its models, their window, and how many tokens a prompt has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from kb.errors import KbError, Unavailable
from retrieval.chat.faults import explain_refusal
from retrieval.chat.profiles import write_messages
from retrieval.chat.server import ChatServer
from retrieval.chat.session import BrokenOff, ChatSession, NotReached
from retrieval.prompt import ChatMessage

PAUSE_S = 60.0  # after a question that brought nothing: a server that cannot answer it must not cost each call
COUNT_S = 2.0


class ServerFacts:
    """Asked when first needed; what is found is kept until `forget_window`. Belongs to the loop of its session."""

    def __init__(self, server: ChatServer, session: ChatSession) -> None:
        self._server = server
        self._session = session
        self._window: int | None = None
        self._ask_window_at = 0.0  # on the loop's clock
        self._asking = asyncio.Lock()  # who comes while it is asked for must not write a prompt for no window at all
        self._count_at = 0.0

    async def find_window(self) -> int | None:
        """The smaller of what the server tells and what is set; else what its kind has at least. Never raises."""
        now = asyncio.get_running_loop().time
        async with self._asking:
            if self._window is None and now() >= self._ask_window_at:
                with suppress(KbError):  # what is wrong with the server the call itself will say
                    self._window = await self.read_window()
                self._ask_window_at = now() + PAUSE_S  # not where the asking was broken off: that says nothing of it
        known = [window for window in (self._window, self._server.window) if window is not None]
        return min(known) if known else self._server.kind.assumed_window

    def forget_window(self) -> None:
        """It proved wrong: the server was started anew with another one."""
        self._window, self._ask_window_at = None, 0.0

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        """Never raises."""
        now = asyncio.get_running_loop().time()
        if self._server.kind.count is None or now < self._count_at:
            return None
        with suppress(KbError):
            async with self._asked(COUNT_S):
                count = await self._count(write_messages(messages))
                if count is not None:
                    return count
        self._count_at = now + PAUSE_S
        return None

    async def list_models(self) -> list[str] | None:
        """The names it lists; None where it has no such list. Raises Unavailable when it cannot be spoken to."""
        cards = await self._list_cards()
        return None if cards is None else [str(card["id"]) for card in cards if "id" in card]

    async def check_model(self) -> None:
        """Raises Unavailable when the server cannot be spoken to, or lists models and ours is not among them."""
        models = await self.list_models()
        if models and self._server.kind.chooses_model and self._server.model not in models:
            reason = f"the chat server {self._server.host} lists no model {self._server.model!r}; set KB_LLM_MODEL"
            raise Unavailable("llm_model_unknown", reason)

    async def read_window(self) -> int | None:
        """What the server tells now. Raises Unavailable."""
        where = self._server.kind.window
        if where == "models":
            cards = await self._list_cards() or []
            return next(
                (_read_size(card, "max_model_len") for card in cards if card.get("id") == self._server.model), None
            )
        if where is None:
            return None
        async with self._asked(self._server.limits.connect_s):
            _, told = await self._session.ask("GET", f"{self._server.root}/{where}")
        if where == "props":
            return _read_size(told, "default_generation_settings", "n_ctx")
        return _read_size(told, "max_total_tokens") or _read_size(told, "max_total_num_tokens")

    async def _list_cards(self) -> list[dict[str, Any]] | None:
        async with self._asked(self._server.limits.connect_s):
            status, told = await self._session.ask("GET", f"{self._server.base}/models")
        if status in {401, 403}:
            raise explain_refusal(self._server, status, told)
        cards = told.get("data") if isinstance(told, dict) and status == 200 else None
        return [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else None

    async def _count(self, messages: list[dict[str, Any]]) -> int | None:
        root = self._server.root
        if self._server.kind.count == "vllm":
            asked = {"model": self._server.model, "messages": messages}
            return _read_size((await self._session.ask("POST", f"{root}/tokenize", asked))[1], "count")
        _, written = await self._session.ask("POST", f"{root}/apply-template", {"messages": messages})
        if not isinstance(written, dict) or not isinstance(written.get("prompt"), str):
            return None
        plain = {"content": written["prompt"], "add_special": True, "parse_special": True}
        _, told = await self._session.ask("POST", f"{root}/tokenize", plain)
        tokens = told.get("tokens") if isinstance(told, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    @asynccontextmanager
    async def _asked(self, seconds: float) -> AsyncIterator[None]:
        """Raises Unavailable (`llm_unavailable`, `llm_timeout`) for whatever keeps an answer from coming in time."""
        host = self._server.host
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Unavailable("llm_timeout", f"the chat server {host} did not answer within {seconds:g} s") from None
        except NotReached:
            raise Unavailable("llm_unavailable", f"the chat server {host} cannot be reached") from None
        except BrokenOff as fault:
            raise Unavailable("llm_unavailable", f"the chat server {host} broke off: {fault}") from None


def _read_size(told: object, *path: str) -> int | None:
    for name in path:
        told = told.get(name) if isinstance(told, dict) else None
    return told if isinstance(told, int) and told > 0 else None
