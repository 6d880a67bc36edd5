"""`kb check`: whether what the server keeps still holds together. Reads only, and may run beside the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from api.cli.failures import ExitCode
from api.cli.output import Output
from ingest.owner import find_dead
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.database import Database
from kb.catalog.jobs import Jobs
from kb.checks import check_store, show_nothing
from kb.config import read_settings
from kb.data_folder import DataFolder
from kb.errors import NotFound, Unavailable
from kb.findings import Finding, OnProgress
from retrieval.inspection import find_damage

KNOWLEDGE_BASES_A_PAGE = 200
DESCRIPTIONS = {
    "database": "the database file",
    "versions": "versions and chunks",
    "vectors": "vectors",
    "files": "stored files",
    "unnamed files": "files that nothing names",
    "contents": "contents of stored files",
}


@click.command()
@click.option("--deep", is_flag=True, help="Also read every vector, every stored file and every text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there.")
def check(*, deep: bool, as_json: bool) -> None:
    """Check what the server keeps in KB_DATA_DIR.

    Nothing is changed, and the server may go on running. Exit codes: 0 nothing found, 1 something found,
    75 or 78 when the data directory cannot be used as it is.
    """
    settings = read_settings()
    folder = DataFolder(settings.data_dir)
    database = folder.attach_database(settings)
    try:
        with _shown_progress() as on_progress:
            findings = _check_folder(folder, database, deep, on_progress)
        notes = _list_notes(database)
    finally:
        database.close()
    _print_findings(Output(as_json=as_json), findings, notes)
    if findings:
        sys.exit(ExitCode.FAILED)


def _check_folder(folder: DataFolder, database: Database, deep: bool, on_progress: OnProgress) -> list[Finding]:  # noqa: FBT001
    blobs, texts = BlobStore(folder.blobs), TextStore(folder.texts)
    findings = check_store(database, blobs, texts, deep, on_progress)
    if any(finding.code == "database_damaged" for finding in findings):
        return findings
    return findings + _check_indexes(folder, Catalog(database, blobs, texts))


def _check_indexes(folder: DataFolder, catalog: Catalog) -> list[Finding]:
    """Sealed generations. A damaged one costs nothing but time: a server sets it aside and builds it anew."""
    epoch = catalog.feed.get_epoch()
    findings, last = [], ""
    while page := catalog.knowledge_bases.list_knowledge_bases(KNOWLEDGE_BASES_A_PAGE, last):
        last = page[-1].name
        for kb in page:
            try:
                damage = find_damage(folder.indexes, kb.id, catalog.feed.get_head(kb.id), epoch)
            except NotFound:  # deleted meanwhile
                continue
            for revision, reason in damage.items():
                detail = f"knowledge base {kb.id}, generation {revision}: {reason}; a server builds it anew"
                findings.append(Finding(code="index_damaged", detail=detail))
    return findings


def _list_notes(database: Database) -> list[str]:
    """What is no fault: the next worker takes these jobs up where they were left."""
    try:
        dead = find_dead(Jobs(database).list_owners())
    except Unavailable:  # a damaged database has said so already
        return []
    return [f"worker {owner} ended with a job in hand; the next worker resumes it" for owner in dead]


def _print_findings(output: Output, findings: list[Finding], notes: list[str]) -> None:
    if output.as_json:
        output.write_json({"findings": [asdict(finding) for finding in findings], "notes": notes})
        return
    for finding in findings:
        output.write_text(f"{finding.code} ({finding.count}): {finding.detail}")
    for note in notes:
        output.say(f"note: {note}")
    output.say("nothing found" if not findings else "see docs/check.md for what each code means and what to do")


@contextmanager
def _shown_progress() -> Iterator[OnProgress]:
    """A bar on stderr while a person is looking."""
    if not sys.stderr.isatty():
        yield show_nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks = {step: bar.add_task(text, total=None) for step, text in DESCRIPTIONS.items()}
        yield lambda step, done, total: bar.update(tasks[step], completed=done, total=total)
