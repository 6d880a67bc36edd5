"""A real server with two knowledge bases: asked together over HTTP, from the command line and by other frameworks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from fakes.http_client import Client
from fakes.server import Server, run_command

from retrieval.faces import langchain, llama_index

FILES = {
    "zh": {
        "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
        "共用.txt": b"Dogs stay outside.",
    },
    "en": {
        "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
        "same.txt": b"Dogs stay outside.",
    },
}
QUESTIONS = {"开放夜的成人票多少钱？": ("zh", "价目.md"), "What does a boat cost for a day?": ("en", "fees.txt")}
BOTH = pytest.mark.parametrize(("question", "home"), QUESTIONS.items())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("several") / "store") as server:
        for name, files in FILES.items():
            client = server.open_client(name)
            client.create()
            client.upload(files)
            client.wait_until_idle()
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    return server.open_client()


@BOTH
def test_both_are_searched_and_asked_at_once(client: Client, question: str, home: tuple[str, str]) -> None:
    body = {"knowledge_bases": ["en", "zh"]}
    found = client.http.post("/api/v1/search", json={"query": question, **body}).json()
    best = found["passages"][0]
    assert (best["knowledge_base"]["name"], best["document"]["path"]) == home
    assert sorted(found["revisions"].values()) == [1, 1]
    answer = client.http.post("/api/v1/ask", json={"question": question, **body}).json()
    first = answer["citations"][0]
    assert (first["knowledge_base"]["name"], first["document"]["path"]) == home
    assert first["quote"] in FILES[home[0]][home[1]].decode()


def test_a_file_that_is_in_both_is_told_once(client: Client) -> None:
    body = {"query": "Where do dogs stay?", "knowledge_bases": ["zh", "en"]}
    passages = client.http.post("/api/v1/search", json=body).json()["passages"]
    [dogs] = [one for one in passages if one["text"] == "Dogs stay outside."]
    [other] = dogs["duplicates"]
    assert {dogs["document"]["path"], other["path"]} == {"共用.txt", "same.txt"}


@BOTH
def test_the_command_line_asks_both(server: Server, question: str, home: tuple[str, str]) -> None:
    told = run_command(server.data_dir, "search", question, "--kb", "zh", "--kb", "en", url=server.url)
    assert (told.code, told.err) == (0, "")
    assert told.out.split("  ")[1] == f"{home[0]}: {home[1]}"
    told = run_command(server.data_dir, "ask", question, "--kb", "zh", "--kb", "en", "--json", url=server.url)
    assert json.loads(told.out)["citations"][0]["knowledge_base"]["name"] == home[0]


@BOTH
def test_other_frameworks_find_the_server_by_its_setting(
    server: Server, monkeypatch: pytest.MonkeyPatch, question: str, home: tuple[str, str]
) -> None:
    monkeypatch.setenv("KB_URL", server.url)
    documents = langchain.KbRetriever(knowledge_bases=["zh", "en"], top_k=2).invoke(question)
    assert (documents[0].metadata["path"], documents[0].metadata["revision"]) == (home[1], 1)
    nodes = llama_index.KbRetriever([home[0]], top_k=2)
    found = asyncio.run(nodes.aretrieve(question))
    assert found[0].node.metadata["path"] == home[1]
    assert found[0].node.get_content() == documents[0].page_content
