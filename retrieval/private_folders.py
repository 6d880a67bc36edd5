"""Folders of one process alone, below the index directory; a lock in each, which the kernel frees, says who lives."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO


def claim_folder(directory: Path) -> tuple[Path, BinaryIO]:
    """A folder for this process alone, with a lock in it that lives as long as the process does."""
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    unclaimed, folder = directory / f"new-{name}", directory / f"live-{name}"
    unclaimed.mkdir()
    claim = (unclaimed / "claim").open("wb")
    fcntl.flock(claim, fcntl.LOCK_EX)
    unclaimed.rename(folder)  # it gets the name that others look for only once it is locked
    return folder, claim


def remove_stale_folders(directory: Path) -> None:
    """Remove private folders whose process is gone: those whose lock can be had."""
    for folder in directory.glob("live-*"):
        try:
            with (folder / "claim").open("rb") as claim:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, BlockingIOError):
            continue
