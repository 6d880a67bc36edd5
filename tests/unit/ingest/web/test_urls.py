"""Addresses in one form: tables of what browsers and servers agree on, and what must hold of any."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.web.urls import LONGEST_URL, Scope, find_key, normalise_url
from kb.errors import FetchFailed

FORMS = {
    "HTTP://Example.COM:80": "http://example.com/",
    "https://example.com:443/a": "https://example.com/a",
    "http://example.com:443/a": "http://example.com:443/a",
    "https://example.com./a": "https://example.com/a",
    "https://example.com/a/./b/../c": "https://example.com/a/c",
    "https://example.com/../../a/..": "https://example.com/",
    "https://example.com/%2e%2E/a/%2e": "https://example.com/a/",
    "https://example.com/%7euser/%e6%96%87": "https://example.com/~user/%E6%96%87",
    "https://example.com/100%/%zz": "https://example.com/100%25/%25zz",
    "https://example.com/a%2Fb%3Fc": "https://example.com/a%2Fb%3Fc",
    "https://example.com/a b|c": "https://example.com/a%20b%7Cc",
    "https://example.com\\a\\b?c\\d": "https://example.com/a/b?c%5Cd",
    " https://example.com/a\nb\t ": "https://example.com/ab",
    "https://example.com/a#part": "https://example.com/a",
    "https://example.com/a?#part": "https://example.com/a",
    "https://example.com?b=2&a=1": "https://example.com/?b=2&a=1",
    "https://example.com/a//b/": "https://example.com/a//b/",
    "https://example.com/文档/产品 手册?q=北京": "https://example.com/"
    + quote("文档/产品 手册")
    + "?q="
    + quote("北京"),
    "https://example.com/q?k=%b1%b1%be%a9": "https://example.com/q?k=%B1%B1%BE%A9",  # GBK stays GBK
    "https://北京大学.中国/": "https://xn--1lq90ic7fzpc.xn--fiqs8s/",
    "https://例。com/": "https://xn--fsq.com/",
    "https://Bücher.example/": "https://xn--bcher-kva.example/",
    "https://ＥＸＡＭＰＬＥ.com/": "https://example.com/",
    "http://my_host/a": "http://my_host/a",
    "http://[2001:DB8::1]:8080/a": "http://[2001:db8::1]:8080/a",
    "https://example.com/a?utm_source=x&id=1&UTM_Medium=y&gclid=z": "https://example.com/a?id=1",
    "https://example.com/a?spm=a2c4g.11186623&id=1&fbclid=x": "https://example.com/a?id=1",
    "https://example.com/a?from=timeline&isappinstalled=0": "https://example.com/a",
    "https://example.com/a?from=2024-01-01": "https://example.com/a?from=2024-01-01",
    "https://example.com/a?PHPSESSID=abc&b=1": "https://example.com/a?b=1",
    "https://example.com/a;jsessionid=0AF3.node1?b=1": "https://example.com/a?b=1",
    "https://example.com/a;jsessionid=0AF3/b": "https://example.com/a/b",
    "https://example.com/(S(lit3py55t21z5v55vlm25s55))/a.aspx": "https://example.com/a.aspx",
    "https://example.com/a?sid=5": "https://example.com/a?sid=5",
    "https://example.com/a?sid=0123456789abcdef0123": "https://example.com/a",
    "https://example.com/a?&&b&=c": "https://example.com/a?b&=c",
}

BAD = {
    "": "bad_url",
    "example.com/a": "bad_url",
    "ftp://example.com/": "bad_url",
    "javascript:alert(1)": "bad_url",
    "mailto:a@example.com": "bad_url",
    "http:///a": "bad_url",
    "http://user:secret@example.com/": "bad_url",
    "http://example.com:99999/": "bad_url",
    "http://exa mple.com/": "bad_url",
    "http://a..b/": "bad_url",
    "http://[::1%25eth0]/": "bad_url",
    "http://[::1/": "bad_url",
    "http://-/": "bad_url",
    "http://☃.example/": "bad_url",
    f"http://{'a' * 64}.example/": "bad_url",
    f"http://example.com/{'a' * LONGEST_URL}": "url_too_long",
    f"http://example.com/{'文' * 200}": "url_too_long",
    f"http://example.com/?{'a' * 20_000}": "url_too_long",
}

SESSION = "(S(" + "a" * 24 + "))"
PIECES = st.sampled_from(
    [
        *("a", "B", "文", "é", "/", "//", ".", "..", "%2e", "%", "%E6", "%zz", ";jsessionid=1", SESSION, " ", "\\"),
        *("?", "&", "=", "sid=", "0123456789abcdef", "utm_x=1", "#", "+", "~", "@", ":", "[", "|", "\n", "\ud800"),
    ]
)
HOSTS = st.sampled_from(
    ["example.com", "EXAMPLE.com:80", "www.example.com", "北京.中国", "[::1]:8080", "b.example.com:443"]
)
ADDRESSES = st.builds(
    lambda scheme, host, rest: f"{scheme}://{host}/{''.join(rest)}",
    st.sampled_from(["http", "https", "HTTPS"]),
    HOSTS,
    st.lists(PIECES, max_size=12),
)


@pytest.mark.parametrize(("given_url", "form"), FORMS.items())
def test_an_address_has_one_form(given_url: str, form: str) -> None:
    assert normalise_url(given_url) == form


@pytest.mark.parametrize(("url", "code"), BAD.items())
def test_what_is_no_address_is_refused(url: str, code: str) -> None:
    with pytest.raises(FetchFailed) as refused:
        normalise_url(url)
    assert refused.value.code == code
    assert "secret" not in refused.value.detail
    assert not refused.value.is_gone


@given(ADDRESSES)
@example("https://example.com/(S(" + "a" * 24 + "))(S(" + "a" * 24 + "))")
@example("https://example.com/a;jsessionid=1/../b")
def test_the_form_of_a_form_is_itself(url: str) -> None:
    form = normalise_url(url)
    assert normalise_url(form) == form
    assert form.isascii()
    assert len(form) <= LONGEST_URL


@given(st.text(max_size=60))
def test_any_text_has_a_form_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        try:
            form = normalise_url(url)
        except FetchFailed as error:
            assert error.code in {"bad_url", "url_too_long"}  # noqa: PT017
        else:
            assert normalise_url(form) == form


@given(ADDRESSES, st.lists(PIECES, max_size=6))
def test_nothing_behind_the_host_leads_out_of_the_site(url: str, more: list[str]) -> None:
    form = normalise_url(url)
    assert Scope([form]).holds(normalise_url(form + "".join(more)))


@given(ADDRESSES)
def test_the_fragment_and_campaigns_do_not_count(url: str) -> None:
    plain = url.partition("#")[0].rstrip()  # blanks at the end are none of its path
    joint = "&" if "?" in plain else "?"
    assert normalise_url(f"{plain}{joint}utm_campaign=春节&fbclid=1#top") == normalise_url(plain)


def test_addresses_of_one_page_have_one_key() -> None:
    same = ["https://example.com/a?x=1&y=2", "http://www.example.com/a?y=2&x=1", "http://example.com:80/a?y=2&x=1#b"]
    assert len({find_key(normalise_url(url)) for url in same}) == 1
    other = ["https://example.com/A", "https://example.com/a/", "https://example.com/a?x=1", "https://m.example.com/a"]
    assert len({find_key(normalise_url(url)) for url in other}) == len(other)


def test_a_site_is_its_host_and_port() -> None:
    scope = Scope(["https://www.example.com/docs/", "https://xn--1lq90i.xn--fiqs8s/"])
    inside = ["http://example.com/", "https://www.example.com/a", "https://北京.中国/文"]
    outside = [
        "https://docs.example.com/",
        "https://example.com.evil.net/",
        "https://example.com:8443/",
        "https://10.0.0.1/",
    ]
    assert [scope.holds(normalise_url(url)) for url in inside] == [True] * len(inside)
    assert [scope.holds(normalise_url(url)) for url in outside] == [False] * len(outside)
