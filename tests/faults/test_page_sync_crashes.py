"""A worker killed at every step of a sync of web pages: nothing of the night is seen before its end, the next worker
ends it, and no page that was brought in is asked again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.http_client import Client, wait_until
from fakes.server import Server, list_findings
from fakes.site_server import Answer, SiteServer, serve_site
from fakes.small_files import SmallFile, assert_absent, assert_answers, make_files

pytestmark = pytest.mark.faults

KEPT = make_files(12)
LATER = make_files(12, start=100)
GONE, CHANGED = KEPT[0], KEPT[1]
# where it dies: in the middle of several pages, batches or rows
STEPS = [
    "job.claimed:1", "up.mid_write:3", "up.pre_fsync:2", "up.pre_rename:4", "up.post_rename:4", "parse.done:5",
    "stage.mid_rows:4", "stage.done:1", "publish.pre_commit:1", "publish.post_commit:1",
]  # fmt: skip


def write_page(file: SmallFile) -> Answer:
    body = f"<!doctype html><title>{file.path}</title><main><p>{file.data.decode()}</p></main>".encode()
    return Answer(body=body, etag=f'"{file.word.encode().hex()}"')


def put(site: SiteServer, files: Iterable[SmallFile]) -> None:
    """The front page links to these pages alone."""
    pages = {f"/{file.path}": write_page(file) for file in files}
    links = "".join(f'<a href="{site.locate(path)}">{path}</a> ' for path in pages)
    front = f"<!doctype html><title>front</title><main><p>The front page of all nights.</p></main><nav>{links}</nav>"
    site.answers = {"/": Answer(body=front.encode(), etag=f'"{len(pages)}"'), **pages}


def at_site(site: SiteServer, files: Iterable[SmallFile]) -> list[SmallFile]:
    return [SmallFile(path=site.locate(f"/{file.path}"), word=file.word, data=file.data) for file in files]


def start(home: Path, site: SiteServer) -> Server:
    web = {"fetch_loopback_ports": site.port, "fetch_delay_seconds": 0, "fetch_retries": 0}
    return Server(home / "store", **web)


def request_sync(client: Client) -> str:
    job_id: str = client.http.post(f"{client.path}/sources/site/sync", json={}).json()["job_id"]
    return job_id


@pytest.fixture(scope="module")
def site() -> Iterator[SiteServer]:
    with serve_site(SiteServer()) as site:
        yield site


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory, site: SiteServer) -> Path:
    """A store that has seen the site once, at rest."""
    home = tmp_path_factory.mktemp("synced")
    put(site, KEPT)
    with start(home, site) as server:
        client = server.open_client()
        client.create()
        body: dict[str, Any] = {"name": "site", "kind": "web", "uri": f"{site.url}/", "depth": 1}
        assert client.http.post(f"{client.path}/sources", json=body).status_code == 201
        job = client.wait_for_job(request_sync(client))
        assert (job["state"], job["result"]["added"]) == ("succeeded", 13)
        assert server.stop() == 0
    return home


@pytest.mark.parametrize("step", STEPS)
def test_a_sync_killed_there_is_ended_by_the_next_worker(
    synced: Path, tmp_path: Path, site: SiteServer, step: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(synced, home)
    server = start(home, site)
    try:
        put(site, [*KEPT[1:], *LATER[1:]])
        site.answers[f"/{CHANGED.path}"] = write_page(LATER[0])
        site.take_asked()
        server.start(crash=step)
        job_id = request_sync(server.open_client())
        wait_until(lambda: "code=-9" in server.read_log(), "a worker died by SIGKILL")
        server.kill()
        client = server.start().open_client()
        job = client.wait_for_job(job_id)
        names = ("added", "changed", "moved", "removed", "touched", "unchanged", "failed", "skipped")
        counts = {name: job["result"][name] for name in names if job["result"][name]}
        expected = {"added": 11, "changed": 1, "removed": 1, "touched": 1, "unchanged": 10}
        assert (job["state"], counts) == ("succeeded", expected)
        changed = [SmallFile(path=CHANGED.path, word=LATER[0].word, data=LATER[0].data)]
        assert_answers(client, at_site(site, [*KEPT[2:], *LATER[1:], *changed]))
        assert_absent(client, at_site(site, [GONE]))
        asked = Counter(one.path for one in site.take_asked() if one.path != "/robots.txt")
        again = sum(times - 1 for times in asked.values())
        assert again <= (0 if step.startswith(("parse", "stage", "publish")) else 2 * 16), asked
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []
    finally:
        server.kill()
