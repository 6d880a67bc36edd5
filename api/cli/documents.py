"""`kb documents` and `kb rm`: the documents of a knowledge base."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from api.cli.client import Client, kb_path
from api.cli.failures import CallFailed, ExitCode
from api.cli.output import format_size
from api.cli.session import NAME, TEXT, Session, choose_knowledge_base, talk_to_server

STATUSES = ("pending", "indexing", "ready", "failed")
HEADERS = ("path", "status", "pages", "chunks", "size", "language", "error")


@click.command()
@click.option("--kb", type=NAME, help="Knowledge base, by name or id; may be left out when there is one.")
@click.option("--status", type=click.Choice(STATUSES), help="Only documents in this state.")
@click.option("--prefix", type=TEXT, help="Only documents whose path begins so.")
@talk_to_server
def documents(session: Session, kb: str | None, status: str | None, prefix: str | None) -> None:
    """List the documents of a knowledge base."""
    kb = choose_knowledge_base(session, kb)
    found = session.client.list_items(kb_path(kb, "documents"), {"status": status, "path_prefix": prefix})
    if session.output.as_json:
        for document in found:
            session.output.write_json(document)
        return
    rows = [make_row(document) for document in found]
    if rows:
        session.output.write_table(HEADERS, rows)
    session.output.say(f"{len(rows)} documents")


def make_row(document: Mapping[str, Any]) -> Sequence[object]:
    """One line of the table: status is the newest attempt's, and says so when an older version still answers."""
    status = document["status"]
    live = document.get("live_version")
    if status != "ready" and live is not None:
        status += f" (version {live} answers)"
    error = document.get("error") or {}
    size = format_size(document.get("size") or 0)
    return (
        document["path"],
        status,
        document.get("pages"),
        document.get("chunks"),
        size,
        document.get("language"),
        error.get("code"),
    )


@click.command()
@click.argument("paths", metavar="[PATH_OR_ID]...", nargs=-1, type=TEXT)
@click.option("--kb", type=NAME, help="Knowledge base, by name or id; may be left out when there is one.")
@click.option("--prefix", type=TEXT, help="Delete every document whose path begins so.")
@click.option("--yes", is_flag=True, help="With --prefix: do not ask.")
@talk_to_server
def rm(session: Session, paths: Sequence[str], kb: str | None, prefix: str | None, *, yes: bool) -> None:
    """Delete documents, by path or id, or all whose path begins with --prefix. They answer nothing from then on."""
    if bool(paths) == (prefix is not None):
        raise click.UsageError("name documents by path or id, or say --prefix")
    kb = choose_knowledge_base(session, kb)
    if prefix is not None:
        if not yes:
            click.confirm(f"Delete every document of {kb} whose path begins with {prefix}?", abort=True, err=True)
        body: Mapping[str, Any] = {"path_prefix": prefix}
    else:
        body = {"ids": find_ids(session.client, kb, paths)}
    answer = session.client.post(kb_path(kb, "documents", "delete"), body)
    if session.output.as_json:
        session.output.write_json(answer)
    else:
        session.output.write_text(f"deleted {answer['deleted']} documents")


def find_ids(client: Client, kb: str, names: Iterable[str]) -> list[str]:
    """The id for each path or id. Raises CallFailed (`document_not_found`) before anything is deleted."""
    return list(dict.fromkeys(find_id(client, kb, name) for name in names))


def find_id(client: Client, kb: str, name: str) -> str:
    path = unicodedata.normalize("NFC", name)
    for document in client.list_items(kb_path(kb, "documents"), {"path_prefix": path}):
        if document["path"] == path:
            return str(document["id"])
    if "/" not in name and name not in {".", ".."}:
        try:
            return str(client.get(kb_path(kb, "documents", name))["id"])
        except CallFailed as error:
            if error.exit_code is not ExitCode.REFUSED:
                raise
    raise CallFailed("document_not_found", f"no document has the path or id {name}", exit_code=ExitCode.REFUSED)
