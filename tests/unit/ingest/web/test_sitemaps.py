"""The pages that sitemaps list: indexes, loops, other sites, and lists without end."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable, Sequence

import pytest
from fakes.web_site import WebPage, WebSite

from ingest.web.plan import Lost, Skipped
from ingest.web.sitemaps import DEEPEST, MOST_ENTRIES, MOST_FILES, SitemapPages, list_sitemap_pages

HOST = "https://example.com"
TOP = f"{HOST}/sitemap.xml"


def write(urls: Iterable[str], kind: str = "url", root: str = "urlset") -> WebPage:
    entries = "".join(f"<{kind}><loc>{url.replace('&', '&amp;')}</loc></{kind}>" for url in urls)
    return WebPage(body=f"<{root}>{entries}</{root}>".encode())


def write_index(urls: Iterable[str]) -> WebPage:
    return write(urls, "sitemap", "sitemapindex")


def want_all(url: str) -> bool:
    return True


def list_pages(
    site: WebSite, starts: Sequence[str] = (TOP,), wants: Callable[[str], bool] = want_all, limit: int = 10_000
) -> SitemapPages:
    return list_sitemap_pages(site, starts, wants, limit)


def list_notes(found: SitemapPages) -> list[tuple[str, str]]:
    """The sitemap's path and the code."""
    return [
        (note.url.removeprefix(HOST), note.error.code if isinstance(note, Lost) else note.code) for note in found.notes
    ]


def test_pages_come_in_order_each_once() -> None:
    site = WebSite({TOP: write([f"{HOST}/b", f"{HOST}/文", f"{HOST}/b#x", "http://www.example.com/b", f"{HOST}/a"])})
    found = list_pages(site)
    assert list(found.pages) == [f"{HOST}/b", f"{HOST}/%E6%96%87", f"{HOST}/a"]
    assert (found.notes, found.failed, found.read) == ([], None, 1)


def test_lastmod_goes_with_its_page() -> None:
    body = f"<urlset><url><loc>{HOST}/a</loc><lastmod> 2026-01-02 </lastmod></url></urlset>".encode()
    assert list_pages(WebSite({TOP: WebPage(body=body)})).pages == {f"{HOST}/a": "2026-01-02"}


def test_what_is_not_wanted_is_left_out_without_a_word() -> None:
    site = WebSite({TOP: write([f"{HOST}/b", f"{HOST}/a"])})
    found = list_pages(site, wants=lambda url: url.endswith("a"))
    assert (list(found.pages), found.notes) == ([f"{HOST}/a"], [])


def test_an_index_is_followed_in_order_and_a_loop_once() -> None:
    site = WebSite(
        {
            TOP: write_index([f"{HOST}/2.xml.gz", f"{HOST}/1.txt", TOP]),
            f"{HOST}/1.txt": WebPage(body=f"{HOST}/c\n".encode()),
            f"{HOST}/2.xml.gz": WebPage(body=gzip.compress(write_index([f"{HOST}/3.xml", f"{HOST}/2.xml.gz"]).write())),
            f"{HOST}/3.xml": write([f"{HOST}/d"]),
        }
    )
    found = list_pages(site)
    assert list(found.pages) == [f"{HOST}/c", f"{HOST}/d"]
    assert site.asked == [TOP, f"{HOST}/2.xml.gz", f"{HOST}/1.txt", f"{HOST}/3.xml"]
    assert found.failed is None


def test_robots_stands_for_the_sitemaps_it_names() -> None:
    robots = WebPage(body=f"User-agent: *\nDisallow:\nSitemap: {TOP}\n".encode())
    site = WebSite({f"{HOST}/robots.txt": robots, TOP: write([f"{HOST}/a"])})
    assert list(list_pages(site, [f"{HOST}/robots.txt"]).pages) == [f"{HOST}/a"]


def test_indexes_are_followed_only_so_deep() -> None:
    site = WebSite(make=lambda url: write_index([f"{url}x"]))
    found = list_pages(site)
    assert site.asked == [TOP + "x" * depth for depth in range(DEEPEST + 1)]
    assert list_notes(found) == [("/sitemap.xmlxxx", "sitemap_cut")]
    assert found.failed is None


def test_an_index_without_end_is_cut() -> None:
    site = WebSite(make=lambda url: write([]) if url != TOP else write_index(f"{HOST}/{n}" for n in range(5_000)))
    found = list_pages(site)
    assert len(site.asked) == MOST_FILES
    assert list_notes(found) == [("/sitemap.xml", "sitemap_cut")]


def test_what_lies_elsewhere_is_counted() -> None:
    urls = [f"{HOST}/a", "https://other.org/1", "https://other.org/2", "ftp://example.com/", f"{HOST}/{'文' * 200}"]
    site = WebSite({TOP: write(urls)})
    found = list_pages(site)
    assert list(found.pages) == [f"{HOST}/a"]
    assert list_notes(found) == [("/sitemap.xml", code) for code in ("out_of_scope", "bad_url", "url_too_long")]
    assert isinstance(found.notes[0], Skipped)
    assert found.notes[0].detail == "2 addresses cannot be taken, the first: https://other.org/1"
    site = WebSite({TOP: write_index(["https://other.org/1.xml"])})
    assert list_notes(list_pages(site)) == [("/sitemap.xml", "out_of_scope")]
    assert site.asked == [TOP]


@pytest.mark.parametrize(
    ("page", "code", "is_failed"),
    [
        (WebPage(status=500), "fetch_http_500", True),
        (WebPage(failing="fetch_timeout"), "fetch_timeout", True),
        (WebPage(body=b"<html>"), "sitemap_malformed", True),
        (WebPage(status=404), "fetch_http_404", False),
    ],
)
def test_a_sitemap_that_does_not_come_is_told(page: WebPage, code: str, *, is_failed: bool) -> None:
    """One below an index that is gone takes its pages with it; one that fails may have had any."""
    index = write_index([f"{HOST}/1.xml", f"{HOST}/2.xml"])
    site = WebSite({TOP: index, f"{HOST}/1.xml": page, f"{HOST}/2.xml": write([f"{HOST}/a"])})
    found = list_pages(site)
    assert list(found.pages) == [f"{HOST}/a"]
    assert list_notes(found) == [("/1.xml", code)]
    assert (found.failed is not None) is is_failed
    alone = list_pages(WebSite({TOP: page}))
    assert alone.failed is not None
    assert (alone.failed.code, alone.read, alone.pages) == (code, 0, {})


def test_a_torn_sitemap_gives_its_beginning() -> None:
    body = write([f"{HOST}/a", f"{HOST}/b"]).write()
    found = list_pages(WebSite({TOP: WebPage(body=body[:-20])}))
    assert list(found.pages) == [f"{HOST}/a"]
    assert found.failed is not None
    assert list_notes(found) == [("/sitemap.xml", "sitemap_malformed")]


def test_a_sitemap_of_a_million_pages_is_cut_and_says_so() -> None:
    body = write(f"{HOST}/{number}" for number in range(1_000_000)).write()
    site = WebSite({TOP: WebPage(body=gzip.compress(body, 1))})
    before = time.process_time()
    found = list_pages(site, limit=1_000_000)
    assert len(found.pages) == MOST_ENTRIES
    assert list_notes(found) == [("/sitemap.xml", "sitemap_cut")]
    few = list_pages(site, limit=100)
    assert (len(few.pages), list_notes(few)) == (100, [("/sitemap.xml", "sitemap_cut")])
    assert time.process_time() - before < 20
