"""Work that is worth doing only while somebody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.responses import JsonAnswer

Result = TypeVar("Result")


async def run_while_heard(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` gives; None when the client went first, and then `work` is cancelled. Raises what `work` raises."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_wait_until_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
    return None if working.cancelled() else working.result()


class AwaitedAnswer(Response):
    """JSON that takes a while; when the client goes, nobody goes on working for it."""

    def __init__(self, work: Coroutine[Any, Any, Result], show: Callable[[Result], Any]) -> None:
        super().__init__()
        self._work = work
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        result = await run_while_heard(receive, self._work)
        if result is not None:
            await JsonAnswer(self._show(result))(scope, receive, send)


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
