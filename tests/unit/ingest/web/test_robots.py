"""What robots.txt allows, and the pace it asks for: over a made-up site and a clock."""

from __future__ import annotations

import time

import pytest
from fakes.web_site import WebPage, WebSite

from ingest.web.robots import (
    FAILED_S,
    KEPT_S,
    LONGEST_DELAY,
    MOST_BYTES,
    MOST_HOSTS,
    Robots,
    read_robots_tag,
    read_sitemap_lines,
)
from kb.errors import FetchFailed

HOST = "https://example.com"


class Hours:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now


def make_site(robots: str | WebPage | None, **pages: WebPage) -> WebSite:
    site = WebSite(make=lambda url: None if url.endswith("/robots.txt") else WebPage(text=url))
    if robots is not None:
        told = robots if isinstance(robots, WebPage) else WebPage(body=robots.encode())
        site.pages[f"{HOST}/robots.txt"] = told
    site.pages |= {f"{HOST}/{name}": page for name, page in pages.items()}
    return site


def make_robots(site: WebSite, hours: Hours | None = None) -> Robots:
    return Robots(site, "kb-server/0.1", clock=(hours or Hours()).read)


def find_code(robots: Robots, url: str) -> str:
    try:
        robots.check(url)
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
def test_what_is_disallowed_is_denied(path: str, code: str) -> None:
    assert find_code(make_robots(make_site(ROBOTS)), HOST + path) == code


def test_a_group_of_our_own_counts_alone() -> None:
    robots = make_robots(make_site("User-agent: kb-server\nDisallow: /a\n\nUser-agent: *\nDisallow: /\n"))
    assert [find_code(robots, f"{HOST}/{name}") for name in "ab"] == ["robots_denied", ""]


def test_each_host_is_asked_once_for_its_own() -> None:
    site = make_site("User-agent: *\nDisallow: /a")
    robots = make_robots(site)
    urls = [f"{HOST}/a", f"{HOST}/b", "https://example.com:8443/a", "http://example.com/a"]
    assert [find_code(robots, url) for url in urls] == ["robots_denied", "", "", ""]
    assert [robots.find_delay(url) for url in urls] == [0.0] * 4
    assert site.asked == [
        "https://example.com/robots.txt",
        "https://example.com:8443/robots.txt",
        "http://example.com/robots.txt",
    ]


@pytest.mark.parametrize("page", [*(WebPage(status=n) for n in (401, 403, 404, 410)), WebPage(moved="/robots.txt")])
def test_without_robots_all_is_allowed(page: WebPage) -> None:
    assert find_code(make_robots(make_site(page)), f"{HOST}/a") == ""


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (WebPage(status=500), "fetch_http_500"),
        (WebPage(status=429), "fetch_http_429"),
        (WebPage(failing="fetch_timeout"), "fetch_timeout"),
    ],
)
def test_robots_that_does_not_come_closes_the_host_for_a_while(page: WebPage, code: str) -> None:
    site, hours = make_site(page), Hours()
    robots = make_robots(site, hours)
    for _ in range(2):
        with pytest.raises(FetchFailed) as failed:
            robots.check(f"{HOST}/a")
        assert (failed.value.code, failed.value.is_passing, failed.value.is_gone) == (code, True, False)
        assert "robots.txt" in failed.value.detail
        assert failed.value.status is None  # it was not the page's
    assert site.asked == [f"{HOST}/robots.txt"]
    site.pages[f"{HOST}/robots.txt"] = WebPage(body=b"User-agent: *\nDisallow: /b")
    hours.now += FAILED_S
    assert [find_code(robots, f"{HOST}/{name}") for name in "ab"] == ["", "robots_denied"]


def test_one_is_asked_for_again_after_an_hour() -> None:
    site, hours = make_site("User-agent: *\nDisallow: /a"), Hours()
    robots = make_robots(site, hours)
    assert find_code(robots, f"{HOST}/a") == "robots_denied"
    site.pages[f"{HOST}/robots.txt"] = WebPage(status=404)
    hours.now += KEPT_S - 1
    assert find_code(robots, f"{HOST}/a") == "robots_denied"
    hours.now += 1
    assert find_code(robots, f"{HOST}/a") == ""


def test_only_so_much_of_a_long_one_counts() -> None:
    filling = "# " + "x" * 98 + "\n"
    long = "User-agent: *\nDisallow: /a\n" + filling * (MOST_BYTES // 101 + 10) + "Disallow: /b\n"
    robots = make_robots(make_site(long))
    assert [find_code(robots, f"{HOST}/{name}") for name in "ab"] == ["robots_denied", ""]


def test_what_is_no_robots_allows_all() -> None:
    page = WebPage(body=b"<!doctype html><title>\xff\xfe\x00 404</title>")
    assert find_code(make_robots(make_site(page)), f"{HOST}/a") == ""


@pytest.mark.parametrize(
    ("told", "kept"), [("2", 2.0), ("0.5", 0.5), ("3600", LONGEST_DELAY), ("-1", 0.0), ("nan", 0.0), ("", 0.0)]
)
def test_the_pace_is_told_up_to_a_limit(told: str, kept: float) -> None:
    robots = make_robots(make_site(f"User-agent: *\nCrawl-delay: {told}\n"))
    assert robots.find_delay(f"{HOST}/a") == kept
    assert robots.find_delay(f"{HOST}/robots.txt") == 0.0


def test_hosts_without_end_are_not_remembered() -> None:
    site = WebSite(make=lambda url: WebPage(body=b"User-agent: *\nDisallow: /"))
    robots = make_robots(site)
    urls = [f"https://h{number}.example/" for number in range(MOST_HOSTS + 1)]
    assert {find_code(robots, url) for url in urls} == {"robots_denied"}
    assert (find_code(robots, urls[-1]), find_code(robots, urls[0])) == ("robots_denied", "robots_denied")
    assert len(site.asked) == MOST_HOSTS + 2


@pytest.mark.parametrize("rule", ["/" + "*a" * 400 + "b", "/" + "*" * 5_000 + "b$"])
def test_a_hostile_rule_costs_little(rule: str) -> None:
    robots = make_robots(make_site("User-agent: *\n" + f"Disallow: {rule}\n" * 50))
    before = time.process_time()
    assert find_code(robots, f"{HOST}/{'a' * 900}") == ""
    assert time.process_time() - before < 2


def test_the_sitemaps_it_names_are_read() -> None:
    body = "User-agent: *\nSitemap: https://example.com/a.xml\nsitemap:https://example.com/文.xml.gz\n".encode()
    assert read_sitemap_lines(body) == ["https://example.com/a.xml", "https://example.com/文.xml.gz"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, set()),
        ("noindex", {"noindex"}),
        (" NoIndex , nofollow", {"noindex", "nofollow"}),
        ("none", {"none", "noindex", "nofollow"}),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", {"noindex"}),
        ("max-snippet: 20, nofollow", {"nofollow"}),
        ("otherbot: noindex, nofollow", set()),
        ("nofollow, otherbot: noindex", {"nofollow"}),
        ("otherbot: nofollow\nnoindex", {"noindex"}),
        ("kb-server: noindex, nofollow", {"noindex", "nofollow"}),
        ("otherbot: none\nKB-Server: nofollow", {"nofollow"}),
    ],
)
def test_the_header_for_robots_is_read_where_it_is_for_all(header: str | None, words: set[str]) -> None:
    assert read_robots_tag(header) == words
