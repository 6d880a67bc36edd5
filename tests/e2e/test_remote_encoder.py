"""The whole server with an embedding server beside it that goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.embedding_server import MODEL, EmbeddingServer, serve_embeddings
from fakes.http_client import Client, wait_until
from fakes.server import Server, list_findings, query_catalog, run_command

from ingest.encoders.remote import PROBE

KEY = "sk-Canary.of_the_embedding_server"
FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}
QUESTIONS = {"开放夜的成人票多少钱？": "价目.md", "What does a boat cost for a day?": "fees.txt"}
LATE = {"late.txt": "望远镜的镜面每年六月镀膜一次。The mirror is coated every June.".encode()}


@pytest.fixture
def embeddings() -> Iterator[EmbeddingServer]:
    with serve_embeddings() as running:
        running.key = KEY
        yield running


@pytest.fixture
def server(embeddings: EmbeddingServer, tmp_path: Path) -> Iterator[Server]:
    settings = {"embedding": embeddings.url, "embedding_model": MODEL, "embedding_api_key": KEY, "log_level": "debug"}
    with Server(tmp_path / "store", **settings) as running:
        yield running


def open_filled(server: Server) -> Client:
    """A client of a knowledge base in which FILES are ready."""
    client = server.open_client("k")
    client.create()
    client.upload(FILES)
    client.wait_until_idle()
    return client


def assert_whole(client: Client, degraded: list[str]) -> None:
    for question, path in QUESTIONS.items():
        found = client.search_whole(question)
        best = found["passages"][0]
        assert found["degraded"] == degraded
        assert best["document"]["path"] == path
        assert (best["scores"]["dense"] is None) == bool(degraded)


def assert_no_key(server: Server) -> None:
    assert KEY not in server.read_log()
    for path in server.data_dir.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_documents_are_indexed_and_searched_with_its_vectors(server: Server, embeddings: EmbeddingServer) -> None:
    client = server.open_client("k")
    made = client.create()
    assert (made["embedding_model"], made["dimension"]) == (MODEL, 512)
    client.upload(FILES)
    assert {document["status"] for document in client.wait_until_idle()} == {"ready"}
    assert_whole(client, [])
    assert [found["document"]["path"] for found in client.search("成人票", mode="dense", top_k=1)] == ["价目.md"]
    assert "成人票" in embeddings.texts
    assert_no_key(server)
    assert list_findings(server.data_dir) == []


def test_while_it_is_away_words_are_searched_and_what_waits_is_indexed_later(
    server: Server, embeddings: EmbeddingServer
) -> None:
    client = open_filled(server)

    embeddings.stop()
    assert_whole(client, ["dense"])
    dense = client.http.post(f"{client.path}/search", json={"query": "成人票", "mode": "dense"})
    assert (dense.status_code, dense.json()["code"]) == (503, "embedding_unavailable")
    assert KEY not in dense.text
    job_id = client.upload(LATE)["job_id"]
    waiting = wait_until(
        lambda: job if "embedding_unavailable" in (job := client.get_job(job_id))["message"] else None,
        "the job was put back",
    )
    assert waiting["state"] == "queued"
    assert embeddings.url in waiting["message"]
    assert KEY not in waiting["message"]
    [late] = [document for document in client.list_documents() if document["path"] == "late.txt"]
    assert late["live_version"] is None
    assert query_catalog(server.data_dir, "SELECT count(*) FROM vector") == [(2,)]
    created = client.http.post("/api/v1/knowledge-bases", json={"name": "another"})
    assert created.status_code == 201  # the dimension is known from before

    embeddings.start()
    assert client.wait_for_job(job_id)["state"] == "succeeded"
    wait_until(lambda: not client.search_whole("镜面几月镀膜？")["degraded"], "the dense leg is back")
    assert client.search("镜面几月镀膜？")[0]["document"]["path"] == "late.txt"
    assert_whole(client, [])
    assert_no_key(server)
    assert list_findings(server.data_dir) == []


def test_a_text_that_it_refuses_costs_its_document_alone(server: Server, embeddings: EmbeddingServer) -> None:
    embeddings.refuses = "毒"
    client = server.open_client("k")
    client.create()
    client.upload({**FILES, "bad.txt": ("毒" * 60).encode()})
    found = {document["path"]: document for document in client.wait_until_idle()}
    assert {path: document["status"] for path, document in found.items()} == {
        **dict.fromkeys(FILES, "ready"),
        "bad.txt": "failed",
    }
    assert found["bad.txt"]["error"]["code"] == "embedding_refused"
    assert_whole(client, [])
    assert list_findings(server.data_dir) == []


def test_a_server_that_is_moved_keeps_its_vectors_and_another_model_is_not_mixed_in(
    server: Server, embeddings: EmbeddingServer
) -> None:
    client = open_filled(server)
    server.stop()
    embeddings.stop()

    with serve_embeddings() as elsewhere:
        server.start(embedding=elsewhere.url)
        client = server.open_client("k")
        assert_whole(client, [])
        client.upload(FILES)
        client.http.post(f"{client.path}/reindex", json={"mode": "full"})
        client.wait_until_idle()
        assert set(elsewhere.texts) <= {PROBE, *QUESTIONS}  # no passage is embedded again
        server.stop()

        elsewhere.change = lambda vectors: vectors[:, :64]
        server.start(embedding=elsewhere.url)
        client = server.open_client("k")
        assert_whole(client, ["dense"])
        job_id = client.upload(LATE)["job_id"]
        message = wait_until(lambda: client.get_job(job_id)["message"], "the job was put back")
        assert "dimension 64, the index was made with 512" in message
        assert list_findings(server.data_dir) == []
        reindex = client.http.post(f"{client.path}/reindex", json={"mode": "full"}).json()["job_id"]
        assert client.wait_for_job(reindex)["state"] == "succeeded"
        assert client.wait_for_job(job_id)["state"] == "succeeded"
        assert list_findings(server.data_dir) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"embedding": "http://127.0.0.1:1/v1"}, "KB_EMBEDDING_MODEL names no model"),
        ({"embedding": "http://127.0.0.1:1/v1", "embedding_model": "builtin"}, "KB_EMBEDDING_MODEL names no model"),
        ({"embedding_model": "m"}, "KB_EMBEDDING is no http(s)://…/v1"),
        ({"embedding": f"http://u:{KEY}@127.0.0.1/v1", "embedding_model": "m"}, "KB_EMBEDDING_API_KEY"),
        (
            {"embedding": "http://127.0.0.1/v1", "embedding_model": "m", "embedding_api_key": f"{KEY}\n"},
            "KB_EMBEDDING_API_KEY: Value error, a key is printable ASCII without a space",
        ),
    ],
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_wrong_settings_end_the_start(tmp_path: Path, command: str, settings: dict[str, str], told: str) -> None:
    ended = run_command(tmp_path / "store", command, **settings)
    assert ended.code == 78
    assert "bad_setting" in ended.err
    assert told in ended.err
    assert KEY not in ended.out + ended.err
    assert not (tmp_path / "store").exists()
