"""`kb ask --batch`: many questions, each answered once however often it is run.

The file of answers is the record: a line is written and flushed when its answer is there, so a run that is killed loses
at most what was under way. Another run asks what has no answer yet; lines that tell of an error are taken out and their
questions asked again.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from api.cli.client import Client
from api.cli.failures import CallFailed, ExitCode
from api.cli.progress import Stage, show_stage
from api.cli.question_lines import read_object
from api.cli.session import Session, address_question, is_unicode

# What of a line goes to the server; all else (an id, the answer that is expected) only into the line of the answer.
FIELDS = (
    "question", "history", "top_k", "max_context_tokens", "max_tokens", "temperature", "language", "filter", "agent",
    "max_rounds", "response_schema",
)  # fmt: skip
ENDING = frozenset({401, 403, 404})  # of any question, that is
ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One line of the batch. `key` is equal for lines that say the same."""

    line: int
    request: Mapping[str, Any]
    key: str


@dataclass(kw_only=True, slots=True)
class BatchReport:
    """`failure` is why the run ended early; None when every question was asked."""

    answered: int = 0
    refused: int = 0
    failed: int = 0
    skipped: int = 0
    failure: CallFailed | None = None


@dataclass(kw_only=True, slots=True)
class Batch:
    """One run over the questions that have no answer yet. Its threads share the file and the report."""

    client: Client
    path: str
    fields: Mapping[str, Any]
    out: io.FileIO
    stage: Stage
    report: BatchReport
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: Question) -> None:
        if self.report.failure is not None:
            return
        told: dict[str, Any] = {"line": question.line, "request": question.request}
        try:
            answer = self.client.post(self.path, write_body(question.request, self.fields), attempts=ATTEMPTS)
            told["response"] = answer
        except CallFailed as failure:
            if failure.exit_code is ExitCode.UNREACHABLE or failure.status in ENDING:
                self.report.failure = failure
                return
            told["error"] = {"code": failure.code, "detail": failure.detail}
        self._write(told)

    def _write(self, told: Mapping[str, Any]) -> None:
        line = memoryview((json.dumps(told, ensure_ascii=False) + "\n").encode())
        with self.lock:
            try:
                while line:
                    line = line[self.out.write(line) :]
            except OSError as error:
                self.report.failure = self.report.failure or _say_unwritable(self.out.name, error)
                return
            self.report.answered += "response" in told
            self.report.failed += "error" in told
            self.report.refused += bool(told.get("response", {}).get("refused"))
        self.stage.advance(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFiles:
    questions: Path
    out: Path


def run_batch(
    session: Session, kbs: Sequence[str], fields: Mapping[str, Any], files: BatchFiles, concurrency: int
) -> None:
    """Raises UsageError for files that cannot be meant, CallFailed when the server is gone, Exit when a question
    failed."""
    questions = read_questions(files.questions)
    open_questions = leave_out(questions, read_answered(files.out))
    path, named = address_question(session, "ask", kbs)
    report = BatchReport(skipped=len(questions) - len(open_questions))
    with show_stage("asking", len(open_questions)) as stage, open_answers(files.out) as out:
        batch = Batch(client=session.client, path=path, fields={**fields, **named}, out=out, stage=stage, report=report)
        ask_all(batch, open_questions, concurrency)
    tell(session, report)
    if report.failure is not None:
        raise report.failure
    if report.failed:
        raise click.exceptions.Exit(int(ExitCode.FAILED))


def open_answers(path: Path) -> io.FileIO:
    """Without a buffer: what was not written is then known at once, and nothing is left that closing could fail at."""
    try:
        return io.FileIO(path, "a")
    except OSError as error:
        raise _say_unwritable(path, error) from None


def _say_unwritable(path: object, error: OSError) -> CallFailed:
    reason = f"{path} cannot be written: {error.strerror}; the answers before are kept, run it again"
    return CallFailed("out_unwritable", reason, exit_code=ExitCode.FAILED)


def ask_all(batch: Batch, questions: Sequence[Question], concurrency: int) -> None:
    pool = ThreadPoolExecutor(concurrency)
    try:
        for future in [pool.submit(batch.ask, question) for question in questions]:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only what is on its way is finished


def write_body(request: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """With a history of its own, if it is empty: thousands of questions are no conversations to be kept."""
    given = {name: request[name] for name in FIELDS if name in request}
    return {"history": [], **fields, **given}


def read_questions(path: Path) -> list[Question]:
    """Raises UsageError naming the first line that holds no question."""
    questions = []
    for line, text in iter_lines(path):
        request = read_object(text)
        if request is None or not isinstance(request.get("question"), str) or not request["question"].strip():
            raise click.UsageError(f'{path}, line {line}: not a JSON object like {{"question": "…"}}')
        questions.append(Question(line=line, request=request, key=write_key(request)))
    return questions


def read_answered(path: Path) -> list[tuple[int, str]]:
    """Line and key of the questions that have an answer in the file. What else is in it, errors and a torn last line,
    is taken out. Raises UsageError when it is another kind of file."""
    if not path.exists():
        return []
    lines = list(iter_lines(path, torn=True))
    answered, kept = [], []
    for place, (line, text) in enumerate(lines):
        told = read_object(text) if is_unicode(text) else None
        if told is None and place == len(lines) - 1:
            continue  # the run was killed while it wrote
        if told is None or not isinstance(told.get("request"), dict) or not {"response", "error"} & told.keys():
            raise click.UsageError(f"{path}, line {line}: no answer of `kb ask --batch`; name another file")
        if "response" in told:
            number = told.get("line")
            answered.append((number if isinstance(number, int) else 0, write_key(told["request"])))
            kept.append(text)
    if len(kept) < len(lines) or not path.read_bytes().endswith(b"\n"):
        replace_lines(path, kept)
    return answered


def leave_out(questions: Sequence[Question], answered: Sequence[tuple[int, str]]) -> list[Question]:
    """The questions without those that are answered: as often as they are, were their lines moved meanwhile."""
    in_place = set(answered) & {(one.line, one.key) for one in questions}
    moved = Counter(key for line, key in answered if (line, key) not in in_place)
    rest = []
    for one in questions:
        if (one.line, one.key) in in_place:
            continue
        if moved[one.key]:
            moved[one.key] -= 1
        else:
            rest.append(one)
    return rest


def replace_lines(path: Path, lines: Sequence[str]) -> None:
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_key(request: Mapping[str, Any]) -> str:
    return json.dumps(request, ensure_ascii=False, sort_keys=True)


def iter_lines(path: Path, *, torn: bool = False) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers. Raises UsageError for a file that cannot be read as UTF-8. One that
    may be `torn` ends anywhere, within a character as well: what is no UTF-8 is then left for the caller to see."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape" if torn else "strict")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{path} cannot be read: {reason}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def tell(session: Session, report: BatchReport) -> None:
    counts = {name: getattr(report, name) for name in ("answered", "refused", "failed", "skipped")}
    if session.output.as_json:
        session.output.write_json(counts)
        return
    parts = [f"{report.answered} answered"]
    parts += [f"{report.refused} of them refused"] if report.refused else []
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{report.skipped} answered before"] if report.skipped else []
    session.output.say(", ".join(parts))
