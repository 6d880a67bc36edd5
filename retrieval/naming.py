"""Whether a question says by itself which documents it means, by how rare its words are in them.

"How much is it for part-time staff" names nothing where every document speaks of part-time staff; "are helmets paid
for" does where one of them has helmets. Words are rare when few chunks hold them all, or hardly more than hold what the
conversation is about. Words that stand in no document say nothing either way, and where most do not, nothing is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from kb.errors import KbError
from kb.tokens import HAN
from retrieval.lexical import LexicalView
from retrieval.question import list_terms
from retrieval.state import IndexState

RARE_SHARE = 0.01  # of the chunks; what is rarer names something, whatever the conversation is about
NEAR = 2.0  # times as many as hold the rarest word of what the conversation is about: as good a name


@dataclass(frozen=True, kw_only=True, slots=True)
class TermCounts:
    """How many of `chunks` hold each term, zero for one that none holds."""

    chunks: int
    counts: Mapping[str, int]


class TermSource(Protocol):
    """Over all these knowledge bases together. Blocks; raises nothing, and counts what cannot be asked as empty."""

    def count_terms(self, kb_ids: Sequence[str], terms: Set[str]) -> TermCounts: ...

    def count_together(self, kb_ids: Sequence[str], terms: Set[str]) -> int:
        """How many chunks hold all of them."""
        ...


class IndexSource(Protocol):
    """Where the state of a knowledge base's indexes comes from."""

    def get_state(self, kb_id: str) -> IndexState:
        """Raises NotFound (`knowledge_base_not_found`), Unavailable (`index_unavailable`)."""
        ...


class IndexedTerms:
    """A TermSource over the lexical indexes. Thread-safe."""

    def __init__(self, indexes: IndexSource) -> None:
        self._indexes = indexes

    def count_terms(self, kb_ids: Sequence[str], terms: Set[str]) -> TermCounts:
        chunks, counts = 0, Counter(dict.fromkeys(terms, 0))
        for view in self._open(kb_ids):
            chunks += len(view)
            counts.update(view.count_terms(terms))
        return TermCounts(chunks=chunks, counts=counts)

    def count_together(self, kb_ids: Sequence[str], terms: Set[str]) -> int:
        return sum(view.count_together(terms) for view in self._open(kb_ids))

    def _open(self, kb_ids: Sequence[str]) -> Iterator[LexicalView]:
        for kb_id in dict.fromkeys(kb_ids):
            with suppress(KbError):  # the search that follows says so
                yield self._indexes.get_state(kb_id).lexical


def names_something(question: str, subject: str, source: TermSource, kb_ids: Sequence[str]) -> bool | None:
    """Whether the question tells what it means without the conversation, which is about `subject`; None where the
    documents do not tell."""
    own, around = list_terms(question), list_terms(subject)
    found = source.count_terms(kb_ids, own | around)
    known = {term for term in own if found.counts[term]}
    unknown = {term for term in own - known if not _overlaps(term, known)}
    if not known or len(unknown) > len(known):
        return None
    about = [count for term in around if (count := found.counts[term])]
    few = max(1, RARE_SHARE * found.chunks, NEAR * min(about, default=0))
    if source.count_together(kb_ids, known) <= few:
        return True
    return False if about else None  # what the conversation is about stands nowhere: there is nothing to compare with


def _overlaps(term: str, known: Set[str]) -> bool:
    """Whether a pair of Han characters lies across the border of a known one: it is no word of its own."""
    if not HAN.match(term):
        return False
    return any(term[0] == one[-1] or term[-1] == one[0] for one in known)
