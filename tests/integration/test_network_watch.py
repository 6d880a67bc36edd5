"""A session with a test that speaks to the network fails, even when the code under test swallows the refusal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.network import UNWATCHED, WATCH

TESTS = Path(__file__).resolve().parents[1]
OPTIONS = ["-p", "no:cacheprovider", "-p", "no:langsmith_plugin"]  # that one takes a second to import
PATIENCE_S = 250
SESSION = """
import asyncio
import contextlib
import socket
import urllib.request


def test_connects_and_swallows_it():
    with contextlib.suppress(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_looks_up():
    with contextlib.suppress(OSError):
        urllib.request.urlopen("http://example.invalid/", timeout=0.1)


def test_connects_as_asyncio_does():
    with contextlib.suppress(OSError):
        asyncio.run(asyncio.open_connection("198.51.100.7", 443))


def test_speaks_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_sends_without_connecting():
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.sendto(b"x", ("203.0.113.5", 53))
"""


CHILDREN = r"""
import subprocess
import sys

ASK = "import socket, contextlib\nwith contextlib.suppress(OSError): socket.create_connection((%r, 80), timeout=0.1)"


def test_starts_one_that_connects():
    subprocess.run([sys.executable, "-c", ASK % "192.0.2.1"], check=True)


def test_starts_one_that_starts_one():
    inner = [sys.executable, "-c", ASK % "198.51.100.7"]
    subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.run({inner!r}, check=True)"], check=True)


def test_starts_one_that_keeps_to_itself():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""


@pytest.fixture(params=[(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two"])
def processes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


def run_session(folder: Path, text: str, processes: tuple[str, ...]) -> tuple[int, str]:
    shutil.copy(TESTS / "conftest.py", folder)
    shutil.copytree(TESTS / "fakes", folder / "fakes", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "test_session.py").write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", *OPTIONS, "--rootdir", str(folder), str(folder), *processes]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    paths = environment["PYTHONPATH"].split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path != WATCH.folder)
    environment[UNWATCHED] = "what it does is judged by the hook of its own"
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=folder, env=environment
    )
    return done.returncode, done.stdout


def test_each_such_test_is_named_with_its_address(tmp_path: Path, processes: tuple[str, ...]) -> None:
    code, out = run_session(tmp_path, SESSION, processes)
    assert code == 1
    assert "5 passed, 4 errors" in out
    told = out.partition("the network was asked for")[2]
    for where, test in [
        ("192.0.2.1:80", "test_connects_and_swallows_it"),
        ("example.invalid", "test_looks_up"),
        ("198.51.100.7:443", "test_connects_as_asyncio_does"),
        ("203.0.113.5:53", "test_sends_without_connecting"),
    ]:
        assert f"{where} (test_session.py::{test})" in told
    assert "test_speaks_to_itself" not in told


def test_what_happens_outside_of_a_test_fails_the_session_too(tmp_path: Path, processes: tuple[str, ...]) -> None:
    begun = "import socket\ntry:\n    socket.create_connection(('192.0.2.9', 9))\nexcept OSError:\n    pass\n"
    code, out = run_session(tmp_path, f"{begun}\n\ndef test_nothing():\n    pass\n", processes)
    assert code == 1
    assert "192.0.2.9:9 (" in out
    assert "1 passed" in out


def test_a_session_that_keeps_to_itself_passes(tmp_path: Path, processes: tuple[str, ...]) -> None:
    code, out = run_session(tmp_path, "def test_nothing():\n    pass\n", processes)
    assert (code, "1 passed" in out, "network" in out) == (0, True, False)


def test_what_a_child_asks_for_fails_its_test(tmp_path: Path, processes: tuple[str, ...]) -> None:
    code, out = run_session(tmp_path, CHILDREN, processes)
    assert code == 1
    assert "3 passed, 2 errors" in out
    told = out.partition("the network was asked for")[2]
    for where, test in [
        ("192.0.2.1:80", "test_starts_one_that_connects"),
        ("198.51.100.7:80", "test_starts_one_that_starts_one"),
    ]:
        line = next(line for line in told.splitlines() if line.startswith(where))
        assert line.startswith(f"{where} ({sys.executable} -c import socket")
        assert line.endswith(f", found after test_session.py::{test})")
    assert "keeps_to_itself" not in told
