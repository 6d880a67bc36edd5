"""Forty follow-ups, twenty questions that stand alone and twenty that no document answers, all in mid-conversation.

Written before the rule was changed for those that have no cue word. The sixteen documents tell the same things of
different machines and grants.
"""

from __future__ import annotations

from dataclasses import dataclass

from fakes.follow_ups import read_lines

TOLD = {
    "zh": (
        "# {name}\n\n{name}放在{room}，由{keeper}管理，{year}年购入，价格{price}万元，重{weight}公斤。\n\n"
        "{name}的使用费是每小时{fee}元，校外人员每小时{outside}元。使用{name}前要参加{training}的培训，培训费{cost}元。\n\n"
        "{name}每{cycle}校准一次，由{maker}负责维修，保修到{until}年。常见故障：{fault}。\n"
    ),
    "en": (
        "# {name}\n\nThe {name} is open to staff after {months} months of service. It pays up to {amount} pounds a "
        "year. Applications go to {approver} by {deadline} on form {form}.\n\n"
        "The {name} covers {covers}, but not {excludes}. Unused money {unused}. Part-time staff get {part}.\n\n"
        "The {name} was last revised in {year}; it is paid with the {paid}.\n"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`before` was answered with `answer`; `topic` names the document that must come first for `question`. `kind` is
    `follow_up`, `alone` or `away`: no document answers it."""

    kind: str
    language: str
    topic: str
    before: str
    answer: str
    question: str


def write_things() -> dict[str, bytes]:
    """By path; what tells of `数控铣床` is `数控铣床.md`."""
    things = read_lines("held_out_things.jsonl")
    return {f"{thing['name']}.md": TOLD[thing["language"]].format(**thing).encode() for thing in things}


ASKED = [Asked(**line) for line in read_lines("held_out_follow_ups.jsonl")]
