"""The HTTP application: routes, errors, and the boundary around them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import compile_path

from api.bootstrap.services import Services
from api.boundary import Boundary
from api.errors import Problem, render_problem, to_problem
from api.json_body import refuse_faults, to_fault
from api.openapi import PAGE_POLICY, describe_api, write_docs_page
from api.routes import (
    ask,
    contents,
    conversations,
    documents,
    explain,
    golden_questions,
    health,
    jobs,
    knowledge_bases,
    openai,
    reindexing,
    revisions,
    search,
    sources,
)
from kb.errors import KbError

# Routes are built when they are first asked for, in this order: whoever waits for `ready` need not wait for all.
NOUNS = (
    health,
    knowledge_bases,
    documents,
    contents,
    sources,
    reindexing,
    revisions,
    golden_questions,
    jobs,
    search,
    explain,
    ask,
    conversations,
    openai,
)
SEALERS = 16  # threads that wait for the disk, not for the processor


def create_app(services: Services) -> FastAPI:
    """The application over `services`, which the caller closes."""
    app = FastAPI(
        title="kb-server",
        version=version("kb-server"),
        description="Knowledge bases over Chinese and English documents: upload, search, ask, cite.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_run,
    )
    app.state.services = services
    app.state.sealers = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
    for noun in NOUNS:
        app.include_router(noun.router)
    app.add_exception_handler(KbError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_middleware(Boundary)
    _add_description(app)
    return app


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    chat = app.state.services.chat
    if chat is not None:
        await chat.open()
    try:
        yield
    finally:
        app.state.sealers.shutdown()
        if chat is not None:
            await chat.close()


def _add_description(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or describe_api(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description

    @app.get("/docs", include_in_schema=False)
    def get_docs() -> Response:
        return HTMLResponse(write_docs_page(app.openapi()), headers={"content-security-policy": PAGE_POLICY})


async def _answer_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, KbError) or (problem := to_problem(error)).status == 500:
        raise error  # the boundary logs it
    return render_problem(problem, request.url.path)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Query parameters alone: bodies are read by `read_json`."""
    if not isinstance(error, RequestValidationError):
        raise error
    refusal = refuse_faults([to_fault(fault["loc"][1:], fault) for fault in error.errors()])
    return render_problem(to_problem(refusal), request.url.path)


async def _answer_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return render_problem(_describe_http(request, error), request.url.path)


def _describe_http(request: Request, error: HTTPException) -> Problem:
    if error.status_code == 405:
        allow = ", ".join(list_methods(request.app, request.url.path))
        detail = f"{request.method[:16]} is not possible here; use {allow}"
        return Problem(status=405, code="method_not_allowed", detail=detail, headers={"allow": allow})
    if error.status_code == 404:
        return Problem(status=404, code="not_found", detail="there is nothing at this address")
    return Problem(status=error.status_code, code="bad_request", detail=str(error.detail))


def list_methods(app: FastAPI, path: str) -> list[str]:
    """Every method that some route serves at `path`; a router by itself tells only of the first one it meets."""
    found: set[str] = set()
    for template, methods in app.openapi()["paths"].items():
        pattern: re.Pattern[str] = compile_path(template)[0]
        if pattern.match(path):
            found.update(method.upper() for method in methods)
    found = found or {"GET"}
    return sorted(found | {"HEAD"} if "GET" in found else found)
