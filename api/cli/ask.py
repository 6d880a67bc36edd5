"""`kb ask`: a question, the answer as it is written, and what it rests on; or a file of questions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click

from api.cli.batch import BatchFiles, run_batch
from api.cli.conversations import write_unsupported
from api.cli.failures import CallFailed, ExitCode
from api.cli.output import format_pages, put_on_one_line
from api.cli.schema_file import read_schema
from api.cli.session import NAME, TEXT, Session, address_question, kbs_option, name_place, talk_to_server

MOST_AT_ONCE = 64
FILE = click.Path(dir_okay=False, path_type=Path)


class AskOptions(TypedDict):
    kbs: Sequence[str]
    language: str | None
    no_stream: bool
    conversation: str | None
    interactive: bool
    batch: Path | None
    out: Path | None
    concurrency: int
    schema: Path | None
    agent: bool
    max_rounds: int | None


@click.command()
@click.argument("question", type=TEXT, required=False)
@kbs_option
@click.option("--language", type=click.Choice(["auto", "zh", "en"]), help="Language of the answer.")
@click.option("--schema", type=FILE, help="JSON Schema of an answer that is to be JSON.")
@click.option("--agent", is_flag=True, help="Let the chat model search again itself before it answers.")
@click.option("--max-rounds", type=int, help="Rounds in which it may, 1 to 6 (default 3); goes with --agent.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, not as it is written.")
@click.option(
    "--conversation", type=NAME, metavar="ID", help="Go on with a conversation, which an earlier answer named."
)
@click.option("--interactive", "-i", is_flag=True, help="Read more questions from standard input, one a line.")
@click.option("--batch", type=FILE, help='Ask every line of a file, {"question": "…"} each; needs --out.')
@click.option(
    "--out", type=FILE, help="Where the answers of --batch go, a line each; what is answered there is skipped."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_AT_ONCE),
    default=4,
    show_default=True,
    help="Questions of --batch asked at once.",
)
@talk_to_server
def ask(session: Session, question: str | None, **options: Unpack[AskOptions]) -> None:
    """Ask QUESTION, or a file of questions, and get answers with citations."""
    fields = read_fields(options)
    files = choose_files(question, options)
    if files is not None:
        run_batch(session, options["kbs"], fields, files, options["concurrency"])
        return
    path, named = address_question(session, "ask", options["kbs"])
    body: dict[str, Any] = {**named, **fields}
    if options["conversation"] is not None:
        body["conversation_id"] = options["conversation"]
    door = Door(session=session, path=path, several=bool(named), whole=options["no_stream"])
    if options["interactive"]:
        talk(door, body, question)
        return
    name_conversation(session, ask_once(door, {"question": question, **body}).get("conversation_id"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """Where questions go, and whether their answers are printed as they are written."""

    session: Session
    path: str
    several: bool
    whole: bool


def ask_once(door: Door, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask, and print the answer with what it rests on. Raises CallFailed."""
    session = door.session
    if session.output.as_json:
        answer: Mapping[str, Any] = session.client.post(door.path, body)
        session.output.write_json(answer)
        return answer
    answer = ask_whole(session, door.path, body) if door.whole else ask_streamed(session, door.path, body)
    write_sources(session, answer, several=door.several)
    return answer


def talk(door: Door, body: dict[str, Any], question: str | None) -> None:
    """One question after another, within one conversation, until the input ends. A question that fails is not the end;
    the last failure gives the exit code."""
    code = 0
    for one in chain([question] if question else [], read_questions()):
        try:
            body["conversation_id"] = ask_once(door, {"question": one, **body}).get("conversation_id")
        except CallFailed as error:
            code = int(error.exit_code)
            door.session.output.say(f"{error.code}: {put_on_one_line(error.detail)}")
    name_conversation(door.session, body.get("conversation_id"))
    if code:
        raise click.exceptions.Exit(code)


def read_questions() -> Iterator[str]:
    """The lines of standard input that hold anything; on a terminal each is asked for."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # bytes that are no text are no reason to end
    while True:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def name_conversation(session: Session, conversation_id: str | None) -> None:
    if conversation_id is not None and not session.output.as_json:
        session.output.say(f"conversation: {conversation_id}")


def read_fields(options: AskOptions) -> dict[str, Any]:
    """What the question's body says beside the question. Raises UsageError for rounds without --agent, and for a file
    that holds no schema."""
    if options["max_rounds"] is not None and not options["agent"]:
        raise click.UsageError("--max-rounds goes with --agent")
    chosen = {
        "language": options["language"],
        "agent": options["agent"] or None,
        "max_rounds": options["max_rounds"],
        "response_schema": None if options["schema"] is None else read_schema(options["schema"]),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def choose_files(question: str | None, options: AskOptions) -> BatchFiles | None:
    """None when one question is asked. Raises UsageError for what cannot be meant."""
    batch, out = options["batch"], options["out"]
    if (question is None) == (batch is None) and not (options["interactive"] and batch is None):
        raise click.UsageError("say either QUESTION or --batch FILE")
    if batch is not None and (options["interactive"] or options["conversation"] is not None):
        raise click.UsageError("--batch keeps no conversation: --conversation and --interactive do not go with it")
    if (batch is None) != (out is None):
        raise click.UsageError("--batch FILE and --out FILE go together")
    if batch is None or out is None:
        return None
    if batch.resolve() == out.resolve():
        raise click.UsageError("--batch and --out name the same file")
    return BatchFiles(questions=batch, out=out)


def ask_whole(session: Session, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = session.client.post(path, body)
    for step in answer.get("steps", ()):
        session.output.say(format_step(step))
    session.output.write_text(answer["answer"])
    return answer


def ask_streamed(session: Session, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Print tokens as they come. The final answer is printed again when it differs: its citations are checked by then.

    Raises CallFailed with the code of an `error` event, or `answer_cut_off` when the stream ends without an answer.
    """
    written = ""
    with session.client.stream(path, {**body, "stream": True}) as events:
        for event, data in events:
            if event == "token":
                text = str(data.get("text", ""))
                written += text
                session.output.write_text(text, end="")
            elif event == "step":
                session.output.say(format_step(data))
            elif event == "error":
                end_line(session, written)
                code, detail = str(data.get("code", "server_error")), str(data.get("detail", ""))
                raise CallFailed(code, detail, exit_code=ExitCode.SERVER_ERROR)
            elif event == "done":
                finish_answer(session, written, data["answer"])
                return data
    end_line(session, written)
    raise CallFailed("answer_cut_off", "the stream ended before the answer was whole", exit_code=ExitCode.SERVER_ERROR)


def finish_answer(session: Session, written: str, answer: str) -> None:
    end_line(session, written)
    if written.strip() != answer.strip():
        heading = "\nfinal answer:\n" if written.strip() else ""
        session.output.write_text(heading + answer)


def end_line(session: Session, written: str) -> None:
    if written and not written.endswith("\n"):
        session.output.write_text("")


def write_sources(session: Session, answer: Mapping[str, Any], *, several: bool) -> None:
    """The citations, one a line, or that the question was refused."""
    if answer.get("refused"):
        session.output.say("refused: the documents do not answer this question")
    if answer.get("cut_off"):
        session.output.say("cut off: the chat model had written as much as an answer may have")
    if answer["citations"]:
        session.output.write_text("")
    for citation in answer["citations"]:
        session.output.write_text(format_citation(citation, several=several))
    write_unsupported(session, str(answer["answer"]), answer.get("unsupported") or ())


def format_step(step: Mapping[str, Any]) -> str:
    """`1. search “dome weight”: 2 new`; with what went wrong in place of the count."""
    outcome = step["error"] or f"{step['found']} new"
    return f"{step['round']}. {put_on_one_line(step['tool'])} “{put_on_one_line(step['query'])}”: {outcome}"


def format_citation(citation: Mapping[str, Any], *, several: bool) -> str:
    """`[1] reports/a.pdf, p. 3: “quote”`; of several knowledge bases with its name before the path."""
    pages = format_pages(citation.get("page_start"), citation.get("page_end"))
    place = ", ".join(part for part in (put_on_one_line(name_place(citation, several=several)), pages) if part)
    return f"[{citation['number']}] {place}: “{put_on_one_line(citation['quote'])}”"
