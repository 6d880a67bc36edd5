"""A `kb serve` of our own, and a plain HTTP client that keeps its connection."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from machine import Memory, list_children, measure_memory, measure_processor_time, measure_tree_time

KB = Path(sys.executable).parent / "kb"
READY_SECONDS = 60.0
LOOK_SECONDS = 0.005
PARTS = {"server": "", "worker": "worker", "parse child": "ingest.parse_child"}


class Server:
    """Running while the block runs. `ready_s` is the time from starting it to the first 200 of /health/ready,
    `start_cpu_s` the processor time it took for that."""

    command: Sequence[str | Path] = (KB, "serve")

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port = find_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"KB_DATA_DIR": str(data_dir), "KB_PORT": str(self.port), "KB_URL": self.url, "KB_LOG_LEVEL": "warning"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("KB_")}
        self.environment = {**others, **own, **settings}
        self.ready_s = 0.0
        self.start_cpu_s = 0.0

    def __enter__(self) -> Self:
        began = time.perf_counter()
        self._process = subprocess.Popen(self.command, env=self.environment, stderr=subprocess.DEVNULL)
        while not self._is_ready():
            if self._process.poll() is not None or time.perf_counter() - began > READY_SECONDS:
                self._process.kill()
                raise SystemExit(
                    f"kb serve is not ready, exit code {self._process.poll()}; start it by hand to see why"
                )
            time.sleep(LOOK_SECONDS)
        self.ready_s = time.perf_counter() - began
        self.start_cpu_s = measure_processor_time(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            with Client(self.port) as client:
                return client.send("GET", "/health/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def run_command(self, *words: str) -> dict[str, Any]:
        """What `kb … --json` prints. Raises SystemExit when it fails."""
        done = subprocess.run([KB, *words, "--json"], env=self.environment, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"kb {' '.join(words)}: exit code {done.returncode}: {done.stderr.decode()[-500:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def processor_s(self) -> float:
        """Processor time that the server itself has used, without its children."""
        return measure_processor_time(self._process.pid)

    @property
    def tree_s(self) -> float:
        """Processor time of the server, its workers and their parse children."""
        return measure_tree_time(self._process.pid)

    def measure_parts(self) -> dict[str, Memory]:
        """Memory of the server, its worker and the worker's parse child, those that run."""
        children = list(list_children(self._process.pid))
        found = {"server": measure_memory(self._process.pid)}
        for part, mark in PARTS.items():
            for child in children:
                if mark and mark in child.command and part not in found:
                    found[part] = measure_memory(child.pid)
        return found


class Client:
    """One connection. Not thread-safe."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        if self._connection.sock is None:
            self._connection.connect()
            # Head and body go out as two packets: without this the second waits for the first one's acknowledgement.
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Raises SystemExit for anything but success: a figure measured on errors would be worth nothing."""
        status, raw = self.send(method, path, None if body is None else json.dumps(body).encode())
        return read_answer(f"{method} {path}", status, raw)

    def upload(self, kb: str, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content
            for name, content in files
        ]
        body = b"\r\n".join([*parts, f"--{mark}--\r\n".encode()])
        path = f"/api/v1/knowledge-bases/{kb}/documents"
        return read_answer("upload", *self.send("POST", path, body, f"multipart/form-data; boundary={mark}"))


def read_answer(what: str, status: int, raw: bytes) -> dict[str, Any]:
    if not 200 <= status < 300:
        raise SystemExit(f"{what}: {status} {raw[:500]!r}")
    answer: dict[str, Any] = json.loads(raw) if raw else {}
    return answer


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
