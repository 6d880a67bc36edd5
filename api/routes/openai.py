from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog, get_services
from api.json_body import describe_body, read_json
from api.listening import AwaitedAnswer
from api.openai_stream import Completion, write_failure
from api.responses import JsonAnswer
from api.schemas.openai import ChatBody, EmbeddingsBody, read_chat, show_completion, show_embeddings, show_model
from api.schemas.search import name_all
from api.sse import EventStream
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from kb.errors import DocumentFailed, InvalidInput, NotFound
from kb.ports import Encoder
from kb.types import KnowledgeBase

A_PAGE = 200

router = APIRouter(prefix="/v1", tags=["openai"])


@router.get("/models")
def list_models(request: Request) -> Response:
    """List the knowledge bases as models, in OpenAI's shape."""
    found: list[KnowledgeBase] = []
    while page := get_catalog(request).knowledge_bases.list_knowledge_bases(A_PAGE, found[-1].name if found else ""):
        found += page
    return JsonAnswer({"object": "list", "data": [show_model(one) for one in found]})


@router.get("/models/{model}")
def get_model(request: Request, model: str) -> Response:
    """Get one knowledge base as a model."""
    found = find_model(request, model)
    return JsonAnswer(show_model(get_catalog(request).knowledge_bases.get(found.id)))


@router.post("/chat/completions", openapi_extra=describe_body(ChatBody))
async def complete_chat(
    request: Request, body: Annotated[ChatBody, Depends(read_json(ChatBody, exact="response_format"))]
) -> Response:
    """Ask the knowledge base named by `model`, in OpenAI's shape, with `citations` beside `choices`."""
    found = await run_in_threadpool(find_model, request, body.model)
    question, names, services = read_chat(body, found), name_all([found]), get_services(request)
    if body.stream:
        completion = Completion(body, names, renumbers=services.chat is not None and not body.wants_json)
        return EventStream(services.answerer.stream(question), completion.write, write_failure)
    return AwaitedAnswer(services.answerer.answer(question), lambda answer: show_completion(body, answer, names))


@router.post("/embeddings", openapi_extra=describe_body(EmbeddingsBody))
def embed(request: Request, body: Annotated[EmbeddingsBody, Depends(read_json(EmbeddingsBody))]) -> Response:
    """Embed texts as a knowledge base does, or as the server's own model does, in OpenAI's shape."""
    encoder = _find_encoder(request, body.model)
    if body.dimensions not in (None, encoder.dimension):
        reason = f"dimensions is {body.dimensions}: {body.model[:255]!r} has {encoder.dimension}"
        raise InvalidInput("bad_dimensions", reason)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(text.strip() for text in texts):
        raise InvalidInput("bad_input", "an input is empty or white space")
    try:
        vectors = encoder.embed_texts(texts)
    except DocumentFailed as error:
        raise InvalidInput("bad_input", error.detail) from None
    tokens = sum(int(encoder.count_spans(text, [0, len(text)])[0]) for text in texts)
    return JsonAnswer(show_embeddings(body, vectors, tokens))


def find_model(request: Request, model: str) -> KnowledgeBaseKey:
    """Blocks. Raises NotFound (`model_not_found`)."""
    try:
        return find_knowledge_base(request, model)
    except NotFound:
        reason = f"there is no model {model[:255]!r}: a model is a knowledge base's name, GET /v1/models lists them"
        raise NotFound("model_not_found", reason) from None


def _find_encoder(request: Request, model: str) -> Encoder:
    store = get_services(request).store
    if model == store.settings.default_model:
        return store.encoders.get_encoder(model)
    return store.encoders.get_encoder(find_model(request, model).embedding_model)
