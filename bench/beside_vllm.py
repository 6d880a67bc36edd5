"""`make bench-answers VLLM=1`: answers of a real vLLM through the server, beside the same requests sent to vLLM itself.

The vLLM is the one of `make test-vllm`, on the processor, with a tiny Qwen2.5 of random weights: it writes noise to the
length that is asked for, and is what is waited for here. The bodies sent to it directly are those that our server sent,
recorded once. Both ways are taken in turn, with the same bodies, in one run.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from figures import Figure, find_median, print_group
from machine import describe_load, describe_machine
from pushing import write_folder
from recorder import CHAT, Recorder
from server import Server
from streams import Stream, Target, run_streams
from texts import Texts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.tiny_qwen import build_qwen_folder
from fakes.vllm_server import ABSENT, ENVIRONMENT, KEY, VllmServer, find_source

KB = "bench"
DOCUMENTS, CHARACTERS = 500, 600
WINDOW = 8_192
STREAMS, TOKENS, ROUNDS = 32, 128, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """One round one way: tokens a second from the first question to the last token, and the wait for the first ones."""

    rate: float
    first_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cached:
    """Tokens of prompts that vLLM has looked for in its prefix cache, and those it found there."""

    looked: float
    found: float


class Course:
    """The same questions through us and, as the bodies that we made of them, directly."""

    def __init__(self, vllm: VllmServer, questions: Sequence[str], tokens: int) -> None:
        self.vllm = vllm
        wishes = {"stream": True, "max_tokens": tokens}
        self.asked: list[object] = [{"question": question, **wishes} for question in questions]
        self.bodies: list[object] = []

    def record(self, server: Server, recorder: Recorder) -> None:
        run_streams(self._aim_at(server), self.asked)
        self.bodies = [orjson.loads(body) for body in recorder.bodies]
        if len(self.bodies) != len(self.asked):
            raise SystemExit(f"{len(self.bodies)} of {len(self.asked)} questions came to vLLM")

    def _aim_at(self, server: Server) -> Target:
        return Target(port=server.port, path=f"/api/v1/knowledge-bases/{KB}/ask", mark=b"event: token")

    def ask_through(self, server: Server) -> Taken:
        return judge(run_streams(self._aim_at(server), self.asked), count_ours)

    def ask_directly(self) -> Taken:
        mark = b'"delta":{"content":"'
        target = Target(port=self.vllm.port, path=CHAT, mark=mark, head=f"Authorization: Bearer {KEY}\r\n")
        return judge(run_streams(target, self.bodies), count_vllms)

    def read_cache(self) -> Cached:
        looked, found = (self.vllm.read_metric(f"vllm:prefix_cache_{name}_total") for name in ("queries", "hits"))
        return Cached(looked=looked, found=found)


def judge(streams: Sequence[Stream], count: Callable[[bytes], int]) -> Taken:
    tokens = sum(count(stream.content) for stream in streams)
    began, ended = min(stream.began for stream in streams), max(stream.ended for stream in streams)
    waits = [1000 * (stream.first - stream.began) for stream in streams]
    return Taken(rate=tokens / (ended - began), first_ms=find_median(waits))


def count_ours(content: bytes) -> int:
    (line,) = [line for line in content.split(b"\n") if line.startswith(b'data: {"answer"')]
    return int(orjson.loads(line[6:])["usage"]["completion_tokens"])


def count_vllms(content: bytes) -> int:
    (line,) = [line for line in content.split(b"\n") if line.startswith(b"data: {") and b'"choices":[]' in line]
    return int(orjson.loads(line[6:])["usage"]["completion_tokens"])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS, help="questions at once")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of each answer")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, of both ways each")
    given = parser.parse_args()
    if not (ENVIRONMENT / "installed").exists():
        raise SystemExit(ABSENT)
    print(f"{describe_machine()}\n{describe_load()} before")
    texts = Texts()
    documents = [texts.make_document(CHARACTERS) for _ in range(DOCUMENTS)]
    questions = texts.make_questions(documents, given.streams)
    with TemporaryDirectory() as name:
        data_dir, folder = Path(name) / "store", Path(name) / "folder"
        write_folder(folder, documents)
        with Server(data_dir) as server:
            server.run_command("push", str(folder), "--kb", KB)
        qwen = build_qwen_folder(Path(name) / "qwen", find_source())
        with VllmServer(qwen, "--window", str(WINDOW)) as vllm:
            course = Course(vllm, questions, given.tokens)
            print_group(*measure(course, data_dir, given.rounds))
    print(f"\n{describe_load()} after")


def measure(course: Course, data_dir: Path, rounds: int) -> tuple[str, list[Figure]]:
    settings = {"KB_LLM_MODEL": course.vllm.name, "KB_LLM_API_KEY": KEY, "KB_WORKERS": "0"}
    start = course.read_cache()
    with Recorder(course.vllm.root) as recorder, Server(data_dir, KB_LLM_BASE_URL=recorder.url, **settings) as server:
        course.record(server, recorder)
    cold = course.read_cache()
    through, direct = [], []
    with Server(data_dir, KB_LLM_BASE_URL=course.vllm.url, **settings) as server:
        course.ask_through(server)  # its connections are open, and vLLM has read all prompts once
        warm = course.read_cache()
        for number in range(rounds):
            ways = [lambda: through.append(course.ask_through(server)), lambda: direct.append(course.ask_directly())]
            for take in ways if number % 2 == 0 else reversed(ways):
                take()
    title = f"{len(course.asked)} streams at once from a real vLLM on the processor"
    caches = [compare(cold, start), compare(course.read_cache(), warm)]
    return title, show(through, direct, caches)


def compare(later: Cached, earlier: Cached) -> float:
    """Percent of the prompts' tokens that were found in the cache in between."""
    return 100 * (later.found - earlier.found) / (later.looked - earlier.looked)


def show(through: Sequence[Taken], direct: Sequence[Taken], caches: Sequence[float]) -> list[Figure]:
    rates = [[taken.rate for taken in way] for way in (through, direct)]
    waits = [find_median([taken.first_ms for taken in way]) for way in (through, direct)]
    ratios = [ours / theirs for ours, theirs in zip(*rates, strict=True)]
    spreads = [f"median of {len(rate)}, {min(rate):.0f}–{max(rate):.0f}" for rate in rates]
    ratio_note = f"median of {len(ratios)} rounds, {min(ratios):.2f}–{max(ratios):.2f}; search and prompt are in it"
    return [
        Figure(name="through us", value=find_median(rates[0]), unit="tokens/s", note=spreads[0]),
        Figure(name="the same requests to vLLM", value=find_median(rates[1]), unit="tokens/s", note=spreads[1]),
        Figure(name="through us ÷ directly", value=find_median(ratios), unit="×", note=ratio_note),
        Figure(name="question → first token, p50, through us", value=waits[0], unit="ms"),
        Figure(name="… of vLLM directly", value=waits[1], unit="ms"),
        Figure(name="prompts found in vLLM's prefix cache, first time", value=caches[0], unit="%",
               note="what all prompts begin with: the instructions"),
        Figure(name="… asked again", value=caches[1], unit="%", note="both ways, the rounds above"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
