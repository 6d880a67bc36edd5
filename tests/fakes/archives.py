"""Archives for tests, well-formed and hostile, made in memory.

ZIP records are written by hand where the standard library would refuse to lie.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


def write_zip(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As the standard library writes it: other names than ASCII with the UTF-8 flag."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return made.getvalue()


def write_tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def make_file(path: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size = len(data)
    return info, data


def make_member(path: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, link
    return info, b""


def write_blocks(*blocks: bytes) -> bytes:
    """A tar.gz of headers and bytes as they are given; each is filled up to a block."""
    return gzip.compress(b"".join(block + b"\0" * (-len(block) % 512) for block in blocks), 1)


def write_header(path: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@dataclass(kw_only=True)
class ZipEntry:
    """One entry; every lie that is not told is the truth. `name` is as it stands in the file."""

    name: bytes
    data: bytes = b""
    method: int = zipfile.ZIP_DEFLATED
    flags: int = 0
    mode: int = 0
    extra: bytes = b""
    size: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    packed: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.packed = self.data
        if self.method == zipfile.ZIP_DEFLATED:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            self.packed = packer.compress(self.data) + packer.flush()

    @property
    def numbers(self) -> tuple[int, int, int]:
        """CRC, packed size, size."""
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        return crc, len(self.packed), len(self.data) if self.size is None else self.size


def write_local(entry: ZipEntry) -> bytes:
    name = entry.name if entry.local_name is None else entry.local_name
    fixed = struct.pack(
        "<4s5H3I2H", b"PK\x03\x04", 20, entry.flags, entry.method, 0, 33, *entry.numbers, len(name), len(entry.extra)
    )
    return fixed + name + entry.extra + entry.packed


def write_central(entry: ZipEntry, offset: int) -> bytes:
    lengths = (len(entry.name), len(entry.extra), 0, 0, 0)
    attributes = (entry.mode << 16, offset)
    made_by = 0x0314 if entry.mode else 20
    return (
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            made_by,
            20,
            entry.flags,
            entry.method,
            0,
            33,
            *entry.numbers,
            *lengths,
            *attributes,
        )
        + entry.name
        + entry.extra
    )


def write_end(count: int, size: int, offset: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, size, offset, 0)


def write_raw_zip(entries: Sequence[ZipEntry]) -> bytes:
    body, offsets = bytearray(), []
    for entry in entries:
        offsets.append(len(body))
        body += write_local(entry)
    return join_zip(bytes(body), [write_central(*pair) for pair in zip(entries, offsets, strict=True)])


def join_zip(body: bytes, central: Iterable[bytes], count: int | None = None) -> bytes:
    records = list(central)
    directory = b"".join(records)
    return body + directory + write_end(len(records) if count is None else count, len(directory), len(body))


def write_overlapping_zip(kernel: ZipEntry, count: int) -> bytes:
    """One packed file under many names: each entry's bytes are those of the only one."""
    return join_zip(write_local(kernel), [write_central(kernel, 0)] * count)
