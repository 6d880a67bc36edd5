"""Entries of archives in memory; what becomes of them on a server is in `tests/integration/test_http_archives.py`."""

import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zlib

import pytest
from fakes.archives import (
    ZipEntry,
    join_zip,
    make_file,
    make_member,
    write_blocks,
    write_header,
    write_overlapping_zip,
    write_raw_zip,
    write_tar,
    write_zip,
)

from api.archives import ArchiveLimits, iter_entries
from api.errors import BadRequest
from kb.errors import InvalidInput

LIMITS = ArchiveLimits(entries=10, bytes=1_000_000)
TEXT = b"The dome opens at night.\n"


def read(data, limits=LIMITS):
    """Content by path, or the code of what is wrong with the file."""
    found = {}
    for entry in iter_entries(io.BytesIO(data), limits):
        try:
            found[entry.path] = entry.fault.code if entry.fault else b"".join(entry.pieces)
        except BadRequest:
            raise
        except InvalidInput as fault:
            found[entry.path] = fault.code
    return found


def refuse(data, limits=LIMITS):
    with pytest.raises(BadRequest) as refused:
        read(data, limits)
    return refused.value.code


def show_code(value):
    return value if isinstance(value, str) else ""


FILES = {"a.txt": TEXT, "报告/b.md": bytes(range(256)) * 1_000}


@pytest.mark.parametrize(
    "data",
    [
        write_zip(FILES),
        write_zip(FILES, 0),
        *(write_tar(*(make_file(*one) for one in FILES.items()), format=kind) for kind in range(3)),
    ],
    ids=["deflated", "stored", "ustar", "gnu", "pax"],
)
def test_files_come_as_they_were_packed(data):
    assert read(data) == FILES


def test_folders_and_hidden_files_are_no_entries():
    paths = ["a/", "a/b.txt", "__MACOSX/a/._b.txt", ".DS_Store", "a/.hidden/c.txt"]
    assert list(read(write_zip(dict.fromkeys(paths, b"")))) == ["a/b.txt"]
    members = [make_file(path, b"") for path in paths[1:]]
    assert list(read(write_tar(make_member("./a", tarfile.DIRTYPE), *members))) == ["a/b.txt"]


def test_a_folder_packed_from_within_has_plain_paths():
    assert list(read(write_tar(make_member(".", tarfile.DIRTYPE), make_file("./a/b.txt", TEXT)))) == ["a/b.txt"]


# -- zip ----------------------------------------------------------------------------------------------------------


def test_names_without_a_flag_are_read_in_one_encoding():
    names = ["目录.txt", "报告/年度报告.txt", "plain.txt"]
    assert list(read(write_raw_zip([ZipEntry(name=name.encode("gbk")) for name in names]))) == names


def test_a_second_name_in_utf8_is_believed_while_its_checksum_fits():
    name = "岚川.txt".encode("gbk")
    second = struct.pack("<BI", 1, zlib.crc32(name)) + "岚川（二）.txt".encode()
    stale = struct.pack("<BI", 1, 7) + b"stale.txt"
    extras = [struct.pack("<HH", 0x7075, len(data)) + data for data in (second, stale)]
    assert list(read(write_raw_zip([ZipEntry(name=name, extra=extra) for extra in extras]))) == [
        "岚川（二）.txt",
        "岚川.txt",
    ]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (ZipEntry(name=b"x", mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd"), "archive_link"),
        (ZipEntry(name=b"x", mode=stat.S_IFCHR | 0o600), "archive_special"),
        (ZipEntry(name=b"x", mode=stat.S_IFIFO | 0o600), "archive_special"),
        (ZipEntry(name=b"x", flags=0x1, data=TEXT), "archive_encrypted"),
        (ZipEntry(name=b"x", flags=0x41, data=TEXT), "archive_encrypted"),
        (ZipEntry(name=b"x", method=9, data=TEXT), "archive_method"),
        (ZipEntry(name=b"x", method=12, data=TEXT), "archive_method"),
        (ZipEntry(name=b"x", data=TEXT, crc=1), "archive_broken"),
        (ZipEntry(name=b"x", data=TEXT, size=5), "archive_broken"),
        (ZipEntry(name=b"x", data=TEXT, size=5, crc=zlib.crc32(TEXT[:5])), TEXT[:5]),
        (ZipEntry(name=b"x", data=TEXT, size=500), "archive_broken"),
        (ZipEntry(name=b"x", data=TEXT, local_name=b"y"), "archive_broken"),
        (ZipEntry(name=b"x", data=TEXT, local_name=b"\xff", flags=0x800), "archive_broken"),
        (ZipEntry(name=b"x", mode=stat.S_IFREG | 0o600, data=TEXT), TEXT),
    ],
)
def test_one_bad_entry_of_a_zip(entry, code):
    others = [ZipEntry(name=b"1.txt", data=TEXT), ZipEntry(name=b"2.txt", data=TEXT)]
    assert read(write_raw_zip([others[0], entry, others[1]])) == {"1.txt": TEXT, "x": code, "2.txt": TEXT}


def test_packed_bytes_that_are_no_deflate():
    entry = ZipEntry(name=b"x", data=TEXT)
    entry.packed = b"\xff" * 20
    assert read(write_raw_zip([entry])) == {"x": "archive_broken"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (write_zip(FILES)[:-30], "archive_broken"),
        (write_zip(FILES)[:60], "archive_broken"),
        (write_zip(FILES)[:-22] + b"PK\x05\x06" + b"\xff" * 18, "archive_broken"),
        (join_zip(b"PK\x03\x04", [b"x" * 46]), "archive_broken"),
        (write_raw_zip([ZipEntry(name=b"\xff.txt", flags=0x800)]), "archive_broken"),
        (write_raw_zip([ZipEntry(name=b"x", extra=b"\1\2\3\4\5")]), "archive_broken"),
        (b"PK\x03\x04" + b"x" * 100, "archive_broken"),
        (write_raw_zip([ZipEntry(name=b"%d" % n) for n in range(11)]), "archive_too_large"),
        (join_zip(b"PK\x03\x04", [b"PK\x01\x02" + b"\0" * 42] * 11, count=1), "archive_too_large"),
        (join_zip(b"PK\x03\x04" + b"\0" * 200_000, [b"PK\x01\x02" + b"\0" * 200_000]), "archive_too_large"),
        (write_raw_zip([ZipEntry(name=b"%d" % n, size=100_001) for n in range(10)]), "archive_too_large"),
        (write_overlapping_zip(ZipEntry(name=b"x", data=b"\0" * 90_000), 10), "archive_broken"),
        (b"", "unsupported_archive"),
        (b"PK", "unsupported_archive"),
        (TEXT, "unsupported_archive"),
        (b"7z\xbc\xaf\x27\x1c" + TEXT, "unsupported_archive"),
    ],
    ids=show_code,
)
def test_a_zip_that_is_refused_as_a_whole(data, code):
    assert refuse(data) == code


def test_a_large_directory_is_not_read():
    data = join_zip(b"PK\x03\x04", [b"PK\x01\x02" + b"\0" * 42] * 400_000, count=1)
    tracemalloc.start()
    assert refuse(data) == "archive_too_large"
    assert tracemalloc.get_traced_memory()[1] < 1_000_000 + len(data)  # the test's own copy
    tracemalloc.stop()


# -- tar ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (tarfile.SYMTYPE, "archive_link"),
        (tarfile.LNKTYPE, "archive_link"),
        (tarfile.CHRTYPE, "archive_special"),
        (tarfile.BLKTYPE, "archive_special"),
        (tarfile.FIFOTYPE, "archive_special"),
        (tarfile.GNUTYPE_SPARSE, "archive_special"),
        (b"V", "archive_special"),
    ],
)
def test_one_bad_member_of_a_tar(kind, code):
    data = write_tar(make_file("1.txt", TEXT), make_member("x", kind, "/etc/passwd"), make_file("2.txt", TEXT))
    assert read(data) == {"1.txt": TEXT, "x": code, "2.txt": TEXT}


def test_a_link_has_no_bytes_whatever_it_says():
    blocks = [write_header("x", 10**9, tarfile.SYMTYPE), write_header("a.txt", len(TEXT)), TEXT]
    assert read(write_blocks(*blocks)) == {"x": "archive_link", "a.txt": TEXT}


def test_a_sparse_file_of_the_newer_kind():
    info, data = make_file("x", TEXT)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "y", "GNU.sparse.realsize": "10000000000"}
    assert read(write_tar((info, data))) == {"x": "archive_special"}


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(kind):
    path = "/".join(["长路径" * 20] * 5) + "/a.txt"
    assert read(write_tar(make_file(path, TEXT), make_file("b.txt", TEXT), format=kind)) == {
        path: TEXT,
        "b.txt": TEXT,
    }


def test_names_of_a_tar_in_gbk():
    names = ["目录.txt", "报告/年度报告.txt", "plain.txt"]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.GNU_FORMAT, encoding="gbk") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    assert list(read(made.getvalue())) == names
    assert read(write_blocks(write_header("\udcff\udcff", 0), write_header("a", 0))) == {
        "\xa0\xa0": b"",
        "a": b"",
    }


def test_several_gzip_streams_in_a_row():
    tar = gzip.decompress(write_tar(make_file("a.txt", TEXT * 100)))
    pieces = [gzip.compress(tar[start : start + 700]) for start in range(0, len(tar), 700)]
    assert read(b"".join(pieces) + b"\0" * 1_000) == {"a.txt": TEXT * 100}


def test_a_tar_without_an_end_mark():
    assert read(write_blocks(write_header("a.txt", len(TEXT)), TEXT)) == {"a.txt": TEXT}
    assert read(gzip.compress(b"")) == {}


GOOD = write_tar(make_file("a.txt", TEXT))
LARGE = write_blocks(*[write_header("a", 90_000) + b"\0" * 90_000] * 9)
PAX = tarfile.XHDTYPE


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (GOOD[:-1], "archive_broken"),
        (GOOD[:40], "archive_broken"),
        (GOOD[:3], "archive_broken"),
        (GOOD[:-8] + b"\0" * 8, "archive_broken"),
        (GOOD[:50] + b"\xff\xff" + GOOD[52:], "archive_broken"),
        (GOOD + b"junk", "archive_broken"),
        (gzip.compress(b"a" * 400), "unsupported_archive"),
        (write_blocks(write_header("a.txt", 600), TEXT), "archive_broken"),
        (write_blocks(write_header("a.txt", -512), TEXT), "archive_broken"),
        (write_blocks(write_header("a.txt", 0), TEXT), "archive_broken"),
        (write_blocks(*[write_header("x", 0, PAX)] * 9, write_header("a", 0)), "archive_broken"),
        (write_blocks(write_header("x", 0, PAX)), "archive_broken"),
        (write_blocks(write_header("x", 2_000_000, PAX)), "archive_broken"),
        (write_blocks(write_header("x", 2_000_000, tarfile.GNUTYPE_LONGNAME)), "archive_broken"),
        (write_blocks(write_header("x", 8, PAX), b"99 a=b\n", write_header("a", 0)), "archive_broken"),
        (write_blocks(write_header("x", 8, PAX), b"0 a=bbb\n", write_header("a", 0)), "archive_broken"),
        (write_blocks(write_header("x", 900_000, PAX), b"1" * 900_000, write_header("a", 0)), "archive_broken"),
        (write_blocks(b"", b"\0" * 512, b"\0" * 1_100_000), "archive_too_large"),
        (gzip.compress(TEXT), "unsupported_archive"),
        (gzip.compress(TEXT * 100), "unsupported_archive"),
        (write_blocks(*[write_header("a", 0)] * 11), "archive_too_large"),
        (write_blocks(write_header("a", 10**9)), "archive_too_large"),
        (write_blocks(write_header("a", 10**13)), "archive_too_large"),
        (write_blocks(write_header("x", 18, PAX), b"18 size=99999999\n\0", write_header("a", 0)), "archive_broken"),
        (write_blocks(write_header("x", 17, PAX), b"17 size=99999999\n", write_header("a", 0)), "archive_too_large"),
        (LARGE + LARGE, "archive_too_large"),
        (gzip.compress(b"")[:10] + b"\0", "archive_broken"),
    ],
    ids=show_code,
)
def test_a_tar_that_is_refused_as_a_whole(data, code):
    assert refuse(data) == code


def test_zeros_after_the_end_are_not_unpacked_for_ever():
    data = write_blocks(write_header("a", 0), b"\0" * 2_000_000)
    assert refuse(data, ArchiveLimits(entries=10, bytes=10_000_000)) == "archive_broken"


def test_a_name_of_megabytes_is_not_taken_into_memory():
    data = write_blocks(write_header("x", 2_000_000, tarfile.GNUTYPE_LONGNAME), b"n" * 2_000_000, write_header("a", 0))
    assert refuse(data, ArchiveLimits(entries=10, bytes=10_000_000)) == "archive_broken"


def test_an_endless_name_in_a_gzip_header_takes_no_time():
    assert refuse(b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 5_000_000) == "archive_broken"


def test_empty_gzip_streams_without_end():
    limits = ArchiveLimits(entries=10, bytes=1_000_000)
    assert refuse(gzip.compress(b"") * 100_001, limits) == "archive_broken"
