"""What a file is, told by its content. The name decides only among kinds of text.

PDF bytes, whatever a text-like name says              application/pdf
Office files and e-books, by the first entries         theirs, see `kb/packed_type.py`
a binary name (.pdf, .docx, .png) on other content     refused: type_mismatch
other known binaries, XML, SVG, RTF                    refused: unsupported_type
text                                                   CSV, mail, Markdown by name, HTML by name or content, else plain
mail headers under a name that says nothing            message/rfc822

Before all that, a name whose extension the operator gave to a reader (`KB_READERS`) is left to it, whatever it holds.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from pathlib import PurePosixPath

from kb.errors import InvalidInput
from kb.packed_type import DOCX, EPUB, PACKED_NAMES, PPTX, SAVED_AS, XLSX, find_packed_type
from kb.text import detect_wide_encoding

PDF = "application/pdf"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
CSV = "text/csv"
TSV = "text/tab-separated-values"
MAIL = "message/rfc822"
_READER = "application/x-reader+"  # the extension follows, by which its reader is found

__all__ = [
    "CSV",
    "DOCX",
    "EPUB",
    "HTML",
    "MAIL",
    "MARKDOWN",
    "PDF",
    "PLAIN",
    "PPTX",
    "TSV",
    "XLSX",
    "add_charset",
    "find_charset",
    "find_reader_extension",
    "sniff_media_type",
    "split_charset",
]

_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?\s*([\w.:+-]{2,40})", re.IGNORECASE | re.ASCII)

HEAD_BYTES = 8192  # how much of a file `sniff_media_type` wants to see

_PDF_WITHIN = 1024
_MARKDOWN_NAMES = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_HTML_NAMES = frozenset({".html", ".htm", ".xhtml", ".shtml"})
_TABLE_NAMES = {".csv": CSV, ".tsv": TSV, ".tab": TSV}
_MAIL_NAMES = frozenset({".eml"})
_PLAIN_NAMES = frozenset({".txt", ".text", ".log", ".rst", ".json", ".yaml", ".yml", ".ini", ".tex"})
_TEXT_NAMES = _PLAIN_NAMES | _MARKDOWN_NAMES | _HTML_NAMES | _MAIL_NAMES | _TABLE_NAMES.keys()

# Names that promise a binary: they must keep the promise. The value is what their bytes are expected to be.
_BINARY_NAMES = {
    **dict.fromkeys((".pdf",), "pdf"),
    **dict.fromkeys((*PACKED_NAMES, ".xlsb", ".odt", ".ods", ".odp", ".zip", ".jar", ".apk"), "zip"),
    **dict.fromkeys((".doc", ".dot", ".xls", ".xlt", ".ppt", ".pps", ".wps", ".et", ".dps", ".msg", ".msi"), "ole"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ico", ".heic"), "image"),
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".tar"), "archive"),
    **dict.fromkeys((".exe", ".dll", ".so", ".dylib", ".bin", ".class", ".wasm", ".pyc"), "program"),
    **dict.fromkeys((".mp3", ".mp4", ".wav", ".avi", ".mov", ".mkv", ".flac", ".ogg", ".webm", ".m4a"), "media"),
    **dict.fromkeys((".sqlite", ".db", ".parquet", ".pkl", ".npy", ".ttf", ".otf", ".woff", ".woff2"), "data"),
}

# Where in the file, which bytes, what they mean.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"\x89PNG\r\n\x1a\n", "image"),
    (0, b"\xff\xd8\xff", "image"),
    (0, b"GIF87a", "image"),
    (0, b"GIF89a", "image"),
    (0, b"II*\x00", "image"),
    (0, b"MM\x00*", "image"),
    (8, b"WEBP", "image"),
    (0, b"\x00\x00\x01\x00", "image"),
    (4, b"ftyp", "media"),
    (0, b"\x1f\x8b\x08", "archive"),
    (0, b"BZh9", "archive"),
    (0, b"\xfd7zXZ\x00", "archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive"),
    (0, b"Rar!\x1a\x07", "archive"),
    (0, b"\x28\xb5\x2f\xfd", "archive"),
    (257, b"ustar", "archive"),
    (0, b"\x7fELF", "program"),
    (0, b"\xca\xfe\xba\xbe", "program"),
    (0, b"\xcf\xfa\xed\xfe", "program"),
    (0, b"\xfe\xed\xfa\xcf", "program"),
    (0, b"\x00asm", "program"),
    (0, b"OggS\x00", "media"),
    (0, b"fLaC\x00", "media"),
    (0, b"\x1aE\xdf\xa3", "media"),
    (8, b"WAVEfmt", "media"),
    (8, b"AVI LIST", "media"),
    (0, b"SQLite format 3\x00", "data"),
    (0, b"\x93NUMPY", "data"),
    (0, b"wOFF\x00", "data"),
    (0, b"wOF2\x00", "data"),
    (0, b"%!PS", "PostScript"),
    (0, b"{\\rtf", "RTF"),
)
# Magic so short that a text may begin with it: believed only when control bytes follow.
_SHORT_MAGIC = ((b"MZ", "program"), (b"BM", "image"), (b"ID3", "media"), (b"PAR1", "data"))

_CONTROL_BYTES = bytes(byte for byte in range(0x20) if byte not in b"\t\n\r\x0b\x0c\x1b")
_MOST_CONTROLS = 0.10
_HTML_START = re.compile(
    r"(?:\s|<!--.*?-->|<\?xml[^>]*\?>)*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL
)
_XML_START = re.compile(
    r"\s*(?:<\?xml[\s?]|<!doctype\s+svg|<svg[\s>])|\s*<!--.{0,4000}?-->\s*<svg[\s>]", re.IGNORECASE | re.DOTALL
)
_MAIL_HEADERS = re.compile(r"(?:From [^\n]*\r?\n)?(?:[!-9;-~]{1,60}:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}")
_HEADER_NAME = re.compile(r"^([!-9;-~]{1,60}):", re.MULTILINE)


def sniff_media_type(name: str, head: bytes, readers: Collection[str] = ()) -> str:
    """The media type of the file `name` whose first 8 KiB are `head`: one that a loader reads, or one that
    `find_reader_extension` knows when its extension is one of `readers` (`.srt`).

    Raises InvalidInput: `type_mismatch` when a binary extension disagrees with the content, `unsupported_type` for
    content that no loader reads.
    """
    suffix = PurePosixPath(name.replace("\\", "/").rstrip(". ")).suffix.lower()
    if suffix in readers:
        return _READER + suffix.removeprefix(".")
    found = _find_kind(head)
    promised = _BINARY_NAMES.get(suffix)
    if found == "ole" and suffix in PACKED_NAMES and suffix != ".epub":
        return PACKED_NAMES[suffix]  # how Office keeps a file with a password; the loader tells it from an old one
    if promised is not None and promised != found and not _may_hide(promised, found):
        raise InvalidInput("type_mismatch", f"the name ends in {suffix} but the content is {found or 'text'}")
    if found == "pdf":
        return PDF
    if found == "zip":
        return _choose_packed_type(suffix, head)
    if found is not None and not (found == "binary" and suffix in _TEXT_NAMES):
        raise InvalidInput("unsupported_type", f"files of this kind cannot be read: {found}{_advise(suffix)}")
    return _choose_text_type(suffix, head)


def starts_html(head: bytes) -> bool:
    """Whether content that begins so is a page, whatever it is called."""
    return _find_kind(head) is None and _HTML_START.match(_read_head(head)) is not None


def find_reader_extension(media_type: str) -> str | None:
    """`.srt` for the media type of a file that was left to a reader; None for any other."""
    return "." + media_type.removeprefix(_READER) if media_type.startswith(_READER) else None


def find_charset(content_type: str | None) -> str | None:
    """What a Content-Type header says of the encoding, in lower case; None when it says nothing that could be one."""
    found = _CHARSET.search(content_type or "")
    return found[1].lower() if found else None


def add_charset(media_type: str, content_type: str | None) -> str:
    """`text/html; charset=gbk` where the server of a text said so: its loader hears of it. Others stay as they are."""
    charset = find_charset(content_type) if media_type in {HTML, PLAIN} else None
    return media_type if charset is None else f"{media_type}; charset={charset}"


def split_charset(media_type: str) -> tuple[str, str | None]:
    """The media type without its parameter, and the charset that `add_charset` put there."""
    return media_type.partition(";")[0], find_charset(media_type)


def _choose_packed_type(suffix: str, head: bytes) -> str:
    """A name of ours is believed where the entries tell nothing else; where they tell, any name but a zip's will do."""
    told = find_packed_type(head)
    promised = PACKED_NAMES.get(suffix)
    if promised is not None:
        if told and told != promised:
            raise InvalidInput("type_mismatch", f"the name ends in {suffix} but the content is {told}")
        return promised
    if told in {DOCX, XLSX, PPTX, EPUB} and suffix not in _BINARY_NAMES:
        return told
    raise InvalidInput("unsupported_type", f"files of this kind cannot be read: {told or 'zip'}{_advise(suffix)}")


def _advise(suffix: str) -> str:
    return f"; save it as {SAVED_AS[suffix]}" if suffix in SAVED_AS else ""


def _may_hide(promised: str, found: str | None) -> bool:
    """Whether unrecognised binary content may be what a name promises: many kinds have no magic we list."""
    return found == "binary" and promised in {"program", "media", "data", "image", "archive"}


def _find_kind(head: bytes) -> str | None:
    """ "pdf", the kind of another binary, "binary" for one without a name, None for text."""
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if b"%PDF-" in head[:_PDF_WITHIN]:
        return "pdf" if _starts_pdf(head) else None
    if detect_wide_encoding(head) is not None or not head:
        return None
    controls = len(head) - len(head.translate(None, _CONTROL_BYTES))
    for magic, kind in _SHORT_MAGIC:
        if controls and head.startswith(magic):
            return kind
    return "binary" if controls > _MOST_CONTROLS * len(head) else None


def _starts_pdf(head: bytes) -> bool:
    """A PDF may have junk before its mark, but a page of HTML or a note that mentions `%PDF-` is no PDF."""
    before, _, after = head.partition(b"%PDF-")
    if not re.match(rb"[12]\.\d", after):
        return False
    return not before.strip() or not _HTML_START.match(_read_head(before + b" "))


def _choose_text_type(suffix: str, head: bytes) -> str:
    if suffix in _MARKDOWN_NAMES:
        return MARKDOWN
    if suffix in _MAIL_NAMES:
        return MAIL
    start = _read_head(head)
    if _HTML_START.match(start) or suffix in _HTML_NAMES:
        return HTML
    if suffix in {".svg", ".xml"} or _XML_START.match(start):
        raise InvalidInput("unsupported_type", "files of this kind cannot be read: XML")
    if suffix in _TABLE_NAMES:
        return _TABLE_NAMES[suffix]
    return MAIL if suffix not in _PLAIN_NAMES and _starts_mail(start) else PLAIN


def _starts_mail(start: str) -> bool:
    """Headers from the first line on, among them a sender's and one that only mail has."""
    headers = _MAIL_HEADERS.match(start)
    names = {name.lower() for name in _HEADER_NAME.findall(headers[0])} if headers else set()
    return "from" in names and not names.isdisjoint({"date", "received", "message-id", "mime-version"})


def _read_head(head: bytes) -> str:
    """Enough of the text to see how it begins; every encoding but the wide ones keeps ASCII as it is."""
    head = head.removeprefix(codecs.BOM_UTF8)
    return head.decode(detect_wide_encoding(head) or "latin-1", errors="replace").lstrip("\ufeff")
