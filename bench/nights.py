"""Nights of a folder of 10,000 files through a real server, and one long text in which a sentence is put in front.

The time of a run is that of its job, from when a worker took it up until it had ended; the bare walk is that of
`bench/syncing.py`.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, describe_spread, find_median
from server import Client, Server
from syncing import time_call, walk_bare
from texts import Texts

FILES = 10_000
FOLDERS = 100
CHARACTERS = 200
CHANGED = FILES // 100
QUIET_NIGHTS = 9
MOST_RATIO = 2.0
MOST_SHARE = 5.0  # percent of the first run
LONG_TEXT = 750_000  # characters: 500 pages of 1,500
MOST_AGAIN = 1.0  # percent of its chunks
LOOK_SECONDS = 0.02
KB = "/api/v1/knowledge-bases/nights"


def measure_nights() -> list[Figure]:
    texts = Texts()
    with TemporaryDirectory() as name:
        folder, data_dir = Path(name) / "docs", Path(name) / "store"
        write_files(folder, texts)
        with Server(data_dir, KB_ALLOWED_ROOTS=name) as server, Client(server.port) as client:
            client.call("POST", "/api/v1/knowledge-bases", {"name": "nights"})
            add_source(client, "docs", folder)
            first = sync(client, "docs")
            quiet, bare, ratios = measure_quiet_nights(client, folder)
            change_files(folder, texts)
            changed = sync(client, "docs")
            inserted = insert_sentence(client, Path(name) / "book", texts)
    return [
        Figure(name=f"first sync of {FILES:,} files", value=find_seconds(first), unit="s", note=describe(first)),
        Figure(name="bare walk with stat", value=find_median(bare), unit="ms", note=describe_spread(bare, "ms")),
        Figure(name="sync of the unchanged folder", value=find_median(quiet), unit="ms",
               note=describe_spread(quiet, "ms")),
        Figure(name="sync of the unchanged folder ÷ bare walk", value=find_median(ratios), unit="×",
               at_most=MOST_RATIO, note=describe_spread(ratios, "×")),
        Figure(name=f"sync with {CHANGED} files changed", value=find_seconds(changed), unit="s",
               note=describe(changed)),
        Figure(name="the same, of the first sync", value=100 * find_seconds(changed) / find_seconds(first), unit="%",
               at_most=MOST_SHARE),
        Figure(name=f"a sentence in front of {LONG_TEXT:,} characters: chunks embedded again",
               value=100 * inserted["embedded"] / inserted["chunks"], unit="%", at_most=MOST_AGAIN,
               note=f"{inserted['embedded']} of {inserted['chunks']:,}"),
    ]  # fmt: skip


def write_files(folder: Path, texts: Texts) -> None:
    for number in range(FILES):
        path = folder / f"部门{number % 10}" / f"项目-{number % FOLDERS:03}" / f"报告-{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts.make_document(CHARACTERS), encoding="utf-8")


def change_files(folder: Path, texts: Texts) -> None:
    for path in sorted(folder.rglob("*.txt"))[:: FILES // CHANGED]:
        path.write_text(texts.make_document(CHARACTERS), encoding="utf-8")


def measure_quiet_nights(client: Client, folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of syncs and of bare walks, turn about, and their ratios."""
    quiet, bare = [], []
    for _ in range(QUIET_NIGHTS):
        bare.append(time_call(lambda: walk_bare(folder)))
        quiet.append(1000 * find_seconds(sync(client, "docs")))
    return quiet, bare, [mine / other for mine, other in zip(quiet, bare, strict=True)]


def insert_sentence(client: Client, folder: Path, texts: Texts) -> dict[str, Any]:
    """The result of the sync that follows."""
    folder.mkdir()
    text = texts.make_document(LONG_TEXT)
    (folder / "book.txt").write_text(text, encoding="utf-8")
    add_source(client, "book", folder)
    sync(client, "book")
    (folder / "book.txt").write_text("这一句话是今天早上才加在最前面的。" + text, encoding="utf-8")
    result: dict[str, Any] = sync(client, "book")["result"]
    return result


def add_source(client: Client, name: str, folder: Path) -> None:
    client.call("POST", f"{KB}/sources", {"name": name, "kind": "folder", "uri": str(folder)})


def sync(client: Client, name: str) -> dict[str, Any]:
    """The job as it ended. Raises SystemExit unless it succeeded."""
    job_id = client.call("POST", f"{KB}/sources/{name}/sync", {})["job_id"]
    while (job := client.call("GET", f"/api/v1/jobs/{job_id}"))["state"] in ("queued", "running"):
        time.sleep(LOOK_SECONDS)
    if job["state"] != "succeeded":
        raise SystemExit(f"the sync failed: {job['code']} {job['message']}")
    return job


def find_seconds(job: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def describe(job: dict[str, Any]) -> str:
    result = job["result"]
    return f"{result['chunks']:,} chunks written, {result['embedded']:,} strings embedded"
