"""Which URLs may be asked for, and what is connected to for them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from fakes.forbidden import ADDRESSES, HOSTS, write_host
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.web.addresses import Reach, is_public
from ingest.web.gate import check_url, join_url, show_url
from kb.errors import InvalidInput


def refuse(url: str, reach: Reach | None = None) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        check_url(url, reach or Reach())
    return refused.value


@pytest.mark.parametrize("host", [*HOSTS, *map(write_host, ADDRESSES)])
@pytest.mark.parametrize("frame", ["http://{}/", "HTTPS://{}", "http://{}:443/a?b#c", "http://{}:8088/"])
def test_a_denied_host_is_forbidden_in_every_form(host: str, frame: str) -> None:
    assert refuse(frame.format(host)).code == "url_forbidden"


@pytest.mark.parametrize("host", HOSTS)
def test_an_operators_network_opens_none_of_the_forms(host: str) -> None:
    reach = Reach(networks=(ipaddress.ip_network("10.0.0.0/8"),))
    if host == "anything.internal":
        assert check_url(f"http://{host}/", reach).host == host  # the address decides
    else:
        assert refuse(f"http://{host}/", reach).code == "url_forbidden"


BAD = [
    "",
    "x",
    "example.com/",
    "//example.com/",
    "/path",
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "data:text/html,x",
    "javascript:alert(1)",
    "http:example.com",
    "http:/example.com",
    "http://",
    "http:///example.com",
    "http://:80/",
    "http://user:hunter2@example.com/",
    "http://user@example.com/",
    "http://@example.com/",
    "http://example.com%2f@127.0.0.1/",
    "http://example.com%2f.evil.org/",
    "http://example.com%40evil.org/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.evil.org/",
    "http:\\\\example.com/",
    "http://example.com:0/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:8080/",
    "http://example.com:99999/",
    "http://example.com:-80/",
    "http://example.com:+80/",
    "http://example.com:８０/",
    "http://example.com:80:80/",
    "http://example.com: 80/",
    "http://example.com/a b",
    " http://example.com/",
    "http://example.com/\n",
    "http://example.com/\r\nHost: x",
    "http://exam\tple.com/",
    "http://example.com/\0",
    "http://example.com/\x7f",
    "http://example.com/\u202egpj.exe",
    "http://example.com/\ud800",
    "http://example.com/\u3000x",
    "http://exa\u200bmple.com/",
    "http://a..b/",
    "http://.example.com/",
    "http://-a.com/",
    "http://a-.com/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    "http://xn--a/",
    "http://xn--abc.com/",
    "http://xn--/",
    "http://XN--80AK6AA92E-.com/",
    "http://ex*mple.com/",
    "http://ex!mple.com/",
    "http://\u2488com/",
    "http://1.2.3.4.5/",
    "http://1.2.3.256/",
    "http://1.2.3.08/",
    "http://0x100000000/",
    "http://example.1/",
    "http://a.0x1/",
    f"http://{'9' * 5000}/",
    "http://0x08080808/",
    "http://8.8.2056/",
    "http://[::1/",
    "http://::1/",
    "http://[]/",
    "http://[v1.a]/",
    "http://[1.2.3.4]/",
    "http://[2606:4700::1111]x/",
    "http://[2606:4700::1111].example.com/",
    "http://2606:4700::1111/",
    f"http://example.com/{'a' * 2048}",
]


@pytest.mark.parametrize("url", BAD, ids=lambda url: ascii(url[:50]))
def test_what_is_no_url_to_fetch_is_refused(url: str) -> None:
    assert refuse(url).code == "bad_url"


def test_a_password_is_not_told() -> None:
    for url in ["http://user:hunter2@example.com/", "http://user:hunter2@exa mple.com/", "x://user:hunter2@h"]:
        assert "hunter2" not in refuse(url).detail
    assert "hunter2" not in refuse("http://example.com:22/?key=hunter2").detail
    assert show_url("https://example.com/页?key=1") == "https://example.com/页"
    assert show_url(f"https://example.com/{'a' * 500}") == f"https://example.com/{'a' * 180}…"
    assert show_url("https://example.com/\n\u202e") == "https://example.com/\\n\\u202e"


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target", "whole"),
    [
        ("http://example.com", "http", "example.com", 80, "/", "http://example.com/"),
        ("HTTPS://Example.COM:443/A?b=C#d", "https", "example.com", 443, "/A?b=C", "https://example.com/A?b=C"),
        ("http://example.com.:/x", "http", "example.com", 80, "/x", "http://example.com/x"),
        ("http://a_b.example.com/%2f@x", "http", "a_b.example.com", 80, "/%2f@x", "http://a_b.example.com/%2f@x"),
        ("https://example.com:80/", "https", "example.com", 80, "/", "https://example.com:80/"),
        (
            "http://例子.测试/路径?问=答",
            "http",
            "xn--fsqu00a.xn--0zwm56d",
            80,
            "/%E8%B7%AF%E5%BE%84?%E9%97%AE=%E7%AD%94",
            "http://xn--fsqu00a.xn--0zwm56d/%E8%B7%AF%E5%BE%84?%E9%97%AE=%E7%AD%94",
        ),
        ("http://xn--fsqu00a.com/", "http", "xn--fsqu00a.com", 80, "/", "http://xn--fsqu00a.com/"),
        ("http://8.8.8.8/", "http", "8.8.8.8", 80, "/", "http://8.8.8.8/"),
        ("http://[2606:4700:0::1111]/", "http", "2606:4700::1111", 80, "/", "http://[2606:4700::1111]/"),
    ],
)
def test_what_a_url_is_taken_apart_into(url: str, scheme: str, host: str, port: int, target: str, whole: str) -> None:
    checked = check_url(url)
    assert (checked.scheme, checked.host, checked.port, checked.target) == (scheme, host, port, target)
    assert checked.url == whole
    assert check_url(checked.url) == checked


def test_the_header_host_has_a_port_that_is_not_the_schemes() -> None:
    assert check_url("http://example.com:80/").authority == "example.com"
    assert check_url("https://example.com:80/").authority == "example.com:80"
    assert check_url("http://[2606:4700::1111]/").authority == "[2606:4700::1111]"


def test_ports_and_loopback_are_opened_by_the_reach() -> None:
    reach = Reach(ports=frozenset({8090}), loopback_ports=frozenset({5001}))
    assert check_url("http://wiki.example.com:8090/", reach).port == 8090
    assert refuse("http://wiki.example.com/", reach).code == "bad_url"
    for host in ("127.0.0.1", "localhost", "a.localhost", "[::1]"):
        assert check_url(f"http://{host}:5001/", reach).port == 5001
        assert refuse(f"http://{host}:8090/", reach).code == "url_forbidden"
    assert refuse("http://[::ffff:127.0.0.1]:5001/", reach).code == "url_forbidden"


def test_own_hosts_are_closed_even_in_an_open_network() -> None:
    reach = Reach(networks=(ipaddress.ip_network("10.1.0.0/16"),), own_hosts=frozenset({"llm.corp", "10.1.0.9"}))
    assert check_url("http://10.1.0.8/", reach).host == "10.1.0.8"
    for host in ("10.1.0.9", "llm.corp", "LLM.corp."):
        assert refuse(f"http://{host}/", reach).code == "url_forbidden"


@pytest.mark.parametrize(
    ("reference", "joined"),
    [
        ("/b", "https://example.com/b"),
        ("c?d", "https://example.com/a/c?d"),
        ("//evil.org/x", "https://evil.org/x"),
        ("//127.0.0.1/", "https://127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("file:///etc/passwd", "file:/etc/passwd"),
        ("../../../x", "https://example.com/x"),
    ],
)
def test_a_link_is_joined_and_not_yet_judged(reference: str, joined: str) -> None:
    assert join_url("https://example.com/a/b", reference) == joined


@pytest.mark.parametrize("reference", ["/a b", "\\\\evil.org", "/\r\nX: y", "/\u202e"])
def test_a_link_that_cannot_be_read_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        join_url("https://example.com/", reference)
    assert refused.value.code == "bad_url"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_whatever_passes_is_asked_where_the_check_looked(text: str) -> None:
    """No text gets through with a host that another reader would read otherwise."""
    for url in (f"http://{text}", f"http://example.com{text}", f"http://{text}@example.com/", text):
        with contextlib.suppress(InvalidInput):
            checked = check_url(url)
            assert checked.host.isascii()
            assert check_url(checked.url) == checked
            assert checked.url.startswith(f"{checked.scheme}://{checked.authority}/")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "0x{:x}", "0{:o}"]), st.integers(1, 4))
def test_numbers_are_read_as_inet_aton_reads_them(number: int, form: str, count: int) -> None:
    """`inet_aton` is what resolvers use. Whatever it makes of a host is what is judged."""
    packed = number.to_bytes(4, "big")
    most = [form.format(byte) for byte in packed[: count - 1]]
    host = ".".join([*most, form.format(int.from_bytes(packed[count - 1 :], "big"))])
    address = ipaddress.IPv4Address(socket.inet_aton(host))
    assert address == ipaddress.IPv4Address(number)
    if not is_public(address):
        assert refuse(f"http://{host}/").code == "url_forbidden"
    elif host != str(address):
        assert refuse(f"http://{host}/").code == "bad_url"
    else:
        assert check_url(f"http://{host}/").host == host
