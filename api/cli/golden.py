"""`kb golden`: the questions that a knowledge base must go on answering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, BinaryIO, TypedDict, Unpack

import click

from api.cli.calibration import (
    Calibration,
    Labelled,
    MixedMeasures,
    Rate,
    calibrate_measured,
    read_labelled,
)
from api.cli.client import kb_path
from api.cli.failures import CallFailed
from api.cli.jobs import refuse_options
from api.cli.output import trim_text
from api.cli.progress import show_stage
from api.cli.question_lines import BadQuestions
from api.cli.session import NAME, TEXT, Session, choose_knowledge_base, kb_option, talk_to_server

TRIMMED = 60  # characters of a question in a table
MOST_FAULTS = 20  # of an import, told on the terminal
BOM = b"\xef\xbb\xbf"  # put before UTF-8 by some editors; no JSON
FIELDS = ("question", "paths", "answers")


class CalibrateOptions(TypedDict):
    kb: str | None
    most: float
    dry_run: bool
    force: bool


@click.group(invoke_without_command=True)
@kb_option
@click.pass_context
@talk_to_server
def golden(session: Session, ctx: click.Context, kb: str | None) -> None:
    """Questions that a knowledge base must go on answering: list, add, import, export, delete or ask them."""
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    write_list(session, kb)


@golden.command("list")
@kb_option
@talk_to_server
def list_questions(session: Session, kb: str | None) -> None:
    """List the golden questions."""
    write_list(session, kb)


def write_list(session: Session, kb: str | None) -> None:
    found = session.client.list_items(golden_path(session, kb))
    if session.output.as_json:
        for one in found:
            session.output.write_json(one)
        return
    rows = [
        (one["id"], trim_text(one["question"], TRIMMED), ", ".join(one["paths"]), ", ".join(one["answers"]))
        for one in found
    ]
    if rows:
        session.output.write_table(("id", "question", "paths", "answers"), rows)
    else:
        session.output.say("no golden questions")


@golden.command()
@click.argument("question", type=TEXT)
@click.option(
    "--path", "paths", multiple=True, type=TEXT, help="A document that answers it, or a folder with / at its end."
)
@click.option("--answer", "answers", multiple=True, type=TEXT, help="Words that the passage found must hold.")
@kb_option
@talk_to_server
def add(session: Session, question: str, paths: Sequence[str], answers: Sequence[str], kb: str | None) -> None:
    """Add QUESTION with what must be found for it: one of the paths, one of the answers, or both."""
    if not paths and not answers:
        raise click.UsageError("say what must be found: --path, --answer or both")
    body = {"question": question, "paths": list(paths), "answers": list(answers)}
    made = session.client.post(golden_path(session, kb), body)
    if session.output.as_json:
        session.output.write_json(made)
    else:
        session.output.write_text(f"added {made['id']}")


@golden.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--replace", is_flag=True, help="In place of those that are there.")
@kb_option
@talk_to_server
def import_questions(session: Session, file: BinaryIO, kb: str | None, *, replace: bool) -> None:
    """Add the questions of FILE, all or none: one JSON object a line with question, paths, answers. - reads stdin."""
    data = file.read().removeprefix(BOM)
    path = golden_path(session, kb, "import") + ("?replace=true" if replace else "")
    try:
        answer = session.client.upload(path, lambda: [data], {"Content-Type": "application/x-ndjson"})
    except CallFailed as error:
        for fault in error.body.get("errors", [])[1:MOST_FAULTS]:  # the first is told as the command's own error
            session.output.say(f"{fault['code']}: {fault['field']}: {fault['detail']}")
        raise
    if session.output.as_json:
        session.output.write_json(answer)
    else:
        session.output.write_text(f"added {answer['added']}, unchanged {answer['unchanged']}, now {answer['total']}")


@golden.command()
@kb_option
@talk_to_server
def export(session: Session, kb: str | None) -> None:
    """Print the questions as `import` takes them: one JSON object a line, with --json or without."""
    for one in session.client.list_items(golden_path(session, kb)):
        session.output.write_json({name: one[name] for name in FIELDS})


@golden.command()
@click.argument("question_id", metavar="ID", type=NAME)
@kb_option
@talk_to_server
def rm(session: Session, question_id: str, kb: str | None) -> None:
    """Delete one golden question."""
    session.client.delete(golden_path(session, kb, question_id))
    if session.output.as_json:
        session.output.write_json({"deleted": question_id})
    else:
        session.output.write_text(f"deleted {question_id}")


@golden.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--most",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of answerable ones it may refuse.",
)
@click.option("--dry-run", is_flag=True, help="Only tell; set nothing.")
@click.option("--force", is_flag=True, help="Set it although it is near chance.")
@kb_option
@talk_to_server
def calibrate(session: Session, file: BinaryIO, **options: Unpack[CalibrateOptions]) -> None:
    """Find below which relevance the knowledge base refuses to answer, and set it.

    FILE has one JSON object a line with question and answerable, true or false; golden questions, as `export` prints
    them, count as answerable. - reads stdin. Each is searched as `kb ask` does it.
    """
    try:
        questions = read_labelled(file.read())
    except BadQuestions as error:
        raise click.BadParameter(str(error), param_hint="FILE") from None
    base = choose_knowledge_base(session, options["kb"])
    try:
        found = calibrate_measured(questions, search_all(session, base, questions), options["most"])
    except MixedMeasures as error:
        raise click.ClickException(str(error)) from None
    rule = {"threshold": found.threshold, "measure": found.measure}
    stored = not options["dry_run"] and (options["force"] or not found.is_near_chance)
    if stored:
        session.client.patch(kb_path(base), {"refusal": rule})
    if session.output.as_json:
        rates = {name: asdict(getattr(found, name)) for name in ("answerable", "unanswerable", "auc")}
        session.output.write_json({**rule, **rates, "near_chance": found.is_near_chance, "stored": stored})
    else:
        tell_calibration(session, found, stored=stored)


def search_all(session: Session, base: str, questions: Sequence[Labelled]) -> list[dict[str, Any] | None]:
    """The relevance of what is found for each question; None where nothing is."""
    path, found = kb_path(base, "search"), []
    with show_stage("questions", len(questions)) as stage:
        for one in questions:
            found.append(session.client.post(path, {"query": one.question, "relevance": True})["relevance"])
            stage.advance(1)
    return found


def tell_calibration(session: Session, found: Calibration, *, stored: bool) -> None:
    rows = [
        ("threshold", f"{found.threshold:.4f}", f"by {found.measure}"),
        ("refused, answerable", *format_rate(found.answerable)),
        ("refused, unanswerable", *format_rate(found.unanswerable)),
        ("told apart (AUC)", *format_rate(found.auc)),
    ]
    session.output.write_table(("", "", "95 % interval"), rows)
    if found.is_near_chance:
        session.output.say("near chance: relevance hardly tells these questions apart; a chat model must")
    if not stored:
        session.output.say("nothing was set" + ("; --force sets it" if found.is_near_chance else ""))


def format_rate(rate: Rate) -> tuple[str, str]:
    return f"{rate.share:.3f}", f"{rate.low:.3f} to {rate.high:.3f}"


@golden.command()
@kb_option
@talk_to_server
def run(session: Session, kb: str | None) -> None:
    """Ask all of them now: at which rank is each answered?"""
    answer = session.client.post(golden_path(session, kb, "run"))
    if session.output.as_json:
        session.output.write_json(answer)
        return
    rows = [(one["rank"] or "–", trim_text(one["question"], TRIMMED)) for one in answer["items"]]
    if rows:
        session.output.write_table(("rank", "question"), rows)
    rates = f"hit rate {answer['hit_rate']:.3f}, mean reciprocal rank {answer['mrr']:.3f}"
    session.output.say(f"{rates}, of {answer['questions']} questions" if rows else "no golden questions")
    if answer.get("degraded"):
        session.output.say(f"degraded: {', '.join(answer['degraded'])} did not answer")


def golden_path(session: Session, kb: str | None, *rest: str) -> str:
    return kb_path(choose_knowledge_base(session, kb), "golden-questions", *rest)
