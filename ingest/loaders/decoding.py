"""Bytes of a text file to text, in whatever encoding they are.

Order: a byte order mark, UTF-16/32 by pattern, strict UTF-8, UTF-8 with a few broken bytes, then the legacy code pages.
Between GB18030 and Big5, which both decode nearly anything, the share of everyday Han characters decides.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from kb.text import detect_wide_encoding, score_chinese

_HIGH_RUNS = re.compile(rb"[\x80-\xff]+")
_SAMPLE = 65_536
_CHINESE = {"gb18030": "gb18030", "big5hkscs": "big5"}  # codec → what it is called
_LEAST_SHARE = 0.12  # a wrong decoding has under 5 % everyday characters, a right one 35 to 65 %


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedText:
    """`text` is as decoded, byte order mark removed; undecodable bytes are U+FFFD."""

    text: str
    encoding: str


def decode_text(data: bytes) -> DecodedText:
    """Never fails: what no encoding explains is decoded as UTF-8 with U+FFFD."""
    if data.startswith(codecs.BOM_UTF8):
        return DecodedText(text=data.decode("utf-8-sig", errors="replace"), encoding="utf-8-sig")
    wide = detect_wide_encoding(data)
    if wide is not None:
        return DecodedText(text=data.decode(wide, errors="replace"), encoding=wide)
    try:
        return DecodedText(text=data.decode(), encoding="utf-8")
    except UnicodeDecodeError:
        pass
    repaired = data.decode(errors="replace")
    if _is_mostly_utf8(repaired):
        return DecodedText(text=repaired, encoding="utf-8")
    return _decode_legacy(data)


def decode_as(data: bytes, *declared: str | None) -> DecodedText:
    """`decode_text`, but the first of the declared encodings that the bytes bear out is believed when they have no
    mark and are not UTF-8: one that decodes every byte, and to no less Chinese than another code page would."""
    if not any(declared) or detect_wide_encoding(data) is not None or _is_utf8(data):
        return decode_text(data)
    for name in declared:
        codec = _find_codec(name)
        if codec is None or _is_belied(data, codec):
            continue
        try:
            return DecodedText(text=data.decode(codec), encoding=codec)
        except (UnicodeDecodeError, ValueError):
            continue
    return decode_text(data)


def _is_belied(data: bytes, codec: str) -> bool:
    """Whether Chinese of everyday words stands there in another code page: Western ones decode any of it, and servers
    that declare one often never looked at the page."""
    if codec not in _CHINESE and not codec.startswith(("cp125", "iso8859")):
        return False
    sample = data[:_SAMPLE]
    own = score_chinese(sample, codec) if codec in _CHINESE else 0.0
    return any(score_chinese(sample, other) > own + _LEAST_SHARE for other in _CHINESE if other != codec)


def _find_codec(declared: str | None) -> str | None:
    if not declared:
        return None
    name = declared.strip().lower()
    if name in {"gb2312", "gbk", "gb_2312-80", "x-gbk", "euc-cn", "gb18030"}:
        return "gb18030"
    if name in {"big5", "big5-hkscs", "x-x-big5"}:
        return "big5hkscs"
    if name in {"iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"}:
        return "cp1252"
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    # `rot13`, `hex` and their like are codecs for Python but not for text; UTF-8 was tried before.
    return found if found.startswith(("iso8859", "cp", "koi8", "euc", "shift", "mac", "iso2022", "johab")) else None


def _is_utf8(data: bytes) -> bool:
    """With a mark, or every byte of it."""
    if data.startswith(codecs.BOM_UTF8):
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(repaired: str) -> bool:
    broken = repaired.count("\ufffd")
    others = len(repaired) - len(repaired.encode("ascii", errors="ignore")) - broken
    return others > 4 * broken


def _decode_legacy(data: bytes) -> DecodedText:
    sample = data[:_SAMPLE]
    candidates = [(score_chinese(sample, codec), name, codec) for codec, name in _CHINESE.items()]
    score, name, codec = max(candidates, key=lambda candidate: candidate[0])
    if score >= _LEAST_SHARE:
        return DecodedText(text=data.decode(codec, errors="replace"), encoding=name)
    if _is_sparse(data):
        return DecodedText(text=data.decode("cp1252", errors="replace"), encoding="cp1252")
    guessed = _guess_encoding(data)
    if guessed is not None:
        return DecodedText(text=data.decode(guessed, errors="replace"), encoding=guessed)
    if score > 0:
        return DecodedText(text=data.decode(codec, errors="replace"), encoding=name)
    return DecodedText(text=data.decode(errors="replace"), encoding="utf-8")


def _is_sparse(data: bytes) -> bool:
    """Single high bytes among ASCII letters: a Western code page. Chinese bytes come in pairs."""
    runs = _HIGH_RUNS.findall(data[:_SAMPLE])
    single = sum(len(run) == 1 for run in runs)
    return single >= 0.8 * len(runs) and sum(map(len, runs)) <= 0.25 * min(len(data), _SAMPLE)


def _guess_encoding(data: bytes) -> str | None:
    import charset_normalizer

    best = charset_normalizer.from_bytes(data[:_SAMPLE]).best()
    return best.encoding if best is not None else None
