from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog
from api.paging import Cursor, Limit, Page, cut_page, read_number_cursor
from api.responses import JsonAnswer
from api.schemas.job import ENDED, JobAnswer, show_job
from api.sse import Event, EventStream, write_event
from kb.catalog.jobs import Jobs
from kb.types import JobState

POLL_S = 0.3
LONGEST_POLL_S = 1.0  # between two looks at a job in which nothing happens

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


@router.get("", response_model=Page[JobAnswer])
def list_jobs(
    request: Request,
    kb: str | None = None,
    state: JobState | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List jobs, newest first."""
    kb_id = None if kb is None else find_knowledge_base(request, kb).id
    found = get_catalog(request).jobs.list_jobs(limit + 1, read_number_cursor(cursor), kb_id, state)
    page, next_cursor = cut_page(found, limit, lambda pair: str(pair[0]))
    now = datetime.now(UTC)
    return JsonAnswer(Page(items=[show_job(job, now) for _, job in page], next_cursor=next_cursor))


@router.get("/{job_id}", response_model=JobAnswer)
def get_job(request: Request, job_id: str) -> Response:
    """Get one job."""
    return JsonAnswer(show_job(get_catalog(request).jobs.get(job_id), datetime.now(UTC)))


@router.post("/{job_id}/cancel", response_model=JobAnswer)
def cancel_job(request: Request, job_id: str) -> Response:
    """Cancel a job: what is published stays, what is not fails with `cancelled`."""
    return JsonAnswer(show_job(get_catalog(request).jobs.cancel(job_id), datetime.now(UTC)))


@router.post("/{job_id}/retry", response_model=JobAnswer)
def retry_job(request: Request, job_id: str) -> Response:
    """Queue an ended job once more, for those of its documents that failed."""
    return JsonAnswer(show_job(get_catalog(request).jobs.retry(job_id), datetime.now(UTC)))


@router.get("/{job_id}/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def stream_job(request: Request, job_id: str) -> Response:
    """Follow a job: `event: progress` with the job at every change, the last one is `event: done`."""
    return EventStream(follow_job(get_catalog(request).jobs, job_id), write_event)


async def follow_job(jobs: Jobs, job_id: str, poll_s: float = POLL_S) -> AsyncGenerator[Event, None]:
    """Polls, so that no database connection is held between two looks. Raises NotFound (`job_not_found`)."""
    seen, wait_s = None, poll_s
    while True:
        job = await run_in_threadpool(jobs.get, job_id)
        shown = show_job(job, datetime.now(UTC))
        if job.state in ENDED:
            yield Event(name="done", data=shown)
            return
        if job != seen:
            yield Event(name="progress", data=shown)
            seen, wait_s = job, poll_s
        await asyncio.sleep(wait_s)
        wait_s = min(1.5 * wait_s, LONGEST_POLL_S)
