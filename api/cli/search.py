"""`kb search`: the passages nearest to a question."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import click

from api.cli.output import format_pages, put_on_one_line, trim_text
from api.cli.session import TEXT, Session, address_question, kbs_option, name_place, talk_to_server

TRIMMED = 240  # characters of a passage without --full
INDENT = "    "


class SearchOptions(TypedDict):
    top_k: int | None
    mode: str | None
    max_tokens: int | None
    no_merge: bool
    rerank: bool | None


def search_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what to search for."""
    options = (
        click.option("--top-k", type=int, help="How many chunks to look for."),
        click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), help="Which indexes to ask."),
        click.option("--max-tokens", type=int, help="Budget for the text of all passages."),
        click.option("--no-merge", is_flag=True, help="Do not join neighbouring chunks."),
        click.option("--rerank/--no-rerank", default=None, help="Rerank; by default if the server can."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("question", type=TEXT)
@kbs_option
@search_options
@click.option("--full", is_flag=True, help="Print the whole text of each passage.")
@talk_to_server
def search(
    session: Session, question: str, kbs: Sequence[str], *, full: bool, **options: Unpack[SearchOptions]
) -> None:
    """Find the passages nearest to QUESTION."""
    path, named = address_question(session, "search", kbs)
    answer = session.client.post(path, {**write_query(question, options), **named})
    if session.output.as_json:
        session.output.write_json(answer)
        return
    for number, passage in enumerate(answer["passages"], 1):
        session.output.write_text(format_passage(number, passage, full=full, several=bool(named)))
    if not answer["passages"]:
        session.output.say("nothing found")
    if answer.get("degraded"):
        session.output.say(f"degraded: {', '.join(answer['degraded'])} did not answer")


def write_query(question: str, options: SearchOptions) -> dict[str, Any]:
    """The request's body."""
    return {"query": question, **choose_options(options)}


def choose_options(options: SearchOptions) -> dict[str, Any]:
    """The body's fields that were chosen; the others are left to the server."""
    chosen = {
        "top_k": options["top_k"],
        "mode": options["mode"],
        "max_tokens": options["max_tokens"],
        "merge": False if options["no_merge"] else None,
        "rerank": options["rerank"],
    }
    return {key: value for key, value in chosen.items() if value is not None}


def format_passage(number: int, passage: Mapping[str, Any], *, full: bool, several: bool) -> str:
    """Number, score, path, pages and heading on the first line, then the text, indented, who else has the same text,
    and an empty line."""
    pages = format_pages(passage.get("page_start"), passage.get("page_end"))
    place = [name_place(passage, several=several), pages, passage.get("heading") or ""]
    head = f"{number}. {passage['score']:.4f}  " + "  ".join(put_on_one_line(part) for part in place if part)
    text = passage["text"] if full else trim_text(passage["text"], TRIMMED)
    same = [name_place({**one, "document": one}, several=several) for one in passage.get("duplicates", ())]
    if same:
        text += f"\nalso in {put_on_one_line(', '.join(same))}"
    return f"{head}\n{textwrap.indent(text, INDENT)}\n"
