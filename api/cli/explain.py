"""`kb explain`: why a search finds a document or does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import click

from api.cli.client import kb_path
from api.cli.output import put_on_one_line
from api.cli.search import SearchOptions, search_options, write_query
from api.cli.session import NAME, TEXT, Session, choose_knowledge_base, kb_option, talk_to_server

HEADERS = ("stage", "present", "rank", "score", "reason")


@click.command()
@click.argument("words", metavar="[KB] QUESTION DOCUMENT", nargs=-1, type=TEXT)
@kb_option
@search_options
@talk_to_server
def explain(session: Session, words: Sequence[str], kb: str | None, **options: Unpack[SearchOptions]) -> None:
    """Say at which stage a search for QUESTION finds or loses DOCUMENT, by path or id, and why."""
    named, question, document = read_words(words, kb)
    chosen = choose_knowledge_base(session, named)
    body = {**write_query(question, options), "document": document}
    answer = session.client.post(kb_path(chosen, "explain"), body)
    if session.output.as_json:
        session.output.write_json(answer)
        return
    session.output.write_text(f"{answer['verdict']}  {put_on_one_line(answer['document']['path'])}\n")
    session.output.write_table(HEADERS, [make_row(stage) for stage in answer["stages"]])
    if answer.get("degraded"):
        session.output.say(f"degraded: {', '.join(answer['degraded'])} did not answer")


def read_words(words: Sequence[str], kb: str | None) -> tuple[str | None, str, str]:
    """Knowledge base, question and document. Raises UsageError."""
    if len(words) == 3 and kb is None:
        return NAME.convert(words[0], None, None), words[1], words[2]
    if len(words) != 2:
        raise click.UsageError("say a question and a document: kb explain [--kb NAME] QUESTION DOCUMENT")
    return kb, words[0], words[1]


def make_row(stage: Mapping[str, Any]) -> Sequence[object]:
    score = stage.get("score")
    present = "yes" if stage["present"] else "no"
    return (stage["name"], present, stage.get("rank"), None if score is None else round(score, 4), stage["reason"])
