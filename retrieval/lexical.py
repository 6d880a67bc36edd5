"""The lexical index: BM25 over our own tokens. The only module that knows tantivy.

A `LexicalView` is an immutable snapshot and is what searches read. It comes out of a `WorkingCopy`, the private folder
of one process: sealed segment files are hard-linked into it (tantivy never changes a segment, it adds and unlinks),
new rows are committed beside them. Thus term statistics are those of the whole index, and scores of sealed and new rows
compare.

Text is tokenised by us and handed over joined by spaces; queries are built from the same tokens, never parsed, so that
operators, quotes and brackets in a question are just characters.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread

import tantivy

from kb.errors import Unavailable
from kb.types import IndexRow, Match
from retrieval.terms import ENGLISH, MOST_TERMS, QuestionTerms, iter_tokens, read_terms

logger = logging.getLogger(__name__)

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
HEAP_BYTES = 15_000_000  # the least tantivy takes; it grows into it while writing and gives it back after
# What a term counts in title, path or heading, and what a shared English stem counts, where the very same term in the
# text counts 1. Measured on four question sets: more for the head costs Chinese answers, less costs English documents.
HEAD_WEIGHT = 0.2
STEM_WEIGHT = 2.0
# Numbers, years and codes of a question are meant exactly, but common: 2023 stands in every other piece of news.
# Measured: rgb_zh answer@1024 .926 → .948, answer@512 .866 → .900; seven other sets gain or lose a question at most.
NUMBER_WEIGHT = 3.0
NUMBER = re.compile(r"\d")


@lru_cache(maxsize=1)
def _load_stemmer() -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    return builder.filter(tantivy.Filter.stemmer("english")).build()


@lru_cache(maxsize=50_000)
def find_stem(word: str) -> str:
    """English stem of a lower-cased word; the word itself for anything else."""
    return str(_load_stemmer().analyze(word)[0]) if ENGLISH.fullmatch(word) else word


def _build_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("chunk_id", indexed=True, fast=True)
    for name in ("body", "head", "stem"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def _list_stems(tokens: Sequence[str]) -> list[str]:
    """Stems of the English words among `tokens`, each once."""
    return list(dict.fromkeys(find_stem(token) for token in tokens if ENGLISH.fullmatch(token)))


def _make_document(row: IndexRow) -> tantivy.Document:
    tokens = list(iter_tokens(row.text))
    head = list(iter_tokens(f"{row.title}\n{row.heading}\n{Path(row.path).stem}"))
    stems = [find_stem(token) for token in [*tokens, *head] if ENGLISH.fullmatch(token)]
    document = tantivy.Document()
    document.add_unsigned("chunk_id", row.chunk_id)
    document.add_text("body", " ".join(tokens))
    document.add_text("head", " ".join(head))
    document.add_text("stem", " ".join(stems))
    return document


def _place_term(term: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Field and token of a term in the text, an English word by its stem, and in title, path and heading."""
    return ("stem", find_stem(term)) if ENGLISH.fullmatch(term) else ("body", term), ("head", term)


@dataclass(frozen=True, kw_only=True, slots=True)
class LexicalView:
    """An immutable snapshot; any number of threads may search it."""

    searcher: tantivy.Searcher
    schema: tantivy.Schema

    def __len__(self) -> int:
        return int(self.searcher.num_docs)

    def search(self, question: str, k: int) -> list[Match]:
        """The `k` best rows by BM25, best first; none for a question without anything to look up."""
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        clauses = self._write_clauses(read_terms(question))
        if not clauses:
            return []
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, clause) for clause in clauses])
        hits = self.searcher.search(query, min(k, max(1, len(self))), count=False).hits
        ids = self.searcher.fast_field_values("chunk_id", [address for _, address in hits])
        pairs = zip(ids, hits, strict=True)
        found = [Match(chunk_id=int(i), score=float(score)) for i, (score, _) in pairs if i is not None]
        return sorted(found, key=lambda match: (-match.score, match.chunk_id))

    def count_terms(self, terms: Iterable[str]) -> dict[str, int]:
        """How many rows hold each term, an English word by its stem: in the text, or in title, path and heading if
        those are more. Rows that were removed a moment ago may still count."""
        found = {}
        for term in terms:
            (field, token), head = _place_term(term)
            found[term] = max(self.searcher.doc_freq(field, token), self.searcher.doc_freq(*head))
        return found

    def count_together(self, terms: Iterable[str]) -> int:
        """How many rows hold all of them, each in the text or in title, path and heading."""
        either = [[(tantivy.Occur.Should, self._write_term(*place)) for place in _place_term(term)] for term in terms]
        if not either:
            return 0
        query = tantivy.Query.boolean_query([(tantivy.Occur.Must, tantivy.Query.boolean_query(one)) for one in either])
        return int(self.searcher.search(query, 1).count)  # type: ignore[attr-defined]  # its stub does not know it

    def _write_clauses(self, terms: QuestionTerms) -> list[tantivy.Query]:
        tokens = [*terms.tokens, *(term for c in terms.characters for term in self._list_starting(c))]
        clauses = [self._write_body_term(token) for token in tokens]
        clauses += [tantivy.Query.boost_query(self._write_term("head", token), HEAD_WEIGHT) for token in tokens]
        clauses += [
            tantivy.Query.boost_query(self._write_term("stem", stem), STEM_WEIGHT) for stem in _list_stems(tokens)
        ]
        return clauses

    def _write_body_term(self, token: str) -> tantivy.Query:
        term = self._write_term("body", token)
        return tantivy.Query.boost_query(term, NUMBER_WEIGHT) if NUMBER.search(token) else term

    def _write_term(self, field: str, token: str) -> tantivy.Query:
        return tantivy.Query.term_query(self.schema, field, token, "freq")

    def _list_starting(self, character: str) -> list[str]:
        pairs = self.searcher.terms_with_prefix("body", character, limit=MOST_TERMS)
        return [term for term, _ in pairs]


class WorkingCopy:
    """A folder with an index that one thread at a time may change; a view out of it never changes."""

    def __init__(self, folder: Path, sealed: Path | None = None) -> None:
        """Raises Unavailable (`index_unavailable`) when the folder cannot be made or the sealed files do not open."""
        self.folder = folder
        self._settling: Thread | None = None
        _fix_threshold()
        try:
            folder.mkdir(parents=True)
            if sealed is not None:
                _link_files(sealed, folder)
            self._index = tantivy.Index(_build_schema(), path=str(folder))
        except (ValueError, OSError) as error:
            raise _explain(error) from error
        self._index.register_tokenizer("whitespace", _build_splitter())
        self._index.config_reader(reload_policy="manual")

    def apply(self, batches: Iterable[Sequence[IndexRow]], removed: Sequence[int] = ()) -> LexicalView:
        """Take rows in and out, commit, and give a view of the result; rows with an id that is there replace the old.

        Raises Unavailable (`index_unavailable`) when the disk is full; the copy is then as before.
        """
        try:
            self._write_changes(batches, removed)
        except (ValueError, OSError) as error:
            raise _explain(error) from error
        return self.open_view()

    def _write_changes(self, batches: Iterable[Sequence[IndexRow]], removed: Sequence[int]) -> None:
        self.settle()
        writer = self._index.writer(HEAP_BYTES, 1)
        try:
            self._delete_rows(writer, removed)
            for rows in batches:
                self._delete_rows(writer, [row.chunk_id for row in rows])
                for row in rows:
                    writer.add_document(_make_document(row))
            writer.commit()
        except BaseException:
            del writer  # uncommitted it is dropped; the traceback would keep it, and with it the folder's lock
            raise
        self._settling = Thread(target=_settle, args=(writer,), name=f"settle-{self.folder.name}")
        self._settling.start()

    def _delete_rows(self, writer: tantivy.IndexWriter, chunk_ids: Sequence[int]) -> None:
        """By query: deleting by term takes a Python integer for a signed one and finds nothing in an unsigned field."""
        if chunk_ids:
            writer.delete_documents_by_query(
                tantivy.Query.term_set_query(self._index.schema, "chunk_id", list(chunk_ids))
            )

    def open_view(self) -> LexicalView:
        self._index.reload()
        return LexicalView(searcher=self._index.searcher(), schema=self._index.schema)

    def settle(self) -> None:
        """Return once segments are merged and the last writer's threads have ended."""
        if self._settling is not None:
            self._settling.join()
            self._settling = None

    def close(self) -> None:
        """Remove the folder. Views out of it keep working: their files stay open."""
        self.settle()
        shutil.rmtree(self.folder, ignore_errors=True)


def _settle(writer: tantivy.IndexWriter) -> None:
    """Let a writer finish its merges, which takes up to some 100 ms that no search should wait for, and end it."""
    try:
        writer.wait_merging_threads()
    except (ValueError, OSError) as error:  # a merge that failed costs speed, never rows
        logger.warning("index.merge_failed", extra={"reason": type(error).__name__})
    del writer
    _return_memory()


def _build_splitter() -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()


def list_index_files(folder: Path) -> list[Path]:
    """The files that make up a closed index; locks and the list of files tantivy manages are left out."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _link_files(sealed: Path, folder: Path) -> None:
    """Segment files are linked, for they never change; `meta.json` is rewritten by every commit and so is copied."""
    for path in list_index_files(sealed):
        target = folder / path.name
        if path.name == "meta.json":
            shutil.copyfile(path, target)
            continue
        try:
            os.link(path, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, target)
    names = [path.name for path in list_index_files(folder)]
    (folder / ".managed.json").write_text("[" + ",".join(f'"{name}"' for name in names) + "]", encoding="utf-8")


def _explain(error: Exception) -> Unavailable:
    return Unavailable("index_unavailable", f"the lexical index cannot be written or opened: {type(error).__name__}")


@lru_cache(maxsize=1)
def _fix_threshold() -> None:
    """Once a process: blocks from 128 KiB on go back to the system when they are freed, as they do at first.

    glibc else raises that limit with every larger block it frees, and keeps the holes: indexing 30 short documents one
    by one made a server grow from 163 to 242 MB, now 152 at most.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, 128 * 1024)


@lru_cache(maxsize=1)
def _find_trim() -> Callable[[int], int] | None:
    """glibc's malloc_trim, or None elsewhere."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _return_memory() -> None:
    """Hand freed pages back: each writer's threads leave arenas behind that grew to 130 MB after 60 commits."""
    trim = _find_trim()
    if trim is not None:
        trim(0)
