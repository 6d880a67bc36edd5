"""Numbers of citations in an answer that is still being written.

A reader who is told the citations only at the end must find their numbers in what was streamed. So each `[n]` is held
back until it is whole, then given the number that `resolve_citations` will give it: in order of appearance, without
those that name no passage. White space at the end is held back as well, since the checked answer has none there.
"""

from __future__ import annotations

import re

from retrieval.citations import LONGEST_MARKER, MARKER, list_named

FENCE = "```"
SLICE = 2_048  # characters that are looked at together
SPECIAL = re.compile(r"[`\[【［]|\s")
CODE = re.compile(r"`[^`\n]+`")
# may become a marker
OPENING = re.compile(rf"[ \t]*(?:[\[【［]\s{{0,2}}\^?[\d\s,，、;；－‐‑–—~～至-]{{0,{LONGEST_MARKER}}})?\Z")
BACKTICKS = re.compile(r"`+\Z")
TEXT = re.compile(r"\S")
CODE_ENDS = re.compile(r"[`\n]")


class MarkerStream:
    """One answer. `feed` gives what may be shown, `close` the rest."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._numbers: dict[int, int] = {}
        self._held = ""
        self._space = ""
        self._fenced = False
        self._begun = False
        self._wanted: re.Pattern[str] | None = None  # without it more of the same settles nothing

    def feed(self, text: str) -> str:
        """A server that does not stream sends its whole answer at once; what is held must stay short, for each stretch
        that is taken off copies the rest."""
        return "".join(self._feed(text[at : at + SLICE]) for at in range(0, len(text), SLICE))

    def _feed(self, text: str) -> str:
        self._held += text
        if self._wanted is not None and not self._wanted.search(text):
            return ""
        shown: list[str] = []
        while piece := self._take():
            shown.append(piece)
        self._wanted = self._find_wanted()
        return self._show("".join(shown))

    def close(self) -> str:
        """What was held back, as it stands."""
        rest, self._held = self._held.rstrip(), ""
        return self._show(rest if self._fenced else MARKER.sub(self._renumber, rest))

    def _show(self, text: str) -> str:
        """White space waits for what follows it: a marker that is dropped may have been all that did."""
        if not self._begun:
            text = text.lstrip()
        self._begun = self._begun or bool(text)
        text = self._space + text
        shown = text.rstrip()
        self._space = text[len(shown) :]
        return shown

    def _take(self) -> str:
        """The next settled stretch of what is held; empty when more must come first."""
        while (piece := self._take_once()) is None:
            pass
        return piece

    def _take_once(self) -> str | None:
        """None for a marker that is dropped: a model may write thousands in a row."""
        if self._fenced:
            return self._take_code()
        special = SPECIAL.search(self._held)
        if special is None:
            return self._cut(len(self._held))
        if special.start() > 0:
            return self._cut(special.start())
        if special.group() == "`":
            return self._take_backtick()
        if marker := MARKER.match(self._held):
            self._held = self._held[marker.end() :]
            return self._renumber(marker) or None
        if OPENING.match(self._held) or not self._held.strip():
            return ""
        blank = self._held[: len(self._held) - len(self._held.lstrip())]
        # a gap behind other white space goes with its marker, if one follows
        return self._cut(len(blank.rstrip(" \t")) or len(blank) or 1)

    def _take_backtick(self) -> str:
        if self._held.startswith(FENCE):
            self._fenced = True
            return self._cut(len(FENCE))
        if code := CODE.match(self._held):
            return self._cut(code.end())
        waits = "\n" not in self._held and not self._held.startswith("``")
        return "" if waits or BACKTICKS.fullmatch(self._held) else self._cut(1)

    def _find_wanted(self) -> re.Pattern[str] | None:
        """What must come before a long stretch that is held back is worth another look."""
        if self._held and not self._held.strip():
            return TEXT
        opens_code = not self._fenced and self._held.startswith("`") and not self._held.startswith("``")
        return CODE_ENDS if opens_code else None

    def _take_code(self) -> str:
        end = self._held.find(FENCE)
        if end >= 0:
            self._fenced = False
            return self._cut(end + len(FENCE))
        held = BACKTICKS.search(self._held)
        return self._cut(held.start() if held else len(self._held.rstrip()))

    def _cut(self, length: int) -> str:
        cut, self._held = self._held[:length], self._held[length:]
        return cut

    def _renumber(self, marker: re.Match[str]) -> str:
        named = dict.fromkeys(list_named(marker["numbers"]))
        places = [place for place in named if 1 <= place <= self._passages]
        numbers = [self._numbers.setdefault(place, len(self._numbers) + 1) for place in places]
        return marker["gap"] + "".join(f"[{number}]" for number in numbers) if numbers else ""
