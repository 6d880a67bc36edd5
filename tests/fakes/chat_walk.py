"""`kb serve` with a scripted chat server behind it, and a knowledge base of two small documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from fakes.chat_server import ChatServer, Reply, serve_chat
from fakes.server import Server

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}
KEY = "secret-of-the-chat-server"
ASK = "/api/v1/knowledge-bases/k/ask"

Script = Callable[[httpx.AsyncClient, ChatServer], Awaitable[None]]


def fill_store(folder: Path) -> Path:
    with Server(folder) as server:
        client = server.open_client("k")
        client.create()
        client.upload(FILES)
        client.wait_until_idle()
    return folder


def play(store: Path, *replies: Reply, script: Script, **more: object) -> str:
    """Run `script` against `kb serve` whose chat server answers with `replies`; the server's log."""

    async def main() -> str:
        async with serve_chat(*replies, window=4096) as chat:
            settings = {"llm_base_url": chat.url, "llm_model": "m", "llm_api_key": KEY, "workers": 0, **more}
            server = Server(store, **settings)
            await asyncio.to_thread(server.start)
            try:
                url = str(server.open_client("k").http.base_url)
                async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
                    await script(client, chat)
            finally:
                await asyncio.to_thread(server.stop)
            return server.read_log()

    return asyncio.run(main())


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event:")]
    return [(block.split("\n")[0][7:], json.loads(block.split("data: ", 1)[1])) for block in blocks]
