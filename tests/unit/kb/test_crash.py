"""Crash points: the name must be known, the count a number, and unarmed they do nothing."""

from collections.abc import Iterator

import pytest

from kb import crash
from kb.errors import StartRefused


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    crash.arm(None)


@pytest.mark.parametrize(
    "setting", ["nowhere", "job.claimed:x", "job.claimed:-1", "job.claimed:1:2", ":3", "Job.claimed"]
)
def test_a_typing_slip_is_refused(setting: str) -> None:
    with pytest.raises(StartRefused) as refused:
        crash.arm(setting)
    assert refused.value.code == "bad_setting"
    assert "publish.pre_commit" in refused.value.detail


@pytest.mark.parametrize("setting", [None, "", "job.claimed", "job.claimed:", "job.claimed:2"])
def test_other_points_are_passed(setting: str | None) -> None:
    crash.arm(setting)
    for name in crash.POINTS:
        if name != "job.claimed":
            crash.reach(name)


def test_it_counts_down() -> None:
    crash.arm("job.claimed:3")
    crash.reach("job.claimed")
    crash.reach("job.claimed")  # the third would end this process
    crash.arm("")
    crash.reach("job.claimed")


def test_every_point_has_one_name() -> None:
    assert len(set(crash.POINTS)) == len(crash.POINTS)
