"""`make bench-web`: a web site of 500 pages on loopback, crawled until it is searchable, and nights of it afterwards.

first night with the pause as it comes → first night without one → nights in which nothing changed → one page in a
hundred changed; `--pages` for another size
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, describe_spread, find_median, print_group
from machine import describe_load, describe_machine
from nights import describe, find_seconds, sync
from server import Client, Server
from texts import Texts
from web_site import Site, serve

PAGES = 500
CHARACTERS = 1_500  # of text a page
QUIET_NIGHTS = 5
CHANGED_SHARE = 100  # one page in so many
MOST_SECONDS = 60.0
KB = "nights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=PAGES)
    options = parser.parse_args()
    print(f"{describe_machine()}\n{describe_load()} before")
    print_group(f"A web site of {options.pages:,} pages", measure_web(options.pages))
    print(f"\n{describe_load()} after")


def measure_web(pages: int) -> list[Figure]:
    texts = Texts()
    site = Site(pages, CHARACTERS, texts)
    size = sum(map(len, site.pages.values())) / pages / 1000
    with serve(site) as port:
        with start(port) as (_, client):
            add_source(client, site, pages)
            polite = sync(client, "site")
            check_searchable(client, site)
        with start(port, KB_FETCH_DELAY_SECONDS="0") as (server, client):
            add_source(client, site, pages)
            before = server.tree_s
            first = sync(client, "site")
            spent = server.tree_s - before
            check_searchable(client, site)
            quiet = [measure_quiet(client, site) for _ in range(QUIET_NIGHTS)]
            for number in range(0, pages, CHANGED_SHARE):
                site.change(number, texts)
            changed = sync(client, "site")
    seconds = [one["seconds"] for one in quiet]
    most = MOST_SECONDS if pages <= PAGES else None
    return [
        Figure(name=f"{pages:,} pages crawled and searchable, with the pause as it comes", value=find_seconds(polite),
               unit="s", at_most=most, note="ten times as long as each answer took"),
        Figure(name="… without a pause", value=find_seconds(first), unit="s", at_most=most,
               note=f"pages of {size:.0f} KB; {describe(first)}"),
        Figure(name="… processor time", value=spent, unit="s",
               note=f"server, worker and parse children; {1000 * spent / pages:.0f} ms a page"),
        Figure(name="a night in which nothing changed", value=find_median(seconds), unit="s",
               note=describe_spread(seconds, "s")),
        Figure(name="… requests a page", value=max(one["requests"] for one in quiet), unit="", at_most=1.0,
               note=f"beside robots.txt; {min(one['conditional'] for one in quiet):.0%} of them conditional"),
        Figure(name="… pages parsed", value=max(one["parsed"] for one in quiet), unit="", at_most=0,
               note="those that are new, changed or touched; an unchanged page goes to no parser"),
        Figure(name=f"a night with {len(range(0, pages, CHANGED_SHARE))} pages changed", value=find_seconds(changed),
               unit="s", note=describe(changed)),
    ]  # fmt: skip


@contextmanager
def start(port: int, **settings: str) -> Iterator[tuple[Server, Client]]:
    """A server that may fetch from that port, with an empty knowledge base."""
    with (
        TemporaryDirectory() as name,
        Server(Path(name) / "store", KB_FETCH_LOOPBACK_PORTS=str(port), **settings) as server,
        Client(server.port) as client,
    ):
        client.call("POST", "/api/v1/knowledge-bases", {"name": KB})
        yield server, client


def add_source(client: Client, site: Site, pages: int) -> None:
    body = {"name": "site", "kind": "web", "uri": f"{site.url}/", "depth": 10, "max_pages": pages}
    client.call("POST", f"/api/v1/knowledge-bases/{KB}/sources", body)


def check_searchable(client: Client, site: Site) -> None:
    """Raises SystemExit unless every page answers."""
    counted = client.call("GET", f"/api/v1/knowledge-bases/{KB}")["documents"]
    found = client.call("POST", f"/api/v1/knowledge-bases/{KB}/search", {"query": "第 7 篇文章"})["passages"]
    if counted != len(site.pages) or not found:
        raise SystemExit(f"{counted} of {len(site.pages)} pages are there, {len(found)} passages were found")


def measure_quiet(client: Client, site: Site) -> dict[str, float]:
    site.reset()
    job = sync(client, "site")
    result: dict[str, Any] = job["result"]
    asked = site.asked.total() - site.asked["/robots.txt"]
    parsed = sum(result[name] for name in ("added", "changed", "touched", "moved"))
    return {
        "seconds": find_seconds(job),
        "requests": asked / len(site.pages),
        "conditional": site.conditional / asked,
        "parsed": parsed,
    }


if __name__ == "__main__":
    main()
