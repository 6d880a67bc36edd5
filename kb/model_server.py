"""Calls to one model server of the OpenAI protocol, how patient they are, and what its refusals mean.

The only importer of httpx beside the command line; it is imported at the first call. One client serves all threads of a
process. What is asked and what the answer means is said by those who call: the encoder and the reranker.

    not reached, broken off, 429, 502, 503, 504 → again, with growing pauses or as `Retry-After` says
    400, 413, 422, and 500 for a text too long  → TextsRefused: the caller may send less
    all else                                    → Unavailable, at once
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

from kb.errors import Unavailable
from kb.loopback import is_loopback
from kb.model_answer import is_too_long, name_error

if TYPE_CHECKING:  # 0.1 s that a server with a local model need not spend
    import httpx

BUSY = frozenset({429, 502, 503, 504})
REFUSED = frozenset({400, 413, 422})
LONGEST_ANSWER = 64_000_000  # bytes
FIRST_PAUSE_S = 0.5  # before the second attempt, twice as long before each one after it
MOST_CONNECTIONS = 16
REACH_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Seconds, and how often a call is made. `read_s` is between two arrivals of bytes, `total_s` for one attempt; a
    server that did not answer is taken to be away for `away_s`, and not asked meanwhile. One that says that it is busy
    is asked again only when `awaits_busy`."""

    connect_s: float
    read_s: float
    total_s: float
    attempts: int
    pause_s: float  # the longest, whatever the server asks for
    away_s: float = 0.0
    awaits_busy: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelServer:
    """`base_url` ends in /v1; neither it nor `model` holds a secret."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTask:
    """What a server is for, as errors name it: `the <noun> server`, with the setting that says where it is."""

    noun: str
    path: str  # below the base URL
    code: str
    setting: str


class TextsRefused(Exception):
    """The server answers, but does not take these texts, be it for their length or their number."""


class _NoAnswer(Exception):
    """This attempt brought no answer. `again`: another one may."""

    def __init__(self, fault: str, *, again: bool = True, pause_s: float | None = None) -> None:
        super().__init__(fault)
        self.fault = fault
        self.again = again
        self.pause_s = pause_s


class ModelClient:
    """Thread-safe. `sleep` and `clock` are handed in so that a test needs no time."""

    def __init__(
        self,
        server: ModelServer,
        task: ModelTask,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        self._task = task
        self._url = f"{server.base_url.rstrip('/')}/{task.path}"
        self._sleep = sleep
        self._clock = clock
        self._http: httpx.Client | None = None
        self._opening = Lock()
        self._away: tuple[float, str] | None = None  # since when, and what was wrong

    def post(self, request: Mapping[str, Any], patience: Patience) -> bytes:
        """The bytes of a good answer to `request`, which names the model. Raises TextsRefused, Unavailable (the task's
        code)."""
        away = self._away
        if away is not None and self._clock() < away[0] + patience.away_s:
            raise self.say(away[1])
        body = orjson.dumps({"model": self.server.model, **request})
        for attempt in count(1):
            try:
                content = self._post(body, patience)
                break
            except _NoAnswer as silence:
                if not silence.again or attempt >= patience.attempts:
                    raise self._note_away(silence.fault) from None
                pause_s = silence.pause_s if silence.pause_s is not None else FIRST_PAUSE_S * 2.0 ** (attempt - 1)
            self._sleep(min(pause_s, patience.pause_s))
        self._away = None
        return content

    def check_reachable(self) -> None:
        """One small question and nothing computed; an answer of any kind will do, unless it is that our key is no good
        or that the server is busy. Raises Unavailable (the task's code)."""
        import httpx

        try:
            response = self._open().get(f"{self.server.base_url.rstrip('/')}/models", timeout=REACH_S)
        except httpx.TimeoutException:
            raise self.say(f"did not answer within {REACH_S:g} s") from None
        except httpx.RequestError:
            raise self.say("cannot be reached") from None
        if response.status_code in BUSY | {401, 403}:
            raise self.say(f"answered {response.status_code}")

    def say(self, fault: str) -> Unavailable:
        server = self.server
        return Unavailable(
            self._task.code, f"the {self._task.noun} server {server.base_url} (model {server.model!r}) {fault}"
        )

    def close(self) -> None:
        with self._opening:
            if self._http is not None:
                self._http.close()
                self._http = None

    def _note_away(self, fault: str) -> Unavailable:
        self._away = (self._clock(), fault)
        log.warning("%s.away server=%s fault=%r", self._task.noun, self.server.base_url, fault)
        return self.say(fault)

    def _post(self, body: bytes, patience: Patience) -> bytes:
        """One attempt: the bytes of a good answer."""
        import httpx

        deadline = self._clock() + patience.total_s
        waits = httpx.Timeout(patience.read_s, connect=patience.connect_s)
        try:
            with self._open().stream("POST", self._url, content=body, timeout=waits) as response:
                content = self._read_content(response, deadline)
        except httpx.ConnectTimeout:
            raise _NoAnswer(f"cannot be reached within {patience.connect_s:g} s") from None
        except httpx.TimeoutException:
            raise _NoAnswer(f"sent nothing for {patience.read_s:g} s", again=False) from None
        except httpx.ConnectError:
            raise _NoAnswer("cannot be reached") from None
        except httpx.RequestError as error:
            raise _NoAnswer(f"broke off ({type(error).__name__})") from None
        self._check_status(response, content, patience)
        return content

    def _read_content(self, response: httpx.Response, deadline: float) -> bytes:
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > LONGEST_ANSWER:
                raise self.say(f"sent more than {LONGEST_ANSWER} bytes")
            if self._clock() > deadline:
                raise _NoAnswer("did not come to the end of its answer in time", again=False)
        return bytes(content)

    def _check_status(self, response: httpx.Response, content: bytes, patience: Patience) -> None:
        status, setting = response.status_code, self._task.setting
        if status == 200:
            return
        said = f"answered {status}{self._name_error(content)}"
        if status in REFUSED or (status == 500 and is_too_long(content)):
            raise TextsRefused(said)
        if status in BUSY:
            pause_s = read_pause(response.headers.get("retry-after"))
            raise _NoAnswer(said, again=patience.awaits_busy, pause_s=pause_s)
        if status in {401, 403}:
            raise self.say(f"{said}: it does not take our key; set {setting}_API_KEY")
        if status in {404, 405}:
            raise self.say(
                f"{said} for {self._url}: no such model or no such path; "
                f"{setting} ends in /v1 as a rule, and {setting}_MODEL must be a model that it serves"
            )
        if 300 <= status < 400:  # never followed: key and documents would go to a place that nobody configured
            raise self.say(f"{said}: it redirects; set {setting} to the address that it redirects to")
        raise self.say(said)

    def _name_error(self, content: bytes) -> str:
        named, key = name_error(content), self.server.api_key
        return "" if key and key in named else named

    def _open(self) -> httpx.Client:
        import httpx

        with self._opening:
            if self._http is None:
                key = self.server.api_key
                self._http = httpx.Client(
                    headers={
                        "Content-Type": "application/json",
                        "Accept": "application/json",
                        "Accept-Encoding": "identity",  # unpacking costs more than the wire, and a bomb cannot come
                        **({"Authorization": f"Bearer {key}"} if key else {}),
                    },
                    limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
                    verify=self._url.lower().startswith("https"),  # loading certificates takes 50 ms
                    trust_env=not is_loopback(self._url),  # no proxy reaches our loopback
                )
            return self._http


def read_pause(retry_after: str | None) -> float | None:
    """Seconds that a server asks for; a date, which none of them sends, counts as nothing said."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
