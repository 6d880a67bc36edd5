"""`kb conversations`: what was asked and answered, as the server keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from api.cli.jobs import refuse_options
from api.cli.output import put_on_one_line, trim_text
from api.cli.session import NAME, Session, talk_to_server

TRIMMED = 60  # characters of a title in a table
HEADERS = ("id", "title", "turns", "knowledge bases", "updated at")
kb_option = click.option("--kb", type=NAME, help="Only conversations with this knowledge base, by name or id.")


@click.group(invoke_without_command=True)
@kb_option
@click.pass_context
@talk_to_server
def conversations(session: Session, ctx: click.Context, kb: str | None) -> None:
    """Kept conversations, newest first: list, show or delete them."""
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    write_list(session, kb)


@conversations.command("list")
@kb_option
@talk_to_server
def list_conversations(session: Session, kb: str | None) -> None:
    """List the conversations, newest first."""
    write_list(session, kb)


def write_list(session: Session, kb: str | None) -> None:
    found = session.client.list_items("/conversations", {"kb": kb})
    if session.output.as_json:
        for one in found:
            session.output.write_json(one)
        return
    names: dict[str, str] = {}
    rows = []
    for one in found:
        names = names or read_names(session)
        bases = ", ".join(names.get(kb_id, kb_id) for kb_id in one["knowledge_bases"])
        rows.append((one["id"], trim_text(one["title"], TRIMMED), one["turns"], bases, one["updated_at"]))
    if rows:
        session.output.write_table(HEADERS, rows)
    else:
        session.output.say("no conversations")


def read_names(session: Session) -> dict[str, str]:
    return {str(one["id"]): str(one["name"]) for one in session.client.list_items("/knowledge-bases")}


@conversations.command()
@click.argument("conversation_id", type=NAME)
@talk_to_server
def show(session: Session, conversation_id: str) -> None:
    """Show a conversation with its turns, oldest first."""
    found = session.client.get(conversation_path(conversation_id))
    if session.output.as_json:
        session.output.write_json(found)
        return
    for number, turn in enumerate(found["turns"]):
        if number:
            session.output.write_text("")
        write_turn(session, turn)


@conversations.command()
@click.argument("conversation_id", type=NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@talk_to_server
def delete(session: Session, conversation_id: str, *, yes: bool) -> None:
    """Delete a conversation with all its turns, for good."""
    path = conversation_path(conversation_id)
    if not yes:
        found = session.client.get(path)
        question = f"Delete {trim_text(found['title'], TRIMMED)!r} with {len(found['turns'])} turns?"
        click.confirm(question, abort=True, err=True)
    session.client.delete(path)
    if session.output.as_json:
        session.output.write_json({"deleted": conversation_id})
    else:
        session.output.write_text(f"deleted {conversation_id}")


def conversation_path(conversation_id: str) -> str:
    return f"/conversations/{quote(conversation_id, safe='')}"


def write_turn(session: Session, turn: Mapping[str, Any]) -> None:
    session.output.write_text(f"> {put_on_one_line(turn['question'])}")
    answer = turn.get("answer")
    session.output.write_text("(taken out with a document that it rested on)" if answer is None else answer)
    for citation in turn["citations"]:
        session.output.write_text(format_kept(citation))
    write_unsupported(session, answer or "", turn.get("unsupported") or ())


def format_kept(citation: Mapping[str, Any]) -> str:
    """`[1] reports/a.pdf, version 2: “quote”`; without a quote where the document was deleted."""
    place = f"[{citation['number']}] {put_on_one_line(citation['document']['path'])}, version {citation['version']}"
    return place + (": deleted" if citation["quote"] is None else f": “{put_on_one_line(citation['quote'])}”")


def write_unsupported(session: Session, answer: str, places: Sequence[Mapping[str, int]]) -> None:
    """The sentences that no cited passage bears out, one a line behind the citations, and how many on stderr."""
    for place in places:
        session.output.write_text(f"[?] “{put_on_one_line(answer[place['start'] : place['end']])}”")
    if places:
        count = "1 sentence is" if len(places) == 1 else f"{len(places)} sentences are"
        session.output.say(f"{count} borne out by none of the passages: see [?]")
