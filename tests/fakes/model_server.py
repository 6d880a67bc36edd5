"""A model server on loopback, and the faults a real one shows now and then. What it serves is said by its subclasses.

It can be stopped and started again on the same port. Faults are queued: each request uses up one; `always` is what
every request gets behind them, the right answer when None.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """`status` 0 resets the connection, `cut` closes it in mid-body, `stall` sends nothing until the server stops."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    stall: bool = False


class ModelServer:
    """`keys` are the Authorization of each request, `bodies` what it asked; `key` the one that is taken."""

    def __init__(self) -> None:
        self.faults: list[Answer] = []
        self.always: Answer | None = None
        self.key: str | None = None
        self.keys: list[str | None] = []
        self.bodies: list[Mapping[str, Any]] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        handler = type("Handler", (RequestHandler,), {"server_side": self})
        self.released.clear()
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._http.daemon_threads = True
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._http is None or self._thread is None:
            return
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http = None

    def answer(self, key: str | None, path: str, body: Mapping[str, Any]) -> Answer:
        with self.lock:
            self.keys.append(key)
            self.bodies.append(body)
            if self.faults:
                return self.faults.pop(0)
        if self.always is not None:
            return self.always
        if self.key is not None and key != f"Bearer {self.key}":
            return send_error(401, "invalid_api_key", f"wrong key {key}")
        return self.serve(path, body)

    def serve(self, path: str, body: Mapping[str, Any]) -> Answer:
        raise NotImplementedError


def send_json(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def send_error(status: int, kind: str, message: str = "a fault on purpose", **headers: str) -> Answer:
    return send_json({"error": {"message": message, "type": kind, "code": status}}, status, **headers)


class RequestHandler(BaseHTTPRequestHandler):
    """Bytes in and out. `server_side` is set by `start`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms
    server_side: ModelServer

    def do_POST(self) -> None:
        side = self.server_side
        if side.released.is_set():  # a kept connection outlives the listening socket
            self.reset()
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = side.answer(self.headers.get("authorization"), self.path, body)
        if answer.stall:
            side.released.wait()
        if answer.status == 0 or answer.stall:
            self.reset()
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        self.close_connection = self.close_connection or answer.cut

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing: stderr belongs to the test."""
