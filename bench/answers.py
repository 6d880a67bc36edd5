"""`make bench-answers`: what a streamed answer costs on its way through the server, beside the same stream from the
chat server directly. The chat server is one that costs nothing (bench/token_server.py) in a process of its own.

one stream, first token → 200 streams at 20 tokens a second: processor time a token, latency of others, event loop,
database connections → 200 streams as fast as they go
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Self

import orjson
from figures import Figure, find_median, find_percentile, print_group
from machine import describe_load, describe_machine, measure_processor_time
from pushing import write_folder
from server import Client, Server, find_port
from streams import Stream, Target, run_streams
from texts import Texts
from token_server import MODEL

KB = "bench"
DOCUMENTS = 1000
CHARACTERS = 600
ALONE = 100  # questions one after the other
STREAMS = 200
STEP_S = 0.05
SHORT, LONG = 20, 300  # tokens of an answer: what two runs differ in is the tokens' own
FAST_TOKENS = 500
ROUNDS = 3
FIRST_MS, TOKEN_US, LAG_MS = 5.0, 15.0, 20.0
LOOK_S = 0.01


class ProbedServer(Server):
    command = (sys.executable, Path(__file__).with_name("probed_server.py"))


class Script:
    """A script of this folder as a process of its own that listens on `port`."""

    def __init__(self, name: str, *words: str) -> None:
        self._command = [sys.executable, str(Path(__file__).with_name(name))]
        self._words = words

    def __enter__(self) -> Self:
        self.port = find_port()
        self._process = subprocess.Popen([*self._command, str(self.port), *self._words])
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def processor_s(self) -> float:
        return measure_processor_time(self._process.pid)


class Relay(Script):
    def __init__(self, name: str, chat: ChatProcess) -> None:
        super().__init__(name, str(chat.port))


class ChatProcess(Script):
    def __init__(self) -> None:
        super().__init__("token_server.py")

    def __enter__(self) -> Self:
        super().__enter__()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        for _ in range(500):
            try:
                self.play(SHORT)
            except OSError:
                time.sleep(LOOK_S)
            else:
                break
        return self

    def play(self, tokens: int, step_s: float = 0.0) -> None:
        with Client(self.port) as client:
            client.call("PUT", "/script", {"tokens": tokens, "step_s": step_s})


class Course:
    """Streams through us and directly, over one chat server."""

    def __init__(self, chat: ChatProcess, server: Server, questions: Sequence[str]) -> None:
        self.chat, self.server = chat, server
        self.questions = questions
        path = f"/api/v1/knowledge-bases/{KB}/ask"
        self.through = Target(port=server.port, path=path, mark=b"event: token")
        self.direct = self._aim_at_chat(chat.port)

    def _aim_at_chat(self, port: int) -> Target:
        return Target(port=port, path="/v1/chat/completions", mark=b'"content":"' + "潮".encode())

    def ask_through(self, count: int, at: int = 0) -> list[Stream]:
        asked = [self.questions[(at + i) % len(self.questions)] for i in range(count)]
        return run_streams(self.through, [{"question": question, "stream": True} for question in asked])

    def ask_relay(self, relay: Relay, count: int) -> list[Stream]:
        return self.ask_directly(count, self._aim_at_chat(relay.port))

    def ask_directly(self, count: int, target: Target | None = None) -> list[Stream]:
        messages = [{"role": "system", "content": "answer"}, {"role": "user", "content": "字" * 2_000}]
        return run_streams(target or self.direct, [{"model": MODEL, "stream": True, "messages": messages}] * count)


def main() -> None:
    print(f"{describe_machine()}\n{describe_load()} before")
    texts = Texts()
    documents = [texts.make_document(CHARACTERS) for _ in range(DOCUMENTS)]
    with TemporaryDirectory() as name, ChatProcess() as chat:
        data_dir, folder = Path(name) / "store", Path(name) / "folder"
        write_folder(folder, documents)
        with Server(data_dir) as server:
            server.run_command("push", str(folder), "--kb", KB)
        questions = texts.make_questions(documents, STREAMS)
        settings = {"KB_LLM_BASE_URL": chat.url, "KB_LLM_MODEL": MODEL, "KB_WORKERS": "0"}
        with Server(data_dir, **settings) as server:
            course = Course(chat, server, questions)
            print_group("One stream", measure_first_token(course))
            print_group(f"{STREAMS} streams, {1 / STEP_S:.0f} tokens a second each", measure_paced(course))
            print_group(f"{STREAMS} streams, as fast as they go", measure_throughput(course))
        with ProbedServer(data_dir, **settings) as server:
            print_group("Inside the process", measure_inside(Course(chat, server, questions)))
    print(f"\n{describe_load()} after")


def measure_first_token(course: Course) -> list[Figure]:
    course.chat.play(SHORT)
    course.ask_through(1)
    waits, searches, bare = [], [], []
    for number in range(ALONE):
        (stream,) = course.ask_through(1, number)
        waits.append(1000 * (stream.first - stream.began))
        searches.append(read_timings(stream)["search"])
        (stream,) = course.ask_directly(1)
        bare.append(1000 * (stream.first - stream.began))
    added = [wait - search - find_median(bare) for wait, search in zip(waits, searches, strict=True)]
    return [
        Figure(name="request → first token, p50", value=find_median(waits), unit="ms", note=f"{ALONE} questions"),
        Figure(name="… of it the search", value=find_median(searches), unit="ms", note="the server's own count"),
        Figure(name="… of it the chat server", value=find_median(bare), unit="ms", note="asked directly"),
        Figure(name="… added beside both, p50", value=find_median(added), unit="ms", at_most=FIRST_MS,
               note=f"p95 {find_percentile(added, 0.95):.1f} ms"),
    ]  # fmt: skip


def read_timings(stream: Stream) -> dict[str, float]:
    (line,) = [part for part in stream.content.split(b"\n") if part.startswith(b'data: {"answer"')]
    found: dict[str, float] = orjson.loads(line[6:])["timings_ms"]
    return found


def measure_paced(course: Course) -> list[Figure]:
    course.chat.play(SHORT, STEP_S)
    course.ask_through(STREAMS)
    costs, framed, bare = [], [], []
    with Relay("asgi_relay.py", course.chat) as asgi, Relay("relay.py", course.chat) as plain:
        time.sleep(2)  # they listen
        for _ in range(ROUNDS):
            costs.append(measure_cost(course, STEP_S, LONG))
            framed.append(measure_cost(course, STEP_S, LONG, asgi))
            bare.append(measure_cost(course, STEP_S, LONG, plain))
    course.chat.play(LONG, STEP_S)
    with watch_others(course.server.port) as times:
        streams = course.ask_through(STREAMS)
        begun = max(stream.first for stream in streams)
        ended = min(stream.ended for stream in streams)
    while_open = [1000 * spent for at, spent in times if begun <= at <= ended]
    return [
        Figure(name="processor time a token", value=find_median(costs), unit="µs", at_most=TOKEN_US,
               note=f"median of {ROUNDS}, {min(costs):.1f}–{max(costs):.1f} µs; each token comes and goes by itself"),
        Figure(name="… of uvicorn and aiohttp alone", value=find_median(framed), unit="µs",
               note=f"median of {ROUNDS}, {min(framed):.1f}–{max(framed):.1f} µs; what the server is built on"),
        Figure(name="… of a bare relay of bytes", value=find_median(bare), unit="µs",
               note=f"median of {ROUNDS}, {min(bare):.1f}–{max(bare):.1f} µs; reads nothing, same loop, same kernel"),
        Figure(name="ours ÷ uvicorn and aiohttp alone", value=find_median(costs) / find_median(framed), unit="×"),
        Figure(name="`/health/live` meanwhile, p99", value=find_percentile(while_open, 0.99), unit="ms",
               note=f"p50 {find_median(while_open):.1f} ms, {len(while_open)} requests"),
    ]  # fmt: skip


def measure_cost(course: Course, step_s: float, tokens: int, relay: Relay | None = None) -> float:
    """Microseconds of processor time a token, of the server or a relay: two runs that differ in nothing else."""
    spent = {}
    process: Server | Relay = relay or course.server
    for count in (SHORT, tokens):
        course.chat.play(count, step_s)
        before = process.processor_s
        if relay is not None:
            course.ask_relay(relay, STREAMS)
        else:
            course.ask_through(STREAMS)
        spent[count] = process.processor_s - before
    return 1e6 * (spent[tokens] - spent[SHORT]) / (STREAMS * (tokens - SHORT))


@contextmanager
def watch_others(port: int):  # noqa: ANN201
    """When a request that needs nothing was sent, and the seconds it took; asked every 10 ms while the block runs."""
    times: list[tuple[float, float]] = []
    ended = Event()

    def look() -> None:
        with Client(port) as client:
            while not ended.wait(LOOK_S):
                began = time.perf_counter()
                client.send("GET", "/health/live")
                times.append((began, time.perf_counter() - began))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield times
        finally:
            ended.set()
            looking.result()


def measure_throughput(course: Course) -> list[Figure]:
    course.chat.play(FAST_TOKENS)
    through, direct = [], []
    for _ in range(ROUNDS):
        through.append(count_rate(course.ask_through(STREAMS)))
        direct.append(count_rate(course.ask_directly(STREAMS)))
    costs = [measure_cost(course, 0.0, FAST_TOKENS) for _ in range(ROUNDS)]
    share = find_median(through) / find_median(direct)
    return [
        Figure(name="through us", value=find_median(through), unit="tokens/s", note="from first token to last"),
        Figure(name="from the chat server directly", value=find_median(direct), unit="tokens/s"),
        Figure(name="through us ÷ directly", value=share, unit="×"),
        Figure(name="processor time a token", value=find_median(costs), unit="µs", at_most=TOKEN_US,
               note=f"median of {ROUNDS}, {min(costs):.1f}–{max(costs):.1f} µs; several tokens come at a time"),
    ]  # fmt: skip


def count_rate(streams: Sequence[Stream]) -> float:
    began, ended = min(stream.first for stream in streams), max(stream.ended for stream in streams)
    return STREAMS * FAST_TOKENS / (ended - began)


def measure_inside(course: Course) -> list[Figure]:
    course.chat.play(SHORT, STEP_S)
    course.ask_through(STREAMS)
    course.chat.play(LONG, STEP_S)
    port = course.server.port
    with ThreadPoolExecutor(1) as pool:
        probe(port)
        streaming = pool.submit(course.ask_through, STREAMS)
        time.sleep(LONG * STEP_S / 3)  # all have begun to speak
        start = probe(port)
        time.sleep(LONG * STEP_S / 3)
        steady = probe(port)
        is_open = not streaming.done()
        streaming.result()
    if not is_open:
        raise SystemExit("the streams ended before they were looked at")
    lags, burst, held = steady["lags_ms"], start["lags_ms"], steady["held"]
    return [
        Figure(name=f"lag of the event loop, p99, {STREAMS} streams open", value=find_percentile(lags, 0.99), unit="ms",
               at_most=LAG_MS, note=f"p50 {find_median(lags):.1f} ms, most {max(lags):.1f} ms"),
        Figure(name="… while they are all asked for at once, p99", value=find_percentile(burst, 0.99), unit="ms",
               note=f"the {STREAMS} searches lie in these five seconds, most {max(burst):.1f} ms"),
        Figure(name="database connections in use, most", value=max(held), unit="", at_most=0,
               note=f"{len(held)} looks while the streams are open; {max(start['held'])} while they are asked for"),
    ]  # fmt: skip


def probe(port: int) -> dict[str, list[float]]:
    with Client(port) as client:
        return client.call("GET", "/probe")


if __name__ == "__main__":
    main()
