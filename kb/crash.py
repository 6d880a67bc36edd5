"""Named crash points: places where a test kills the process to prove that nothing acknowledged is lost.

`KB_CRASH=name:n` kills the process with SIGKILL the n-th time it reaches that point. Unset, a point costs one
comparison. The names are listed in `POINTS`, so that a test can walk through all of them and a typing slip is refused.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from kb.errors import StartRefused

POINTS = (
    "up.mid_write",
    "up.pre_fsync",
    "up.pre_rename",
    "up.post_rename",
    "up.pre_commit",
    "up.post_commit",
    "job.claimed",
    "parse.done",
    "stage.mid_rows",
    "stage.done",
    "publish.pre_commit",
    "publish.post_commit",
    "swap.pre_commit",
    "swap.post_commit",
    "snap.half",
    "snap.pre_fsync",
    "snap.pre_rename",
    "snap.post_rename",
    "man.pre_rename",
    "man.post_rename",
    "delete.pre_commit",
    "delete.post_commit",
    "gc.unlink",
)


@dataclass(slots=True)
class _Trigger:
    name: str = ""
    left: int = 0


_TRIGGER = _Trigger()


def arm(setting: str | None) -> None:
    """Read a `name:n` setting (n from 1, default 1); None or empty disarms.

    Raises StartRefused (`bad_setting`) when the name is not one of POINTS.
    """
    if not setting:
        _TRIGGER.name, _TRIGGER.left = "", 0
        return
    name, _, count = setting.partition(":")
    if name not in POINTS or not (count or "1").isdecimal():
        raise StartRefused("bad_setting", f"KB_CRASH={setting!r}: no such crash point; known: {', '.join(POINTS)}")
    _TRIGGER.name, _TRIGGER.left = name, int(count or "1")


def reach(name: str) -> None:
    """Die here if this point is armed and its turn has come."""
    if _TRIGGER.name != name:
        return
    _TRIGGER.left -= 1
    if _TRIGGER.left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
