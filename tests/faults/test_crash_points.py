"""Death at every named point of upload, indexing, sealing and deletion: all or nothing, and all that was promised."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.http_client import Client, wait_until
from fakes.server import Server, list_findings
from fakes.small_files import assert_absent, assert_answers, make_files, to_upload

from kb.crash import POINTS

pytestmark = pytest.mark.faults

KEPT = make_files(6)  # acknowledged and indexed before the crash
LATER = make_files(6, start=100)  # the request that meets it
DOOMED, TWIN = (replace(make_files(1, start=50)[0], path=path) for path in ("doomed.txt", "twin.txt"))  # same bytes
KEY = {"Idempotency-Key": "later"}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the kept files, at rest; every scenario works on a copy of its own."""
    with Server(tmp_path_factory.mktemp("indexed") / "store") as server:
        client = server.open_client()
        client.create()
        client.upload(to_upload([*KEPT, DOOMED, TWIN]))
        client.wait_until_idle()
        assert server.stop() == 0
    return server.data_dir


# -- uploads: the server dies -------------------------------------------------------------------------------------


def die_in_upload(server: Server, crash: str) -> None:
    server.start(crash=crash, workers=0)
    with pytest.raises(httpx.TransportError):
        server.open_client().send(to_upload(LATER), **KEY)
    assert server.wait_for_death() == -9


def expect_no_trace(client: Client) -> None:
    assert_absent(client, LATER)
    send_again(client)


def expect_recorded(client: Client) -> None:
    """The rows were committed though nobody was told: the same request again gets the same answer, nothing twice."""
    assert_answers(client, LATER)
    jobs = {job["id"] for job in client.list_jobs()}
    assert send_again(client)["job_id"] in jobs


def send_again(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.send(to_upload(LATER), **KEY).json()
    assert len(client.wait_until_idle()) == len([*KEPT, *LATER, DOOMED, TWIN])
    assert_answers(client, LATER)
    return answer


# -- indexing and sealing: a worker dies --------------------------------------------------------------------------


def die_in_worker(server: Server, crash: str) -> None:
    server.start(crash=crash, seal_changes=1)
    server.open_client().upload(to_upload(LATER))
    wait_until(lambda: "code=-9" in server.read_log(), "a worker died by SIGKILL")


def expect_indexed(client: Client) -> None:
    assert_answers(client, LATER)
    assert [job["state"] for job in client.list_jobs() if job["kind"] == "upload"] == ["succeeded", "succeeded"]


# -- re-indexing: a worker dies -----------------------------------------------------------------------------------


def die_in_reindex(server: Server, crash: str) -> None:
    server.start(crash=crash)
    client = server.open_client()
    assert client.http.patch(client.path, json={"chunk_tokens": 32}).status_code == 200
    assert client.http.post(f"{client.path}/reindex", json={"mode": "full"}).status_code == 202
    wait_until(lambda: "code=-9" in server.read_log(), "a worker died by SIGKILL")


def expect_swapped(client: Client) -> None:
    """Once, whenever it died; and what comes afterwards goes into the new space."""
    assert_answers(client, KEPT)
    found = [job for job in client.list_jobs() if job["kind"] == "reindex"]
    assert [(job["state"], job["result"]["revision"]) for job in found] == [("succeeded", 3)]
    assert client.http.get(client.path).json()["revision"] == 3
    client.upload(to_upload(LATER))
    client.wait_until_idle()
    assert_answers(client, LATER)


# -- deletion: the server dies ------------------------------------------------------------------------------------


def die_in_delete(server: Server, crash: str) -> None:
    server.start(crash=crash, workers=0)
    client = server.open_client()
    doomed = [d["id"] for d in client.list_documents() if d["path"] in (DOOMED.path, KEPT[0].path)]
    with pytest.raises(httpx.TransportError):
        client.http.post(f"{client.path}/documents/delete", json={"ids": doomed})
    assert server.wait_for_death() == -9


def expect_not_deleted(client: Client) -> None:
    assert_answers(client, KEPT)
    assert find_paths(client, DOOMED.word) == {DOOMED.path, TWIN.path}


def expect_deleted(client: Client) -> None:
    """The twin keeps its bytes though an equal document went."""
    assert_absent(client, KEPT[:1])
    assert find_paths(client, DOOMED.word) == {TWIN.path}
    left = {document["path"]: document["id"] for document in client.list_documents()}
    assert left.keys() == {file.path for file in (*KEPT[1:], TWIN)}
    assert client.http.get(f"{client.path}/documents/{left[TWIN.path]}/content").content == TWIN.data


def find_paths(client: Client, word: str) -> set[str]:
    """Of the documents that hold the word; what they have alike is answered with once, and names the others."""
    held = [found for found in client.search(word) if word in found["text"]]
    return {document["path"] for found in held for document in [found["document"], *found["duplicates"]]}


# -- all of them --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`reach` brings an armed server to the point; `judge` looks at what the next start made of it."""

    reach: Callable[[Server, str], None]
    judge: Callable[[Client], None]
    passes: int = 1  # the pass at which it dies: in the middle of several files, batches or index files


SCENARIOS = {
    "up.mid_write": Scenario(reach=die_in_upload, judge=expect_no_trace, passes=3),
    "up.pre_fsync": Scenario(reach=die_in_upload, judge=expect_no_trace, passes=2),
    "up.pre_rename": Scenario(reach=die_in_upload, judge=expect_no_trace, passes=4),
    "up.post_rename": Scenario(reach=die_in_upload, judge=expect_no_trace, passes=4),
    "up.pre_commit": Scenario(reach=die_in_upload, judge=expect_no_trace),
    "up.post_commit": Scenario(reach=die_in_upload, judge=expect_recorded),
    "job.claimed": Scenario(reach=die_in_worker, judge=expect_indexed),
    "parse.done": Scenario(reach=die_in_worker, judge=expect_indexed, passes=3),
    "stage.mid_rows": Scenario(reach=die_in_worker, judge=expect_indexed, passes=2),
    "stage.done": Scenario(reach=die_in_worker, judge=expect_indexed),
    "publish.pre_commit": Scenario(reach=die_in_worker, judge=expect_indexed, passes=2),
    "publish.post_commit": Scenario(reach=die_in_worker, judge=expect_indexed),
    "swap.pre_commit": Scenario(reach=die_in_reindex, judge=expect_swapped),
    "swap.post_commit": Scenario(reach=die_in_reindex, judge=expect_swapped),
    "snap.half": Scenario(reach=die_in_worker, judge=expect_indexed),
    "snap.pre_fsync": Scenario(reach=die_in_worker, judge=expect_indexed, passes=3),  # of the manifest
    "snap.pre_rename": Scenario(reach=die_in_worker, judge=expect_indexed, passes=2),
    "snap.post_rename": Scenario(reach=die_in_worker, judge=expect_indexed),
    "man.pre_rename": Scenario(reach=die_in_worker, judge=expect_indexed),
    "man.post_rename": Scenario(reach=die_in_worker, judge=expect_indexed),
    "delete.pre_commit": Scenario(reach=die_in_delete, judge=expect_not_deleted),
    "delete.post_commit": Scenario(reach=die_in_delete, judge=expect_deleted),
    "gc.unlink": Scenario(reach=die_in_delete, judge=expect_deleted),
}


def test_every_point_has_a_scenario() -> None:
    """Each scenario fails unless a process died by SIGKILL at its point, so that no point goes unreached."""
    assert SCENARIOS.keys() == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_what_was_promised_is_kept_and_nothing_is_half_done(indexed: Path, tmp_path: Path, point: str) -> None:
    play(SCENARIOS[point], point, indexed, tmp_path)


@pytest.mark.parametrize("point", ["job.claimed", "stage.mid_rows:4", "snap.half", "man.post_rename"])
def test_a_re_index_goes_on_where_it_died(indexed: Path, tmp_path: Path, point: str) -> None:
    name, _, passes = point.partition(":")
    play(Scenario(reach=die_in_reindex, judge=expect_swapped, passes=int(passes or 1)), name, indexed, tmp_path)


def play(scenario: Scenario, point: str, indexed: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "store")
    shutil.copytree(indexed, server.data_dir)
    try:
        scenario.reach(server, f"{point}:{scenario.passes}")
        server.kill()
        client = server.start(seal_changes=1).open_client()
        client.wait_until_idle()
        scenario.judge(client)
        assert_answers(client, KEPT[1:])
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []
    finally:
        server.kill()
