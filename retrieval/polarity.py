"""Whether a claim says no where its source says no. By words: 不, 没有, not, never; what reads like them but denies
nothing (不但, 非常, 未来, not only) does not count."""

from __future__ import annotations

import re
from collections.abc import Sequence

from retrieval.han import fold_han
from retrieval.question import list_matchable, list_terms

NO = re.compile(
    r"(?!不但|不仅|不过|不断|不久|不少|不锈|不同|不管|不论|不妨|不良|不禁|未来|未必不|非常|非洲|非但|无论|无线|无锡|无非|没收|没落)"
    r"(?<![是特区分级差个告识])(?:不|没|未|无|非|勿|莫|别(?!墅|名|人|的|处|致|称)|禁止|严禁|拒绝)"
    r"|\b(?:not(?! only)|cannot|no(?!\.| later| less| more| longer than)|never|none|nor|neither|without|nobody|"
    r"nothing|nowhere|unable|forbidden|prohibited)\b|n['’]t\b",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"[，。；！？,;!?]\s*(?!\d)|(?<=\w)[.:：]\s+")
MOST = 0.6  # of a clause's terms: then two clauses speak of the same
NEAR = 0.9  # of the best match's share: one that matches nearly as well counts too


def denies(text: str) -> bool:
    """An even number of negations is none: 不得不, not without."""
    return len(NO.findall(fold_han(text))) % 2 == 1


def agrees(claim: str, source: Sequence[str]) -> bool:
    """False when a clause of `claim` matches one of `source` in its words and only one of the two denies; the whole
    sentences decide where their clauses are cut otherwise."""
    theirs = [(list_matchable(clause), denies(clause)) for text in source for clause in CLAUSE.split(text) if clause]
    if all(_finds_equal(clause, theirs) for clause in CLAUSE.split(claim) if clause.strip()):
        return True
    return len(NO.findall(fold_han(claim))) > 1 and _finds_equal(
        claim, [(list_matchable(text), denies(text)) for text in source]
    )


def _finds_equal(clause: str, theirs: Sequence[tuple[set[str], bool]]) -> bool:
    terms = list_terms(NO.sub(" ", fold_han(clause)))
    if not terms:
        return True
    shares = [(len(terms & other) / len(terms), is_denied) for other, is_denied in theirs]
    best = max((share for share, _ in shares), default=0.0)
    if best < MOST:
        return True
    own = denies(clause)
    return any(is_denied == own for share, is_denied in shares if share >= NEAR * best)
