"""Nights of a folder through a real server: searches beside every run never fail, and night 7 can be had back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from fakes.http_client import Client, wait_until
from fakes.searches import Look, searching
from fakes.server import Server, list_findings
from fakes.small_files import SmallFile, make_files

NIGHT = re.compile(r"night-(\d+)-of-the-charter")
NAME = "docs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "docs"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, files: Sequence[SmallFile]) -> None:
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)


def write_charter(folder: Path, night: int) -> None:
    """Some chunks long, and rewritten every day: a mixture of two would show."""
    article = "望远镜章程 telescope charter, article {}: the dome stays open while the sky is clear. {}。"
    text = "\n\n".join(
        (article.format(part, f"night-{night}-of-the-charter") + " 值班员记录云量与风向。" * 6) for part in range(6)
    )
    (folder / "charter.md").write_text(text, encoding="utf-8")


def add_source(client: Client, folder: Path) -> None:
    made = client.http.post(f"{client.path}/sources", json={"name": NAME, "kind": "folder", "uri": str(folder)})
    assert made.status_code == 201, made.text


def sync(client: Client) -> dict[str, Any]:
    answer = client.http.post(f"{client.path}/sources/{NAME}/sync", json={})
    assert answer.status_code == 202, answer.text
    return client.wait_for_job(answer.json()["job_id"])


def read_answers(client: Client) -> dict[str, str]:
    """Every document that answers, with its whole text."""
    texts = {}
    for document in client.list_documents():
        if document["live_version"] is not None:
            texts[document["path"]] = client.read_text(document["id"], document["live_version"])["text"]
    return texts


def read_nights(client: Client) -> frozenset[int]:
    """The nights that the charter speaks of."""
    passages = client.search("telescope charter 望远镜章程", top_k=6)
    return frozenset(int(night) for one in passages for night in NIGHT.findall(one["text"]))


def edit_by_day(folder: Path, night: int) -> None:
    """Something of everything: new files, a moved folder, a removed file, files that come back."""
    write_charter(folder, night)
    steps: dict[int, Callable[[], object]] = {
        2: lambda: write(folder, make_files(10, start=100)),
        3: lambda: (folder / "logs").rename(folder / "old-logs"),
        4: lambda: next((folder / "记录").iterdir()).unlink(),
        5: lambda: write(folder, make_files(4)),
        6: lambda: (folder / ".kbignore").write_text("old-logs/\n"),
        8: lambda: (folder / ".kbignore").unlink(),
        9: lambda: shutil.rmtree(folder / "old-logs"),
    }
    steps.get(night, lambda: None)()


def test_ten_nights_with_searches_beside_them_and_night_seven_had_back(tmp_path: Path, folder: Path) -> None:
    write(folder, make_files(20))
    write_charter(folder, 0)
    answers: dict[int, dict[str, str]] = {}
    revisions: dict[int, int] = {}
    with Server(tmp_path / "store", allowed_roots=folder.parent, seal_changes=60) as server:
        client = server.open_client()
        client.create()
        add_source(client, folder)
        assert sync(client)["state"] == "succeeded"
        began, ready = [monotonic()], [monotonic()]
        with searching(server.open_client, read_nights) as looks:
            for night in range(1, 11):
                edit_by_day(folder, night)
                began.append(monotonic())
                job = sync(client)
                ready.append(monotonic())
                assert job["state"] == "succeeded", job
                answers[night], revisions[night] = read_answers(client), job["result"]["revision"]
            restored = client.http.post(f"{client.path}/revisions/{revisions[7]}/restore", json={})
            assert restored.status_code == 202, restored.text
            assert client.wait_for_job(restored.json()["job_id"])["state"] == "succeeded"
        assert read_answers(client) == answers[7]
        assert read_nights(client) == {7}
        check_looks(looks, began, ready)
        assert sync(client)["state"] == "succeeded"
        assert read_answers(client) == answers[10]
        assert server.list_complaints() == []
        assert list_findings(server.data_dir) == []


def check_looks(looks: Sequence[Look[int]], began: Sequence[float], ready: Sequence[float]) -> None:
    """Each search found one night whole: at least the newest that was ready, at most the newest that had begun; after
    the last night the restore may have brought back night 7."""
    assert len(looks) > 10
    for look in looks:
        (night,) = look.found
        newest_ready = sum(moment <= look.sent for moment in ready) - 1
        newest_begun = sum(moment <= look.answered for moment in began) - 1
        assert newest_ready <= night <= newest_begun or (night == 7 and newest_ready == 10)


def test_an_upload_is_not_kept_waiting_by_a_long_sync_nor_by_a_re_index(tmp_path: Path, folder: Path) -> None:
    """One worker for all of them: the long job makes way and goes on where it was."""
    write(folder, make_long_files(1_000))
    with Server(tmp_path / "store", allowed_roots=folder.parent) as server:
        client = server.open_client()
        client.create()
        add_source(client, folder)
        long_job = client.http.post(f"{client.path}/sources/{NAME}/sync", json={}).json()["job_id"]
        check_upload_overtakes(client, long_job, 3_000)
        assert client.wait_for_job(long_job)["result"]["added"] == 1_000
        assert client.http.patch(client.path, json={"chunk_tokens": 32}).status_code == 200
        long_job = client.http.post(f"{client.path}/reindex", json={"mode": "full"}).json()["job_id"]
        check_upload_overtakes(client, long_job, 3_002)
        assert client.wait_for_job(long_job)["state"] == "succeeded"
        (found, *_) = client.search(make_files(1, start=3_002)[0].word)
        assert make_files(1, start=3_002)[0].word in found["text"]
        assert list_findings(server.data_dir) == []


def make_long_files(count: int) -> list[SmallFile]:
    """Some chunks each, so that the jobs over them take many times as long as a worker takes to look up."""
    parts = make_files(8 * count, start=10_000)
    return [
        SmallFile(
            path=parts[8 * n].path, word=parts[8 * n].word, data=b"\n\n".join(p.data for p in parts[8 * n : 8 * n + 8])
        )
        for n in range(count)
    ]


def check_upload_overtakes(client: Client, long_job: str, number: int) -> None:
    wait_until(lambda: client.get_job(long_job)["done"] > 0, "the long job is under way")
    (file,) = make_files(1, start=number)
    uploaded = client.wait_for_job(client.upload({file.path: file.data})["job_id"])
    assert uploaded["state"] == "succeeded"
    long = client.get_job(long_job)
    overtaken = long["finished_at"] is None or uploaded["finished_at"] < long["finished_at"]
    assert overtaken, f"the upload waited for the end of the long job: {uploaded} {long}"
    assert client.search(file.word)[0]["document"]["path"] == file.path
