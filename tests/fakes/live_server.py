"""The server on a real socket with a scripted chat server behind it, both in one loop that a test can look into.

`kb serve` as a process of its own shows what a client sees; this shows what is left of a request as well: tasks,
connections to the database, temporary files. uvicorn is set up as `kb serve` sets it up.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar

import httpx
import uvicorn
import uvloop
from fakes.chat_server import ChatServer, Reply, serve_chat
from fakes.http_client import NO_TLS, PATIENCE_S, wait_until
from fakes.local_server import LocalServer

T = TypeVar("T")
WINDOW = 4_096


class LiveServer:
    """Started by `__init__`, ended by `close`. The store under `root` is made with a LocalServer before."""

    def __init__(self, root: Path, **settings: object) -> None:
        self._root = root
        self._settings = settings
        self._loop = uvloop.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="live-server", daemon=True)
        self._thread.start()
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[None] = self.run(_make_future())
        self._running = asyncio.run_coroutine_threadsafe(self._serve(), self._loop)
        self.run(_wait_for(self._ready))
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False, verify=NO_TLS)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def script(self, *replies: Reply) -> ChatServer:
        """What the chat server answers from now on; what it was asked before is forgotten."""
        return self.run(self._script(*replies))

    def count_tasks(self) -> int:
        return self.run(_count_tasks())

    def count_connections(self) -> int:
        """Of the database's pool that somebody holds now."""
        held: int = self.local.store.catalog.database.engine.pool.checkedout()  # type: ignore[attr-defined]
        return held

    def count_temporary(self) -> int:
        return self.local.list_files()[0]

    def count_open_files(self) -> int:
        """Below the folder of stored files, those without a name among them."""
        return sum(
            str(self.local.folder.blobs) in target for target in map(_read_link, Path("/proc/self/fd").iterdir())
        )

    def connect(self) -> socket.socket:
        """A plain connection, for requests that no HTTP client would send."""
        return socket.create_connection(self.address, PATIENCE_S)

    def close(self) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._running.result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def _script(self, *replies: Reply) -> ChatServer:
        chat = self.chat
        chat.replies = replies
        chat.bodies, chat.headers, chat.ports = [], [], []
        chat.reached, chat.left = asyncio.Event(), asyncio.Event()
        chat.sent = 0
        return chat

    async def _serve(self) -> None:
        try:
            async with serve_chat(window=WINDOW) as self.chat:
                settings = {"llm_base_url": self.chat.url, "llm_model": "m", **self._settings}
                self.local = await asyncio.to_thread(LocalServer, self._root, **settings)
                try:
                    await self._listen()
                finally:
                    await asyncio.to_thread(self.local.close)
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    async def _listen(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()
            self.url = f"http://127.0.0.1:{self.address[1]}"
            config = uvicorn.Config(
                self.local.app, loop="uvloop", http="httptools", lifespan="on", access_log=False, log_config=None,
                timeout_graceful_shutdown=5,
            )  # fmt: skip
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server._serve(sockets=[listener]))  # `serve` would take the signals over
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells in no other way
                await asyncio.sleep(0.01)
            self._ready.set_result(None)
            await self._stop.wait()
            server.should_exit = True
            await serving


def _read_link(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


async def _make_future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def _wait_for(future: asyncio.Future[None]) -> None:
    await future


async def _count_tasks() -> int:
    return len(asyncio.all_tasks()) - 1  # this one


def settle(server: LiveServer, tasks: int, seconds: float = 20.0) -> None:
    """Waits until nothing of a request is left. Raises AssertionError that says what still is."""
    wait_until(lambda: server.count_tasks() <= tasks, f"no more than {tasks} tasks", seconds)
    wait_until(lambda: server.count_connections() == 0, "no database connection is held", seconds)
    wait_until(lambda: server.count_temporary() == 0, "no temporary file is left", seconds)
