"""Which pages of a made-up site are found, in which order, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from urllib.parse import quote, unquote

import pytest
from fakes.web_site import WebPage, WebSite
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.web.crawl import MOST_ASKED, MOST_FAILED, Crawl
from ingest.web.page import Fetched, PageLinks, Validators
from ingest.web.plan import CrawlPlan, Found, Lost, Outcome, SeenPage, Site, Skipped
from ingest.web.robots import Robots
from kb.errors import FetchFailed, Unavailable

HOST = "https://example.com"
TOP = f"{HOST}/"


def make_site(pages: Mapping[str, WebPage]) -> WebSite:
    """Pages by path; each has a text of its own unless it was given one."""
    return WebSite({HOST + path: page if page.text else replace(page, text=path) for path, page in pages.items()})


def make_plan(*starts: str, depth: int = 5, **others: object) -> CrawlPlan:
    return CrawlPlan(starts=starts or (TOP,), depth=depth, **others)  # type: ignore[arg-type]


def make_crawl(site: WebSite, plan: CrawlPlan, known: Mapping[str, SeenPage] | None = None) -> Crawl:
    return Crawl(plan, Site(fetcher=site, link_reader=site), known or {})


def run(site: WebSite, plan: CrawlPlan | None = None, known: Mapping[str, SeenPage] | None = None) -> list[Outcome]:
    return list(make_crawl(site, plan or make_plan(), known))


def tell(outcomes: list[Outcome]) -> list[str]:
    """`/path`, `/path code`, `/path code!` for what is lost but not gone."""
    return list(map(tell_one, outcomes))


def tell_one(outcome: Outcome) -> str:
    path = outcome.url.removeprefix(HOST)
    if isinstance(outcome, Found):
        return path
    if isinstance(outcome, Skipped):
        return f"{path} {outcome.code}"
    return f"{path} {outcome.error.code}{'' if outcome.is_gone else '!'}"


def is_found(outcome: Outcome) -> bool:
    return isinstance(outcome, Found)


def remember(outcomes: list[Outcome], *, staged: bool = False) -> dict[str, SeenPage]:
    """As a sync does it."""
    found = {one.asked: one.page for one in outcomes if isinstance(one, Found)}
    found |= {one.url: one.page for one in outcomes if isinstance(one, Skipped) and one.page is not None}
    return {url: replace(page, is_staged=staged) for url, page in found.items()}


SITE = {
    "/": WebPage(links=["/b", "/文档", "a?utm_source=x", "https://other.org/", "/b#part", "/logo.PNG", "mailto:a@b.c"]),
    "/b": WebPage(links=["/c", "/"]),
    "/%E6%96%87%E6%A1%A3": WebPage(links=["../d.pdf"]),
    "/a": WebPage(links=["/c", "/e"]),
    "/c": WebPage(links=["/f"]),
    "/d.pdf": WebPage(body=b"%PDF-1.7 /never", content_type="application/pdf"),
    "/e": WebPage(),
    "/f": WebPage(),
}
ORDER = ["/", "/b", "/%E6%96%87%E6%A1%A3", "/a", "/c", "/d.pdf", "/e", "/f"]


# -- which pages, in which order ----------------------------------------------------------------------------------


def test_pages_are_found_breadth_first_each_asked_once() -> None:
    site = make_site(SITE)
    assert tell(run(site)) == ORDER
    assert sorted(site.asked) == sorted(HOST + path for path in ORDER)
    assert sorted(site.read) == sorted(HOST + path for path in ORDER if path != "/d.pdf")


@pytest.mark.parametrize(("depth", "number"), [(0, 1), (1, 4), (2, 7), (3, 8)])
def test_links_are_followed_so_deep(depth: int, number: int) -> None:
    assert tell(run(make_site(SITE), make_plan(depth=depth))) == ORDER[:number]


def test_a_list_of_pages_is_these_alone() -> None:
    plan = make_plan(f"{HOST}/e", f"{HOST}/a#x", f"{HOST}/e", depth=0)
    assert tell(run(make_site(SITE), plan)) == ["/e", "/a"]


def test_what_was_found_carries_its_bytes_and_what_to_remember() -> None:
    site = make_site(SITE)
    first, *_, _ = run(site)
    assert isinstance(first, Found)
    assert first.fetched is not None
    assert first.fetched.body == site.pages[TOP].write()
    assert (first.asked, first.page.url, first.is_unchanged) == (TOP, TOP, False)
    assert first.page.links == (f"{HOST}/b", f"{HOST}/%E6%96%87%E6%A1%A3", f"{HOST}/a")


def test_an_address_is_remembered_once_however_many_pages_link_to_it() -> None:
    site = make_site({"/": WebPage(links=["/a", "/menu"]), "/a": WebPage(links=["/x", "/menu"]), "/menu": WebPage()})
    first, second, *_ = (one.page for one in run(site) if isinstance(one, Found))
    assert first.links[-1] == second.links[-1] == f"{HOST}/menu"
    assert first.links[-1] is second.links[-1]


def test_include_and_exclude_choose_pages_but_not_the_start() -> None:
    site = make_site(SITE)
    outcomes = run(site, make_plan(include=["/文档", "/b", "/c"], exclude=["*/c"]))
    assert tell(outcomes) == ["/ excluded", "/b", "/%E6%96%87%E6%A1%A3"]
    assert f"{HOST}/c" not in site.asked


def test_a_sitemap_is_followed_in_its_order_with_lastmod() -> None:
    site = make_site(SITE)
    body = f"<urlset><url><loc>{HOST}/c</loc><lastmod>2026-01-02</lastmod></url><url><loc>{TOP}</loc></url></urlset>"
    site.pages[f"{HOST}/map.xml"] = WebPage(body=body.encode())
    outcomes = run(site, make_plan(f"{HOST}/map.xml", kind="sitemap", depth=0))
    assert tell(outcomes) == ["/c", "/"]
    assert [one.lastmod for one in outcomes if isinstance(one, Found)] == ["2026-01-02", None]
    lists = WebSite({f"{HOST}/map.xml": site.pages.pop(f"{HOST}/map.xml")})  # sitemaps may have a fetcher of their own
    plan = make_plan(f"{HOST}/map.xml", kind="sitemap", depth=0)
    crawl = Crawl(plan, Site(fetcher=site, link_reader=site, lists=lists), {})
    assert tell(list(crawl)) == ["/c", "/"]
    later = make_crawl(site, plan)
    later.listed = crawl.listed  # and are read once
    assert tell(list(later)) == ["/c", "/"]
    site.pages |= lists.pages
    deeper = run(site, make_plan(f"{HOST}/map.xml", kind="sitemap", depth=1))
    assert tell(deeper) == ["/c", "/", "/f", "/b", "/%E6%96%87%E6%A1%A3", "/a"]


def test_progress_is_told() -> None:
    crawl = make_crawl(make_site(SITE), make_plan())
    steps = [(crawl.progress.found, crawl.progress.left) for _ in crawl]
    assert [found for found, _ in steps] == list(range(1, 9))
    assert (crawl.progress.asked, crawl.progress.left) == (8, 0)


def test_a_start_that_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(FetchFailed):
        make_crawl(make_site({}), make_plan("example.com"))
    with pytest.raises(ValueError):
        make_crawl(make_site({}), make_plan(include=[""]))


# -- one page under many addresses --------------------------------------------------------------------------------


def test_redirects_decide_the_address() -> None:
    pages = {
        "/": WebPage(links=["/old", "/new", "/older", "/away"]),
        "/old": WebPage(moved="/new"),
        "/older": WebPage(moved="/old"),
        "/new": WebPage(links=["/x"]),
        "/x": WebPage(),
        "/away": WebPage(moved="https://other.org/"),
        "/loop": WebPage(moved="/loop"),
    }
    site = make_site(pages)
    site.pages["https://other.org/"] = WebPage(text="away", links=[f"{HOST}/loop"])
    outcomes = run(site)
    assert tell(outcomes) == ["/", "/new", "/older same_page", "/away out_of_scope", "/x"]
    moved = outcomes[1]
    assert isinstance(moved, Found)
    assert (moved.asked, moved.page.url) == (f"{HOST}/old", f"{HOST}/new")
    assert isinstance(outcomes[2], Skipped)
    assert outcomes[2].same_as == f"{HOST}/new"


def test_a_page_had_behind_a_redirect_is_not_asked_again() -> None:
    pages = {"/": WebPage(links=["/old", "/a", "/b", "/new"]), "/old": WebPage(moved="/new"), "/new": WebPage()}
    site = make_site(pages | {"/a": WebPage(), "/b": WebPage()})
    assert tell(run(site)) == ["/", "/new", "/a", "/b"]
    assert f"{HOST}/new" not in site.asked


def test_a_site_that_moved_to_https_and_www_is_the_same_site() -> None:
    site = WebSite(
        {
            "http://example.com/": WebPage(moved="https://www.example.com/"),
            "https://www.example.com/": WebPage(text="top", links=["http://example.com/a", "https://example.com/a"]),
            "http://example.com/a": WebPage(moved="https://www.example.com/a"),
            "https://www.example.com/a": WebPage(text="a"),
        }
    )
    outcomes = run(site, make_plan("http://example.com"))
    assert [one.url for one in outcomes] == ["https://www.example.com/", "https://www.example.com/a"]
    assert site.asked == ["http://example.com/", "http://example.com/a"]


CANONICAL = {
    "/": WebPage(links=["/print", "/p?id=1", "/lost", "/far", "/front", "/p", "/x"]),
    "/print": WebPage(canonical="/p", links=["/only-here"]),
    "/p?id=1": WebPage(canonical="/p"),
    "/p": WebPage(canonical="/p"),
    "/lost": WebPage(canonical="/404"),
    "/far": WebPage(canonical="https://other.org/far"),
    "/front": WebPage(canonical="/"),
    "/x": WebPage(canonical="/y"),
    "/y": WebPage(canonical="/x"),
    "/only-here": WebPage(),
}


def test_a_canonical_link_decides_the_address_where_it_leads_to_a_page() -> None:
    site = make_site(CANONICAL)
    outcomes = run(site)
    assert tell(outcomes) == [
        "/",
        "/p",
        "/print same_page",
        "/p?id=1 same_page",
        "/404 fetch_http_404",
        "/lost",
        "/far",
        "/front",
        "/y",
        "/x same_page",
        "/only-here",
    ]
    assert len(site.asked) == len(set(site.asked))
    again = run(site, known=remember(outcomes))
    assert tell(again) == tell(outcomes)


def test_a_canonical_link_tells_the_form_of_the_same_page() -> None:
    pages = {"/": WebPage(links=["/a?y=2&x=1"]), "/a?y=2&x=1": WebPage(canonical="/a?x=1&y=2")}
    assert tell(run(make_site(pages))) == ["/", "/a?x=1&y=2"]


def test_canonical_links_in_a_chain_come_to_an_end() -> None:
    def make(url: str) -> WebPage:
        number = int(url.rpartition("/")[2] or 0)
        return WebPage(text=url, canonical=f"/{number + 1}", links=["/1000"] if not number else [])

    site = WebSite(make=make)
    assert tell(run(site)) == ["/1", "/ same_page", "/1001", "/1000 same_page"]


def test_the_same_bytes_elsewhere_are_a_copy_and_give_no_links() -> None:
    pages = {
        "/": WebPage(links=["/a", "/b"]),
        "/a": WebPage(text="同", links=["c/x"]),
        "/b": WebPage(text="同", links=["c/x"]),
        "/c/x": WebPage(),
    }
    outcomes = run(make_site(pages))
    assert tell(outcomes) == ["/", "/a", "/b duplicate_content", "/c/x"]
    assert isinstance(outcomes[2], Skipped)
    assert outcomes[2].same_as == f"{HOST}/a"


def test_marks_of_a_page_are_kept_to() -> None:
    pages = {
        "/": WebPage(links=["/hidden", "/closed", "/报告.pdf", "/shut"]),
        "/hidden": WebPage(noindex=True, links=["/a"]),
        "/closed": WebPage(nofollow=True, links=["/b"]),
        "/%E6%8A%A5%E5%91%8A.pdf": WebPage(body=b"%PDF-1.7", content_type="application/pdf", robots="noindex"),
        "/shut": WebPage(robots="nofollow", links=["/b"]),
        "/a": WebPage(),
        "/b": WebPage(),
    }
    site = make_site(pages)
    outcomes = run(site)
    assert tell(outcomes) == ["/", "/hidden noindex", "/closed", "/%E6%8A%A5%E5%91%8A.pdf noindex", "/shut", "/a"]
    assert tell(run(site, known=remember(outcomes))) == tell(outcomes)


@pytest.mark.parametrize("has_etag", [True, False])
def test_what_a_header_asks_for_counts_though_the_page_is_as_it_was(*, has_etag: bool) -> None:
    top = WebPage(links=["/报告.pdf", "/b"])
    plain = WebPage(body=b"%PDF-1.7", content_type="application/pdf", has_etag=has_etag)
    site = make_site({"/": top, "/%E6%8A%A5%E5%91%8A.pdf": plain, "/b": WebPage()})
    outcomes = run(site)
    assert tell(outcomes) == ["/", "/%E6%8A%A5%E5%91%8A.pdf", "/b"]
    path = f"{HOST}/%E6%8A%A5%E5%91%8A.pdf"
    site.pages[path] = replace(plain, robots="noindex")
    closed = run(site, known=remember(outcomes))
    assert tell(closed) == ["/", "/%E6%8A%A5%E5%91%8A.pdf noindex", "/b"]
    site.pages[path] = replace(plain, has_etag=False)
    assert tell(run(site, known=remember(closed))) == tell(outcomes)


@pytest.mark.parametrize("mark", ["nofollow", "noindex"])
def test_a_mark_in_a_page_stays_while_it_says_so(mark: str) -> None:
    marked = WebPage(links=["/b"], has_etag=False, **{mark: True})  # type: ignore[arg-type]
    site = make_site({"/": WebPage(links=["/a"]), "/a": marked, "/b": WebPage()})
    outcomes = run(site)
    assert tell(run(site, known=remember(outcomes))) == tell(outcomes)


def test_the_index_of_a_folder_is_not_the_true_address_of_what_lies_in_it() -> None:
    sections = {
        "/docs/": ["/docs/a", "/docs/b/c.html", "/docs/index.html", "/docs/?utm_id=1"],
        "/文档/index.htm": ["/文档/甲", "/文档/乙?x=1"],
    }
    for section, below in sections.items():
        named = {path: WebPage(canonical=section, text=path) for path in below}
        site = make_site({section: WebPage(links=list(below)), **named})
        site.pages = {quote(url, safe="/:?=&"): page for url, page in site.pages.items()}
        found = [unquote(one.url.removeprefix(HOST)) for one in run(site, make_plan(HOST + section)) if is_found(one)]
        assert found == [section, *(path for path in below if path not in {"/docs/index.html", "/docs/?utm_id=1"})]


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json", None])
def test_the_links_of_a_page_are_followed_whatever_its_server_calls_it(content_type: str | None) -> None:
    class Told(WebSite):
        def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
            del body, content_type
            return PageLinks(links=[f"{HOST}/a"] if url == TOP else [])

    body = b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- \xe9\xa1\xb5 --> <!DOCTYPE html><a href=/a>a</a>"
    site = Told({TOP: WebPage(body=body, content_type=content_type), f"{HOST}/a": WebPage()})
    assert tell(run(site)) == ["/", "/a"]


@pytest.mark.parametrize(
    ("content_type", "body", "is_read"),
    [
        ("text/html", None, True),
        ("APPLICATION/XHTML+XML; charset=gbk", None, True),
        ("text/plain", None, False),
        ("application/json", None, False),
        (None, None, False),
    ],
)
def test_only_html_has_links(content_type: str | None, body: bytes | None, *, is_read: bool) -> None:
    site = make_site({"/": WebPage(links=["/a"], content_type=content_type, body=body), "/a": WebPage()})
    assert tell(run(site)) == (["/", "/a"] if is_read else ["/"])


# -- traps and limits ---------------------------------------------------------------------------------------------


def test_a_calendar_does_not_go_on_for_ever() -> None:
    def make(url: str) -> WebPage:
        month = int(url.rpartition("/")[2]) if "/cal/" in url else 0
        return WebPage(text=url, links=[f"/cal/{month + 1}", "/about"])

    outcomes = run(WebSite(make=make), make_plan(depth=10_000, max_pages=10_000))
    assert tell(outcomes)[-1] == "/cal/102 crawl_trap"
    assert len(outcomes) == 104
    last = outcomes[-1]
    assert isinstance(last, Skipped)
    assert last.detail.startswith("1 links to addresses like example.com/cal/# ")


def test_what_one_kind_of_page_breeds_waits_for_the_others() -> None:
    """Random addresses without end take no room from what else there is; a wiki of that kind is found whole."""

    def make(url: str) -> WebPage:
        number = int(url.rpartition("/")[2] or 0)
        return WebPage(
            text=url, links=[f"/{number * 10 + digit + 1}" for digit in range(10)] + ([] if number else ["/a/a"])
        )

    def make_chain(url: str) -> WebPage:
        return WebPage(text=url, links=[url + "x"]) if "/a/" in url else make(url)

    outcomes = run(WebSite(make=make_chain), make_plan(depth=1_000, max_pages=600))
    paths = [one.url.removeprefix(HOST) for one in outcomes if isinstance(one, Found)]
    assert len(paths) == 600
    assert sum(path.startswith("/a/") for path in paths) > 150
    wiki = {f"/{n}": WebPage(links=[f"/{(n * 7 + k) % 500}" for k in range(1, 8)]) for n in range(500)}
    assert len(run(make_site(wiki), make_plan(f"{HOST}/0", depth=50))) == 500


def test_session_ids_and_growing_links_do_not_go_on_for_ever() -> None:
    count = iter(range(10**6))

    def make(url: str) -> WebPage:
        page = url.partition("?")[0].partition(";")[0]
        growing = f"{url}{'&' if '?' in url else '?'}p{url.count('=')}=1"
        session = f"/a;jsessionid={next(count):032x}?PHPSESSID={next(count):032x}"
        return WebPage(text=f"{page} {url}", links=[session, "docs/en/", growing])

    outcomes = run(WebSite(make=make), make_plan(depth=1_000, max_pages=1_000))
    assert {"crawl_trap"} == {one.code for one in outcomes if isinstance(one, Skipped)}
    assert len(outcomes) < 400
    assert f"{HOST}/a" in [one.url for one in outcomes]
    assert not any("jsessionid" in one.url or "PHPSESSID" in one.url for one in outcomes)


def test_an_address_that_no_document_may_have_is_told_with_the_page_that_links_to_it() -> None:
    site = make_site({"/": WebPage(links=["/" + "文" * 200, "/a"]), "/a": WebPage()})
    outcomes = run(site)
    assert tell(outcomes) == ["/ url_too_long", "/", "/a"]


def test_only_so_many_pages_are_taken_and_asked() -> None:
    site = make_site({"/": WebPage(links=[f"/{n}" for n in range(50)]), **{f"/{n}": WebPage() for n in range(50)}})
    outcomes = run(site, make_plan(max_pages=10))
    assert tell(outcomes) == ["/", *(f"/{n}" for n in range(9)), "/ max_pages"]
    assert len(site.asked) == 10
    assert isinstance(outcomes[-1], Skipped)
    assert outcomes[-1].detail == "10 pages were found of 10; 41 links were not followed"


def test_pages_that_are_none_do_not_make_a_crawl_endless() -> None:
    site = WebSite(make=lambda url: WebPage(text="same", links=[f"/x{n}" for n in range(1_000)]))
    outcomes = run(site, make_plan(max_pages=10))
    assert len(site.asked) == 10 * MOST_ASKED
    assert tell(outcomes)[-1] == "/ max_pages"


def test_exactly_as_many_pages_as_are_wanted_is_not_told_as_too_many() -> None:
    assert tell(run(make_site(SITE), make_plan(max_pages=8))) == ORDER


# -- the next night -----------------------------------------------------------------------------------------------


def test_a_night_without_change_is_one_conditional_question_a_page_and_no_reading() -> None:
    site = make_site(SITE)
    known = remember(run(site))
    site.asked.clear()
    site.read.clear()
    again = run(site, known=known)
    assert tell(again) == ORDER
    assert all(isinstance(one, Found) and one.is_unchanged for one in again)
    assert (sorted(site.asked), site.read) == (sorted(known), [])
    assert sorted(site.conditional) == sorted(known)
    assert remember(again) == known


def test_the_same_bytes_from_a_server_without_validators_are_not_read_again() -> None:
    site = make_site({path: replace(page, has_etag=False) for path, page in SITE.items()})
    known = remember(run(site))
    site.read.clear()
    again = run(site, known=known)
    assert (tell(again), site.read) == (ORDER, [])
    assert all(isinstance(one, Found) and one.is_unchanged and one.fetched and one.fetched.body for one in again)


def test_a_changed_page_alone_is_read_and_what_it_links_to_no_more_is_not_named() -> None:
    site = make_site(SITE)
    known = remember(run(site))
    site.read.clear()
    site.pages[f"{HOST}/b"] = WebPage(text="新", links=["/g"])
    site.pages[f"{HOST}/a"] = WebPage(text="新 a", links=["/e"])
    site.pages[f"{HOST}/g"] = WebPage(text="g")
    again = run(site, known=known)
    assert tell(again) == ["/", "/b", "/%E6%96%87%E6%A1%A3", "/a", "/g", "/d.pdf", "/e"]
    assert sorted(site.read) == [f"{HOST}/a", f"{HOST}/b", f"{HOST}/g"]
    assert [one.is_unchanged for one in again if isinstance(one, Found)] == [
        True,
        False,
        True,
        False,
        False,
        True,
        True,
    ]


def test_redirects_and_copies_are_asked_conditionally_too() -> None:
    pages = {
        "/": WebPage(links=["/old", "/a", "/b"]),
        "/old": WebPage(moved="/new"),
        "/new": WebPage(),
        "/a": WebPage(text="同"),
        "/b": WebPage(text="同"),
    }
    site = make_site(pages)
    first = run(site)
    site.conditional.clear()
    assert tell(run(site, known=remember(first))) == tell(first)
    assert sorted(site.conditional) == [TOP, f"{HOST}/a", f"{HOST}/b", f"{HOST}/old"]


def test_a_redirect_to_another_page_is_not_taken_for_unchanged() -> None:
    """Both pages have the same validators; only the address tells them apart."""
    site = make_site({"/": WebPage(moved="/a"), "/a": WebPage(text="同", links=["/x"]), "/x": WebPage()})
    known = remember(run(site))
    site.pages[TOP] = WebPage(moved="/b")
    site.pages[f"{HOST}/b"] = site.pages[f"{HOST}/a"]
    outcomes = run(site, known=known)
    assert tell(outcomes) == ["/b", "/x"]
    assert isinstance(outcomes[0], Found)
    assert outcomes[0].fetched is not None
    assert outcomes[0].fetched.body


# -- what does not come -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (WebPage(status=404), "/b fetch_http_404"),
        (WebPage(status=410), "/b fetch_http_410"),
        (WebPage(status=500), "/b fetch_http_500!"),
        (WebPage(status=403), "/b fetch_http_403!"),
        (WebPage(failing="fetch_timeout"), "/b fetch_timeout!"),
        (WebPage(moved="/b"), "/b too_many_redirects!"),
    ],
)
def test_gone_and_failing_are_told_apart(page: WebPage, told: str) -> None:
    site = make_site(SITE)
    known = remember(run(site))
    site.pages[f"{HOST}/b"] = page
    assert tell(run(site, known=known)) == ["/", told, *ORDER[2:]]


@pytest.mark.parametrize("status", [500, 404])
def test_what_only_a_page_links_to_that_does_not_come_is_found_while_that_is_known(status: int) -> None:
    pages = {"/": WebPage(links=["/a", "/b"]), "/a": WebPage(links=["/a1"]), "/a1": WebPage(), "/b": WebPage()}
    site = make_site(pages)
    known = remember(run(site))
    site.pages[f"{HOST}/a"] = WebPage(status=status)
    told = ["/", f"/a fetch_http_{status}{'!' * (status == 500)}", "/b"]
    assert tell(run(site, known=known)) == [*told, "/a1"]
    del known[f"{HOST}/a"]
    assert tell(run(site, known=known)) == told


def test_a_page_that_cannot_be_read_is_found_and_keeps_its_links() -> None:
    site = make_site({"/": WebPage(links=["/a"]), "/a": WebPage(links=["/b"]), "/b": WebPage()})
    known = remember(run(site))
    site.pages[f"{HOST}/a"] = WebPage(text="new", is_broken=True)
    assert tell(run(site, known=known)) == ["/", "/a", "/b"]


def test_a_failing_page_behind_a_redirect_is_lost_under_its_document() -> None:
    site = make_site({"/": WebPage(links=["/old", "/new"]), "/old": WebPage(moved="/new"), "/new": WebPage()})
    known = remember(run(site))
    site.pages[f"{HOST}/new"] = WebPage(status=500)
    assert tell(run(site, known=known)) == ["/", "/new fetch_http_500!"]


def test_a_copy_stays_one_while_its_page_fails() -> None:
    site = make_site({"/": WebPage(links=["/a", "/b"]), "/a": WebPage(text="同"), "/b": WebPage(text="同")})
    known = remember(run(site))
    site.pages[f"{HOST}/a"] = WebPage(status=500)
    assert tell(run(site, known=known)) == ["/", "/a fetch_http_500!", "/b duplicate_content"]


@pytest.mark.parametrize("page", [WebPage(status=500), WebPage(failing="fetch_dns"), WebPage(status=403)])
def test_a_site_that_is_down_loses_nothing(page: WebPage) -> None:
    site = make_site(SITE)
    known = remember(run(site))
    site.pages = dict.fromkeys(site.pages, page)
    for starts in ([TOP], [TOP, "http://www.example.com/"], [TOP, f"{HOST}/a", f"{HOST}/b"], [TOP, *sorted(known)]):
        plan = make_plan(*starts)
        with pytest.raises(Unavailable) as refused:
            run(site, plan, known)
        assert refused.value.code == "source_unavailable"
        assert TOP in refused.value.detail


def test_a_site_that_moved_to_another_is_told_and_loses_nothing() -> None:
    site = make_site({"/": WebPage(moved="https://other.org/")})
    site.pages["https://other.org/"] = WebPage(text="其他")
    with pytest.raises(Unavailable, match=r"out_of_scope: leads to another site: https://other\.org/"):
        run(site)


def test_one_start_that_answers_is_enough() -> None:
    site = make_site(SITE)
    site.pages[TOP] = WebPage(status=500)
    assert tell(run(site, make_plan(TOP, f"{HOST}/e"))) == ["/ fetch_http_500!", "/e"]
    assert tell(run(make_site({}), make_plan(depth=0))) == ["/ fetch_http_404"]


DEAD, LIVE = "https://dead.test", "https://live.test"


def make_two_hosts(dead: WebPage) -> tuple[WebSite, CrawlPlan]:
    """A list of pages of two hosts, first all of the one; the last links to one more."""
    pages = {f"{DEAD}/{number}": dead for number in range(30)}
    pages |= {f"{LIVE}/{number}": WebPage(text=str(number)) for number in range(30)}
    site = WebSite({**pages, f"{LIVE}/29": WebPage(text="29", links=["/more", f"{DEAD}/more"])})
    site.pages[f"{LIVE}/more"] = WebPage(text="more")
    return site, make_plan(*pages, depth=1)


def test_a_host_that_is_down_does_not_keep_the_pages_of_another_one() -> None:
    site, plan = make_two_hosts(WebPage(failing="fetch_unreachable"))
    outcomes = run(site, plan)
    assert [one.url for one in outcomes if is_found(one)] == [f"{LIVE}/{name}" for name in (*range(30), "more")]
    assert {one.url for one in outcomes if isinstance(one, Lost)} == {
        f"{DEAD}/{number}" for number in range(MOST_FAILED + 1)
    }
    assert sum(url.startswith(DEAD) for url in site.asked) <= MOST_FAILED + 1


def test_what_was_known_of_a_host_that_is_down_is_lost_and_not_gone() -> None:
    site, plan = make_two_hosts(WebPage(text="x"))
    site.pages |= {f"{DEAD}/{number}": WebPage(text=f"dead {number}") for number in range(30)}
    known = remember(run(site, plan))
    site.pages |= {f"{DEAD}/{number}": WebPage(status=503) for number in range(30)}
    outcomes = run(site, plan, known)
    lost = [one.url for one in outcomes if isinstance(one, Lost)]
    assert sorted(lost) == sorted(f"{DEAD}/{number}" for number in range(30))
    assert not any(one.is_gone for one in outcomes if isinstance(one, Lost))
    assert sum(map(is_found, outcomes)) == 31


def test_where_all_hosts_are_down_nothing_is_known() -> None:
    site, plan = make_two_hosts(WebPage(failing="fetch_timeout"))
    site.pages |= {f"{LIVE}/{number}": WebPage(status=503) for number in range(30)}
    with pytest.raises(Unavailable, match="source_unavailable"):
        run(site, plan)
    assert len(site.asked) <= 2 * (MOST_FAILED + 2)


def test_a_site_that_goes_down_on_the_way_loses_nothing() -> None:
    names = [f"/{number}" for number in range(100)]
    site = make_site({"/": WebPage(links=names), **{name: WebPage() for name in names}})
    known = remember(run(site))
    site.asked.clear()
    site.pages |= {HOST + name: WebPage(failing="fetch_timeout") for name in names[5:]}
    outcomes = run(site, known=known)
    assert tell(outcomes) == ["/", *names[:5], *(f"{name} fetch_timeout!" for name in names[5:])]
    assert len(site.asked) <= 1 + 5 + MOST_FAILED + 1


def test_pages_that_fail_by_themselves_do_not_stop_a_crawl() -> None:
    names = [f"/{number}" for number in range(30)]
    site = make_site({"/": WebPage(links=[*names, "/a"]), **{name: WebPage(status=500) for name in names}})
    site.pages[f"{HOST}/a"] = WebPage(text="a")
    assert tell(run(site))[-1] == "/a"


def write_map(*paths: str) -> WebPage:
    return WebPage(body="\n".join(HOST + path for path in paths).encode())


def test_a_sitemap_that_does_not_come_loses_nothing() -> None:
    site = make_site(SITE)
    index = f"<sitemapindex><sitemap><loc>{HOST}/1</loc></sitemap><sitemap><loc>{HOST}/2</loc></sitemap></sitemapindex>"
    site.pages[TOP] = WebPage(body=index.encode())
    site.pages |= {f"{HOST}/1": write_map("/a", "/b"), f"{HOST}/2": write_map("/c", "/e")}
    plan = make_plan(kind="sitemap", depth=0)
    known = remember(run(site, plan))
    site.pages[f"{HOST}/2"] = WebPage(status=500)
    assert tell(run(site, plan, known)) == [
        "/2 fetch_http_500!",
        "/a",
        "/b",
        "/c fetch_http_500!",
        "/e fetch_http_500!",
    ]
    site.pages[f"{HOST}/2"] = WebPage(status=404)
    assert tell(run(site, plan, known)) == ["/2 fetch_http_404", "/a", "/b"]
    for page in (WebPage(status=500), WebPage(status=404), WebPage(text="no sitemap")):
        site.pages[TOP] = page
        with pytest.raises(Unavailable) as refused:
            run(site, plan, known)
        assert refused.value.code == "source_unavailable"


def test_what_robots_denies_is_skipped() -> None:
    site = make_site(SITE)
    site.pages[f"{HOST}/b"] = WebPage(failing="robots_denied")
    assert tell(run(site))[1] == "/b robots_denied"
    site.pages[TOP] = WebPage(failing="robots_denied")
    assert tell(run(site)) == ["/ robots_denied"]


class PoliteFetcher:
    """As the fetcher does it: asks robots.txt before each question."""

    def __init__(self, site: WebSite) -> None:
        self._site = site
        self._robots = Robots(site, "kb-server")

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        self._robots.check(url)
        return self._site.fetch(url, known)


def test_a_polite_crawl_keeps_to_robots_and_gives_a_host_up_that_has_none_now() -> None:
    site = make_site(SITE)
    site.pages[f"{HOST}/robots.txt"] = WebPage(body="User-agent: *\nDisallow: /文\nDisallow: /a".encode())
    told = tell(list(Crawl(make_plan(), Site(fetcher=PoliteFetcher(site), link_reader=site), {})))
    assert told == ["/", "/b", "/%E6%96%87%E6%A1%A3 robots_denied", "/a robots_denied", "/c", "/f"]
    assert site.asked.count(f"{HOST}/robots.txt") == 1
    site.pages[f"{HOST}/robots.txt"] = WebPage(status=500)
    with pytest.raises(Unavailable, match="robots"):
        list(Crawl(make_plan(), Site(fetcher=PoliteFetcher(site), link_reader=site), {}))


# -- killed and taken up again ------------------------------------------------------------------------------------


def test_closing_it_ends_it() -> None:
    site = make_site(SITE)
    outcomes = iter(make_crawl(site, make_plan()))
    next(outcomes)
    assert isinstance(outcomes, Iterator)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(site.asked) <= 4


@pytest.mark.parametrize("pages", [SITE, CANONICAL])
@pytest.mark.parametrize("number", range(1, 11))
def test_a_killed_crawl_goes_on_where_it_was(pages: Mapping[str, WebPage], number: int) -> None:
    whole = run(make_site(pages))
    site = make_site(pages)
    staged = remember(list(islice(make_crawl(site, make_plan()), number)), staged=True)
    site.asked.clear()
    again = run(site, known=staged)
    assert tell(again) == tell(whole)
    assert not set(site.asked) & set(staged)
    assert len(site.asked) == len(set(site.asked))
    assert all((one.fetched is None) is (one.asked in staged) for one in again if isinstance(one, Found))


GRAPHS = st.dictionaries(
    st.integers(0, 12),
    st.builds(
        WebPage,
        text=st.sampled_from(["", "", "", "同"]),
        links=st.lists(st.integers(0, 12).map(lambda number: f"/{number}"), max_size=6),
        canonical=st.none() | st.integers(0, 12).map(lambda number: f"/{number}"),
        noindex=st.sampled_from([False, False, False, True]),
        nofollow=st.sampled_from([False, False, False, True]),
        moved=st.none() | st.integers(0, 12).map(lambda number: f"/{number}"),
        status=st.sampled_from([200, 200, 200, 200, 404, 500, 403]),
    ),
    min_size=1,
)


@settings(deadline=None)  # threads wait for each other on a busy machine
@given(GRAPHS, st.integers(1, 8))
def test_of_any_site_a_second_night_and_a_resumed_one_find_the_same(graph: dict[int, WebPage], number: int) -> None:
    pages = {f"/{place}": page for place, page in graph.items()} | {"/": WebPage(links=[f"/{n}" for n in range(7)])}
    site = make_site(pages)
    whole = run(site)
    assert len({one.url for one in whole if isinstance(one, Found)}) == sum(isinstance(one, Found) for one in whole)
    assert len(site.asked) == len(set(site.asked))
    assert tell(run(site, known=remember(whole))) == tell(whole)
    staged = remember(list(islice(make_crawl(site, make_plan()), number)), staged=True)
    assert tell(run(site, known=staged)) == tell(whole)
