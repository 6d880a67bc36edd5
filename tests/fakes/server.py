"""A real `kb serve` as a process group of its own on a free port.

The faults of `tests/faults` are done to this: kill -9 of the whole tree, of one worker, SIGSTOP, SIGTERM. Nothing here
sleeps for a time that was guessed: `wait_until` looks again until what is waited for is there, and fails loudly.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from click.testing import CliRunner
from fakes.http_client import NO_TLS, PATIENCE_S, Client, wait_until
from fakes.network import WATCH

from api.cli.main import kb

KB = (sys.executable, "-m", "api.cli.main")
SERVES = re.compile(r"kb serves on (http://\S+)")
COMPLAINT = re.compile(r" (WARNING|ERROR|CRITICAL) |^Traceback|Warning: ")


def make_environment(data_dir: Path, **settings: object) -> dict[str, str]:
    """The caller's environment without its KB_ variables, and with the given settings: `workers=2` is KB_WORKERS."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KB_")}
    given = {"data_dir": data_dir, "port": 0, **settings}
    return clean | {f"KB_{name.upper()}": str(value) for name, value in given.items()}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that ran to its end."""

    code: int
    out: str
    err: str


def run_command(data_dir: Path, *words: str, python_path: Path | None = None, **settings: object) -> Ended:
    """`kb <words>` to its end; it must end by itself within PATIENCE_S. `python_path` is searched for packages, too."""
    extra = {} if python_path is None else {"PYTHONPATH": WATCH.add_to_path(python_path)}
    done = subprocess.run(
        [*KB, *words],
        env=make_environment(data_dir, **settings) | extra,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def list_findings(data_dir: Path) -> list[dict[str, Any]]:
    """What `kb check --deep` finds wrong with the store; it only reads, so a server may be running.

    The command runs in this process: thirty interpreters that import everything would cost more than what they check.
    """
    environment = make_environment(data_dir)
    done = CliRunner().invoke(kb, ["check", "--deep", "--json"], env=dict.fromkeys(os.environ) | environment)
    assert done.stdout, f"kb check said nothing and ended with {done.exit_code}: {done.output} {done.exception!r}"
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return findings


def query_catalog(data_dir: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of the SQLite catalog, by a connection that cannot write."""
    with closing(sqlite3.connect(f"file:{data_dir / 'catalog.sqlite3'}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


class Server:
    """`kb serve` on `data_dir`; it can be started again after it ended, on another port but the same directory.

    As a context manager it is started on entry and killed, with everything it started, on leaving.
    """

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._clients: list[Client] = []
        self.url = ""

    # -- its life -----------------------------------------------------------------------------------------------

    def start(self, **settings: object) -> Self:
        """Start with the settings given at first and these beside them; returns once it is ready."""
        self.launch(**settings)
        self.url = wait_until(self._find_url, "the server says where it listens")
        wait_until(self._is_ready, "the server is ready")
        return self

    def launch(self, **settings: object) -> None:
        """Start, and wait for nothing."""
        self._starts += 1
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*KB, "serve"],
                env=make_environment(self.data_dir, **{**self.settings, **settings}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own: one signal reaches the whole tree
            )

    def kill(self) -> None:
        """kill -9 the whole tree at once, and wait until nothing of it is left."""
        self._close_clients()
        group = self.process.pid
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        wait_until(lambda: not list_group(group), "the process group is gone")

    def stop(self) -> int:
        """SIGTERM to the server alone; its exit code."""
        self._close_clients()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def wait_for_death(self) -> int:
        """The exit code, once the server has ended by itself; -9 for SIGKILL."""
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.kill()

    # -- what can be seen of it ---------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was never started"
        return self._process

    @property
    def log_path(self) -> Path:
        """Of the present start; every start has a log of its own."""
        return self.data_dir.with_name(f"{self.data_dir.name}-{self._starts}.log")

    def read_log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def list_complaints(self) -> list[str]:
        """Lines of the present start's log that somebody would have to look at."""
        return [line for line in self.read_log().splitlines() if COMPLAINT.search(line)]

    def list_workers(self) -> list[int]:
        """Process ids of the worker processes that this server started."""
        return [pid for pid, parent, command in list_group(self.process.pid) if "--supervised" in command]

    def list_tree(self) -> list[int]:
        return [pid for pid, _, _ in list_group(self.process.pid)]

    def open_client(self, kb: str = "small") -> Client:
        client = Client(self.url, kb)
        self._clients.append(client)
        return client

    def _close_clients(self) -> None:
        while self._clients:
            self._clients.pop().http.close()

    def _find_url(self) -> str | None:
        code = self.process.poll()
        assert code is None, f"kb serve ended at once with {code}: {self.read_log()}"
        found = SERVES.search(self.read_log())
        return found[1] if found else None

    def _is_ready(self) -> bool:
        code = self.process.poll()
        assert code is None, f"kb serve ended with {code} before it was ready: {self.read_log()}"
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5, trust_env=False, verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False


class AttachedWorker:
    """One more `kb worker` on a server's directory, in a process group of its own."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self._log_path = data_dir.with_name(f"{data_dir.name}-worker.log")
        self._log = self._log_path.open("wb")
        self.process = subprocess.Popen(
            [*KB, "worker"],
            env=make_environment(data_dir, **settings),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def read_log(self) -> str:
        return self._log_path.read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._log.close()


def list_group(group: int) -> list[tuple[int, int, str]]:
    """(pid, parent, command line) of the living processes of a group; zombies are dead."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, parent, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append((int(folder.name), int(parent), command))
    return found
