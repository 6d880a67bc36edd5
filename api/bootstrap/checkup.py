"""`kb doctor`'s walk: what a question passes on its way, part by part, each tried as the server itself would use it.

Nothing is written. A part that another one is missing for is skipped: one fault, one line.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from api.bootstrap.reranker import build_reranker
from api.bootstrap.services import build_chat, check_faiss
from api.bootstrap.settings_checks import check_settings
from api.bootstrap.store import Store, build_encoders, open_store
from ingest.encoders.shelf import EncoderShelf
from kb.config import Settings
from kb.data_folder import DataFolder
from kb.errors import KbError, NotFound
from kb.types import KnowledgeBase
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions, ServedChatModel
from retrieval.inspection import find_damage
from retrieval.prompt import ChatMessage

LEAST_FREE_BYTES = 1_000_000_000
LEAST_WINDOW = 4_096  # what passages of 2,048 tokens, instructions and an answer of 1,024 need
KNOWLEDGE_BASES_A_PAGE = 200
HELLO = ChatMessage(role="user", content="你好 Hello")

HINTS: Mapping[str, str] = {
    "index_damaged": "a server that is started anew sets it aside and builds it from the database",
    "llm_unavailable": "is it running, and does KB_LLM_BASE_URL name it? `kb llm serve` starts vLLM",
    "llm_timeout": "it may still be loading the model, or have too much to do",
    "llm_rejected": "does KB_LLM_PROFILE say which kind of server it is?",
    "llm_error": "its own log says more",
    "embedding_unavailable": "until then questions are searched by their words alone, and nothing can be indexed",
    "reranker_unavailable": "until then the fused ranking stands",
    "disk_low": "free some, or set KB_DATA_DIR to another disk",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What became of one part: `code` and words for what is wrong, else words for what was found."""

    name: str
    state: Literal["ok", "wrong", "skipped"]
    detail: str
    code: str | None = None


def fail(name: str, error: KbError) -> Step:
    hint = HINTS.get(error.code)
    return Step(name=name, state="wrong", code=error.code, detail=error.detail + (f"; {hint}" if hint else ""))


def walk_chain(settings: Settings) -> Iterator[Step]:
    """Everything but the server itself, in the order of a question's way."""
    yield _try("settings", lambda: _check_settings(settings))
    directory = _try("data directory", lambda: _check_folder(settings))
    yield directory
    with ExitStack() as stack:
        store, found = None, list[KnowledgeBase]()
        if directory.state == "ok":
            step, store = _open_store(settings, stack, found)
            yield step
        yield _try("faiss", _check_faiss)
        encoders = store.encoders if store else stack.enter_context(closing(build_encoders(settings)))
        for model in sorted({settings.default_model, *(kb.embedding_model for kb in found)}):
            yield _try(f"embedding model {model}", partial(_check_model, encoders, model, found))
        if settings.reranker is not None:
            yield _try(f"reranker {settings.reranker_model or settings.reranker}", lambda: _check_reranker(settings))
        if store is not None:
            yield _try("indexes", partial(_check_indexes, store, found))
    yield from _walk_chat(settings)


def _try(name: str, look: Callable[[], str]) -> Step:
    try:
        return Step(name=name, state="ok", detail=look())
    except KbError as error:
        return fail(name, error)


def _check_settings(settings: Settings) -> str:
    check_settings(settings)
    changed = [f"KB_{name.upper()}" for name in sorted(settings.model_fields_set)]
    return f"set: {', '.join(changed)}" if changed else "all are the defaults"


def _check_folder(settings: Settings) -> str:
    root = settings.data_dir
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise KbError("data_dir_unusable", f"{there} cannot be written; set KB_DATA_DIR")
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        raise KbError("disk_low", f"{there} has {free // 1_000_000:,} MB left")
    return f"{root}, {free // 1_000_000_000:,} GB free" + ("" if there == root else "; not made yet")


def _check_faiss() -> str:
    check_faiss()
    for name in ("faiss-cpu", "faiss-gpu"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    raise AssertionError("check_faiss found one")


def _open_store(settings: Settings, stack: ExitStack, found: list[KnowledgeBase]) -> tuple[Step, Store | None]:
    """The store, None where it cannot be opened, and in `found` what is in it."""
    name, folder = "database", DataFolder(settings.data_dir)
    try:
        store = stack.enter_context(closing(open_store(settings, folder, folder.attach_database(settings))))
        found.extend(_list_knowledge_bases(store))
    except KbError as error:
        if error.code == "data_dir_empty":
            return Step(name=name, state="skipped", code=error.code, detail=error.detail), None
        return fail(name, error), None
    documents, chunks = sum(kb.documents for kb in found), sum(kb.chunks for kb in found)
    detail = f"knowledge bases: {len(found)}, documents: {documents:,}, chunks: {chunks:,}"
    return Step(name=name, state="ok", detail=detail), store


def _list_knowledge_bases(store: Store) -> Iterator[KnowledgeBase]:
    last = ""
    while page := store.catalog.knowledge_bases.list_knowledge_bases(KNOWLEDGE_BASES_A_PAGE, last):
        yield from page
        last = page[-1].name


def _check_model(encoders: EncoderShelf, model: str, found: list[KnowledgeBase]) -> str:
    size = encoders.get_encoder(model).embed_question("知识库 knowledge base").shape[-1]
    wrong = [kb.name for kb in found if kb.embedding_model == model and kb.dimension != size]
    if wrong:
        reason = f"it gives {size} dimensions, the vectors of {', '.join(wrong)} have others"
        raise KbError("dimension_mismatch", f"{reason}: it is another model under the same name; `kb reindex --full`")
    users = [kb.name for kb in found if kb.embedding_model == model]
    return f"{size} dimensions" + (f", of {', '.join(users)}" if users else "; of new knowledge bases")


def _check_reranker(settings: Settings) -> str:
    reranker = build_reranker(settings)
    if reranker is None:
        raise AssertionError("it is set")
    with closing(reranker):
        reranker.score_texts("知识库 knowledge base", ["一份文档 a document"])
    return "it scores a question and a text"


def _check_indexes(store: Store, found: list[KnowledgeBase]) -> str:
    epoch = store.catalog.feed.get_epoch()
    for kb in found:
        try:
            damage = find_damage(store.folder.indexes, kb.id, store.catalog.feed.get_head(kb.id), epoch)
        except NotFound:  # deleted meanwhile
            continue
        for revision, reason in damage.items():
            raise KbError("index_damaged", f"{kb.name}, generation {revision}: {reason}")
    return "what is sealed can be read"


def _walk_chat(settings: Settings) -> Iterator[Step]:
    try:
        chat = build_chat(settings)
    except KbError as error:
        yield fail("chat server", error)
        return
    if chat is None:
        detail = "none is set, answers are quoted from the documents; KB_LLM_BASE_URL and KB_LLM_MODEL set one"
        yield Step(name="chat server", state="skipped", detail=detail)
        return

    async def collect() -> list[Step]:
        await chat.open()
        try:
            steps = await _ask_server(chat) if isinstance(chat, OpenAIChatModel) else []
            return steps if steps and steps[0].state == "wrong" else [*steps, await _ask_answer(chat)]
        finally:
            await chat.close()

    yield from asyncio.run(collect())


async def _ask_server(chat: OpenAIChatModel) -> list[Step]:
    """What it tells of itself; one step when it cannot be spoken to."""
    server = chat.server
    try:
        models = await chat.facts.list_models()
        window = await chat.facts.read_window()
    except KbError as error:
        return [fail("chat server", error)]
    reached = Step(name="chat server", state="ok", detail=f"{server.base} answers (KB_LLM_PROFILE {server.profile})")
    return [reached, _judge_models(chat, models), _judge_window(await chat.find_window(), window)]


async def _ask_answer(chat: ServedChatModel) -> Step:
    try:
        async with aclosing(chat.stream([HELLO], ChatOptions(max_tokens=1))) as pieces:
            usage = [piece.usage async for piece in pieces if piece.usage is not None]
    except KbError as error:
        return fail("chat answer", error)
    read = f", which read {usage[-1].prompt_tokens} tokens for it" if usage else ""
    return Step(name="chat answer", state="ok", detail=f"one token of {chat.name}{read}")


def _judge_models(chat: OpenAIChatModel, models: list[str] | None) -> Step:
    name = "chat model"
    if not models:
        return Step(name=name, state="skipped", detail="it lists no models")
    if chat.name in models:
        return Step(name=name, state="ok", detail=f"{chat.name} is listed")
    listed = f"it lists {', '.join(models[:5])}, not {chat.name!r}"
    if not chat.server.kind.chooses_model:
        return Step(name=name, state="ok", detail=f"{listed}; this kind does not mind")
    return Step(name=name, state="wrong", code="llm_model_unknown", detail=f"{listed}; set KB_LLM_MODEL")


def _judge_window(window: int | None, told: int | None) -> Step:
    name = "chat window"
    if window is None:
        return Step(name=name, state="ok", detail="not told; set KB_LLM_WINDOW, so that no prompt is too long for it")
    where = "told by the server" if window == told else "by KB_LLM_WINDOW or what its kind is known for"
    small = (
        f"; prompts are cut to fit, {LEAST_WINDOW:,} hold what is asked for by default" if window < LEAST_WINDOW else ""
    )
    return Step(name=name, state="ok", detail=f"{window:,} tokens, {where}{small}")
