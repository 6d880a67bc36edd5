"""What the HTTP server answers questions from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from api.bootstrap.readiness import Readiness
from api.bootstrap.reranker import build_reranker
from api.bootstrap.sites import Web, build_page_intake, build_parser_pool, build_web
from api.bootstrap.store import Store
from ingest.parsing import ParserPool
from ingest.sources.look import Planner
from ingest.sources.page_plan import PagePlanner, PlannerByKind
from ingest.sources.registry import Roots, SourceRegistry
from ingest.sources.sites import Sites
from kb.config import Settings
from kb.errors import StartRefused
from kb.ports import SyncPlanner
from retrieval.agent import AgentWriter
from retrieval.answer import Answerer, AnswerLimits
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.langchain import LangChainChatModel, load_langchain
from retrieval.chat.model import ServedChatModel
from retrieval.chat.server import ChatLimits, ChatServer
from retrieval.conversation import Talker
from retrieval.explain import Explainer
from retrieval.extractive import ExtractiveWriter
from retrieval.follow_up import RuleRewriter
from retrieval.joint import JointSearcher
from retrieval.naming import IndexedTerms
from retrieval.prompted_writer import PromptedWriter
from retrieval.relevance import JudgedSource
from retrieval.rerank import LocalReranker
from retrieval.rerank_client import RemoteReranker
from retrieval.rewriting import ModelRewriter
from retrieval.search import Searcher
from retrieval.state import IndexShelf
from retrieval.writing import AnswerWriter


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """`chat` is opened and closed by the application, since its connections belong to an event loop. `pool` reads the
    pages of a dry run."""

    store: Store
    indexes: IndexShelf
    searcher: Searcher
    joint: JointSearcher
    explainer: Explainer
    answerer: Answerer
    talker: Talker
    chat: ServedChatModel | None
    reranker: LocalReranker | RemoteReranker | None
    sources: SourceRegistry
    planner: SyncPlanner
    readiness: Readiness
    pool: ParserPool

    def close(self) -> None:
        self.pool.close()
        self.readiness.close()
        if self.reranker is not None:
            self.reranker.close()
        self.indexes.close()
        self.store.close()


def build_services(store: Store, web: Web | None = None) -> Services:
    """Everything a question needs."""
    settings, catalog = store.settings, store.catalog
    indexes = IndexShelf(catalog.feed, store.folder.indexes)
    reranker = build_reranker(settings)
    searcher = Searcher(indexes, catalog.feed, store.texts, store.encoders, reranker)
    chat = build_chat(settings)
    writer: AnswerWriter = PromptedWriter(AgentWriter(chat), catalog.prompts) if chat else ExtractiveWriter()
    limits = AnswerLimits(question_characters=settings.max_question_characters)
    joint = JointSearcher(searcher, catalog.feed, store.texts)
    source, rule = JudgedSource(joint, catalog.refusals), RuleRewriter(IndexedTerms(indexes))
    rewriter = ModelRewriter(chat, rule=rule) if chat else rule
    answerer = Answerer(source, writer, limits, catalog.documents, rewriter)
    roots = Roots(allowed=settings.allowed_folders, data_dir=settings.data_dir)
    web, pool = web or build_web(settings), build_parser_pool(settings)
    pages = PagePlanner(catalog, build_page_intake(store), web.build_crawler(pool), _read_clock)
    return Services(
        store=store,
        indexes=indexes,
        searcher=searcher,
        joint=joint,
        explainer=Explainer(searcher, catalog.feed, catalog.traces),
        answerer=answerer,
        talker=Talker(answerer, catalog.conversations, keeps=settings.conversation_days > 0),
        chat=chat,
        reranker=reranker,
        sources=SourceRegistry(catalog.sources, roots, Sites(gate=web.gate), _read_clock),
        planner=PlannerByKind(Planner(catalog, roots, _read_clock), pages),
        readiness=Readiness(store, chat, reranker),
        pool=pool,
    )


def _read_clock() -> datetime:
    return datetime.now(UTC)


def build_chat(settings: Settings) -> ServedChatModel | None:
    """None where no chat model is set. The caller opens and closes it. Raises StartRefused (`bad_setting`)."""
    limits = ChatLimits(
        connect_s=settings.llm_connect_seconds,
        first_token_s=settings.llm_first_token_seconds,
        idle_s=settings.llm_idle_seconds,
        total_s=settings.llm_total_seconds,
        retries=settings.llm_retries,
        calls=settings.llm_calls,
        waiting=settings.llm_waiting,
    )
    if settings.llm_langchain is not None:
        model = load_langchain(settings.llm_langchain)
        return LangChainChatModel(model, window=settings.llm_window, limits=limits)
    if settings.llm_base_url is None or settings.llm_model is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    server = ChatServer(
        base_url=settings.llm_base_url,
        model=settings.llm_model,
        api_key=key or None,
        profile=settings.llm_profile,
        window=settings.llm_window,
        limits=limits,
    )
    return OpenAIChatModel(server)


def check_chat(settings: Settings) -> None:
    """Raises StartRefused (`bad_setting`) for a chat server without the name of its model, or two chat models."""
    if settings.llm_base_url is not None and settings.llm_model is None:
        raise StartRefused("bad_setting", "KB_LLM_BASE_URL is set but KB_LLM_MODEL is not: name the model it serves")
    if settings.llm_langchain is None:
        return
    if settings.llm_base_url is not None:
        raise StartRefused("bad_setting", "KB_LLM_BASE_URL and KB_LLM_LANGCHAIN are both set: unset one of them")
    for package in ("langchain_core", settings.llm_langchain.partition(":")[0].partition(".")[0]):
        if find_spec(package) is None:
            reason = f"KB_LLM_LANGCHAIN={settings.llm_langchain} needs the package {package}, which is not installed"
            raise StartRefused("bad_setting", reason)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def check_faiss(is_installed: Callable[[str], bool] = _is_installed) -> None:
    """Raises StartRefused (`faiss_missing`, `faiss_conflict`): both builds install the module `faiss`."""
    found = [name for name in ("faiss-cpu", "faiss-gpu") if is_installed(name)]
    if not found:
        raise StartRefused("faiss_missing", "no faiss is installed; install kb-server[cpu] or kb-server[gpu]")
    if len(found) > 1:
        reason = (
            f"{' and '.join(found)} are both installed and break each other; uninstall both, then install one extra"
        )
        raise StartRefused("faiss_conflict", reason)
