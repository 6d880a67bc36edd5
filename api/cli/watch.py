"""Waits for jobs by asking how far they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from api.cli.client import ATTEMPTS, Client
from api.cli.progress import Stage

FINISHED = frozenset({"succeeded", "failed", "cancelled"})
ASKED_AT_ONCE = 8  # jobs asked for each time: workers take them in order, so that the later ones only wait
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0

Job = Mapping[str, Any]


def job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def watch_jobs(client: Client, job_ids: Sequence[str], stage: Stage, *, grows: bool = False) -> list[Job]:
    """The jobs as they ended, in the order given; `stage` is advanced by what they have done, and resized to what they
    have to do where that `grows` under way. Raises CallFailed."""
    seen: dict[str, Job] = {}
    pause = FIRST_PAUSE_S
    while waiting := [job_id for job_id in job_ids if not is_finished(seen.get(job_id))]:
        before = count_done(seen)
        for job_id in waiting[:ASKED_AT_ONCE]:
            seen[job_id] = client.get(job_path(job_id), attempts=ATTEMPTS)
        moved = count_done(seen) - before
        if grows and (total := sum(int(job.get("total") or 0) for job in seen.values())):
            stage.resize(total)
        stage.advance(moved)
        if all(is_finished(seen[job_id]) for job_id in waiting[:ASKED_AT_ONCE]):
            continue
        pause = FIRST_PAUSE_S if moved else min(pause * 1.5, LONGEST_PAUSE_S)
        client.sleep(pause)
    return [seen[job_id] for job_id in job_ids]


def is_finished(job: Job | None) -> bool:
    return job is not None and job["state"] in FINISHED


def count_done(jobs: Mapping[str, Job]) -> int:
    return sum(int(job.get("done") or 0) for job in jobs.values())
