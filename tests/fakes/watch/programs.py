"""Whether a program that is about to be started takes the watch along."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn"}
UNWATCHED = "UNWATCHED_BY_TESTS"  # in the environment of a program that must not be watched: why
_TAKES_ONE = ("-W", "-X")  # options of Python with a word of their own


def find_gap(folder: str, event: str, args: tuple) -> str | None:
    """Why a Python that is started so, or by what is started so, would not be watched; None when it would be."""
    program, words, environment = args[0], args[1], args[-1]
    given = {os.fsdecode(name): os.fsdecode(value) for name, value in _read(environment).items()}
    if given.get(UNWATCHED):
        return None
    named = f"{os.fsdecode(program)} ({event})"
    if folder not in given.get("PYTHONPATH", "").split(os.pathsep):
        return f"{named} without this session's folder in PYTHONPATH"
    if Path(os.fsdecode(program)).name.startswith("python") and _is_isolated(words):
        return f"{named} with an option that leaves PYTHONPATH or sitecustomize out"
    return None


def _read(environment: Mapping | None) -> Mapping:
    return os.environ if environment is None else environment


def _is_isolated(words: Sequence | str | bytes) -> bool:
    """Whether Python's own options, those before the module or the script, hold -E, -I or -S."""
    if isinstance(words, (str, bytes)):
        return False
    options = iter([os.fsdecode(word) for word in words][1:])
    for option in options:
        if not option.startswith("-") or option.startswith("--"):
            return False
        letters = option[1:].partition("c")[0].partition("m")[0]
        if option.startswith(_TAKES_ONE):
            if option in _TAKES_ONE:
                next(options, None)
        elif set("EIS") & set(letters):
            return True
        elif letters != option[1:]:
            return False
    return False
