"""The sources of the small server in `fakes/kb_server.py`. A sync of a source called `bad` ends as failed, one
of `flawed` with pages that did not come."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

PLAN: dict[str, Any] = {
    "added": 1,
    "changed": 0,
    "moved": 1,
    "removed": 1,
    "unchanged": 7,
    "paths": {
        "added": ["docs/新.md"],
        "changed": [],
        "moved": [{"from": "docs/a.md", "to": "docs/b.md"}],
        "removed": ["docs/old.md"],
        "failed": [{"path": "docs/x.bin", "code": "unsupported_type", "detail": "nothing reads it"}],
    },
}

Answer = tuple[int, dict[str, Any] | None]


def flaw(ending: dict[str, Any], failures: int) -> dict[str, Any]:
    """A sync that so many pages did not come to, and one that is gone."""
    site = "https://flawed.test"
    told = {"code": "fetch_http_503", "detail": "it answers 503"}
    failed = [{"path": f"{site}/{number}", **told} for number in range(failures)]
    gone = [{"path": f"{site}/gone", "code": "fetch_http_404", "nights": 2}]
    return {**ending, "failed": failures, "result": {**ending["result"], "failures": failed, "gone": gone}}


class FakeSources:
    """`jobs` are the server's: a sync adds one."""

    def __init__(self, jobs: dict[str, dict[str, Any]]) -> None:
        self.jobs = jobs
        self.by_name: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, rest: list[str], body: dict[str, Any]) -> Answer | None:
        """None for what is not there."""
        match (method, [unquote(part) for part in rest]):
            case ("POST", []):
                fields = {"include": [], "exclude": [], "schedule": None, "timezone": "UTC", "next_run": None}
                self.by_name[body["name"]] = self.plan({"id": f"s{len(self.by_name) + 1}", **fields, **body})
                return 201, self.by_name[body["name"]]
            case ("GET", [name]) if name in self.by_name:
                return 200, self.by_name[name]
            case ("PATCH", [name]) if name in self.by_name:
                self.by_name[name] = self.plan({**self.by_name[name], **body})
                return 200, self.by_name[name]
            case ("DELETE", [name]) if name in self.by_name:
                del self.by_name[name]
                return 204, None
            case ("POST", [name, "sync"]) if name in self.by_name:
                complete = {} if name == "docs" else {"complete": False}
                return (200, PLAN | complete) if body.get("dry_run") else self.sync(name)
        return None

    def plan(self, source: dict[str, Any]) -> dict[str, Any]:
        return {**source, "next_run": "2025-03-01T18:30:00Z" if source["schedule"] else None}

    def sync(self, name: str) -> Answer:
        job_id = f"sync{len(self.jobs) + 1}"
        job: dict[str, Any] = {"id": job_id, "kind": "sync", "state": "queued", "done": 0, "total": 0, "failed": 0}
        ending = {"total": 3, "message": "", "code": None, "result": {"added": 3, "removed": 0}}
        if name == "bad":
            ending = {"ending": "failed", "message": "there is no folder", "code": "root_missing"}
        if name.startswith("flawed"):
            ending = flaw(ending, 25 if name.endswith("much") else 1)
        self.jobs[job_id] = {**job, **ending}
        return 202, {"job_id": job_id}
