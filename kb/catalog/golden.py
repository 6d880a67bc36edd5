"""Golden questions: what each knowledge base must go on answering."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.errors import InvalidInput, NotFound
from kb.types import GoldenQuestion, NewGoldenQuestion

MOST_QUESTIONS = 1_000  # a knowledge base: each is searched twice whenever the gate is asked

_Key = tuple[str, frozenset[str], frozenset[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedQuestions:
    """`questions` are those asked for, in order, each as it is kept; `added` of them are new, `total` is the count
    of the knowledge base."""

    questions: Sequence[GoldenQuestion]
    added: int
    total: int


class GoldenQuestions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kb_id: str, drafts: Sequence[NewGoldenQuestion], *, replace: bool = False) -> AddedQuestions:
        """All or none; with `replace` they take the place of all that were there. What is there already is not added
        a second time, so that a request may be repeated.

        Raises NotFound (`knowledge_base_not_found`), InvalidInput (`too_many_golden_questions`).
        """
        with self._database.write() as connection:
            _check_alive(connection, kb_id)
            known = {_make_key(one): one for _, one in _fetch(connection, kb_id)}
            wanted = {_make_key(draft): draft for draft in drafts}
            if replace:
                gone = [one.id for key, one in known.items() if key not in wanted]
                _delete_all(connection, gone)
                known = {key: one for key, one in known.items() if key in wanted}
            rows = [_make_row(kb_id, draft) for key, draft in wanted.items() if key not in known]
            _check_count(len(known) + len(rows))
            if rows:
                connection.execute(insert(t.golden_question), rows)
            known |= {_make_key(one): one for one in map(_to_question, rows)}
        questions = [known[_make_key(draft)] for draft in drafts]
        return AddedQuestions(questions=questions, added=len(rows), total=len(known))

    def list_questions(self, kb_id: str, limit: int, after: int = 0) -> list[tuple[int, GoldenQuestion]]:
        """In the order in which they were added, each with its place in it; `after` is the last place seen."""
        with self._database.read() as connection:
            return _fetch(connection, kb_id, limit, after)

    def list_all(self, kb_id: str) -> list[GoldenQuestion]:
        with self._database.read() as connection:
            return [question for _, question in _fetch(connection, kb_id)]

    def get(self, kb_id: str, question_id: str) -> GoldenQuestion:
        """Raises NotFound (`golden_question_not_found`)."""
        with self._database.read() as connection:
            return _get(connection, kb_id, question_id)

    def update(self, kb_id: str, question_id: str, changed: NewGoldenQuestion) -> GoldenQuestion:
        """Raises NotFound (`golden_question_not_found`)."""
        with self._database.write() as connection:
            _get(connection, kb_id, question_id)
            row = t.golden_question.c.id == question_id
            connection.execute(update(t.golden_question).where(row).values(**_describe(changed)))
            return _get(connection, kb_id, question_id)

    def delete(self, kb_id: str, question_id: str) -> None:
        """Raises NotFound (`golden_question_not_found`)."""
        with self._database.write() as connection:
            _get(connection, kb_id, question_id)
            _delete_all(connection, [question_id])


def _check_alive(connection: Connection, kb_id: str) -> None:
    kb = t.knowledge_base.c
    alive = select(kb.id).where(kb.id == kb_id, kb.deleted_at.is_(None))
    if connection.execute(alive).first() is None:
        raise NotFound("knowledge_base_not_found", f"there is no knowledge base {kb_id!r}")


def _check_count(count: int) -> None:
    if count > MOST_QUESTIONS:
        detail = f"the knowledge base would have {count} golden questions, {MOST_QUESTIONS} is the most"
        raise InvalidInput("too_many_golden_questions", f"{detail}; delete some, or import with replace")


def _make_key(one: GoldenQuestion | NewGoldenQuestion) -> _Key:
    """Equal for what asks for the same."""
    return one.question, frozenset(one.paths), frozenset(one.answers)


def _describe(draft: NewGoldenQuestion) -> dict[str, Any]:
    return {"question": draft.question, "paths": list(draft.paths), "answers": list(draft.answers)}


def _make_row(kb_id: str, draft: NewGoldenQuestion) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "kb_id": kb_id, "created_at": datetime.now(UTC), **_describe(draft)}


def _delete_all(connection: Connection, ids: Sequence[str]) -> None:
    for first in range(0, len(ids), 500):
        part = ids[first : first + 500]
        connection.execute(delete(t.golden_question).where(t.golden_question.c.id.in_(part)))


def _fetch(
    connection: Connection, kb_id: str, limit: int = MOST_QUESTIONS, after: int = 0
) -> list[tuple[int, GoldenQuestion]]:
    row = t.golden_question.c
    query = select(t.golden_question).where(row.kb_id == kb_id, row.seq > after).order_by(row.seq).limit(limit)
    return [(found["seq"], _to_question(found)) for found in connection.execute(query).mappings()]


def _get(connection: Connection, kb_id: str, question_id: str) -> GoldenQuestion:
    row = t.golden_question.c
    query = select(t.golden_question).where(row.kb_id == kb_id, row.id == question_id)
    found = connection.execute(query).mappings().one_or_none()
    if found is None:
        raise NotFound("golden_question_not_found", f"there is no golden question {question_id[:64]!r}")
    return _to_question(found)


def _to_question(row: RowMapping | Mapping[str, Any]) -> GoldenQuestion:
    return GoldenQuestion(
        id=row["id"],
        question=row["question"],
        paths=row["paths"],
        answers=row["answers"],
        created_at=row["created_at"],
    )
