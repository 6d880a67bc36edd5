"""A web server that sends exactly the bytes that a test wants, wrong ones included.

A page is a function that is given the connection once the request was read. `asked` lists the requests, `connections`
counts what came at all.
"""

from __future__ import annotations

import gzip
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from types import TracebackType
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False, default=b"")


class Talk:
    """One connection. `send` says whether the other side still takes bytes."""

    def __init__(self, connection: socket.socket, asked: Asked, closing: Event) -> None:
        self.connection = connection
        self.asked = asked
        self._closing = closing

    def send(self, data: bytes) -> bool:
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return not self._closing.is_set()

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """`content_type="text/html"` for a header; Content-Length comes by itself."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in {"Content-Length": str(len(body)), **given}.items()]
        self.send(
            f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body
        )

    def hold(self) -> None:
        """Says nothing more until the other side or the server goes."""
        self.connection.settimeout(0.05)
        while not self._closing.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


Page = Callable[[Talk], None]
TLS = "TLS"  # the target of whoever begins TLS with a server that has none


def say(status: int = 200, body: bytes = b"<p>x</p>", **headers: str) -> Page:
    return lambda talk: talk.answer(status, body, **headers)


def send_raw(*parts: bytes) -> Page:
    """These bytes and the end of the connection."""

    def page(talk: Talk) -> None:
        for part in parts:
            talk.send(part)

    return page


def send_forever(head: bytes, part: bytes) -> Page:
    def page(talk: Talk) -> None:
        talk.send(head)
        while talk.send(part):
            pass

    return page


def redirect(location: str, status: int = 302, **headers: str) -> Page:
    return say(status, b"", location=location, **headers)


def say_gzipped(data: bytes, **headers: str) -> Page:
    return say(200, gzip.compress(data), content_encoding="gzip", **headers)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class RawWeb:
    """`pages` by their targets; what is not there is a 404."""

    def __init__(self, pages: Mapping[str, Page] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, Page] = dict(pages or {})
        self.asked: list[Asked] = []
        self.connections = 0
        self._closing = Event()
        web = self

        class Serve(BaseRequestHandler):
            def handle(self) -> None:
                web.connections += 1
                try:
                    connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                    web._serve(connection)
                    connection.close()
                except OSError:
                    return

        self._server = _Server(("127.0.0.1", 0), Serve)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def targets(self) -> list[str]:
        return [asked.target for asked in self.asked]

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65_536)
            if not more:
                return
            head += more
            if head.startswith(b"\x16"):
                self.pages[TLS](Talk(connection, Asked(method="", target=TLS, headers={}), self._closing))
                return
        first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        asked = Asked(method=method, target=target, headers=headers, raw=head)
        self.asked.append(asked)
        self.pages.get(target, say(404))(Talk(connection, asked, self._closing))
