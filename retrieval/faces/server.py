"""The search of a running server, for programs of other processes and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from weakref import finalize

import httpx

from kb.config import read_settings
from kb.errors import Conflict, Gone, InvalidInput, KbError, NotFound, Unavailable
from kb.loopback import is_loopback
from kb.types import Filter
from retrieval.search import SearchRequest

TIMEOUT = httpx.Timeout(60, connect=5)
BY_STATUS: Mapping[int, type[KbError]] = {404: NotFound, 409: Conflict, 410: Gone}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerPassage:
    """A passage as the contract has it."""

    text: str
    score: float
    document_id: str
    path: str
    title: str | None
    version: int
    chunk_ids: Sequence[int]
    page_start: int
    page_end: int
    start: int
    end: int
    heading: str | None
    kb_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerResult:
    passages: Sequence[ServerPassage]
    revisions: Mapping[str, int]
    degraded: Sequence[str]


class KbServer:
    """A server by its address, KB_URL unless told otherwise, with the key in KB_API_KEY. Thread-safe; closed at the
    latest when nobody has it any more."""

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """The key of the environment goes to the address of the environment alone.

        Raises StartRefused (`bad_setting`) where the environment has to be read and is wrong.
        """
        if url is None:
            settings = read_settings()
            url = settings.url
            if api_key is None and settings.api_key is not None:
                api_key = settings.api_key.get_secret_value().strip()
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self._url + "/api/v1",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not is_loopback(url),  # a proxy cannot reach our loopback, and must not see what goes there
        )
        self._closing = finalize(self, self._http.close)  # a retriever that made one is never closed itself

    def search(self, request: SearchRequest) -> ServerResult:
        """Raises InvalidInput, NotFound (`knowledge_base_not_found`) and Unavailable with the server's own code;
        Unavailable (`unreachable`) when it does not answer, or not as a server of ours does."""
        body = _write_body(request)
        path = f"/knowledge-bases/{quote(request.kb_id, safe='')}/search"
        if request.also:
            path, body = "/search", {**body, "knowledge_bases": [request.kb_id, *request.also]}
        try:
            response = self._http.post(path, json=body)
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable("unreachable", f"{self._url} does not answer: {reason}") from error
        try:
            answer = response.json()
            if not response.is_success:
                raise _read_problem(response.status_code, answer)
            return _read_result(answer)
        except (ValueError, KeyError, TypeError) as error:
            told = f"{self._url} answered {response.status_code}, but not as a kb server does"
            raise Unavailable("unreachable", told) from error

    def close(self) -> None:
        self._closing()


def _write_body(request: SearchRequest) -> dict[str, Any]:
    body = {
        "query": request.query,
        "top_k": request.top_k,
        "mode": request.mode,
        "rerank": request.rerank,
        "merge": request.merge,
        "max_tokens": request.max_tokens,
    }
    return body if request.only is None else {**body, "filter": _write_filter(request.only)}


def _write_filter(only: Filter) -> dict[str, Any]:
    return {"path_prefix": only.path_prefix, "language": only.language, "metadata": dict(only.metadata)}


def _read_problem(status: int, problem: Mapping[str, Any]) -> KbError:
    """Raises KeyError for anything but a problem document."""
    kind = BY_STATUS.get(status, InvalidInput if status < 500 else Unavailable)
    return kind(str(problem["code"]), str(problem["detail"]))


def _read_result(answer: Mapping[str, Any]) -> ServerResult:
    return ServerResult(
        passages=[_read_passage(passage) for passage in answer["passages"]],
        revisions=answer["revisions"],
        degraded=answer["degraded"],
    )


def _read_passage(passage: Mapping[str, Any]) -> ServerPassage:
    document = passage["document"]
    same = ("text", "score", "version", "chunk_ids", "page_start", "page_end", "start", "end", "heading")
    return ServerPassage(
        **{name: passage[name] for name in same},
        document_id=document["id"],
        path=document["path"],
        title=document["title"],
        kb_id=passage["knowledge_base"]["id"],
    )
