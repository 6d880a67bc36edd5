"""Mail as .eml: who wrote to whom, when and about what, then the words. Attachments are named and not read.

The lenient policy of the standard library reads structure only, for the other one trusts headers and fails on broken
ones; charsets are decoded as everywhere here, since what says gb2312 is often GBK.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from pathlib import Path

from ingest.loaders.decoding import decode_as, decode_text
from ingest.loaders.html_whole import extract_whole
from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import reading
from ingest.loaders.parsers import ask_parser
from kb.errors import DocumentFailed
from kb.text import clean_text
from kb.types import ParsedDocument

KIND = "mail"

_SHOWN = ("From", "To", "Cc", "Date")
_SUBJECT = "Subject"
# Charsets whose bytes are all ASCII, and so look like UTF-8.
_SEVEN_BIT = re.compile(r"utf-?7|hz(?:-gb-2312)?|iso-2022-[a-z0-9-]+", re.IGNORECASE)
_SAYS_NOTHING = frozenset({"us-ascii", "ascii"})  # which the bytes that are at stake are not
_DEEPEST = 100
_FOLD = re.compile(r"(?<!\s)\s*[\r\n]+\s*")  # from the first of a run: tried from each, it would take its square
_LONGEST_HEADER = 2_000
_LONGEST_PARAMETERS = 20_000


def load_mail(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page; the subject is its heading.

    Raises DocumentFailed: `file_malformed`, `no_text`, `text_too_large`, `parse_limit`.
    """
    data = path.read_bytes()
    with reading(KIND):
        message = message_from_bytes(data)
        lines = TextLines(limits)
        for name in _SHOWN:
            if value := read_header(message, name):
                lines.add(f"{name}: {value}")
        subject = read_header(message, _SUBJECT)
        if subject:
            lines.add(f"{_SUBJECT}: {subject}", level=1, title=subject)
        _Parts(lines, limits).write(message, depth=0)
    return lines.finish(title=subject)


def read_header(message: Message, name: str) -> str:
    """The first header of this name, whatever it is encoded in; "" without one."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _decode_words(str(raw))


def _decode_words(raw: str) -> str:
    raw = _FOLD.sub(" ", raw)[:_LONGEST_HEADER]
    if any(character > "\x7f" for character in raw):  # bytes that nobody encoded
        raw = decode_text(raw.encode("utf-8", errors="surrogateescape")).text
    try:
        words = decode_header(raw)
    except (HeaderParseError, ValueError):
        return clean_text(raw).strip()
    parts = [decode_part(word, charset) if isinstance(word, bytes) else word for word, charset in words]
    return clean_text("".join(parts)).strip()


def decode_part(data: bytes, charset: str | None) -> str:
    if charset and _SEVEN_BIT.fullmatch(charset):
        try:
            return data.decode(charset, errors="replace")
        except LookupError:
            pass
    return decode_as(data, None if charset in _SAYS_NOTHING else charset).text


class _Parts:
    def __init__(self, lines: TextLines, limits: LoadLimits) -> None:
        self._lines = lines
        self._limits = limits

    def write(self, part: Message, *, depth: int) -> None:
        """The words of a part and of those in it. Raises DocumentFailed (`parse_limit`)."""
        if depth > _DEEPEST:
            raise DocumentFailed("parse_limit", f"parts are nested more than {_DEEPEST} deep")
        _check_headers(part)
        name = ask_parser(part.get_filename)  # it may be in an encoding that has no such name
        kind = part.get_content_type()
        if depth and (name or part.get_content_disposition() == "attachment" or kind == "message/rfc822"):
            self._name_attachment(part, name)
        elif kind == "multipart/alternative":
            self._write_best(part, depth)
        elif part.is_multipart():
            for inner in _iter_parts(part):
                self.write(inner, depth=depth + 1)
        elif kind == "text/html":
            self._lines.add_content(extract_whole(clean_text(self._decode(part))))
        elif kind.startswith(("text/", "multipart/")):  # without a boundary there are no parts
            self._lines.add(self._decode(part))

    def _write_best(self, part: Message, depth: int) -> None:
        """Of the same words in several forms: plain text if it has any, or the last, which the sender likes best."""
        forms = list(_iter_parts(part))
        plain = [one for one in forms if one.get_content_type() == "text/plain" and self._decode(one).strip()]
        for form in (plain or forms[-1:])[:1]:
            self.write(form, depth=depth + 1)

    def _name_attachment(self, part: Message, name: str | None) -> None:
        if name is None and part.get_content_type() == "message/rfc822":
            inner = next(_iter_parts(part), None)
            name = read_header(inner, _SUBJECT) if inner is not None else None
        self._lines.add(f"Attachment: {_decode_words(name) if name else part.get_content_type()}")

    def _decode(self, part: Message) -> str:
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            return ""
        self._limits.check_characters(len(payload) // 8)
        return decode_part(payload, part.get_content_charset())


def _check_headers(part: Message) -> None:
    """Raises DocumentFailed (`parse_limit`): reading the parameters of a header takes the square of its length."""
    longest = max(len(str(part.get(name, ""))) for name in ("Content-Type", "Content-Disposition"))
    if longest > _LONGEST_PARAMETERS:
        raise DocumentFailed("parse_limit", f"a header of a part has more than {_LONGEST_PARAMETERS:,} characters")


def _iter_parts(part: Message) -> Iterator[Message]:
    payload = part.get_payload()
    return (inner for inner in payload if isinstance(inner, Message)) if isinstance(payload, list) else iter(())
