"""Han characters: one form for Traditional and Simplified, character by character. The only module that knows OpenCC.

Text keeps its length and its offsets. Several Traditional characters become one Simplified one (乾 and 幹 are 干,
後 and 后 are 后), so a few more texts are found than were meant and none less: both sides are folded alike. Kana,
Hangul and all else stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

import opencc

HAN_BLOCKS = ((0x3400, 0xA000), (0x20000, 0x2F800), (0x30000, 0x323B0))
# Characters that OpenCC takes for another one only within some words (瞭解, 答覆, 憑藉), only of one region (看著,
# 衞生) or not at all (牠們): Simplified writes them the other way, and we keep no dictionary of words.
OTHERS = dict(zip("著瞭覆藉牠妳揹籐甦衞敍粧痺簷彷衹祇糭枱", "着了复借它你背藤苏卫叙妆痹檐仿只只粽台", strict=True))


def fold_han(text: str) -> str:
    """The text with Simplified in the place of Traditional characters, as long as before."""
    return text.translate(load_folds())


@lru_cache(maxsize=1)
def load_folds() -> Mapping[int, int]:
    """Code points that change, and what to. Made once, in 25 ms."""
    characters = [chr(code) for first, end in HAN_BLOCKS for code in range(first, end)]
    # lines, so that no two characters are read as a word
    lines = opencc.OpenCC("t2s").convert("\n".join(characters)).split("\n")
    folds = {ord(old): ord(new) for old, new in zip(characters, lines, strict=True) if old != new and len(new) == 1}
    folds |= {ord(old): ord(new) for old, new in OTHERS.items()}
    return {old: _follow(folds, new) for old, new in folds.items()}


@lru_cache(maxsize=1)
def name_folds() -> str:
    """A short name of the table: another release of OpenCC may fold otherwise."""
    return f"{crc32(repr(sorted(load_folds().items())).encode()):08x}"


def _follow(folds: Mapping[int, int], code: int) -> int:
    """To where nothing changes any more, so that folding twice is folding once: 薴 becomes 苧, which becomes 苎."""
    seen = set()
    while code in folds and code not in seen:
        seen.add(code)
        code = folds[code]
    return code
