"""`kb documents` and `kb rm`: the documents of a knowledge base."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import click

from api.cli.client import Client, kb_path
from api.cli.failures import CallFailed, ExitCode
from api.cli.ledger import describe_pages, is_partial, warn_of_partial, write_ledger
from api.cli.output import format_size, put_on_one_line
from api.cli.session import TEXT, Session, choose_knowledge_base, kb_option, talk_to_server

STATUSES = ("pending", "indexing", "ready", "failed")
HEADERS = ("path", "status", "pages", "chunks", "size", "language", "error")
FIELDS = (
    "path", "id", "title", "status", "error", "media_type", "size", "language", "encoding", "pages", "coverage",
    "chunks", "version", "live_version", "updated_at",
)  # fmt: skip


class DocumentOptions(TypedDict):
    status: str | None
    prefix: str | None
    partial: bool


@click.command()
@click.argument("name", metavar="[PATH_OR_ID]", required=False, type=TEXT)
@kb_option
@click.option("--status", type=click.Choice(STATUSES), help="Only documents in this state.")
@click.option("--prefix", type=TEXT, help="Only documents whose path begins so.")
@click.option("--partial", is_flag=True, help="Only documents of which some pages have text and others have none.")
@talk_to_server
def documents(session: Session, name: str | None, kb: str | None, **only: Unpack[DocumentOptions]) -> None:
    """List the documents of a knowledge base; or show one, with what became of each of its pages."""
    if name is not None and any(only.values()):
        raise click.UsageError("one document takes neither --status, --prefix nor --partial")
    chosen = choose_knowledge_base(session, kb)
    if name is not None:
        show_document(session, chosen, name)
        return
    coverage = "partial" if only["partial"] else None
    query = {"status": only["status"], "path_prefix": only["prefix"], "coverage": coverage}
    found = session.client.list_items(kb_path(chosen, "documents"), query)
    if session.output.as_json:
        for document in found:
            session.output.write_json(document)
        return
    listed = list(found)
    if listed:
        session.output.write_table(HEADERS, [make_row(document) for document in listed])
    session.output.say(f"{len(listed)} documents")
    if not only["partial"]:
        warn_of_partial(session.output, [one for one in listed if is_partial(one)], kb)


def show_document(session: Session, kb: str, name: str) -> None:
    """All that is known of one document, and its ledger. Raises CallFailed (`document_not_found`)."""
    place = kb_path(kb, "documents", find_id(session.client, kb, name))
    document = session.client.get(place)
    ledger = list(session.client.list_items(f"{place}/pages"))
    if session.output.as_json:
        session.output.write_json({**document, "ledger": ledger})
        return
    for key in FIELDS:
        session.output.write_text(f"{key.replace('_', ' ') + ':':<13} {show_field(document, key)}".rstrip())
    if ledger:
        session.output.write_text("")
        write_ledger(session.output, ledger)


def show_field(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if key == "error":
        return put_on_one_line(f"{value['code']}: {value['detail']}")
    if key == "coverage":
        return f"{100 * value:.0f} % of the pages"
    return format_size(value) if key == "size" else put_on_one_line(str(value))


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
        describe_pages(document),
        document.get("chunks"),
        size,
        document.get("language"),
        error.get("code"),
    )


@click.command()
@click.argument("paths", metavar="[PATH_OR_ID]...", nargs=-1, type=TEXT)
@kb_option
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
