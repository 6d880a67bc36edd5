"""`kb sources` and `kb sync` over a real socket, against the small server of `fakes/kb_server.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import Fault, KbServer, serve_kb
from fakes.kb_sources import PLAN

from api.cli.main import kb

Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        server.add_base("b")
        yield server


@pytest.fixture
def run(server: KbServer) -> Run:
    def run_command(*arguments: str, **options: Any) -> Result:
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, list(arguments), **options)

    return run_command


def read_sent(server: KbServer) -> Any:
    return json.loads(server.requests[-1].body)


# -- sources ------------------------------------------------------------------------------------------------------


def test_add_sends_what_was_said_and_an_absolute_folder(
    server: KbServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("sources", "add", "资料")
    assert (result.exit_code, result.stdout) == (0, "added 资料 (s1)\n")
    assert result.stderr == "no schedule: it is synced on request\nsync it now: kb sync 资料\n"
    assert read_sent(server) == {"name": "资料", "kind": "folder", "uri": str(tmp_path / "资料")}
    words = ["--name", "n", "--schedule", "30 2 * * *", "--timezone", "Asia/Shanghai", "--include", "*.md"]
    result = run("sources", "add", "file:///srv/x", *words, "--include", "*.txt", "--exclude", "tmp/**", "--kb", "b")
    assert result.stderr.splitlines()[0] == "next run 2025-03-02 02:30+08:00"
    assert read_sent(server) == {
        "name": "n",
        "kind": "folder",
        "uri": "file:///srv/x",
        "schedule": "30 2 * * *",
        "timezone": "Asia/Shanghai",
        "include": ["*.md", "*.txt"],
        "exclude": ["tmp/**"],
    }
    assert run("sources", "add", "/").exit_code == 2


@pytest.mark.parametrize(
    ("words", "name", "kind", "uri"),
    [
        (["https://www.docs.test/guide/"], "docs.test", "web", "https://www.docs.test/guide/"),
        (["https://docs.test:8443/a", "http://docs.test/b"], "docs.test", "web", "https://docs.test:8443/a http://docs.test/b"),
        (["https://docs.test/sitemap.xml"], "docs.test", "sitemap", "https://docs.test/sitemap.xml"),
        (["HTTPS://docs.test/sitemap.XML.gz"], "docs.test", "sitemap", "HTTPS://docs.test/sitemap.XML.gz"),
        (["https://docs.test/robots.txt"], "docs.test", "sitemap", "https://docs.test/robots.txt"),
        (["https://docs.test/feed.xml", "--kind", "web"], "docs.test", "web", "https://docs.test/feed.xml"),
        (["https://docs.test/map", "--kind", "sitemap", "--name", "n"], "n", "sitemap", "https://docs.test/map"),
    ],
)  # fmt: skip
def test_addresses_are_web_pages_or_sitemaps(
    server: KbServer, run: Run, words: list[str], name: str, kind: str, uri: str
) -> None:
    assert run("sources", "add", *words).exit_code == 0
    assert read_sent(server) == {"name": name, "kind": kind, "uri": uri}


def test_bounds_of_a_crawl_are_sent_and_changed(server: KbServer, run: Run) -> None:
    run("sources", "add", "https://docs.test/", "--depth", "3", "--max-pages", "50", "--include", "/zh/*")
    sent = {"depth": 3, "max_pages": 50, "include": ["/zh/*"]}
    assert read_sent(server) == {"name": "docs.test", "kind": "web", "uri": "https://docs.test/", **sent}
    addresses = ["--address", "https://docs.test/a", "--address", "https://docs.test/b"]
    run("sources", "edit", "docs.test", "--depth", "0", "--max-pages", "9", *addresses)
    assert read_sent(server) == {"depth": 0, "max_pages": 9, "uri": "https://docs.test/a https://docs.test/b"}
    assert run("sources").stdout.rstrip().endswith("https://docs.test/a and 1 more")
    run("sources", "add", "/srv/two words")
    assert "/srv/two words" in run("sources").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["add", "/srv/a", "/srv/b"],
        ["add", "/srv/a", "https://docs.test/"],
        ["add", "/srv/a", "--kind", "web"],
        ["add"],
        ["add", "https://docs.test/", "--kind", "folder"],
        ["add", "https:///x"],
        ["edit", "x", "--folder", "/srv", "--address", "https://docs.test/"],
    ],
)
def test_what_is_no_source(server: KbServer, run: Run, words: list[str]) -> None:
    assert run("sources", *words).exit_code == 2
    assert all(one.method == "GET" for one in server.requests)


def test_sources_are_listed_and_shown(server: KbServer, run: Run) -> None:
    assert run("sources").stderr == "no sources: `kb sources add FOLDER_OR_URL` makes one\n"
    run("sources", "add", "/srv/docs", "--schedule", "30 2 * * *", "--timezone", "Asia/Shanghai")
    run("sources", "add", "/srv/b", "--exclude", "x", "--exclude", "y")
    lines = run("sources").stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "schedule", "timezone", "next", "run", "uri"]
    assert "2025-03-02 02:30+08:00" in lines[1]
    assert [json.loads(line)["name"] for line in run("sources", "--json").stdout.splitlines()] == ["docs", "b"]
    shown = run("sources", "show", "b").stdout
    assert "exclude:     x, y\n" in shown
    assert "schedule:\n" in shown
    assert json.loads(run("sources", "show", "docs", "--json").stdout)["next_run"] == "2025-03-01T18:30:00Z"
    assert run("sources", "show", "nothing").stderr.startswith("source_not_found: ")
    assert run("sources", "--url", server.url, "show", "b").exit_code == 2


def test_a_zone_that_this_machine_does_not_know_is_shown_as_it_came(server: KbServer, run: Run) -> None:
    run("sources", "add", "/srv/docs", "--schedule", "30 2 * * *", "--timezone", "New/Zone")
    assert "2025-03-01T18:30:00Z" in run("sources").stdout


def test_edit_changes_only_what_is_named(server: KbServer, run: Run, tmp_path: Path) -> None:
    run("sources", "add", "/srv/docs", "--schedule", "30 2 * * *", "--include", "*.md")
    assert (
        run("sources", "edit", "docs", "--timezone", "Europe/Berlin", "--exclude", "a", "--exclude", "b").exit_code == 0
    )
    assert read_sent(server) == {"timezone": "Europe/Berlin", "exclude": ["a", "b"]}
    assert "include:\n" in run("sources", "edit", "docs", "--no-schedule", "--no-include").stdout
    assert read_sent(server) == {"schedule": None, "include": []}
    run("sources", "edit", "docs", "--folder", str(tmp_path))
    assert read_sent(server) == {"uri": str(tmp_path)}
    assert "say what to change" in run("sources", "edit", "docs").stderr
    refused = run("sources", "edit", "docs", "--schedule", "0 4 * * *", "--no-schedule")
    assert (refused.exit_code, "exclude each other" in refused.stderr) == (2, True)


def test_rm_asks_and_may_keep_the_documents(server: KbServer, run: Run) -> None:
    run("sources", "add", "/srv/docs")
    assert run("sources", "rm", "docs", input="n\n").exit_code == 1
    assert list(server.sources.by_name) == ["docs"]
    assert run("sources", "rm", "docs", "--keep-documents", "--yes").stdout == "removed docs\n"
    assert server.requests[-1].query == {"keep_documents": "true"}
    run("sources", "add", "/srv/docs")
    assert run("sources", "rm", "docs", "--yes", "--json").stdout == '{"deleted": "docs"}\n'
    assert server.requests[-1].query == {}
    assert run("sources", "rm", "docs", "--yes").exit_code == 4


# -- sync ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def docs(run: Run) -> None:
    run("sources", "add", "/srv/docs")


@pytest.mark.usefixtures("docs")
def test_sync_waits_and_counts(server: KbServer, run: Run) -> None:
    result = run("sync", "docs")
    assert (result.exit_code, result.stdout) == (0, "docs: succeeded: 3 added, 0 removed\n")
    assert result.stderr == "syncing: 3 of 3\n"
    assert json.loads(server.find("POST", "/docs/sync")[0].body) == {}
    run("sync", "docs", "--force")
    assert json.loads(server.find("POST", "/docs/sync")[1].body) == {"force": True}
    told = json.loads(run("sync", "docs", "--json").stdout)
    assert (told["source"], told["job"]["state"]) == ("docs", "succeeded")


@pytest.mark.usefixtures("docs")
def test_sync_without_waiting(server: KbServer, run: Run) -> None:
    assert run("sync", "docs", "--no-wait").stdout == "docs: job sync1\n"
    assert run("sync", "docs", "--no-wait", "--json").stdout == '{"source": "docs", "job_id": "sync2"}\n'
    assert server.find("GET", "/jobs/sync1") == []


@pytest.mark.usefixtures("docs")
def test_a_dry_run_shows_every_path(server: KbServer, run: Run) -> None:
    result = run("sync", "docs", "--dry-run")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["added", "docs/新.md"],
        ["moved", "docs/a.md", "docs/b.md"],
        ["removed", "docs/old.md"],
        ["failed", "docs/x.bin", "unsupported_type:", "nothing", "reads", "it"],
    ]
    assert result.stderr == "docs: 1 added, 0 changed, 1 moved, 1 removed, 7 unchanged\n"
    assert json.loads(run("sync", "docs", "--dry-run", "--json").stdout) == {"source": "docs", **PLAN}
    assert server.jobs == {}


@pytest.mark.usefixtures("docs")
def test_all_sources_are_synced_and_one_failure_is_the_exit_code(server: KbServer, run: Run) -> None:
    run("sources", "add", "/srv/bad")
    result = run("sync", "--all")
    assert result.exit_code == 1
    assert result.stdout == "docs: succeeded: 3 added, 0 removed\nbad: failed\n  root_missing: there is no folder\n"
    assert [json.loads(line)["source"] for line in run("sync", "--all", "--json").stdout.splitlines()] == [
        "docs",
        "bad",
    ]


def test_what_did_not_come_and_what_is_gone_is_told_with_its_code(server: KbServer, run: Run) -> None:
    run("sources", "add", "https://flawed.test/", "--name", "flawed")
    result = run("sync", "flawed")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "flawed: succeeded: 3 added, 0 removed",
        "  https://flawed.test/0: fetch_http_503: it answers 503",
        "  https://flawed.test/gone: gone for 2 nights (fetch_http_404)",
    ]
    run("sources", "add", "https://flawed.test/", "--name", "flawed-much")
    lines = run("sync", "flawed-much").stdout.splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 6 more: kb jobs show has them all")
    plan = run("sync", "flawed", "--dry-run")
    assert plan.stderr.splitlines()[-1].startswith("flawed: the site was not seen to its end")


def test_what_sync_is_not_told(server: KbServer, run: Run) -> None:
    assert "name a source, or say --all" in run("sync").stderr
    assert run("sync", "docs", "--all").exit_code == 2
    assert "kb sources add FOLDER_OR_URL" in run("sync", "--all").stderr
    assert run("sync", "docs").stderr.startswith("source_not_found: ")
    server.faults = [Fault("/docs/sync", 409, "some_code")]
    assert run("sync", "docs").exit_code == 4
