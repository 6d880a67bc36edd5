"""One question and its answer, over a connection of its own.

The only module that speaks HTTP when fetching: with httpcore, which httpx stands on. What httpx would add is what must
not be: redirects followed unseen, proxies of the environment, cookies, and bodies inflated without a bound.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, cast

from ingest.web.dialing import Allowance, Dialer, Line
from ingest.web.gate import CheckedUrl
from ingest.web.inflating import read_body, refuse_size
from kb.errors import FetchFailed

if TYPE_CHECKING:
    import httpcore

WITH_BODY = frozenset({200, 203})
BETWEEN = {"x-robots-tag": "\n"}  # what one of them says of a robot does not reach into the next
HEADROOM = 512_000  # bytes beside the body, and a quarter of it: headers and the marks of chunks


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`headers` by their names in small letters; of several under one name, all with a comma
    between, or a line each (`BETWEEN`). `body` is that of a success alone."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Exchange:
    """Thread-safe. `trust` is what certificates are checked against; by default the authorities of browsers, and those
    of the system, which `SSL_CERT_FILE` can name."""

    def __init__(
        self, dialer: Dialer, *, trust: ssl.SSLContext | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.reach = dialer.reach
        self._dialer = dialer
        self._trust = trust
        self._clock = clock
        self._loading = Lock()

    def ask(self, url: CheckedUrl, headers: Mapping[str, str], seconds: float, most: int) -> Answer:
        """The whole answer in that time, its body no larger than `most` bytes. Raises FetchFailed."""
        import httpcore

        allowance = Allowance(seconds, most + most // 4 + HEADROOM, self._clock)
        line = self._dialer.connect(url.host, url.port, allowance)
        try:
            connection = httpcore.HTTPConnection(
                origin=httpcore.Origin(url.scheme.encode(), url.host.encode(), url.port),
                ssl_context=self._load_trust() if url.scheme == "https" else None,
                network_backend=cast("httpcore.NetworkBackend", _Connected(line)),
            )
            request = httpcore.Request(
                "GET",
                httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
                headers=[
                    (b"Host", url.authority.encode()),
                    *((name.encode(), value.encode("latin-1")) for name, value in headers.items()),
                    (b"Connection", b"close"),
                ],
            )
            return _read_answer(connection.handle_request(request), most)
        except (httpcore.ProtocolError, httpcore.NetworkError):  # whose words may be the page's
            raise FetchFailed("fetch_broken", "what it sends is no HTTP, or ends too early", passing=True) from None
        finally:
            line.close()

    def _load_trust(self) -> ssl.SSLContext:
        import httpx

        with self._loading:
            if self._trust is None:
                self._trust = httpx.create_ssl_context(trust_env=False)
                self._trust.load_default_certs()
            return self._trust


class _Connected:
    """As httpcore's `NetworkBackend`: the one connection that is there."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def connect_tcp(self, **_: object) -> Line:
        return self._line


def _read_answer(response: httpcore.Response, most: int) -> Answer:
    headers: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}{BETWEEN.get(key, ', ')}{text}" if key in headers else text
    if response.status not in WITH_BODY:
        return Answer(status=response.status, headers=headers)
    coding = headers.get("content-encoding", "").strip().lower()
    length = headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > most:
        raise refuse_size(most)
    return Answer(status=response.status, headers=headers, body=read_body(response.iter_stream(), coding, most))
