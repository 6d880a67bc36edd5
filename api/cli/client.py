"""The command line's one door to the server, and to httpx. Speaks `/api/v1` and turns every fault into CallFailed.

connection refused, reset, timed out   → exit code 3
4xx                                    → 4, with the server's code and detail
5xx, or an answer that is none         → 5
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from api.cli.events import read_events
from api.cli.failures import CallFailed, ExitCode
from kb.loopback import is_loopback

Params = Mapping[str, str | int | None]
Sleep = Callable[[float], None]

PAGE = 200  # the most items a list gives at once
ATTEMPTS = 5
FIRST_PAUSE_S = 0.3  # doubled after every failed attempt
LONGEST_PAUSE_S = 30.0
PASSING = frozenset({429, 502, 503, 504})  # states that pass: the same request may succeed a little later
TIMEOUT = httpx.Timeout(60, connect=5, pool=None)
ANSWER_TIMEOUT = httpx.Timeout(60, connect=5, pool=None, read=600)  # a chat model without a GPU takes minutes


class Client:
    """One server. Thread-safe. `sleep` is handed in so that a test need not wait."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.sleep = sleep
        self._http = httpx.Client(
            base_url=self.url + "/api/v1",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=TIMEOUT,
            transport=transport,
            verify=self.url.startswith("https"),  # plain HTTP needs no certificates, and loading them costs 50 ms
            trust_env=not is_loopback(url),  # a proxy cannot reach our loopback, and must not see what goes there
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, params: Params | None = None, *, attempts: int = 1) -> dict[str, Any]:
        """The JSON object under `path`. Raises CallFailed."""
        return self._call(lambda: self._http.build_request("GET", path, params=_drop_none(params)), attempts)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, attempts: int = 1) -> dict[str, Any]:
        """More than one attempt only where asking twice does no harm. Raises CallFailed."""
        return self._call(
            lambda: self._http.build_request("POST", path, json=body or {}, timeout=ANSWER_TIMEOUT), attempts
        )

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises CallFailed."""
        return self._call(lambda: self._http.build_request("PATCH", path, json=body), 1)

    def delete(self, path: str, params: Params | None = None) -> None:
        """Raises CallFailed."""
        self._call(lambda: self._http.build_request("DELETE", path, params=_drop_none(params)), 1)

    def list_items(self, path: str, params: Params | None = None) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page. Raises CallFailed."""
        cursor: str | None = None
        while True:
            page = self.get(path, {**(params or {}), "limit": PAGE, "cursor": cursor})
            yield from page.get("items", [])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def upload(self, path: str, open_body: Callable[[], Iterable[bytes]], headers: Mapping[str, str]) -> dict[str, Any]:
        """POST a body that is made anew for every attempt; the headers, Idempotency-Key among them, stay the same.

        Raises CallFailed.
        """
        return self._call(
            lambda: self._http.build_request(
                "POST", path, content=open_body(), headers=dict(headers), timeout=ANSWER_TIMEOUT
            ),
            ATTEMPTS,
        )

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
        """The events of a streamed answer, as they come; leaving the block closes the connection. Raises CallFailed."""
        try:
            with self._http.stream("POST", path, json=dict(body), timeout=ANSWER_TIMEOUT) as response:
                if not response.is_success:
                    response.read()
                    raise read_failure(response)
                yield read_events(response.iter_bytes())
        except httpx.RequestError as error:
            raise self._fail_to_reach(error) from error

    def _call(self, build: Callable[[], httpx.Request], attempts: int) -> dict[str, Any]:
        for attempt in range(1, attempts + 1):
            try:
                response = self._http.send(build())
            except httpx.RequestError as error:
                if attempt == attempts:
                    raise self._fail_to_reach(error) from error
                self.sleep(count_pause(attempt))
                continue
            if response.status_code not in PASSING or attempt == attempts:
                return read_object(response)
            self.sleep(count_pause(attempt, response.headers.get("retry-after")))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fail_to_reach(self, error: httpx.RequestError) -> CallFailed:
        reason = str(error) or type(error).__name__
        return CallFailed("unreachable", f"{self.url} does not answer: {reason}", exit_code=ExitCode.UNREACHABLE)


def read_object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a response, empty for 204. Raises CallFailed for anything else than success with an object."""
    if not response.is_success:
        raise read_failure(response)
    if not response.content:
        return {}
    document = _parse(response)
    if document is None:
        detail = f"{response.url} answered {response.status_code}, but not with a JSON object: is it a kb server?"
        raise CallFailed("bad_answer", detail, exit_code=ExitCode.SERVER_ERROR)
    return document


def read_failure(response: httpx.Response) -> CallFailed:
    """The failure a response stands for: its own code and detail where it is a problem document."""
    status = response.status_code
    refused = 400 <= status < 500
    problem = _parse(response) or {}
    code, detail = problem.get("code"), problem.get("detail") or problem.get("title")
    failure = CallFailed(
        code if isinstance(code, str) and code else f"http_{status}",
        detail if isinstance(detail, str) and detail else f"{response.url} answered {status} {response.reason_phrase}",
        exit_code=ExitCode.REFUSED if refused else ExitCode.SERVER_ERROR,
    )
    failure.status, failure.body = status, problem
    return failure


def count_pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds before the next attempt: what the server asks for, else twice as long each time."""
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    return min(FIRST_PAUSE_S * 2.0 ** (attempt - 1), LONGEST_PAUSE_S)


def kb_path(kb: str, *rest: str) -> str:
    """The path of a knowledge base, by id or name, or of something in it."""
    return "/".join(["/knowledge-bases", *(quote(part, safe="") for part in (kb, *rest))])


def _drop_none(params: Params | None) -> dict[str, str | int]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _parse(response: httpx.Response) -> dict[str, Any] | None:
    try:
        document = json.loads(response.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
