"""One sitemap: each form of it, and what hostile ones cost."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from itertools import islice

import pytest

from ingest.web.sitemap import MOST_BYTES, Entry, iter_entries
from kb.errors import FetchFailed

A, B = "https://example.com/a", "https://example.com/文?x=1&y=2"
NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
URLSET = f"""<?xml version="1.0" encoding="UTF-8"?>
<urlset {NS} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc>{A}</loc><lastmod>2026-01-02</lastmod>
    <image:image><image:loc>https://example.com/a.png</image:loc></image:image></url>
  <!-- none -->
  <url><loc>
    <![CDATA[{B}]]>
  </loc></url>
  <url><priority>1</priority></url>
</urlset>"""
WANTED = [Entry(A, "2026-01-02"), Entry(B)]
INDEX = f"""<sitemapindex {NS}>
<sitemap><loc>{A}</loc></sitemap><sitemap><loc>{B.replace("&", "&amp;")}</loc></sitemap>
</sitemapindex>"""
PREFIXED = (
    URLSET.replace("<url", "<s:url")
    .replace("</url", "</s:url")
    .replace("<loc>", "<s:loc>")
    .replace("</loc>", "</s:loc>")
    .replace("lastmod>", "s:lastmod>")
    .replace("xmlns=", "xmlns:s=")
)
BOMB = (
    '<!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><urlset><url><loc>https://example.com/&i;</loc></url></urlset>"
)
OUTSIDE = '<!DOCTYPE urlset [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>'


def read(body: bytes) -> tuple[list[Entry], str]:
    """What could be read, and the code it ended with."""
    found: list[Entry] = []
    try:
        for entry in iter_entries(body):
            found.append(entry)  # noqa: PERF402 - what came before a failure is wanted
    except FetchFailed as error:
        return found, error.code
    return found, ""


@pytest.mark.parametrize(
    "body",
    [
        URLSET.encode(),
        b"\xef\xbb\xbf\n" + URLSET.partition("\n")[2].encode(),
        gzip.compress(URLSET.encode()),
        gzip.compress(URLSET[:300].encode()) + gzip.compress(URLSET[300:].encode()),
        URLSET.replace("UTF-8", "UTF-16").encode("utf-16"),
        URLSET.replace("UTF-8", "GB2312").encode("gb18030"),
        URLSET.replace("UTF-8", "Big5").encode("big5"),
        PREFIXED.encode(),
        ("<!DOCTYPE urlset>" + URLSET.partition("\n")[2]).encode(),
    ],
    ids=["utf-8", "bom", "gzip", "two gzips", "utf-16", "gbk", "big5", "prefixed", "doctype"],
)
def test_a_list_of_pages_is_read(body: bytes) -> None:
    assert read(body) == (WANTED, "")


def test_an_index_is_told_from_a_list() -> None:
    assert read(INDEX.encode()) == ([Entry(A, None, True), Entry(B, None, True)], "")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_plain_lines_are_read(pack: type[bytes], line_end: str) -> None:
    body = f"\ufeff{A}{line_end}{line_end} {B} {line_end}".encode()
    assert read(pack(body)) == ([Entry(A), Entry(B)], "")


def test_lines_over_the_border_of_two_pieces_are_whole() -> None:
    urls = [f"https://example.com/文/{number}" for number in range(20_000)]
    assert read("\r\n".join(urls).encode()) == ([Entry(url) for url in urls], "")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<!doctype html><html><head><title>404</title>", 0),
        (b"<rss><channel/></rss>", 0),
        (b"%PDF-1.7 \x00\x01", 0),
        (b'{"urls": []}', 0),
        (URLSET.encode()[: URLSET.encode().index(b"<!-- none")], 1),
        (URLSET.replace("<!-- none -->", "&nbsp;").encode(), 1),
        (URLSET.replace("UTF-8", "Shift_JIS").encode(), 0),  # ValueError
        (URLSET.replace("UTF-8", "rot13").encode(), 0),  # LookupError
        (URLSET.replace("UTF-8", "idna").encode(), 0),  # UnicodeError
        (gzip.compress(URLSET.encode())[:-9], 2),
        (b"\x1f\x8bnothing of the kind", 0),
        (BOMB.encode(), 0),
        (OUTSIDE.encode(), 0),
        (b"<urlset><url><loc>" + b"<a>" * 100, 0),
        (A.encode() + b"\nno address\n" + A.encode(), 1),
    ],
    ids=[
        "html",
        "rss",
        "pdf",
        "json",
        "torn",
        "entity",
        "shift-jis",
        "rot13",
        "idna",
        "torn-gzip",
        "no-gzip",
        "bomb",
        "outside",
        "deep",
        "lines",
    ],
)
def test_what_is_broken_gives_what_could_be_read_and_a_code(body: bytes, found: int) -> None:
    entries, code = read(body)
    assert (len(entries), code) == (found, "sitemap_malformed")


def test_nothing_at_all_is_an_empty_list() -> None:
    assert read(b"") == ([], "")
    assert read(b"<urlset/>") == ([], "")


def test_an_address_without_end_is_cut() -> None:
    ((entry,), code) = read(b"<urlset><url><loc>https://example.com/" + b"a" * 3_000_000 + b"</loc></url></urlset>")
    assert (len(entry.url), code) == (8_192, "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<urlset>" + b" " * (MOST_BYTES + 1), "sitemap_too_large"),
        (b"<urlset><url a='" + b"a" * MOST_BYTES, "sitemap_malformed"),
        (b"<urlset><!--" + b"a" * MOST_BYTES, "sitemap_malformed"),
        (b"https://example.com/" + b"a" * MOST_BYTES, "sitemap_malformed"),
    ],
    ids=["blanks", "tag", "comment", "line"],
)
def test_what_unpacks_to_too_much_is_given_up(body: bytes, code: str) -> None:
    packed = gzip.compress(body, 1)
    before = time.process_time()
    tracemalloc.start()
    assert read(packed) == ([], code)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000
    assert time.process_time() - before < 10


def test_a_list_is_read_only_as_far_as_it_is_asked_for() -> None:
    body = b"<urlset>" + b"<url><loc>https://example.com/a</loc></url>" * 1_000_000 + b"</urlset>"
    before = time.process_time()
    assert len(list(islice(iter_entries(body), 1_000))) == 1_000
    assert time.process_time() - before < 0.5
