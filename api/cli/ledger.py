"""What became of the pages of documents, in words: how many have no text, and which."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from api.cli.output import Output

INDEXED = "indexed"
HEADERS = ("pages", "verdict", "characters")


def describe_pages(document: Mapping[str, Any]) -> object:
    """`12`, `12, 2 scanned`, or `2 scanned` where no page has text."""
    rest = describe_rest([document])
    if not rest:
        return document.get("pages")
    has_text = document["verdicts"].get(INDEXED)
    return f"{document.get('pages')}, {rest}" if has_text else rest


def describe_rest(documents: Iterable[Mapping[str, Any]]) -> str:
    """`2 scanned, 1 empty`: the pages without text of all these documents; nothing when there are none."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document.get("verdicts") or {})
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if verdict != INDEXED and count)


def is_partial(document: Mapping[str, Any]) -> bool:
    """Whether some of its pages can be found and others cannot."""
    return 0 < (document.get("coverage") or 0) < 1


def warn_of_partial(output: Output, documents: Sequence[Mapping[str, Any]], kb: str | None) -> None:
    """Such a document is ready, and what is missing of it would go unnoticed."""
    if documents:
        where = "" if kb is None else f" --kb {shlex.quote(kb)}"
        have = "document has" if len(documents) == 1 else "documents have"
        rest = describe_rest(documents)
        output.say(f"{len(documents)} {have} pages without text ({rest}): see kb documents{where} --partial")


def write_ledger(output: Output, ledger: Sequence[Mapping[str, Any]]) -> None:
    """A line for each run of pages with the same verdict, and where their text lies in the document's."""
    runs = [list(run) for _, run in groupby(ledger, key=lambda page: page["verdict"])]
    output.write_table(HEADERS, [make_row(run[0], run[-1]) for run in runs])


def make_row(first: Mapping[str, Any], last: Mapping[str, Any]) -> Sequence[object]:
    pages = first["page"] if first["page"] == last["page"] else f"{first['page']}–{last['page']}"
    characters = f"{first['start']}–{last['end']}" if first["verdict"] == INDEXED else None
    return (pages, first["verdict"], characters)
