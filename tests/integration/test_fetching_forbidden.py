"""Nothing is asked of an address that is denied, in whatever way it comes: not one connection is begun.

As a literal it is refused by the gate (tests/unit/ingest/web/test_gate.py). Here it is what a name resolves to, one of
several answers, what a name resolves to the second time, and where a redirect leads.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from fakes.fetching import Fetching, Names
from fakes.forbidden import ADDRESSES, HOSTS, write_host
from fakes.network import WATCH
from fakes.raw_web import RawWeb, redirect, say

from ingest.web.addresses import Reach
from ingest.web.dialing import Dialer, is_ours, resolve
from kb.errors import FetchFailed

PUBLIC = "93.184.216.34"


@pytest.fixture
def web() -> Iterator[RawWeb]:
    with RawWeb() as web:
        yield web


@pytest.mark.parametrize("address", ADDRESSES)
def test_as_the_answer_of_a_name(address: str) -> None:
    fetching = Fetching()
    fetching.names.answers = {"evil.test": [[address]]}
    before = WATCH.connects
    failed = fetching.fail("http://evil.test/")
    assert (failed.code, failed.is_passing) == ("url_forbidden", False)
    assert address in failed.detail
    assert WATCH.connects == before


@pytest.mark.parametrize("address", ADDRESSES)
def test_as_one_of_several_answers(address: str) -> None:
    fetching = Fetching()
    fetching.names.answers = {"first.test": [[address, PUBLIC]], "last.test": [[PUBLIC, "2606:4700::1111", address]]}
    before = WATCH.connects
    assert {fetching.fail(f"https://{name}.test/").code for name in ("first", "last")} == {"url_forbidden"}
    assert WATCH.connects == before


@pytest.mark.parametrize("host", [*HOSTS, *map(write_host, ADDRESSES)])
def test_as_the_target_of_a_redirect(web: RawWeb, host: str) -> None:
    location = f"http://{host}/secret".encode().decode("latin-1")  # a header is bytes: these are its UTF-8
    web.pages = {"/": lambda talk: talk.send(f"HTTP/1.1 302 X\r\nLocation: {location}\r\n\r\n".encode("latin-1"))}
    fetching = Fetching(web.port)
    before = WATCH.connects
    assert fetching.fail(f"{web.url}/").code == "url_forbidden"
    assert (web.targets, WATCH.connects - before) == (["/"], 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "url_forbidden"),
        ("//127.0.0.1/", "url_forbidden"),
        ("//127.0.0.1:22/", "url_forbidden"),
        ("http://evil.test/", "url_forbidden"),
        ("http://10.1.2.3/", "url_forbidden"),
        ("file:///etc/passwd", "bad_url"),
        ("gopher://127.0.0.1/", "bad_url"),
        ("data:text/html,x", "bad_url"),
        ("http://user:pass@example.com/", "bad_url"),
        ("http://example.com:22/", "bad_url"),
        ("http:\\\\127.0.0.1/", "bad_url"),
        ("http://exa mple.com/", "bad_url"),
        ("http://[::1", "bad_url"),
    ],
)
def test_a_redirect_out_of_the_allowed_is_not_followed(web: RawWeb, status: int, location: str, code: str) -> None:
    web.pages = {"/": redirect("/b", status), "/b": redirect(location, status)}
    fetching = Fetching(web.port)
    fetching.names.answers = {"evil.test": [["127.0.0.1"]]}
    before = WATCH.connects
    assert fetching.fail(f"{web.url}/").code == code
    assert (web.targets, WATCH.connects - before) == (["/", "/b"], 2)


def test_a_name_that_changes_its_mind_is_connected_to_as_it_was_checked() -> None:
    """The watch refuses the connection, as it must: what matters is which one was begun."""
    fetching = Fetching()
    fetching.names.answers = {"rebind.test": [[PUBLIC], ["127.0.0.1"]]}
    with WATCH.expect() as begun:
        assert fetching.fail("http://rebind.test/").code == "fetch_unreachable"
    assert begun == [f"{PUBLIC}:80"]
    assert fetching.names.asked == ["rebind.test"]
    assert fetching.fail("http://rebind.test/").code == "url_forbidden"  # asked again, it answers otherwise


def test_a_name_is_resolved_again_at_each_redirect(web: RawWeb) -> None:
    web.pages = {"/": redirect("http://rebind.test/b")}
    fetching = Fetching(web.port)
    fetching.names.answers = {"site.test": [["127.0.0.1"]], "rebind.test": [["10.0.0.1"]]}
    assert fetching.fail(f"http://site.test:{web.port}/").code == "url_forbidden"
    assert fetching.names.asked == ["site.test", "rebind.test"]


def test_all_public_answers_are_tried_in_their_order_and_not_without_end() -> None:
    fetching = Fetching()
    fetching.names.answers = {"many.test": [[f"93.184.216.{last}" for last in range(1, 20)]]}
    with WATCH.expect() as begun:
        failed = fetching.fail("https://many.test/")
    assert (failed.code, failed.is_passing) == ("fetch_unreachable", True)
    assert begun == [f"93.184.216.{last}:443" for last in range(1, 5)]


def test_a_name_is_checked_without_a_connection() -> None:
    """As when a source is made: what is asked then is only whether it could be fetched now."""
    names = Names({"good.test": [[PUBLIC]], "evil.test": [[PUBLIC, "10.0.0.1"]]})
    dialer = Dialer(reach=Reach(), resolver=names)
    before = WATCH.connects
    dialer.check("good.test", 443)
    dialer.check(PUBLIC, 80)
    for host, code in [("evil.test", "url_forbidden"), ("127.0.0.1", "url_forbidden"), ("none.test", "fetch_dns")]:
        with pytest.raises(FetchFailed, match=code):
            dialer.check(host, 80)
    assert WATCH.connects == before


def test_loopback_is_reached_at_its_declared_port_and_a_public_address_is_not(web: RawWeb) -> None:
    web.pages = {"/": say()}
    fetching = Fetching(reach=Reach(ports=frozenset({80}), loopback_ports=frozenset({web.port})))
    fetching.names.answers = {"site.test": [["127.0.0.1"]], "public.test": [[PUBLIC]]}
    assert fetching.fetcher.fetch(f"http://site.test:{web.port}/").body == b"<p>x</p>"
    failed = fetching.fail(f"http://public.test:{web.port}/")
    assert (failed.code, f"at port {web.port}" in failed.detail) == ("url_forbidden", True)


class TestAnOperatorsNetwork:
    REACH = Reach(networks=(ipaddress.ip_network("10.1.0.0/16"),), own_hosts=frozenset({"llm.corp", "10.1.0.9"}))

    def test_it_is_reached(self) -> None:
        fetching = Fetching(reach=self.REACH)
        fetching.names.answers = {"wiki.corp": [["10.1.0.5"]], "llm.corp": [["10.1.0.7"]]}
        with WATCH.expect() as begun:
            assert fetching.fail("http://wiki.corp/").code == "fetch_unreachable"
        assert begun == ["10.1.0.5:80"]

    @pytest.mark.parametrize("address", ["10.1.0.7", "10.1.0.9", "10.2.0.1", "127.0.0.1"])
    def test_the_servers_own_hosts_and_other_networks_are_not(self, address: str) -> None:
        fetching = Fetching(reach=self.REACH)
        fetching.names.answers = {"alias.corp": [[address]], "llm.corp": [["10.1.0.7"]]}
        before = WATCH.connects
        assert fetching.fail("http://alias.corp/").code == "url_forbidden"
        assert fetching.fail(f"http://{address}/").code == "url_forbidden"
        assert WATCH.connects == before

    def test_no_address_of_this_machine_is_reached(self) -> None:
        own = find_own_address()
        if own is None:
            pytest.skip("this machine has no address beside loopback")
        fetching = Fetching(reach=Reach(networks=(ipaddress.ip_network(own),)))
        fetching.names.answers = {"me.corp": [[own]]}
        before = WATCH.connects
        failed = fetching.fail("http://me.corp/")
        assert (failed.code, "this machine's own" in failed.detail) == ("url_forbidden", True)
        assert WATCH.connects == before


def find_own_address() -> str | None:
    """A private one, found without a packet: Linux lists them."""
    try:
        names = Path("/proc/net/fib_trie").read_text().split()
    except OSError:
        return None
    local = {names[at - 2] for at, word in enumerate(names) if word == "host" and names[at + 1] == "LOCAL"}
    return next((name for name in local if ipaddress.ip_address(name).is_private and not name.startswith("127.")), None)


def test_what_is_ours() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.1")
    assert not is_ours("2001:db8::1")


def test_the_systems_resolver_is_asked_for_literals_without_a_look_up() -> None:
    """What it makes of the odd forms is why the gate refuses them."""
    assert resolve("127.1", 80) == ("127.0.0.1",)
    assert resolve("2130706433", 80) == ("127.0.0.1",)
    with pytest.raises(OSError):
        resolve("a" * 64 + ".test", 80)
    with WATCH.expect() as asked, pytest.raises(OSError):
        resolve("example.com", 80)
    assert asked == ["example.com"]


def test_a_resolver_that_hangs_does_not_hang_the_fetch() -> None:
    forever = Event()
    fetching = Fetching(seconds=0.1, resolver=lambda *_: ["93.184.216.34"] * forever.wait(30))
    failed = fetching.fail("http://slow.test/")
    forever.set()
    assert (failed.code, failed.is_passing) == ("fetch_timeout", True)
