"""Both retrievers over both sources: what they give is what the search gives, value by value."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.local_server import KB, LocalServer
from langchain_core.documents import Document
from llama_index.core.schema import MetadataMode, NodeRelationship, NodeWithScore, TextNode

from kb.errors import Conflict, Gone, InvalidInput, KbError, NotFound, Unavailable
from kb.types import Filter
from retrieval.faces import langchain, llama_index
from retrieval.faces.server import KbServer
from retrieval.faces.source import SearchSource
from retrieval.search import SearchRequest

ROOT = Path(__file__).resolve().parents[2]
ZH, EN = "职工年假有多少天？", "When does the dome open?"
FILES = {
    "制度": {
        "hr/年假.md": "# 年假\n\n职工年假为十五天，须提前申请。\n".encode(),
        "hr/病假.md": "病假另有规定。".encode(),
    },
    "manual": {"dome.md": b"# Dome\n\nThe dome opens at nine in the evening.\n", "boats.md": b"Boats cost money."},
}
KEYS = [
    "document_id", "path", "title", "heading", "page_start", "page_end", "start", "end", "score", "chunk_ids",
    "version", "knowledge_base_id", "revision",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a retriever gives, in the words of no framework."""

    id: str
    text: str
    score: float
    metadata: dict[str, Any]


def read_documents(found: Sequence[Document]) -> list[Piece]:
    return [
        Piece(id=one.id or "", text=one.page_content, score=one.metadata["score"], metadata=one.metadata)
        for one in found
    ]


def read_nodes(found: Sequence[NodeWithScore]) -> list[Piece]:
    pieces = []
    for one in found:
        node, at = one.node, one.node.metadata
        assert isinstance(node, TextNode)
        assert (node.start_char_idx, node.end_char_idx) == (at["start"], at["end"])
        assert node.relationships[NodeRelationship.SOURCE].node_id == at["document_id"]  # type: ignore[union-attr]
        pieces.append(Piece(id=node.node_id, text=node.text, score=one.get_score(), metadata=at))
    return pieces


def ask_langchain(query: str, names: Sequence[str], source: SearchSource, **options: Any) -> list[Piece]:
    retriever = langchain.KbRetriever(knowledge_bases=list(names), source=source, **options)
    found = read_documents(retriever.invoke(query))
    assert read_documents(asyncio.run(retriever.ainvoke(query))) == found
    return found


def ask_llama_index(query: str, names: Sequence[str], source: SearchSource, **options: Any) -> list[Piece]:
    retriever = llama_index.KbRetriever(names, source=source, **options)
    found = read_nodes(retriever.retrieve(query))
    assert read_nodes(asyncio.run(retriever.aretrieve(query))) == found
    return found


Ask = Callable[..., list[Piece]]


@pytest.fixture(params=[ask_langchain, ask_llama_index], ids=["LangChain", "LlamaIndex"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("faces") / "store")
    for name, files in FILES.items():
        server.create(name)
        server.upload(name, files, data={"metadata": f'{{"kb": "{name}"}}'})
        server.work()
    yield server
    server.close()


def open_server(server: LocalServer) -> KbServer:
    """A client whose requests the application answers in this process."""

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": request.headers["content-type"]}
        got = server.request(request.method, request.url.raw_path.decode(), content=request.content, headers=headers)
        return httpx.Response(got.status_code, content=got.content, headers=got.headers)

    return KbServer("http://127.0.0.1:1", transport=httpx.MockTransport(answer))


@pytest.fixture(params=["HTTP", "in process"])
def source(server: LocalServer, request: pytest.FixtureRequest) -> SearchSource:
    return open_server(server) if request.param == "HTTP" else server.services.joint


def find_ids(server: LocalServer, *names: str) -> list[str]:
    made = {one["name"]: one["id"] for one in server.request("GET", KB).json()["items"]}
    return [made[name] for name in names]


def search(server: LocalServer, query: str, ids: Sequence[str], **body: Any) -> dict[str, Any]:
    told: dict[str, Any] = server.request(
        "POST", "/api/v1/search", json={"query": query, "knowledge_bases": list(ids), **body}
    ).json()
    return told


@pytest.mark.parametrize(
    ("query", "names"), [(ZH, ["制度"]), (EN, ["manual"]), (ZH, ["制度", "manual"]), (EN, ["制度", "manual"])]
)
@pytest.mark.parametrize(
    "options", [{}, {"top_k": 1, "merge": False}, {"mode": "lexical", "max_tokens": 5}], ids=["default", "one", "words"]
)
def test_what_is_found_is_what_the_search_finds(
    server: LocalServer, source: SearchSource, ask: Ask, query: str, names: list[str], options: dict[str, Any]
) -> None:
    ids = find_ids(server, *names)
    told = search(server, query, ids, **options)
    found = ask(query, ids, source, **options)
    assert [one.text for one in found] == [passage["text"] for passage in told["passages"]]
    assert [one.score for one in found] == [passage["score"] for passage in told["passages"]]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].metadata["path"] == ("hr/年假.md" if query == ZH else "dome.md")
    for one, passage in zip(found, told["passages"], strict=True):
        document, kb_id = passage["document"], passage["knowledge_base"]["id"]
        same = {key: passage[key] for key in KEYS if key in passage}
        assert list(one.metadata) == KEYS
        assert one.metadata == {
            **same,
            "document_id": document["id"],
            "path": document["path"],
            "title": document["title"],
            "knowledge_base_id": kb_id,
            "revision": told["revisions"][kb_id],
        }
        assert one.id == f"{document['id']}/1/{passage['start']}-{passage['end']}"


@pytest.mark.parametrize(
    ("only", "paths"),
    [
        ({"path_prefix": "hr/"}, {"hr/年假.md", "hr/病假.md"}),
        ({"language": "en"}, {"dome.md", "boats.md"}),
        ({"metadata": {"kb": "manual"}}, {"dome.md", "boats.md"}),
        ({"metadata": {"kb": "none"}}, set()),
    ],
)
def test_a_filter_limits_what_is_found(
    server: LocalServer, source: SearchSource, ask: Ask, only: dict[str, Any], paths: set[str]
) -> None:
    found = ask("年假 dome boats 病假", find_ids(server, "制度", "manual"), source, filter=only)
    assert {one.metadata["path"] for one in found} == paths


def test_the_search_s_own_errors_come_through(server: LocalServer, source: SearchSource, ask: Ask) -> None:
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        ask(ZH, ["00000000"], source)
    with pytest.raises(InvalidInput, match="bad_top_k"):
        ask(ZH, find_ids(server, "制度"), source, top_k=0)


@pytest.mark.parametrize("options", [{"knowledge_bases": []}, {"knowledge_bases": ["a"], "filter": {"path": "x"}}])
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(options: dict[str, Any]) -> None:
    source = KbServer("http://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"knowledge_bases is empty|filter has \['path'\]"):
        langchain.KbRetriever(source=source, **options)
    with pytest.raises(ValueError, match=r"knowledge_bases is empty|filter has \['path'\]"):
        llama_index.KbRetriever(source=source, **options)


def test_a_model_reads_path_title_and_heading_of_a_node_and_no_number(server: LocalServer) -> None:
    retriever = llama_index.KbRetriever(find_ids(server, "manual"), source=open_server(server), top_k=1)
    node = retriever.retrieve(EN)[0].node
    read = node.get_content(metadata_mode=MetadataMode.LLM)
    assert "path: dome.md" in read
    assert "score" not in read
    assert "document_id" not in read


# -- the server's side ----------------------------------------------------------------------------------------------


def answer_with(status: int, body: object) -> KbServer:
    return KbServer("http://s", transport=httpx.MockTransport(lambda _: httpx.Response(status, json=body)))


REQUEST = SearchRequest(query="q", kb_id="天 文/a", only=Filter(path_prefix="p/", metadata={"n": 1}))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (409, Conflict), (410, Gone), (400, InvalidInput), (422, InvalidInput), (401, InvalidInput),
     (500, Unavailable), (503, Unavailable)],
)  # fmt: skip
def test_a_problem_is_raised_under_its_code(status: int, kind: type[KbError]) -> None:
    with pytest.raises(kind, match=r"^some_code: why$"):
        answer_with(status, {"code": "some_code", "detail": "why"}).search(REQUEST)


@pytest.mark.parametrize(("status", "body"), [(200, {}), (200, []), (200, {"passages": [{}]}), (502, "x"), (200, None)])
def test_what_is_no_answer_of_ours_is_told(status: int, body: object) -> None:
    with pytest.raises(Unavailable, match=f"^unreachable: http://s answered {status}, "):
        answer_with(status, body).search(REQUEST)


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(Unavailable, match=r"^unreachable: http://127\.0\.0\.1:1 does not answer: "):
        KbServer("http://127.0.0.1:1").search(REQUEST)


def test_what_is_sent() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"passages": [], "revisions": {}, "degraded": []})

    KbServer("http://s/", api_key="kb_1", transport=httpx.MockTransport(answer)).search(REQUEST)
    [request] = sent
    assert request.url.raw_path == b"/api/v1/knowledge-bases/%E5%A4%A9%20%E6%96%87%2Fa/search"
    assert request.headers["authorization"] == "Bearer kb_1"
    assert httpx.Response(200, content=request.content).json() == {
        "query": "q", "top_k": 8, "mode": "hybrid", "rerank": None, "merge": True, "max_tokens": 2048,
        "filter": {"path_prefix": "p/", "language": None, "metadata": {"n": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
def test_the_environment_s_key_goes_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch, *, named: bool) -> None:
    keys: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers.get("authorization"))
        assert request.url.host == ("other" if named else "127.0.0.1")
        return httpx.Response(200, json={"passages": [], "revisions": {}, "degraded": []})

    monkeypatch.setenv("KB_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KB_API_KEY", "kb_secret")
    KbServer("http://other" if named else None, transport=httpx.MockTransport(answer)).search(REQUEST)
    assert keys == [None if named else "Bearer kb_secret"]


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("retrieval.faces.langchain", "langchain_core", "langchain"),
        ("retrieval.faces.llama_index", "llama_index", "llamaindex"),
    ],
)
def test_without_the_framework_the_message_names_the_extra(module: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nimport {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"install kb-server[{extra}]" in done.stderr
