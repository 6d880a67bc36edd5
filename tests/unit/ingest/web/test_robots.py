"""What robots.txt allows, and the pace: over a made-up site and a clock that waiting moves."""

from __future__ import annotations

import pytest
from fakes.web_site import WebPage, WebSite

from ingest.web.robots import LONGEST_DELAY, LONGEST_REST, MOST_BYTES, PoliteFetcher, read_sitemap_lines
from kb.errors import FetchFailed

HOST = "https://example.com"


class Hours:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waited: list[float] = []

    def read(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


def make_site(robots: str | WebPage | None, **pages: WebPage) -> WebSite:
    site = WebSite(make=lambda url: None if url.endswith("/robots.txt") else WebPage(text=url))
    if robots is not None:
        told = robots if isinstance(robots, WebPage) else WebPage(body=robots.encode())
        site.pages[f"{HOST}/robots.txt"] = told
    site.pages |= {f"{HOST}/{name}": page for name, page in pages.items()}
    return site


def make_fetcher(site: WebSite, hours: Hours | None = None) -> PoliteFetcher:
    hours = hours or Hours()
    return PoliteFetcher(site, "kb-server", clock=hours.read, wait=hours.wait)


def fetch_code(fetcher: PoliteFetcher, url: str) -> str:
    try:
        fetcher.fetch(url)
    except FetchFailed as error:
        return error.code
    return ""


ROBOTS = """\ufeffUser-agent: *
Disallow: /private/
Allow: /private/open
Disallow: /*?q=
Disallow: /内部/

User-agent: other
Disallow: /
"""


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", ""),
        ("/private/a", "robots_denied"),
        ("/private/open/a", ""),
        ("/find?q=1", "robots_denied"),
        ("/%E5%86%85%E9%83%A8/a", "robots_denied"),
        ("/robots.txt", ""),
    ],
)
def test_what_is_disallowed_is_not_asked(path: str, code: str) -> None:
    site = make_site(ROBOTS)
    assert fetch_code(make_fetcher(site), HOST + path) == code
    assert (HOST + path in site.asked) is (code == "")


def test_a_group_of_our_own_counts_alone() -> None:
    robots = "User-agent: kb-server\nDisallow: /a\n\nUser-agent: *\nDisallow: /\n"
    fetcher = make_fetcher(make_site(robots))
    assert [fetch_code(fetcher, f"{HOST}/{name}") for name in "ab"] == ["robots_denied", ""]


def test_each_host_is_asked_once_for_its_own() -> None:
    site = make_site("User-agent: *\nDisallow: /a")
    fetcher = make_fetcher(site)
    urls = [f"{HOST}/a", f"{HOST}/b", "https://example.com:8443/a", "http://example.com/a"]
    assert [fetch_code(fetcher, url) for url in urls] == ["robots_denied", "", "", ""]
    assert sorted(url for url in site.asked if url.endswith("robots.txt")) == [
        "http://example.com/robots.txt",
        "https://example.com/robots.txt",
        "https://example.com:8443/robots.txt",
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_without_robots_all_is_allowed(status: int) -> None:
    assert fetch_code(make_fetcher(make_site(WebPage(status=status))), f"{HOST}/a") == ""


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (WebPage(status=500), "fetch_http_500"),
        (WebPage(status=429), "fetch_http_429"),
        (WebPage(failing="fetch_timeout"), "fetch_timeout"),
    ],
)
def test_robots_that_does_not_come_closes_the_host_for_this_time(page: WebPage, code: str) -> None:
    site = make_site(page)
    fetcher = make_fetcher(site)
    for _ in range(2):
        with pytest.raises(FetchFailed) as failed:
            fetcher.fetch(f"{HOST}/a")
        assert (failed.value.code, failed.value.is_passing, failed.value.is_gone) == (code, True, False)
        assert "robots.txt" in failed.value.detail
    assert site.asked == [f"{HOST}/robots.txt"]


def test_a_page_behind_a_redirect_must_be_allowed_too() -> None:
    site = make_site("User-agent: *\nDisallow: /private", a=WebPage(moved="/private/a"))
    assert fetch_code(make_fetcher(site), f"{HOST}/a") == "robots_denied"


def test_only_so_much_of_a_long_robots_counts() -> None:
    filling = "# " + "x" * 98 + "\n"
    long = "User-agent: *\nDisallow: /a\n" + filling * (MOST_BYTES // 101 + 10) + "Disallow: /b\n"
    fetcher = make_fetcher(make_site(long))
    assert [fetch_code(fetcher, f"{HOST}/{name}") for name in "ab"] == ["robots_denied", ""]


def test_what_is_no_robots_allows_all() -> None:
    page = WebPage(body=b"<!doctype html><title>\xff\xfe\x00 404</title>")
    assert fetch_code(make_fetcher(make_site(page)), f"{HOST}/a") == ""


@pytest.mark.parametrize(("told", "kept"), [("2", 2.0), ("0.5", 0.5), ("3600", LONGEST_DELAY)])
def test_the_pace_is_kept_up_to_a_limit(told: str, kept: float) -> None:
    hours = Hours()
    fetcher = make_fetcher(make_site(f"User-agent: *\nCrawl-delay: {told}\n"), hours)
    for name in "abc":
        fetcher.fetch(f"{HOST}/{name}")
    assert hours.waited == [kept, kept]


def test_without_a_pace_nothing_waits() -> None:
    hours = Hours()
    fetcher = make_fetcher(make_site(None), hours)
    for name in "abc":
        fetcher.fetch(f"{HOST}/{name}")
    assert hours.waited == []


@pytest.mark.parametrize(("seconds", "waited", "asked"), [(7.0, [7.0], 2), (LONGEST_REST + 1, [], 1)])
def test_a_host_that_wants_to_be_left_alone_is(seconds: float, waited: list[float], asked: int) -> None:
    hours = Hours()
    site = make_site(None, a=WebPage(status=429, retry_after_s=seconds))
    assert fetch_code(make_fetcher(site, hours), f"{HOST}/a") == "fetch_http_429"
    assert (hours.waited, site.asked.count(f"{HOST}/a")) == (waited, asked)


def test_the_sitemaps_it_names_are_read() -> None:
    body = "User-agent: *\nSitemap: https://example.com/a.xml\nsitemap:https://example.com/文.xml.gz\n".encode()
    assert read_sitemap_lines(body) == ["https://example.com/a.xml", "https://example.com/文.xml.gz"]
