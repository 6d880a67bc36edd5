"""Sentences marked by hand, and how the borders that a splitter finds compare with them.

A border is the end of a sentence, white space behind it left out. The marks are offsets into the evaluation data, which
is not kept here: `tests/quality/gold/sentences.jsonl` names the file, its SHA-256 and the sentences of a passage.
docs/splitting.md says by which rules they were set.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GOLD = Path(__file__).resolve().parent.parent / "tests" / "quality" / "gold"
SHOWN = 24  # characters on either side of a wrong border in a report


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """`sentences` are offsets `[start, end)` into `text`. What lies between two of them is not judged: code, markup.

    `part` is 1 for what was at hand when the splitter's rules were last changed, 2 for what was marked afterwards, and
    0 for hard cases.
    """

    name: str
    part: int
    lang: str  # zh, zh-Hant, en
    text: str
    sentences: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Borders of one passage: how many were found, and the offsets of those too many and too few."""

    passage: Passage
    right: int
    extra: Sequence[int]
    missed: Sequence[int]

    def list_faults(self) -> Iterator[str]:
        for kind, ends in (("too many", self.extra), ("missed", self.missed)):
            for end in ends:
                before, after = self.passage.text[max(0, end - SHOWN) : end], self.passage.text[end : end + SHOWN]
                yield f"{self.passage.name}: {kind} at {end}: {before!r} | {after!r}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    precision: float
    recall: float
    f1: float
    borders: int


def read_passages(data: Path) -> list[Passage]:
    """The marked passages of the evaluation data. Raises ValueError when a file is not the one that was marked."""
    return [read_passage(data, json.loads(line)) for line in read_lines(GOLD / "sentences.jsonl")]


def read_hard_cases() -> list[Passage]:
    rows = [json.loads(line) for line in read_lines(GOLD / "hard_cases.jsonl")]
    return [
        Passage(
            part=0,
            name=row["case"],
            lang=row["lang"],
            text=row["text"],
            sentences=[tuple(one) for one in row["sentences"]],
        )
        for row in rows
    ]


def read_lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def read_passage(data: Path, row: Mapping[str, Any]) -> Passage:
    file = data / row["path"]
    if hash_file(file) != row["sha256"]:
        raise ValueError(f"{file} is not the file whose sentences were marked: its SHA-256 is another")
    doc_id = row.get("doc_id")
    whole = read_corpus(file)[doc_id] if doc_id else read_text(file)
    start, end = row["start"], row["end"]
    return Passage(
        part=row["part"],
        name=f"{row['path']} {doc_id or ''}@{start}",
        lang=row["lang"],
        text=whole[start:end],
        sentences=[(first - start, last - start) for first, last in row["sentences"]],
    )


def pick_passages(passages: Iterable[Passage], lang: str, part: int | None = None) -> list[Passage]:
    """Those in a language, Traditional Chinese with Simplified, of one part or of all."""
    return [one for one in passages if one.lang.partition("-")[0] == lang and part in (None, one.part)]


@cache
def hash_file(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def read_text(file: Path) -> str:
    """Decoded as UTF-8, line ends as `\\n`: what the offsets of a plain file count in."""
    return file.read_bytes().decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


@cache
def read_corpus(file: Path) -> dict[str, str]:
    """`doc_id` → `text` of a corpus, as it stands."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return {row["doc_id"]: row["text"] for row in map(json.loads, lines)}


def compare_borders(passage: Passage, found: Iterable[int]) -> Comparison:
    """`found` are the ends of sentences in `passage.text`, in any order, white space behind them or not."""
    text = passage.text
    ends = {len(text[:end].rstrip()) for end in found}
    marked = {end for _, end in passage.sentences}
    judged = {end for end in ends if any(first < end <= last for first, last in passage.sentences)}
    return Comparison(
        passage=passage,
        right=len(judged & marked),
        extra=sorted(judged - marked),
        missed=sorted(marked - judged),
    )


def score_borders(compared: Sequence[Comparison]) -> Score:
    """Over all borders of all passages together."""
    right = sum(one.right for one in compared)
    extra = sum(len(one.extra) for one in compared)
    missed = sum(len(one.missed) for one in compared)
    precision, recall = right / max(1, right + extra), right / max(1, right + missed)
    return Score(
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(1e-9, precision + recall),
        borders=right + missed,
    )


def find_piece_ends(text: str, pieces: Iterable[str]) -> list[int]:
    """Ends in `text` of pieces that hold its characters in order, whatever became of the white space."""
    places = [at for at, char in enumerate(text) if not char.isspace()]
    ends, taken = [], 0
    for piece in pieces:
        taken += sum(not char.isspace() for char in piece)
        if 0 < taken <= len(places):
            ends.append(places[taken - 1] + 1)
    return ends
