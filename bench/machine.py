"""What the figures were measured on, in words that name no host; and what processes hold of its memory."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROC = Path("/proc")
LIBRARIES = ("fastapi", "uvicorn", "sqlalchemy", "numpy", "faiss-cpu", "tantivy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Megabytes. `rss` counts pages shared with other processes in full, `pss` by their share."""

    rss: float
    pss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    pid: int
    command: str


def describe_machine() -> str:
    processor = find_line(PROC / "cpuinfo", "model name") or platform.machine()
    memory = int((find_line(PROC / "meminfo", "MemTotal") or "0 kB").split()[0]) / 1e6
    return (
        f"{processor}, {os.cpu_count()} cores, {memory:.0f} GB memory, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {describe_libraries()}"
    )


def describe_libraries() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def describe_load() -> str:
    return "load average " + " ".join(f"{value:.2f}" for value in os.getloadavg())


def find_line(file: Path, name: str) -> str | None:
    """What stands behind `name:` in a file of /proc."""
    for line in file.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def measure_memory(pid: int) -> Memory:
    rollup = PROC / str(pid) / "smaps_rollup"
    rss, pss = (int((find_line(rollup, name) or "0 kB").split()[0]) * 1024 / 1e6 for name in ("Rss", "Pss"))
    return Memory(rss=rss, pss=pss)


def measure_memory_here() -> float:
    """Megabytes resident of this process."""
    return measure_memory(os.getpid()).rss


def measure_processor_time(pid: int) -> float:
    """Seconds of processor time a process has used: what a start costs, whoever else is using the machine."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_tree_time(pid: int) -> float:
    """The same of a process and all below it, those that ended meanwhile among them."""
    total = 0
    for one in (pid, *(child.pid for child in list_children(pid))):
        fields = (PROC / str(one) / "stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def list_children(pid: int) -> Iterator[Process]:
    """Every descendant of a process, parents first."""
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended meanwhile
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            yield Process(pid=int(entry.name), command=command)
            yield from list_children(int(entry.name))
