"""Names inside archives, which come as bytes: in UTF-8 where the archive says so, else in whatever its maker used.

One guess is made for all names of an archive together: a single short name fits several encodings, a hundred do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kb.text import score_chinese

_HIGH_RUNS = re.compile(rb"[\x80-\xff]+")
_LEAST_SHARE = 0.12  # of everyday characters, as for texts
_CHINESE = ("gb18030", "big5hkscs")


def choose_codecs(names: Sequence[bytes]) -> Sequence[str]:
    """The codecs that explain `names`, the best one first: UTF-8, GB18030, Big5, else 437 as the ZIP format has it."""
    chinese = _find_chinese(names)
    strays = [name for name in names if not _fits(name, "utf-8")]
    if chinese and (_find_chinese(strays) or _is_written_in_pairs(names)):
        return (chinese, "utf-8")
    return ("utf-8", _guess_codec(strays)) if strays else ("utf-8",)


def decode_name(name: bytes, codecs: Sequence[str]) -> str | None:
    """By the first codec that fits; None when none does."""
    return next((name.decode(codec) for codec in codecs if _fits(name, codec)), None)


def show_name(name: bytes, codecs: Sequence[str]) -> str:
    """What can be shown of a name that is no text."""
    return name.decode(codecs[0], "replace")


def _guess_codec(names: Sequence[bytes]) -> str:
    if chinese := _find_chinese(names):
        return chinese
    joined = b"\n".join(names)
    # Single high bytes among ASCII letters are a Western code page. Chinese bytes come in pairs.
    runs = _HIGH_RUNS.findall(joined)
    is_western = sum(len(run) == 1 for run in runs) >= 0.8 * len(runs)
    return "cp437" if is_western or not _fits(joined, "gb18030") else "gb18030"


def _find_chinese(names: Sequence[bytes]) -> str:
    """The Chinese codec in which the names make sense, empty when they do in none."""
    joined = b"\n".join(names)
    scores = {codec: score_chinese(joined, codec) for codec in _CHINESE}
    best = max(_CHINESE, key=lambda codec: scores[codec])
    return best if scores[best] >= _LEAST_SHARE else ""


def _is_written_in_pairs(names: Sequence[bytes]) -> bool:
    """Names that fit UTF-8 and may be Chinese all the same: `目录` in GBK is `Ŀ¼` in UTF-8.

    Then UTF-8 sees accented letters only, and several in a row, as no Western language has them.
    """
    joined = b"\n".join(names)
    runs = _HIGH_RUNS.findall(joined)
    is_accented = all(character < "\u0800" for character in joined.decode("utf-8", "ignore"))
    return is_accented and sum(map(len, runs)) >= 4 * len(runs)


def _fits(name: bytes, codec: str) -> bool:
    try:
        name.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
