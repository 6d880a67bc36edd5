"""The watch over connections is in every Python that a test starts, and in every Python that these start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from fakes.http_client import Client, wait_until
from fakes.network import UNWATCHED, WATCH, NetworkForbidden, take_port
from fakes.server import Server

from ingest.parsing import ParserPool

OUTSIDE = ("192.0.2.1", 80)
AIOHTTP = """
import aiohttp, uvloop
async def ask():
    async with aiohttp.ClientSession() as client:
        await client.get("http://example.invalid/")
uvloop.run(ask())
"""
LISTEN = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
"""
LISTEN_ON_UVLOOP = """
import asyncio, uvloop
async def run():
    server = await asyncio.start_server(print, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(input)
uvloop.run(run())
"""


def run_python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`environment` beside this process's own."""
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def connect(*address: object) -> None:
    with socket.socket() as asking:
        asking.settimeout(1)
        asking.connect(address)


def write_connect(*address: object) -> str:
    return f"import socket; socket.create_connection({address!r}, timeout=1)"


def find_undeclared_port() -> int:
    """One that no process of this session ever bound. None is bound for it, or it would be declared."""
    return next(port for port in range(20_000, 30_000) if not WATCH.ledger.has_port(port))


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        (write_connect(*OUTSIDE), "192.0.2.1:80"),
        (write_connect("2001:db8::1", 443), "[2001:db8::1]:443"),
        ("import socket; socket.getaddrinfo('example.invalid', 80)", "example.invalid"),
        ("import urllib.request; urllib.request.urlopen('http://example.invalid/')", "example.invalid"),
        ("import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "192.0.2.1:53"),
        ("import asyncio; asyncio.run(asyncio.open_connection('192.0.2.1', 80))", "192.0.2.1:80"),
        ("import asyncio, uvloop; uvloop.run(asyncio.open_connection('192.0.2.1', 80))", "192.0.2.1:80"),
        ("import asyncio, uvloop; uvloop.run(asyncio.open_connection('example.invalid', 80))", "example.invalid"),
        (AIOHTTP, "example.invalid"),
    ],
)
def test_a_child_is_refused_what_no_test_declared(code: str, asked: str) -> None:
    with WATCH.expect() as found:
        ended = run_python(code)
    assert (found, ended.returncode) == ([asked], 1), ended.stderr
    assert "no test declared" in ended.stderr


def test_a_child_is_refused_a_port_of_loopback_that_no_test_declared() -> None:
    port = find_undeclared_port()
    with WATCH.expect() as found:
        ended = run_python(write_connect("127.0.0.1", port))
    assert (found, ended.returncode) == ([f"127.0.0.1:{port}"], 1), ended.stderr


def test_a_child_speaks_to_what_was_declared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert run_python(write_connect(*listener.getsockname())).stderr == ""
    nobody = run_python(write_connect("127.0.0.1", take_port()))
    assert "ConnectionRefusedError" in nobody.stderr
    own = "import socket; a = socket.create_server(('127.0.0.1', 0)); socket.create_connection(a.getsockname())"
    assert run_python(own).stderr == ""


@pytest.mark.parametrize(
    "listening",
    [LISTEN, LISTEN_ON_UVLOOP],
    ids=["socket", "uvloop"],
)
def test_a_port_that_a_child_bound_is_declared_to_all(listening: str) -> None:
    command = [sys.executable, "-c", listening]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        port = int(child.stdout.readline())
        connect("127.0.0.1", port)
        assert run_python(write_connect("127.0.0.1", port)).stderr == ""
        child.communicate("\n")


def test_a_grandchild_is_watched_too() -> None:
    inner = [sys.executable, "-c", write_connect(*OUTSIDE)]
    with WATCH.expect() as found:
        ended = run_python(f"import subprocess, sys; sys.exit(subprocess.run({inner!r}).returncode)")
    assert (found, ended.returncode) == (["192.0.2.1:80"], 1)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_process_of_multiprocessing_is_watched_too(method: str) -> None:
    child = get_context(method).Process(target=connect, args=OUTSIDE)
    with WATCH.expect() as found:
        child.start()
        child.join()
    assert (found, child.exitcode) == (["192.0.2.1:80"], 1)


def test_a_parse_child_whose_environment_is_emptied_is_watched_too(tmp_path: Path) -> None:
    path = tmp_path / "asks.txt"
    path.write_text("ask the network")
    with WATCH.expect() as found, ParserPool(loader="fakes.hostile_loaders:load_hostile") as pool:
        assert pool.parse(path, "text/plain").text == "NetworkForbidden"
    assert found == ["192.0.2.1:80"]


@pytest.mark.parametrize(
    ("options", "environment"),
    [(["-I"], {}), (["-E"], {}), (["-S"], {}), (["-Wignore", "-X", "utf8", "-bI"], {}), ([], {"PYTHONPATH": "/"})],
    ids=str,
)
def test_a_child_that_would_not_be_watched_is_not_started(options: list[str], environment: dict[str, str]) -> None:
    with WATCH.expect() as found, pytest.raises(NetworkForbidden):
        run_python("pass", *options, **environment)
    (told,) = found
    assert told.startswith(f"{sys.executable} (subprocess.Popen) with")
    allowed = run_python("pass", *options, **environment, **{UNWATCHED: "this test says so"})
    assert allowed.stderr == ""


@pytest.mark.parametrize(
    "start",
    [
        "import subprocess; subprocess.run([sys.executable, '-c', 'pass'], env={})",
        "os.execve(sys.executable, [sys.executable, '-c', 'pass'], {})",
        "os.posix_spawn(sys.executable, [sys.executable, '-c', 'pass'], {})",
    ],
)
def test_a_child_starts_nothing_unwatched_either(start: str) -> None:
    with WATCH.expect() as found:
        ended = run_python(f"import os, sys; {start}")
    assert (len(found), ended.returncode) == (1, 1), ended.stderr
    assert f"{sys.executable} (" in found[0]


def test_what_the_environment_runs_at_its_start_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine', __name__, __file__)")
    ended = run_python(write_connect("127.0.0.1", 9), PYTHONPATH=WATCH.add_to_path(tmp_path))
    assert ended.stdout == f"mine sitecustomize {tmp_path}/sitecustomize.py\n"
    assert "ConnectionRefusedError" in ended.stderr


def test_a_child_without_a_socket_loads_nothing_for_the_watch() -> None:
    ended = run_python("import sys; print({'socket', 'network_watch'} & set(sys.modules))")
    assert (ended.stdout, ended.stderr) == ("set()\n", "")


# -- the real server ----------------------------------------------------------------------------------------------


def add_source(client: Client, name: str, uri: str) -> int:
    body = {"name": name, "kind": "web", "uri": uri}
    return client.http.post(f"{client.path}/sources", json=body).status_code


def list_watched(server: Server) -> dict[int, bool]:
    """Of each process of it: whether it was started with the session's folder."""
    watched = {}
    for pid in server.list_tree():
        lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        (path,) = (line.partition("=")[2] for line in lines if line.startswith("PYTHONPATH="))
        watched[pid] = WATCH.folder in path.split(os.pathsep)
    return watched


def test_a_server_and_its_worker_are_watched(tmp_path: Path) -> None:
    """What our own gate refuses never comes to the watch; a name that it has to look up does."""
    with Server(tmp_path / "store", fetch_retries=0, fetch_delay_seconds=0, workers=1) as server:
        client = server.open_client()
        client.create()
        with WATCH.expect() as found:
            for host in ("192.0.2.1", "[::ffff:192.0.2.1]", "10.0.0.1", "127.0.0.1:81", "localhost"):
                assert add_source(client, "gated", f"http://{host}/") == 422, host
        assert found == []
        watched = list_watched(server)
        assert (len(watched) >= 2, set(watched.values())) == (True, {True})

        with WATCH.expect() as asked_by_server:
            add_source(client, "named", "http://example.invalid/")
        with WATCH.expect() as asked_by_worker:
            client.http.post(f"{client.path}/sources/named/sync", json={})
            wait_until(lambda: "job.put_back" in server.read_log(), "the worker has asked")
            server.kill()
        assert (asked_by_server, set(asked_by_worker)) == (["example.invalid"], {"example.invalid"})
