"""Where fetching reaches, by the settings."""

from __future__ import annotations

import ipaddress

import pytest

from api.bootstrap.fetching import build_fetcher, build_reach
from api.bootstrap.settings_checks import check_settings
from ingest.web.addresses import PUBLIC
from kb.config import Settings
from kb.errors import StartRefused

LLM = {"llm_base_url": "http://LLM.corp:8000/v1", "llm_model": "m"}


def refuse(**settings: object) -> str:
    with pytest.raises(StartRefused) as refused:
        build_reach(Settings(**settings))
    assert (refused.value.code, refused.value.exit_code) == ("bad_setting", 78)
    return refused.value.detail


def test_by_default_public_addresses_and_two_ports() -> None:
    assert build_reach(Settings()) == PUBLIC


def test_networks_and_ports() -> None:
    reach = build_reach(Settings(fetch_networks=" 10.1.0.0/16, fd12:3456::/32 ,10.9.9.9", fetch_ports="443, 8090"))
    assert reach.ports == {443, 8090}
    assert reach.networks == tuple(map(ipaddress.ip_network, ("10.1.0.0/16", "fd12:3456::/32", "10.9.9.9/32")))


@pytest.mark.parametrize(
    ("network", "word"),
    [
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8,127.0.0.1", "loopback"),
        ("::1/128", "loopback"),
        ("169.254.0.0/16", "metadata"),
        ("169.254.7.0/24", "link-local"),
        ("fe80::/64", "link-local"),
        ("0.0.0.0/0", "metadata"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "metadata"),
        ("239.0.0.0/8", "multicast"),
        ("ff05::/16", "multicast"),
        ("0.0.0.0/32", "unspecified"),
        ("::/128", "unspecified"),
    ],
)
def test_what_no_operator_can_open(network: str, word: str) -> None:
    detail = refuse(fetch_networks=network)
    assert detail.startswith(f"KB_FETCH_NETWORKS: {network.rpartition(',')[2].partition('/')[0]}")
    assert word in detail


def test_own_hosts_are_never_fetched() -> None:
    reach = build_reach(
        Settings(
            host="10.1.0.2",
            embedding="https://embed.corp/v1",
            embedding_model="m",
            reranker="http://[FD12:0::9]:8001/v1",
            reranker_model="m",
            database_url="postgresql://kb:secret@db.corp:5432/kb",
            **LLM,
        )
    )
    assert reach.own_hosts == {"10.1.0.2", "embed.corp", "fd12::9", "db.corp", "llm.corp"}


def test_own_hosts_on_loopback_are_closed_as_loopback() -> None:
    assert build_reach(Settings(llm_base_url="http://127.0.0.1:8000/v1", llm_model="m")).own_hosts == frozenset()


def test_loopback_ports_are_for_tests() -> None:
    assert build_reach(Settings(fetch_loopback_ports="5001,5002")).loopback_ports == {5001, 5002}
    assert build_reach(Settings(fetch_loopback_ports="")).loopback_ports == frozenset()
    assert build_reach(Settings(host="::1", fetch_loopback_ports="5001")).loopback_ports == {5001}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"host": "0.0.0.0"}, "KB_HOST=0.0.0.0"),
        ({"host": "10.1.0.2"}, "KB_HOST=10.1.0.2"),
        ({"host": "::"}, "KB_HOST=::"),
        ({"database_url": "postgresql://kb@127.0.0.1/kb"}, "KB_DATABASE_URL"),
        ({"port": 5001}, "5001 is a port of this server's own"),
        ({"llm_base_url": "http://localhost:5001/v1", "llm_model": "m"}, "5001 is a port of this server's own"),
        ({"embedding": "http://127.0.0.1:5001/v1", "embedding_model": "m"}, "5001 is a port of this server's own"),
    ],
)
def test_a_server_that_others_use_does_not_open_loopback(settings: dict, word: str) -> None:
    detail = refuse(fetch_loopback_ports="5001", **settings)
    assert detail.startswith("KB_FETCH_LOOPBACK_PORTS: ")
    assert word in detail


def test_port_80_is_a_port_of_a_server_that_names_none() -> None:
    assert "80 is a port" in refuse(fetch_loopback_ports="80", llm_base_url="http://localhost/v1", llm_model="m")


def test_a_port_that_the_system_chooses_is_none_of_these() -> None:
    assert build_reach(Settings(port=0, fetch_loopback_ports="80")).loopback_ports == {80}


def test_the_start_looks_at_it() -> None:
    with pytest.raises(StartRefused, match="KB_FETCH_NETWORKS"):
        check_settings(Settings(fetch_networks="127.0.0.0/8"))


def test_the_fetcher_has_the_limits_that_are_set() -> None:
    given = Settings(fetch_max_bytes=1_000, fetch_seconds=2.5, fetch_retries=1, fetch_user_agent="wiki-bot (+a@b.c)")
    limits = build_fetcher(given)._limits
    assert (limits.max_bytes, limits.seconds, limits.retries) == (1_000, 2.5, 1)
    assert limits.user_agent == "wiki-bot (+a@b.c)"
    assert build_fetcher(Settings())._limits.user_agent.startswith("kb-server/0.")
