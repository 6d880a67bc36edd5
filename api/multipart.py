"""multipart/form-data as it streams in: bytes in any cut, parts out. Holds nothing back but the headers of one part.

File names come in every shape: raw UTF-8 (curl, browsers, Python), `%22` and `\\"` for a quotation mark, `filename*`
with a charset. What they are is read here; whether such a path is welcome is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from kb.errors import InvalidInput

MOST_HEADERS = 16  # of one part
LONGEST_HEADER = 8_192  # bytes
BOUNDARY = re.compile(r"""[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]""")  # RFC 2046, 5.1.1

# ;name=value or ;name="value", where a backslash takes the next character with it
_PARAMETER = re.compile(r"""\s*;\s*([0-9A-Za-z!#$&+\-.^_`|~*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartBegin:
    """`filename` is None for a field without one; `broken` when its bytes are no text of their charset."""

    name: str
    filename: str | None
    broken: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class PartEnd:
    pass


PartEvent = PartBegin | PartData | PartEnd


class PartReader:
    """Reads one body. Not thread-safe."""

    def __init__(self, content_type: str) -> None:
        """Raises InvalidInput (`unsupported_media_type`, `bad_multipart`)."""
        kind, _, rest = content_type.partition(";")
        if kind.strip().lower() != "multipart/form-data":
            raise InvalidInput("unsupported_media_type", "send files as multipart/form-data")
        boundary = _read_parameters(f";{rest}").get("boundary", "")
        if not BOUNDARY.fullmatch(boundary):
            raise InvalidInput("bad_multipart", "the Content-Type names no usable boundary")
        self._events: list[PartEvent] = []
        self._ended = False
        self._field = b""
        self._value = b""
        self._headers: dict[str, bytes] = {}
        self._parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._take_field,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
        )

    def feed(self, data: bytes) -> list[PartEvent]:
        """What `data` completes. Raises InvalidInput (`bad_multipart`)."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidInput("bad_multipart", f"the body is not well-formed multipart: {error}") from None
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Raises InvalidInput (`bad_multipart`) when the closing boundary never came."""
        if not self._ended:
            raise InvalidInput("bad_multipart", "the body ends before its closing boundary; it was cut short")

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.decode("ascii").lower()] = self._value
        self._field, self._value = b"", b""

    def _begin_part(self) -> None:
        self._events.append(_read_part(self._headers))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data=data[start:end]))

    def _end_part(self) -> None:
        self._events.append(PartEnd())

    def _end(self) -> None:
        self._ended = True


def _read_part(headers: Mapping[str, bytes]) -> PartBegin:
    # Bytes that are no UTF-8 become lone surrogates, so that every other rule can be asked of a str.
    disposition = headers.get("content-disposition", b"").decode("utf-8", "surrogateescape")
    kind, _, rest = disposition.partition(";")
    parameters = _read_parameters(f";{rest}")
    if kind.strip().lower() != "form-data" or "name" not in parameters:
        raise InvalidInput("bad_multipart", "a part has no Content-Disposition: form-data with a name")
    filename = parameters.get("filename")
    if "filename*" in parameters:
        filename = _read_extended(parameters["filename*"])
    name = _show(parameters["name"])
    if filename is None:
        return PartBegin(name=name, filename=None)
    shown = _show(filename)
    return PartBegin(name=name, filename=shown, broken=shown != filename)


def _read_parameters(text: str) -> dict[str, str]:
    """Raises InvalidInput (`bad_multipart`) when anything is left over."""
    parameters: dict[str, str] = {}
    place = 0
    while match := _PARAMETER.match(text, place):
        place = match.end()
        quoted = match[2]
        value = match[3] if quoted is None else _unquote(quoted)
        parameters.setdefault(match[1].lower(), value)
    if text[place:].strip(" \t;"):
        raise InvalidInput("bad_multipart", "the parameters of a header cannot be read")
    return parameters


def _unquote(value: str) -> str:
    """Undo both ways of quoting; any other backslash is one, as old browsers send whole Windows paths."""
    value = re.sub(r'\\(["\\])', r"\1", value)
    return value.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _read_extended(value: str) -> str:
    """RFC 5987: `UTF-8''a%20name`."""
    charset, _, rest = value.partition("'")
    _, found, encoded = rest.partition("'")
    if not found or charset.lower() not in ("utf-8", "iso-8859-1"):
        raise InvalidInput("bad_multipart", "filename* is not of the form UTF-8''name")
    return unquote_to_bytes(encoded).decode(charset, "surrogateescape")


def _show(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
