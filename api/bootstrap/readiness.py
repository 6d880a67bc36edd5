"""Whether the server can serve, part by part: what `/health/ready` answers.

Each part is asked in the cheapest way that shows whether it is there, all at once, within `PATIENCE_S`. An answer is
kept for a second, so that whoever asks often costs nothing, and whoever asks while one is being made gets the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from api.bootstrap.store import Store
from kb.errors import KbError, Unavailable
from retrieval.chat.model import ServedChatModel
from retrieval.rerank import LocalReranker
from retrieval.rerank_client import RemoteReranker

KEPT_S = 1.0
PATIENCE_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PartState:
    """`code` and `detail` say what is wrong with a part that is down."""

    name: str
    state: Literal["up", "down"]
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """`needed`: without it the server serves nothing; without the others a part of what it can."""

    name: str
    needed: bool
    look: Callable[[], None]


class Readiness:
    """Belongs to the loop that serves."""

    def __init__(
        self, store: Store, chat: ServedChatModel | None, reranker: LocalReranker | RemoteReranker | None = None
    ) -> None:
        self._store = store
        self._chat = chat
        self._parts = [
            _Part(name="database", needed=True, look=self._look_at_database),
            _Part(name="data_directory", needed=True, look=self._look_at_data),
            _Part(name="indexes", needed=True, look=self._look_at_indexes),
        ]
        if store.encoders.remote is not None:
            self._parts.append(_Part(name="embedding_server", needed=False, look=store.encoders.remote.check_reachable))
        if isinstance(reranker, RemoteReranker):
            self._parts.append(_Part(name="reranker_server", needed=False, look=reranker.check_reachable))
        self._threads = ThreadPoolExecutor(len(self._parts), thread_name_prefix="ready")  # a search needs the others
        self._last: asyncio.Task[list[PartState]] | None = None
        self._last_at = 0.0

    async def look(self) -> list[PartState]:
        """Of every part. Never raises."""
        now = asyncio.get_running_loop().time()
        if self._last is None or self._last.cancelled() or (self._last.done() and now >= self._last_at + KEPT_S):
            self._last, self._last_at = asyncio.create_task(self._look_at_all()), now
        return await asyncio.shield(self._last)

    def is_needed(self, name: str) -> bool:
        return any(part.needed for part in self._parts if part.name == name)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_at_all(self) -> list[PartState]:
        states = [self._look_in_thread(part) for part in self._parts]
        if self._chat is not None:
            states.append(self._look_at_chat(self._chat))
        return list(await asyncio.gather(*states))

    async def _look_in_thread(self, part: _Part) -> PartState:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().run_in_executor(self._threads, part.look)
        except TimeoutError:
            return PartState(name=part.name, state="down", code="timeout", detail=f"no answer within {PATIENCE_S:g} s")
        except KbError as error:
            return PartState(name=part.name, state="down", code=error.code, detail=error.detail)
        return PartState(name=part.name, state="up")

    async def _look_at_chat(self, chat: ServedChatModel) -> PartState:
        name = "chat_server"
        try:
            async with asyncio.timeout(PATIENCE_S):
                await chat.check()
        except TimeoutError:
            detail = f"the server of {chat.name} did not answer within {PATIENCE_S:g} s"
            return PartState(name=name, state="down", code="llm_timeout", detail=detail)
        except KbError as error:
            return PartState(name=name, state="down", code=error.code, detail=error.detail)
        return PartState(name=name, state="up")

    def _look_at_database(self) -> None:
        self._store.catalog.feed.get_epoch()

    def _look_at_data(self) -> None:
        if not (self._store.blobs.root / "tmp").is_dir():
            raise Unavailable("data_directory_unavailable", "the data directory is gone; is its disk mounted?")

    def _look_at_indexes(self) -> None:
        folder = self._store.folder.indexes
        if folder.exists() and not folder.is_dir():
            raise Unavailable("index_unavailable", f"{folder} is no folder: move it away, indexes are built anew")
