"""Bodies without their content coding, within their bounds."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.web.inflating import MOST_RATIO, read_body
from kb.errors import FetchFailed

MOST = 10_000_000


def deflate_raw(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


CODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes, "": bytes}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("coding", CODERS)
@settings(deadline=None)
@given(data=st.binary(max_size=300), size=st.integers(1, 40))
def test_what_was_coded_comes_back(coding: str, data: bytes, size: int) -> None:
    assert read_body(cut(CODERS[coding](data), size), coding, MOST) == data


@settings(deadline=None)
@given(data=st.binary(max_size=300), size=st.integers(1, 40))
def test_deflate_without_its_header_comes_back(data: bytes, size: int) -> None:
    assert read_body(cut(deflate_raw(data), size), "deflate", MOST) == data


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 65_536 + 258, 3 * 65_536, 1_000_003])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, deflate_raw])
def test_a_body_of_many_steps_comes_back(length: int, pack) -> None:
    noise = random.Random(length).randbytes(length // 100)
    data = noise + b"a" * (length - len(noise))
    assert read_body([pack(data)], "gzip" if pack is gzip.compress else "deflate", MOST) == data


def test_gzip_of_several_members_with_padding_comes_back() -> None:
    packed = gzip.compress("知识".encode()) + gzip.compress(b" base") + b"\0" * 9
    assert read_body(cut(packed, 7), "gzip", MOST).decode() == "知识 base"


@pytest.mark.parametrize("coding", CODERS)
def test_the_largest_body_comes_and_one_more_byte_does_not(coding: str) -> None:
    data = random.Random(1).randbytes(5_000)
    assert read_body([CODERS[coding](data)], coding, 5_000) == data
    with pytest.raises(FetchFailed, match="4,999 bytes") as failed:
        read_body([CODERS[coding](data)], coding, 4_999)
    assert (failed.value.code, failed.value.is_passing) == ("fetch_too_large", False)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, deflate_raw])
def test_a_bomb_is_not_unpacked(pack) -> None:
    bomb = pack(bytes(100_000_000))
    assert 90_000 < len(bomb) < 120_000
    tracemalloc.start()
    with pytest.raises(FetchFailed) as failed:
        read_body([bomb], "gzip" if pack is gzip.compress else "deflate", MOST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert failed.value.code == "fetch_too_large"
    assert peak < 25_000_000


def test_a_bomb_that_comes_slowly_is_known_by_its_ratio() -> None:
    with pytest.raises(FetchFailed, match=f"more than {MOST_RATIO} times") as failed:
        read_body(cut(gzip.compress(bytes(100_000_000)), 1_000), "gzip", MOST)
    assert failed.value.code == "fetch_too_large"


def test_a_page_of_table_rows_is_no_bomb() -> None:
    page = b"".join(b"<tr><td>%d</td><td>same</td></tr>\n" % number for number in range(200_000))
    packed = gzip.compress(page)
    assert len(page) > 5 * len(packed)
    assert read_body([packed], "gzip", MOST) == page


@pytest.mark.parametrize(
    ("data", "coding", "passing"),
    [
        (b"<html>", "gzip", False),
        (b"\x78\x9c<html>", "deflate", False),
        (b"<html>", "deflate", False),
        (gzip.compress(b"a" * 500, mtime=0)[:-9], "gzip", True),
        (zlib.compress(b"a" * 500)[:-5], "deflate", True),
        (b"\x1f", "gzip", True),
        (gzip.compress(b"a", mtime=0) + b"junk", "gzip", False),
        (b"x", "br", False),
        (b"x", "gzip, gzip", False),
        (b"x", "\N{SNOWMAN}" * 100, False),
    ],
)
def test_what_is_not_what_it_says_is_broken(data: bytes, coding: str, passing: object) -> None:
    with pytest.raises(FetchFailed) as failed:
        read_body([data], coding, MOST)
    assert (failed.value.code, failed.value.is_passing) == ("fetch_broken", passing)
    assert len(failed.value.detail) < 400


def test_an_empty_body_has_no_coding() -> None:
    assert [read_body([], coding, MOST) for coding in CODERS] == [b""] * len(CODERS)
