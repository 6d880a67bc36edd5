"""A night missed while the server was down, with two workers that both look: one sync, and the next is planned."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes.http_client import Client, wait_until
from fakes.server import Server


def miss_a_night(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3")) as connection:
        connection.execute("UPDATE source SET next_run = '2025-03-01 18:30:00.000000'")
        connection.commit()


def find_source(client: Client) -> dict[str, Any]:
    source: dict[str, Any] = client.http.get(f"{client.path}/sources/docs").json()
    return source


def count_syncs(client: Client) -> int:
    return sum(job["kind"] == "sync" for job in client.list_jobs())


def test_a_missed_night_is_run_once_after_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("The dome opens at night.")
    with Server(tmp_path / "store", workers=2, allowed_roots=folder) as server:
        client = server.open_client()
        client.create()
        body = {"name": "docs", "kind": "folder", "uri": str(folder), "schedule": "30 2 * * *"}
        made = client.http.post(f"{client.path}/sources", json={**body, "timezone": "Asia/Shanghai"})
        assert made.status_code == 201, made.text
        assert count_syncs(client) == 0
        assert server.stop() == 0
        miss_a_night(server.data_dir)
        server.start()
        client = server.open_client()
        wait_until(lambda: count_syncs(client), "the missed night is run")
        wait_until(lambda: len(server.list_workers()) == 2, "both workers run")
        next_run = datetime.fromisoformat(find_source(client)["next_run"])
        assert next_run > datetime.now(UTC)
        assert (next_run.hour, next_run.minute) == (18, 30)
        assert server.stop() == 0, "the schedule's thread ends with its worker"
        server.start()
        assert count_syncs(server.open_client()) == 1
