"""Where fetching reaches, by the settings, and the fetcher of web pages."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from importlib.metadata import version
from urllib.parse import urlsplit

from ingest.web.addresses import Reach, find_never
from ingest.web.dialing import Dialer
from ingest.web.exchange import Exchange
from ingest.web.fetcher import FetchLimits, WebFetcher
from ingest.web.turns import HostTurns
from kb.config import Settings, is_server
from kb.errors import StartRefused
from kb.loopback import is_loopback
from kb.setting_values import parse_networks, parse_ports


def build_fetcher(settings: Settings) -> WebFetcher:
    """One for a process, so that no host is asked more often than it should be. Raises StartRefused (`bad_setting`)."""
    limits = FetchLimits(
        user_agent=name_agent(settings),
        max_bytes=settings.fetch_max_bytes,
        seconds=settings.fetch_seconds,
        retries=settings.fetch_retries,
    )
    exchange = Exchange(Dialer(reach=build_reach(settings)))
    return WebFetcher(exchange, HostTurns(settings.fetch_delay_seconds), limits)


def name_agent(settings: Settings) -> str:
    """What the fetcher calls itself, also to a robots.txt."""
    return settings.fetch_user_agent or f"kb-server/{version('kb-server')}"


def build_reach(settings: Settings) -> Reach:
    """Raises StartRefused (`bad_setting`)."""
    networks = parse_networks(settings.fetch_networks)
    for network in networks:
        never = find_never(network)
        if never is not None:
            raise StartRefused("bad_setting", f"KB_FETCH_NETWORKS: {network} holds {never}, which is never fetched")
    return Reach(
        ports=parse_ports(settings.fetch_ports),
        networks=networks,
        loopback_ports=_check_loopback_ports(settings),
        own_hosts=frozenset(_find_host(url) for url in _list_own(settings) if not is_loopback(url)),
    )


def _check_loopback_ports(settings: Settings) -> frozenset[int]:
    """It opens this machine's own services to whoever may make a source: only where nobody else can be that."""
    ports = parse_ports(settings.fetch_loopback_ports)
    if not ports:
        return ports
    own = {_find_port(url) for url in _list_own(settings) if is_loopback(url)}
    fault = None
    if not is_loopback(_own_url(settings)):
        fault = f"is for tests, and KB_HOST={settings.host} can be reached from other machines"
    elif not settings.sqlalchemy_url.startswith("sqlite"):
        fault = "is for tests, and KB_DATABASE_URL names a database server"
    elif taken := sorted(ports & own):
        fault = f"{taken[0]} is a port of this server's own"
    if fault is not None:
        raise StartRefused("bad_setting", f"KB_FETCH_LOOPBACK_PORTS: {fault}; unset it")
    return ports


def _list_own(settings: Settings) -> Iterator[str]:
    """Addresses of this server and of what it runs on."""
    yield _own_url(settings)
    if not settings.sqlalchemy_url.startswith("sqlite"):
        yield settings.sqlalchemy_url
    for url in (settings.embedding, settings.reranker, settings.llm_base_url):
        if url is not None and is_server(url):
            yield url


def _own_url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _find_host(url: str) -> str:
    host = (urlsplit(url).hostname or "").rstrip(".")
    return str(ipaddress.ip_address(host)) if ":" in host else host


def _find_port(url: str) -> int:
    parts = urlsplit(url)
    if parts.port is not None:  # 0 is one that the system chooses
        return parts.port
    return 443 if parts.scheme == "https" else 80
