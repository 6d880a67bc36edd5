"""A small client of the HTTP contract for end-to-end tests, and waiting for what a server will do in its own time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

LOOK_AGAIN_S = 0.03
PATIENCE_S = 60.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # handed in, since httpx reads every root certificate for each client

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, seconds: float = PATIENCE_S) -> T:
    """What `look` finds, once it is true. Raises AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(LOOK_AGAIN_S)
    return found


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
