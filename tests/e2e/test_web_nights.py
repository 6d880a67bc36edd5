"""A web site through a real server: crawled, asked about, changed overnight, killed in the middle, and had again."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes.http_client import Client, wait_until
from fakes.observatory_site import (
    HOME,
    HUBS,
    OTHERS,
    add_calendar,
    add_sitemaps,
    build_site,
    find_text,
    list_texts,
    make_answer,
)
from fakes.server import Server, list_findings
from fakes.site_server import FIRST_DAY, SiteServer, serve_site

PAGES = {
    "/": HOME,
    "/en/": HUBS["en"],
    "/zh/": HUBS["zh"],
    **{text.path: text.shown[0] for text in list_texts()},
    **OTHERS,
}
QUESTIONS = [
    ("Who was the master clock in the cellar built by?", "/en/clock.html", "Riefler"),
    ("How often does bus 47 go to Cold Spring Hill?", "/en/bus.html", "every forty minutes"),
    ("镜面每年什么时候清洗？", "/zh/镜面.html", "八月第一周"),  # its bytes are in GBK
    ("水塔旁有多少个停车位？", "/zh/停车.html", "二十四个停车位"),
    ("母钟每天的误差是多少？", "/zh/母钟.html", "百分之二秒"),
]
FIRST_CHANGE = "四十八路公交车星期日也开。"


@pytest.fixture
def site() -> Iterator[SiteServer]:
    with serve_site(build_site()) as site:
        yield site


def start(folder: Path, site: SiteServer, **settings: object) -> Server:
    web = {"fetch_loopback_ports": site.port, "fetch_delay_seconds": 0, "fetch_retries": 0}
    return Server(folder / "store", **web, **settings)


def add_source(client: Client, site: SiteServer, path: str = "/", **fields: Any) -> None:
    body = {"name": "site", "kind": "web", "uri": site.url + path, "depth": 4, **fields}
    made = client.http.post(f"{client.path}/sources", json=body)
    assert made.status_code == 201, made.text


def begin_sync(client: Client, **wishes: object) -> str:
    answer = client.http.post(f"{client.path}/sources/site/sync", json=wishes)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def sync(client: Client, **wishes: object) -> dict[str, Any]:
    job = client.wait_for_job(begin_sync(client, **wishes))
    assert job["state"] == "succeeded", job
    result: dict[str, Any] = job["result"]
    return result


def read_answers(client: Client, site: SiteServer) -> dict[str, str]:
    """Whole texts of the documents that answer, by readable path."""
    readable = {site.locate(path): path for path in site.answers}
    texts = {}
    for document in client.list_documents():
        if document["live_version"] is not None:
            text = client.read_text(document["id"], document["live_version"])["text"]
            texts[readable.get(document["path"], document["path"])] = text
    return texts


def test_from_a_site_to_cited_answers_and_through_the_nights(tmp_path: Path, site: SiteServer) -> None:
    with start(tmp_path, site) as server:
        client = server.open_client()
        client.create()
        add_source(client, site)
        assert sync(client)["added"] == len(PAGES)
        texts = read_answers(client, site)
        assert {path: words for path, words in PAGES.items() if words not in texts.get(path, "")} == {}
        assert texts.keys() == PAGES.keys()
        check_answers(client, site)

        site.take_asked()
        quiet = sync(client)
        assert (quiet["unchanged"], quiet["touched"], quiet["embedded"]) == (60, 6, 0)  # six advertisements
        asked = Counter(one.path for one in site.take_asked() if one.path in PAGES)
        assert asked == Counter([*PAGES, "/en/visits.html"])

        change_by_day(site)
        night = sync(client)
        assert (night["changed"], night["moved"], night["removed"]) == (1, 1, 0)
        assert [one["path"] for one in night["gone"]] == [site.locate("/en/comet.html")]
        assert 0 < night["embedded"] <= 3
        after = read_answers(client, site)
        assert FIRST_CHANGE in after["/zh/公交.html"]
        assert after["/en/the-dome.html"] == texts["/en/dome.html"]
        assert after.keys() == PAGES.keys() - {"/en/dome.html"} | {"/en/the-dome.html"}

        for nights in (2, 3):
            let_a_day_pass(server)
            night = sync(client)
            assert night["removed"] == (nights == 3)
        assert "/en/comet.html" not in read_answers(client, site)
        assert server.list_complaints() == []
        assert list_findings(server.data_dir) == []


def check_answers(client: Client, site: SiteServer) -> None:
    """Each cites the page's address, and quotes what stands there."""
    for question, path, quote in QUESTIONS:
        answer = client.ask(question)
        quotes = [one["quote"] for one in answer["citations"] if one["document"]["path"] == site.locate(path)]
        assert quote in " ".join(quotes), (question, answer)
        assert quote in answer["answer"]


def change_by_day(site: SiteServer) -> None:
    """One page gets a sentence more, one moves, one is gone."""
    text = find_text("/zh/公交.html")
    site.answers[text.path] = make_answer(text, (text.shown[0] + FIRST_CHANGE, *text.shown[1:]), FIRST_DAY + 86_400)
    site.move("/en/dome.html", "/en/the-dome.html")
    site.remove("/en/comet.html")


def let_a_day_pass(server: Server) -> None:
    """Nights are told apart by their time: what was noted of the last one is made a day older."""
    with closing(sqlite3.connect(server.data_dir / "catalog.sqlite3", timeout=30)) as connection:
        changed = connection.execute(
            "UPDATE document SET missed_at = datetime(missed_at, '-1 day') WHERE missed_at > ''"
        )
        assert changed.rowcount > 0
        connection.commit()


@pytest.mark.parametrize("at", [5, 40])
def test_a_worker_that_is_killed_in_the_middle_asks_hardly_a_page_again(
    tmp_path: Path, site: SiteServer, at: int
) -> None:
    with start(tmp_path, site) as server:
        client = server.open_client()
        client.create()
        add_source(client, site)
        (worker,) = wait_until(server.list_workers, "a worker runs")
        left = iter(range(at, -1, -1))

        def kill(_: str) -> None:
            if next(left, -1) == 0:
                os.kill(worker, signal.SIGKILL)

        site.on_request = kill
        job = client.wait_for_job(begin_sync(client))
        assert (job["state"], job["result"]["added"]) == ("succeeded", len(PAGES))
        texts = read_answers(client, site)
        assert {path: words for path, words in PAGES.items() if words not in texts.get(path, "")} == {}
        asked = Counter(one.path for one in site.take_asked() if one.path in PAGES and one.path != "/en/visits.html")
        assert max(asked.values()) <= 2
        assert sum(number == 2 for number in asked.values()) <= 16 + 2  # a batch, and two that were on their way
        assert list_findings(server.data_dir) == []


def test_a_sitemap_a_dry_run_and_a_calendar_without_end(tmp_path: Path, site: SiteServer) -> None:
    add_sitemaps(site)
    add_calendar(site)
    with start(tmp_path, site) as server:
        client = server.open_client()
        client.create()
        add_source(client, site, "/sitemap.xml", kind="sitemap", depth=0)
        plan = client.http.post(f"{client.path}/sources/site/sync", json={"dry_run": True})
        assert (plan.status_code, plan.json()["added"]) == (200, 59), plan.text
        assert client.list_documents() == []
        assert sync(client)["added"] == 59
        assert client.http.delete(f"{client.path}/sources/site").is_success
        add_source(client, site, depth=10, max_pages=2_000)
        sync(client)
        months = [path for path in Counter(one.path for one in site.take_asked()) if path.startswith("/calendar/")]
        assert len(months) == 1 + 2 * 9  # as far as links are followed
        assert PAGES.keys() <= read_answers(client, site).keys()
