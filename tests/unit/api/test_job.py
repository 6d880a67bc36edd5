from datetime import UTC, datetime, timedelta

import pytest

from api.schemas.job import estimate_rest
from kb.types import Job, JobKind, JobState, Lane

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_job(state=JobState.RUNNING, done=0, total=0, started=None):
    return Job(
        id="j", kind=JobKind.UPLOAD, lane=Lane.INTERACTIVE, kb_id="k", state=state, stage="index", done=done,
        total=total, failed=0, message="", attempts=1, fence=1, created_at=NOW, started_at=started, finished_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("done", "total", "seconds", "rest"),
    [(1, 4, 10, 30.0), (4, 4, 10, 0.0), (0, 4, 10, None), (5, 4, 10, 0.0), (3, 9, 1.0, 2.0), (1, 2, -5, 0.0)],
)
def test_the_rest_takes_as_long_as_its_share(done, total, seconds, rest):
    assert estimate_rest(make_job(done=done, total=total, started=NOW - timedelta(seconds=seconds)), NOW) == rest


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.RUNNING])
def test_only_a_running_job_has_a_rest(state):
    assert estimate_rest(make_job(state, 1, 2, NOW), NOW) is None


def test_a_job_that_was_never_started():
    assert estimate_rest(make_job(done=1, total=2), NOW) is None
