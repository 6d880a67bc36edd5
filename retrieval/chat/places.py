"""How many calls the chat server gets at once, how many wait, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kb.errors import Unavailable
from retrieval.chat.server import ChatLimits


class Places:
    """First come, first served. Belongs to one event loop."""

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.calls)
        self._waiting = 0

    def check_room(self) -> None:
        """Raises Unavailable (`too_busy`) when a call that came now would be turned away."""
        if self._free.locked() and self._waiting >= self._limits.waiting:
            held = f"{self._limits.calls} calls of the chat model are under way"
            raise Unavailable("too_busy", f"{held} and {self._waiting} wait: try again in a few seconds")

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a place. Raises Unavailable (`too_busy`), at once or when none came free in time."""
        self.check_room()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.first_token_s):
                await self._free.acquire()
        except TimeoutError:
            seconds = f"{self._limits.first_token_s:g} s"
            raise Unavailable("too_busy", f"no call of the chat model ended within {seconds}: try again") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
