"""Text as every later step may rely on it: no control characters, one line ending, one Unicode form."""

from __future__ import annotations

import re
import unicodedata

# U+0000 to U+001F without tab and line feed, DEL, the C1 controls, and the two noncharacters of the basic plane.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")

_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA_HANGUL = re.compile("[\u3040-\u30ff\u1100-\u11ff\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z]")
_LETTERS = re.compile(r"[^\W\d_]")

# One Han character says about as much as this many Latin letters.
_LETTERS_PER_HAN = 3
_LANGUAGE_SAMPLE = 200_000

# What wide text is made of: ASCII, Latin-1, general and CJK punctuation, kana, common Han, full-width forms.
_WIDE_TEXT = re.compile("[\t\n\r -~\u00a0-\u024f\u2010-\u2026\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]")
_WIDE_ANCHORS = re.compile("[ \n，。、：；！？]")
_WIDE_SAMPLE = 8192


def clean_text(text: str) -> str:
    """`text` without control characters, lone surrogates as U+FFFD, every line end as `\\n`, in NFC."""
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROLS.sub("", text)
    text = _SURROGATES.sub("\ufffd", text)
    return unicodedata.normalize("NFC", text)


def detect_language(text: str) -> str | None:
    """ "zh" or "en", the script most of the text is in; None when there are no letters or it is another script."""
    sample = text if len(text) <= _LANGUAGE_SAMPLE else text[: _LANGUAGE_SAMPLE // 2] + text[-_LANGUAGE_SAMPLE // 2 :]
    han = len(_HAN.findall(sample)) * _LETTERS_PER_HAN
    latin = len(_LATIN.findall(sample))
    kana_hangul = len(_KANA_HANGUL.findall(sample)) * _LETTERS_PER_HAN
    if han + latin == 0 or kana_hangul > han:
        return None
    letters = len(_LETTERS.findall(sample))
    if latin >= han:
        return "en" if latin * 2 >= letters else None
    return "zh"


def detect_wide_encoding(data: bytes) -> str | None:
    """The UTF-16 or UTF-32 codec that `data` is written in, by its mark or its pattern; None when it is neither."""
    for mark, codec in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return codec
    head = data[:_WIDE_SAMPLE]
    if b"\x00" not in head and _is_utf8(head):
        return None  # pairs of ASCII letters read as Han characters, so nothing that is UTF-8 is guessed at
    for width, codecs in ((4, ("utf-32-le", "utf-32-be")), (2, ("utf-16-le", "utf-16-be"))):
        sample = head[: len(head) // width * width]
        for codec in codecs:
            if _reads_as_text(sample, codec):
                return codec
    return None


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _reads_as_text(sample: bytes, codec: str) -> bool:
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            return False
        text = sample[: error.start].decode(codec)
    if len(text) < 2 or not _WIDE_ANCHORS.search(text):
        return False
    return len(_WIDE_TEXT.findall(text)) >= 0.95 * len(text)
