"""The outermost layer of the server: ids and times of requests, headers every answer has, and faults that are ours.

Pure ASGI: a body or a stream passes through untouched; HEAD is answered as GET would be, and the body left out. This is
the place of the HTTP side's broad `except`.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BadRequest, describe_fault, internal_problem, render_problem, to_problem
from api.json_body import has_body

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
READS = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(r"[\w.~%!$&'()*+,;=:\[\]-]*", re.ASCII)  # what RFC 3986 lets stand there
CLIENT_GONE = 499  # in the log alone: nobody is there to get it

log = logging.getLogger(__name__)
access_log = logging.getLogger("api.access")


@dataclass(kw_only=True, slots=True)
class _Exchange:
    """One request and how far its answer is."""

    request_id: str
    began: float
    body_read: bool
    status: int = 0


class Boundary:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body_read = not has_body(Headers(scope=scope))
        exchange = _Exchange(request_id=secrets.token_hex(8), began=perf_counter(), body_read=body_read)
        is_head = scope["method"] == "HEAD"
        inner = {**scope, "method": "GET"} if is_head else scope

        async def receive_noting() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                exchange.body_read = True
            return message

        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                _sign(MutableHeaders(raw=message.setdefault("headers", [])), exchange)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._answer(inner, receive_noting, send_signed, exchange)
        _log_access(scope["method"], inner, exchange)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: _Exchange) -> None:
        try:
            if refusal := _find_refusal(scope):
                await render_problem(to_problem(refusal), scope["path"])(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except ClientDisconnect:
            log.debug("request.abandoned id=%s", exchange.request_id)
        except Exception as error:  # noqa: BLE001  # the boundary: the caller learns no more than that it failed
            log.error("request.failed id=%s %s", exchange.request_id, describe_fault(error))
            if not exchange.status:  # else an answer is under way, and returning breaks the connection off
                await render_problem(internal_problem(), scope["path"])(scope, receive, send)


def _find_refusal(scope: Scope) -> BadRequest | None:
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    fewest = 0 if scope["http_version"] == "1.0" else 1
    if not (fewest <= len(hosts) <= 1 and all(HOST.fullmatch(host) for host in hosts)):
        return BadRequest("bad_request", "a request has one Host header, a name or an address and perhaps a port")
    if scope["method"] not in READS and headers.get("sec-fetch-site") == "cross-site":
        # a form on a foreign page can post files to a server on this machine; only browsers send this header
        return BadRequest("cross_site", "a page of another site may not change anything here")
    return None


def _sign(headers: MutableHeaders, exchange: _Exchange) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers["x-request-id"] = exchange.request_id
    if exchange.status >= 400 and not exchange.body_read:  # the rest of a refused request is not wanted
        headers["connection"] = "close"


def _log_access(method: str, scope: Scope, exchange: _Exchange) -> None:
    """The route's template, never the path, the query or the body: those may be private."""
    route = scope.get("route")
    access_log.info(
        "%s %s %d %.1f ms id=%s",
        method,
        getattr(route, "path", "-"),
        exchange.status or CLIENT_GONE,
        1000 * (perf_counter() - exchange.began),
        exchange.request_id,
    )
