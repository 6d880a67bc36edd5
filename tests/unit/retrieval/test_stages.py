"""What is told of a document before any index is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.walks import fail_document, make_document

from kb.types import AnsweringVersion, Document, DocumentStatus, DocumentTrace, Filter, PageVerdict
from retrieval.stages import Verdict, judge_chunked, judge_parsed, list_excluding

AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
TRACE = DocumentTrace(id="d1", path="制度/年假.md", newest=make_document())
ANSWERING = AnsweringVersion(
    number=2, title=None, language="zh", metadata={"year": 2024}, verdicts={}, chunk_ids=[5, 6]
)
INDEXED, SCANNED, GARBLED = PageVerdict.INDEXED, PageVerdict.SCANNED, PageVerdict.GARBLED


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        (
            {"deleted_at": AT, "newest": None},
            "deleted",
            "a user deleted it at 2026-05-06T07:08:09Z, and nothing of it is kept; upload it again",
        ),
        (
            {"removed_revision": 7, "removed_at": AT, "newest": None},
            "removed",
            "a sync or a restore took it away with revision 7 at 2026-05-06T07:08:09Z",
        ),
        (
            {"newest": fail_document("reader_failed", verdicts={})},
            "not_parsed",
            "version 1 failed with reader_failed (the test said so)",
        ),
        (
            {"newest": fail_document("no_text", verdicts={SCANNED: 3, GARBLED: 1})},
            "scanned",
            "version 1 failed with no_text (the test said so); 4 pages: 3 scanned, 1 garbled",
        ),
        (
            {"newest": fail_document("too_large", verdicts={INDEXED: 1, SCANNED: 1})},
            "not_parsed",
            "version 1 failed with too_large (the test said so); 2 pages: 1 indexed, 1 scanned",
        ),
        (
            {"newest": make_document(status=DocumentStatus.PENDING, live_version=None)},
            "pending",
            "version 1 is pending: a job has still to index it, and no earlier version answers",
        ),
        (
            {"newest": make_document(status=DocumentStatus.INDEXING, live_version=None)},
            "pending",
            "version 1 is indexing: a job has still to index it, and no earlier version answers",
        ),
        (
            {"newest": make_document()},
            "index_behind",
            "version 1 is ready, published after revision 9, from which this search answers; ask again in a moment",
        ),
    ],
)
def test_a_document_that_does_not_answer_says_why(changes: dict[str, Any], verdict: str, reason: str) -> None:
    step = judge_parsed(replace(TRACE, **changes), 9)
    assert (step.lost, step.stage.reason) == (verdict, reason)
    assert (step.stage.name, step.stage.present, step.stage.rank, step.stage.score) == ("parsed", False, None, None)


@pytest.mark.parametrize(
    ("newest", "told"),
    [
        (make_document(version=2), ""),
        (None, ""),
        (make_document(version=3, status=DocumentStatus.PENDING), "; version 3 is pending"),
        (fail_document("no_text", version=3), "; version 3 failed with no_text (the test said so)"),
    ],
)
def test_a_document_that_answers_says_what_waits(newest: Document | None, told: str) -> None:
    trace = replace(TRACE, newest=newest, answering=replace(ANSWERING, verdicts={INDEXED: 1, SCANNED: 2}))
    step = judge_parsed(trace, 9)
    assert step.lost is None
    assert step.stage.present
    assert step.stage.reason == f"version 2 answers at revision 9; 3 pages: 1 indexed, 2 scanned{told}"


def test_a_version_without_chunks_in_the_space_is_not_chunked() -> None:
    assert judge_chunked(replace(TRACE, answering=replace(ANSWERING, chunk_ids=()))).lost is Verdict.NOT_CHUNKED
    step = judge_chunked(replace(TRACE, answering=ANSWERING))
    assert (step.lost, step.stage.present, step.stage.reason) == (None, True, "2 chunks")


def test_each_field_that_excludes_is_named_with_both_values() -> None:
    trace = replace(TRACE, answering=ANSWERING)
    assert list_excluding(None, trace) == []
    assert list_excluding(Filter(path_prefix="制度/", language="zh", metadata={"year": 2024}), trace) == []
    only = Filter(path_prefix="报告/", language="en", metadata={"year": 2025, "team": "a"})
    assert list_excluding(only, trace) == [
        "path_prefix '报告/': its path is '制度/年假.md'",
        "language 'en': its language is 'zh'",
        "metadata.year 2025: it has 2024",
        "metadata.team 'a': it has None",
    ]
