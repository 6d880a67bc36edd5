"""`kb eval`: how well a knowledge base answers a file of questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO, Unpack

import click

from api.cli.client import kb_path
from api.cli.evaluation import (
    BUDGETS,
    Comparison,
    Run,
    ask_all,
    compare_runs,
    read_questions,
    read_run,
    write_run,
)
from api.cli.evaluation_page import write_page
from api.cli.output import trim_text
from api.cli.progress import show_stage
from api.cli.question_lines import BadQuestions
from api.cli.search import SearchOptions, choose_options, search_options
from api.cli.session import Session, choose_knowledge_base, kb_option, talk_to_server
from kb.types import NewGoldenQuestion

TRIMMED = 80  # characters of a question on the terminal
MOST_TOLD = 20  # questions gained or lost, on the terminal
FILE = click.Path(dir_okay=False, path_type=Path)


# Asked for unless the options say otherwise: the budgets want more than a search gives by itself.
ASKED = {"top_k": 20, "mode": "hybrid", "max_tokens": 2048, "merge": True}


class EvalOptions(SearchOptions):
    kb: str | None
    out: Path | None
    page: Path | None
    against: BinaryIO | None


@click.command("eval")
@click.argument("questions", type=click.File("rb"))
@kb_option
@search_options
@click.option("--out", type=FILE, help="Write the run as JSON here, to compare a later one with.")
@click.option("--html", "page", type=FILE, help="Write a report with plots here, one file that needs no network.")
@click.option("--against", type=click.File("rb"), help="An earlier run (--out) to compare with.")
@talk_to_server
def evaluate(session: Session, questions: BinaryIO, **options: Unpack[EvalOptions]) -> None:
    """Ask all of QUESTIONS and tell at which rank, and within how many tokens, each is answered.

    QUESTIONS is a file of one JSON object a line with question, paths, answers, as `kb golden import` reads it; - is
    stdin. Each is asked for 20 chunks and 2,048 tokens, unless the options say otherwise.
    """
    earlier = read_earlier(options["against"])
    try:
        asked = read_questions(questions.read())
    except BadQuestions as error:
        raise click.BadParameter(str(error), param_hint="QUESTIONS") from None
    run = ask_server(session, asked, options)
    comparison = compare_runs(earlier, run) if earlier else None
    document = write_run(run)
    if options["out"]:
        options["out"].write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if options["page"]:
        options["page"].write_text(write_page(run, earlier, comparison), encoding="utf-8")
    if session.output.as_json:
        changed = {"gained": list(comparison.gained), "lost": list(comparison.lost)} if comparison else {}
        session.output.write_json({**document, **changed})
    else:
        tell_run(session, run, earlier, comparison)


def read_earlier(file: BinaryIO | None) -> Run | None:
    try:
        return read_run(file.read()) if file else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--against") from None


def ask_server(session: Session, questions: list[NewGoldenQuestion], options: EvalOptions) -> Run:
    kb = choose_knowledge_base(session, options["kb"])
    name = str(session.client.get(kb_path(kb))["name"])
    path = kb_path(kb, "search")
    asked = {**ASKED, **choose_options(options)}
    outcomes, degraded, revision = [], set(), None
    with show_stage("questions", len(questions)) as stage:
        for outcome, answer in ask_all(questions, lambda query: session.client.post(path, {"query": query, **asked})):
            outcomes.append(outcome)
            degraded.update(answer["degraded"])
            revision = answer["revision"]
            stage.advance(1)
    return Run(knowledge_base=name, asked=asked, revision=revision, outcomes=outcomes, degraded=sorted(degraded))


def tell_run(session: Session, run: Run, earlier: Run | None, comparison: Comparison | None) -> None:
    runs = [run] if earlier is None else [earlier, run]
    rows = [
        ("questions", *(len(one.outcomes) for one in runs)),
        ("hit rate", *(f"{one.hit_rate:.3f}" for one in runs)),
        ("mean reciprocal rank", *(f"{one.mrr:.3f}" for one in runs)),
        *((f"answered within {budget} tokens", *(f"{one.answered_within(budget):.3f}" for one in runs))
          for budget in BUDGETS),
        ("median search, ms", *(f"{one.find_latency(50):.1f}" for one in runs)),
        ("95 % of searches, ms", *(f"{one.find_latency(95):.1f}" for one in runs)),
    ]  # fmt: skip
    session.output.write_table(("", "now") if earlier is None else ("", "before", "now"), rows)
    for name, found in (("gained", comparison.gained), ("lost", comparison.lost)) if comparison else ():
        for question in found[:MOST_TOLD]:
            session.output.write_text(f"{name}: {trim_text(question, TRIMMED)}")
    if run.degraded:
        session.output.say(f"degraded: {', '.join(run.degraded)} did not answer in some search")
