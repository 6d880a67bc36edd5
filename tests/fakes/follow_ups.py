"""Forty follow-ups over forty small documents that all tell the same things, each of another place or person.

By itself a follow-up could be of any of them. `full` is what a good model makes of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLD = Path(__file__).parents[1] / "quality" / "gold"
PLACES = {
    "zh": (
        "# {name}\n\n{name}位于{place}，于{year}年建成，由{builder}设计，高{height}米。\n\n"
        "{name}的开放时间是{hours}。成人票{adult}元，学生票{student}元。冬天{name}{winter}。\n\n"
        "在{name}可以看到{sight}。参观{name}需要提前一天预约，电话是 88{year}。\n"
    ),
    "en": (
        "# {name}\n\n{name} stands {place}. It was built in {year} to plans by {builder} and is {height} metres "
        "tall.\n\n"
        "{name} is open {hours}. A ticket costs {adult} pounds, for students {student} pounds. In winter {winter}.\n\n"
        "What visitors come to see at {name}: {sight}. Visits to {name} are booked a day ahead, telephone 77{year}.\n"
    ),
}
BUILDERS = {
    "zh": (
        "# {builder}\n\n{builder}是建筑师，生于{born}年，毕业于省立工学院，后来在家乡任教。\n\n"
        "{builder}的其他作品有{place}附近的水闸和粮仓。\n"
    ),
    "en": (
        "# {builder}\n\n{builder} was an architect, born in {born}, who studied at the Institute of Works and taught "
        "there later.\n\nOther works of {builder}: the sluice and the granary {place}.\n"
    ),
}


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """`before` was answered with `answer`; `topic` names the document that must come first for `question`."""

    language: str
    topic: str
    before: str
    answer: str
    question: str
    full: str


def read_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLD / name).read_text("utf-8").splitlines()]


def write_documents() -> dict[str, bytes]:
    """By path; what tells of `青石桥` is `青石桥.md`."""
    documents = {}
    for place in read_lines("follow_up_places.jsonl"):
        told = {**place, "born": place["year"] - 41}
        documents[f"{place['name']}.md"] = PLACES[place["language"]].format(**told).encode()
        documents[f"{place['builder']}.md"] = BUILDERS[place["language"]].format(**told).encode()
    return documents


FOLLOW_UPS = [FollowUp(**line) for line in read_lines("follow_ups.jsonl")]
UNSEEN = [FollowUp(**line) for line in read_lines("follow_ups_unseen.jsonl")]  # written after the rule, for its floor
