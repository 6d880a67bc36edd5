"""What it takes to write out a regular expression of a caller's, told without compiling it.

The engine that checks an answer writes each repetition out as often as it must match at least: a few characters,
`(a{9999}){9999}`, take all the memory there is before any time limit holds.
"""

from __future__ import annotations

import re

# Groups of ECMA 262, which JSON Schema means, and flags by which no pattern reads otherwise than it is read here: no
# recursion, whose memory grows as fast as the engine runs, and no comments.
KNOWN_GROUP = re.compile(r"\(\?(?::|=|!|<=|<!|P?<[^\W\d]\w*>|[ims]+[:)])")
PART = re.compile(
    r"\\."
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|(?P<opening>\((?:\?)?)"
    r"|(?P<closing>\))"
    r"|\{(?P<least>\d+)(?:,\d*)?\}"
    r"|(?P<sign>[?*+|^$])"
    r"|.",
    re.DOTALL,
)


def find_foreign_group(pattern: str) -> str | None:
    """The beginning of a group of a kind that is not taken."""
    for part in PART.finditer(pattern):
        if part["opening"] == "(?" and not KNOWN_GROUP.match(pattern, part.start()):
            return pattern[part.start() : part.start() + 3]
    return None


def measure_pattern(pattern: str) -> int:
    """Parts of it when every repetition is written out as often as it must match at least; a pattern that is none is
    measured somehow."""
    sizes, latest = [0], 0
    for part in PART.finditer(pattern):
        if part["opening"]:
            sizes.append(1)
            latest = 0
        elif part["closing"]:
            latest = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += latest
        elif part["least"]:
            added = latest * (max(1, int(part["least"])) - 1)
            sizes[-1] += added
            latest += added
        elif not part["sign"]:
            latest = 1
            sizes[-1] += 1
    return sum(sizes)
