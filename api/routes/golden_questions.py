from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog, get_services
from api.golden_import import LINES, ImportBody, parse_import, read_import
from api.json_body import describe_body, read_json
from api.paging import Cursor, Limit, Page, cut_page, read_number_cursor
from api.responses import JsonAnswer
from api.schemas.golden_question import (
    GoldenQuestionAnswer,
    GoldenQuestionBody,
    GoldenQuestionChange,
    GoldenQuestionImport,
    ImportAnswer,
    RunAnswer,
    merge_change,
    read_draft,
    show_question,
    show_run,
)
from retrieval.golden import TOP_K, ask_questions
from retrieval.search import SearchRequest, SearchResult

router = APIRouter(prefix="/api/v1/knowledge-bases/{kb}/golden-questions", tags=["golden questions"])

_IMPORT_BODY = describe_body(GoldenQuestionImport)
_IMPORT_BODY["requestBody"]["content"][LINES] = {"schema": {"type": "string", "description": "one object a line"}}


@router.get("", response_model=Page[GoldenQuestionAnswer])
def list_golden_questions(request: Request, kb: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List golden questions in the order in which they were added."""
    found = find_knowledge_base(request, kb)
    after = read_number_cursor(cursor) or 0
    pairs = get_catalog(request).golden.list_questions(found.id, limit + 1, after)
    page, next_cursor = cut_page(pairs, limit, lambda pair: str(pair[0]))
    return JsonAnswer(Page(items=[show_question(question) for _, question in page], next_cursor=next_cursor))


@router.post("", status_code=201, response_model=GoldenQuestionAnswer, openapi_extra=describe_body(GoldenQuestionBody))
def add_golden_question(
    request: Request, kb: str, body: Annotated[GoldenQuestionBody, Depends(read_json(GoldenQuestionBody))]
) -> Response:
    """Add a question; one that asks for the same is given back when it is there already."""
    draft = read_draft(body, _find_longest(request))
    found = find_knowledge_base(request, kb)
    added = get_catalog(request).golden.add(found.id, [draft])
    return JsonAnswer(show_question(added.questions[0]), 201)


@router.post("/import", response_model=ImportAnswer, openapi_extra=_IMPORT_BODY)
def import_golden_questions(
    request: Request, kb: str, body: Annotated[ImportBody, Depends(read_import)], *, replace: bool = False
) -> Response:
    """Add many questions, all or none; with `replace` they take the place of those that are there."""
    found = find_knowledge_base(request, kb)
    read = parse_import(body, _find_longest(request))
    added = get_catalog(request).golden.add(found.id, read.drafts, replace=replace or read.replace)
    unchanged = len(read.drafts) - added.added
    return JsonAnswer(ImportAnswer(added=added.added, unchanged=unchanged, total=added.total))


@router.post("/run", response_model=RunAnswer)
def run_golden_questions(request: Request, kb: str) -> Response:
    """Ask all of them now: at which rank is each answered?"""
    found, searcher = find_knowledge_base(request, kb), get_services(request).searcher

    def ask(question: str) -> SearchResult:
        return searcher.search(SearchRequest(query=question, kb_id=found.id, top_k=TOP_K))

    return JsonAnswer(show_run(ask_questions(get_catalog(request).golden.list_all(found.id), ask)))


@router.get("/{question_id}", response_model=GoldenQuestionAnswer)
def get_golden_question(request: Request, kb: str, question_id: str) -> Response:
    """Get one golden question."""
    found = find_knowledge_base(request, kb)
    return JsonAnswer(show_question(get_catalog(request).golden.get(found.id, question_id)))


@router.patch("/{question_id}", response_model=GoldenQuestionAnswer, openapi_extra=describe_body(GoldenQuestionChange))
def change_golden_question(
    request: Request,
    kb: str,
    question_id: str,
    body: Annotated[GoldenQuestionChange, Depends(read_json(GoldenQuestionChange))],
) -> Response:
    """Change a question, its paths or its answers."""
    found, golden = find_knowledge_base(request, kb), get_catalog(request).golden
    draft = read_draft(merge_change(golden.get(found.id, question_id), body), _find_longest(request))
    return JsonAnswer(show_question(golden.update(found.id, question_id, draft)))


@router.delete("/{question_id}", status_code=204)
def delete_golden_question(request: Request, kb: str, question_id: str) -> Response:
    """Delete a golden question."""
    get_catalog(request).golden.delete(find_knowledge_base(request, kb).id, question_id)
    return Response(status_code=204)


def _find_longest(request: Request) -> int:
    return get_services(request).store.settings.max_question_characters
