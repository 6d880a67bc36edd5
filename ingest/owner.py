"""Who holds a job: this boot of this machine, this process, started then. Tells a dead owner from a slow one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
_ENDED = ("Z", "X")  # killed and not waited for by its parent yet: it does nothing more
_START_FIELD = 19  # of /proc/<pid>/stat behind the command's closing bracket: start time in ticks since boot


def name_owner() -> str:
    """`<boot>:<pid>:<start>` of this process."""
    pid = os.getpid()
    return f"{_read_boot()}:{pid}:{_read_start(pid)}"


def find_dead(owners: Iterable[str]) -> list[str]:
    """Those owners that ran on this machine and do so no longer. Owners on other machines are left to their leases."""
    return [owner for owner in owners if _is_dead(owner)]


def _is_dead(owner: str) -> bool:
    boot, _, rest = owner.partition(":")
    pid, _, start = rest.partition(":")
    machine, _, boot_id = boot.partition("/")
    here, _, now_id = _read_boot().partition("/")
    if machine != here or not pid.isdecimal():
        return False
    return boot_id != now_id or _read_start(int(pid)) != start


def _read_boot() -> str:
    try:
        boot_id = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = "unknown"
    return f"{socket.gethostname().replace(':', '-')[:48]}/{boot_id}"


def _read_start(pid: int) -> str:
    """Start time of a process, "" when there is none or only its exit code; a recycled pid has another one."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in _ENDED else fields[_START_FIELD]
