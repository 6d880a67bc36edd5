"""A real `kb serve` as a process group of its own on a free port, and a small client that asks it.

The faults of `tests/faults` are done to this: kill -9 of the whole tree, of one worker, SIGSTOP, SIGTERM. Nothing here
sleeps for a time that was guessed: `wait_until` looks again until what is waited for is there, and fails loudly.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from click.testing import CliRunner

from api.cli.main import kb

KB = (sys.executable, "-m", "api.cli.main")
SERVES = re.compile(r"kb serves on (http://\S+)")
COMPLAINT = re.compile(r" (WARNING|ERROR|CRITICAL) |^Traceback|Warning: ")
LOOK_AGAIN_S = 0.03
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # handed in, since httpx reads every root certificate for each client
PATIENCE_S = 60.0

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, seconds: float = PATIENCE_S) -> T:
    """What `look` finds, once it is true. Raises AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(LOOK_AGAIN_S)
    return found


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
    extra = {} if python_path is None else {"PYTHONPATH": str(python_path)}
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


class Client:
    """Speaks the HTTP contract to one knowledge base."""

    def __init__(self, url: str, kb: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False, verify=NO_TLS)
        self.path = f"/api/v1/knowledge-bases/{kb}"

    def create(self) -> dict[str, Any]:
        return self._read(self.http.post("/api/v1/knowledge-bases", json={"name": self.path.rpartition("/")[2]}))

    def send(self, files: Mapping[str, bytes], **headers: str) -> httpx.Response:
        """One upload request: path → bytes. Raises httpx.TransportError when the server dies before it answers."""
        parts = [("files", (path, data, "application/octet-stream")) for path, data in files.items()]
        return self.http.post(f"{self.path}/documents", files=parts, headers=headers)

    def upload(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        answer = self._read(self.send(files))
        assert not answer["rejected"], answer["rejected"]
        return answer

    def get_job(self, job_id: str) -> dict[str, Any]:
        return self._read(self.http.get(f"/api/v1/jobs/{job_id}"))

    def wait_for_job(self, job_id: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The job once it has ended."""
        ended = ("succeeded", "failed", "cancelled")
        return wait_until(
            lambda: job if (job := self.get_job(job_id))["state"] in ended else None, f"job {job_id} has ended", seconds
        )

    def list_jobs(self) -> list[dict[str, Any]]:
        return self._list("/api/v1/jobs")

    def list_documents(self) -> list[dict[str, Any]]:
        return self._list(f"{self.path}/documents")

    def wait_until_idle(self, seconds: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The documents, once no job is queued or running."""

        def is_idle() -> bool:
            return all(job["state"] not in ("queued", "running") for job in self.list_jobs())

        wait_until(is_idle, "no job is queued or running", seconds)
        return self.list_documents()

    def search(self, query: str, **wishes: object) -> list[dict[str, Any]]:
        passages: list[dict[str, Any]] = self.search_whole(query, **wishes)["passages"]
        return passages

    def search_whole(self, query: str, **wishes: object) -> dict[str, Any]:
        return self._read(self.http.post(f"{self.path}/search", json={"query": query, **wishes}))

    def ask(self, question: str) -> dict[str, Any]:
        return self._read(self.http.post(f"{self.path}/ask", json={"question": question}))

    def read_text(self, document_id: str, version: int) -> dict[str, Any]:
        answer = self.http.get(f"{self.path}/documents/{document_id}/text", params={"version": version})
        return self._read(answer)

    def delete(self, document_id: str) -> httpx.Response:
        return self.http.delete(f"{self.path}/documents/{document_id}")

    def _list(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self._read(self.http.get(path, params={"limit": "200", **cursor}))
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}

    @staticmethod
    def _read(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json()
        return body


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


# -- small documents ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SmallFile:
    """A document that one word finds: no other document holds it."""

    path: str
    word: str
    data: bytes


def make_files(count: int, start: int = 0) -> list[SmallFile]:
    """Every other one Chinese. `start` goes on counting, so that several calls make different files."""
    return [_make_file(number) for number in range(start, start + count)]


def _make_file(number: int) -> SmallFile:
    if number % 2:
        # four Han characters from ranges of their own, so that no two words share a pair of characters
        word = "".join(chr(base + number) for base in (0x4E00, 0x5E00, 0x6E00, 0x7E00))
        text = f"第{number}号观测记录。本夜的暗号是{word}，由值班员登记在册。云量三成，风向西北，望远镜工作正常。\n"
        return SmallFile(path=f"记录/第{number:04}号.txt", word=word, data=text.encode())
    word = f"quasar{number:04}x"
    text = f"Log of night {number}. The word of the night is {word}. Clear sky, wind from the west, all well.\n"
    return SmallFile(path=f"logs/night-{number:04}.md", word=word, data=text.encode())


def cut_requests(files: Sequence[SmallFile], requests: int) -> list[list[SmallFile]]:
    size = -(-len(files) // requests)
    return [list(files[first : first + size]) for first in range(0, len(files), size)]


def to_upload(files: Iterable[SmallFile]) -> dict[str, bytes]:
    return {file.path: file.data for file in files}


def assert_answers(client: Client, files: Iterable[SmallFile]) -> None:
    """Every file is ready and its word finds it, first and with the word in the text."""
    files = list(files)
    status = {document["path"]: document["status"] for document in client.list_documents()}
    assert {file.path: status.get(file.path) for file in files} == {file.path: "ready" for file in files}
    for file in files:
        found = client.search(file.word, top_k=3)
        assert [file.path] == [passage["document"]["path"] for passage in found[:1]], file
        assert file.word in found[0]["text"]


def assert_absent(client: Client, files: Iterable[SmallFile]) -> None:
    """No document of that path, and no passage with the word."""
    paths = {document["path"] for document in client.list_documents()}
    for file in files:
        assert file.path not in paths
        assert not [passage for passage in client.search(file.word, top_k=5) if file.word in passage["text"]]
