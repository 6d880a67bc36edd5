"""The whole server in this process: the ASGI app over a real store in a folder, spoken to without a socket."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from api.app import create_app
from api.bootstrap.indexing import build_worker
from api.bootstrap.services import build_services
from api.bootstrap.sites import Web
from api.bootstrap.store import open_store
from kb.config import Settings
from kb.data_folder import DataFolder

KB = "/api/v1/knowledge-bases"


class LocalServer:
    """`request` is one HTTP exchange; `work` does what a worker would do until nothing is left.

    A new one begins with a copy of a store after its first start, quicker than another new schema. Its worker lives, as
    a worker does, until the server is closed: a parse child for each `work` would cost more than what it reads.
    """

    def __init__(self, root: Path, web: Web | None = None, **settings) -> None:
        self.web = web
        self.settings = Settings(data_dir=root, **settings)
        if not root.exists() and self.settings.database_url is None:
            shutil.copytree(Path(_start_store().name) / "store", root)
        self.folder = DataFolder(self.settings.data_dir)
        self.folder.hold()
        self.store = open_store(self.settings, self.folder, self.folder.open_database(self.settings))
        self.services = build_services(self.store, web)
        self.app = create_app(self.services)
        self._runner = asyncio.Runner()
        self._worker = None

    def request(self, method: str, path: str, **parts) -> httpx.Response:
        return self._runner.run(self.call(method, path, **parts))

    async def call(self, method: str, path: str, **parts) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **parts)

    def gather(self, *requests: tuple[str, str, dict]) -> list[httpx.Response]:
        """Several exchanges at once."""

        async def send_all() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return await asyncio.gather(*(client.request(m, p, **parts) for m, p, parts in requests))

        return self._runner.run(send_all())

    def run(self, coroutine):
        return self._runner.run(coroutine)

    def create(self, name: str, **fields) -> dict:
        answer = self.request("POST", KB, json={"name": name, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def upload(self, kb: str, files: dict[str, bytes], **parts) -> httpx.Response:
        named = [("files", (path, data)) for path, data in files.items()]
        return self.request("POST", f"{KB}/{kb}/documents", files=named, **parts)

    def work(self) -> None:
        self._worker = self._worker or build_worker(self.store, web=self.web)
        while self._worker[0].step():
            pass

    def list_files(self) -> tuple[int, int]:
        """How many temporary and how many stored files there are."""
        temporary = len(list((self.folder.blobs / "tmp").iterdir()))
        stored = sum(1 for path in self.folder.blobs.glob("??/*") if path.is_file())
        return temporary, stored

    def close(self) -> None:
        if self._worker is not None:
            self._worker[1].close()
        self.app.state.sealers.shutdown()
        self.services.close()
        self.folder.release()
        self._runner.close()


def build_store(root: Path, fill: Callable[[LocalServer], None], **settings) -> Path:
    """A closed store that `fill` has filled, for `copy_store`."""
    server = LocalServer(root, **settings)
    fill(server)
    server.close()
    return root


def copy_store(built: Path, root: Path, **settings) -> LocalServer:
    """A server on a store of its own, like the closed one at `built`."""
    shutil.copytree(built, root)
    return LocalServer(root, **settings)


@cache
def _start_store() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="kb-server-template-")  # removed when the process ends
    settings = Settings(data_dir=Path(folder.name) / "store")
    data = DataFolder(settings.data_dir)
    data.hold()
    data.open_database(settings).close()
    data.release()
    return folder
