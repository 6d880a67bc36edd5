"""The application of `kb serve`, with a look at its event loop from within: `GET /probe` answers how late the loop
has woken a timer of 5 ms since it was last asked, and how many database connections were in use at each look.

Run as a process of its own; settings come from the environment as for `kb serve`. It starts no workers.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import uvicorn

from api.app import create_app
from api.bootstrap.services import build_services
from api.bootstrap.store import open_store
from api.responses import JsonAnswer
from kb.config import read_settings
from kb.data_folder import DataFolder

STEP_S = 0.005


class Probe:
    """An ASGI application around another one."""

    def __init__(self, app: Any, pool: Any) -> None:  # noqa: ANN401
        self._app, self._pool = app, pool
        self._lags: list[float] = []
        self._held: list[int] = []
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._watch())
        if scope.get("path") != "/probe":
            await self._app(scope, receive, send)
            return
        found = {"lags_ms": self._lags, "held": self._held}
        self._lags, self._held = [], []
        await JsonAnswer(found)(scope, receive, send)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(STEP_S)
            self._lags.append(1000 * (loop.time() - began - STEP_S))
            self._held.append(self._pool.checkedout())


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it once more when it has ended
    settings = read_settings()
    folder = DataFolder(settings.data_dir)
    folder.hold()
    database = folder.open_database(settings)
    services = build_services(open_store(settings, folder, database))
    try:
        app = Probe(create_app(services), database.engine.pool)
        uvicorn.run(app, port=settings.port, loop="uvloop", http="httptools", access_log=False, log_config=None)
    finally:
        services.close()
        folder.release()


if __name__ == "__main__":
    main()
