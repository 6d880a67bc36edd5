"""Searches beside replacements, restores and deletions: never a gap, never two editions in one answer, nothing after
a delete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest
from fakes.http_client import Client
from fakes.searches import Look, searching
from fakes.server import Server, list_findings, query_catalog
from fakes.small_files import make_files, to_upload

EDITIONS = 50
PATH = "charter/章程.md"
STAMP = re.compile(r"edition-(\d+)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("replace") / "store", seal_changes=60) as server:
        yield server


def write_edition(number: int) -> bytes:
    """Some chunks long; every paragraph bears the edition, so that a mixture of two would show."""
    article = "望远镜章程 telescope charter, article {}: the dome stays open while the sky is clear. edition-{}。"
    return "\n\n".join((article.format(part, number) + " 值班员记录云量与风向。" * 6) for part in range(8)).encode()


def read_editions(client: Client) -> frozenset[str]:
    passages = client.search("telescope charter 望远镜章程", top_k=8)
    return frozenset(stamp for passage in passages for stamp in STAMP.findall(passage["text"]))


def test_every_search_finds_one_edition_the_old_or_the_new(server: Server) -> None:
    client = server.open_client("charter")
    client.create()
    client.upload(to_upload(make_files(20)))
    client.wait_for_job(client.upload({PATH: write_edition(0)})["job_id"])
    sent, ready = [monotonic()], [monotonic()]
    with searching(lambda: server.open_client("charter"), read_editions) as looks:
        for number in range(1, EDITIONS + 1):
            sent.append(monotonic())
            job = client.wait_for_job(client.upload({PATH: write_edition(number)})["job_id"])
            assert job["state"] == "succeeded"
            ready.append(monotonic())
            assert read_editions(client) == {str(number)}
    assert len(looks) > EDITIONS
    for look in looks:
        (edition,) = look.found  # one, and never none
        newest_ready = sum(moment <= look.sent for moment in ready) - 1
        newest_sent = sum(moment <= look.answered for moment in sent) - 1
        assert newest_ready <= int(edition) <= newest_sent
    counts = (
        "SELECT count(*), count(until_revision) FROM publication JOIN document d ON d.id = document_id WHERE d.path = ?"
    )
    assert query_catalog(server.data_dir, counts, PATH) == [(EDITIONS + 1, EDITIONS)]
    assert list_findings(server.data_dir) == []


def test_every_search_beside_restores_finds_one_edition(server: Server) -> None:
    client = server.open_client("restored")
    client.create()
    client.upload(to_upload(make_files(20)))
    client.wait_until_idle()
    revisions = {}
    for number in range(4):
        client.wait_for_job(client.upload({PATH: write_edition(number)})["job_id"])
        revisions[number] = client.http.get(client.path).json()["revision"]
    with searching(lambda: server.open_client("restored"), read_editions) as looks:
        for number in (0, 3, 1, 2, 0, 1, 3, 0) * 3:
            job_id = client.http.post(f"{client.path}/revisions/{revisions[number]}/restore").json()["job_id"]
            assert client.wait_for_job(job_id)["state"] == "succeeded"
            assert read_editions(client) == {str(number)}
    assert len(looks) > len(revisions)
    assert {len(look.found) for look in looks} == {1}
    assert list_findings(server.data_dir) == []


def read_paths(client: Client) -> frozenset[str]:
    """Every document says this sentence, in one language or the other."""
    passages = client.search("night 值班员 wind 风向", top_k=100, max_tokens=100_000)
    return frozenset(passage["document"]["path"] for passage in passages)


def test_no_search_that_starts_after_a_delete_finds_the_document(server: Server) -> None:
    client = server.open_client("logs")
    client.create()
    client.upload(to_upload(make_files(30)))
    documents = client.wait_until_idle()
    everything = {document["path"] for document in documents}
    asked: dict[str, float] = {}
    gone: dict[str, float] = {}
    with searching(lambda: server.open_client("logs"), read_paths) as looks:
        for document in documents[::2]:
            asked[document["path"]] = monotonic()
            assert client.delete(document["id"]).status_code == 204
            gone[document["path"]] = monotonic()
    check_deletions(looks, everything, asked, gone)
    assert read_paths(client) == everything - gone.keys()
    assert list_findings(server.data_dir) == []


def check_deletions(
    looks: Sequence[Look[str]], everything: set[str], asked: dict[str, float], gone: dict[str, float]
) -> None:
    """Nothing deleted before a look is in it, and nothing that was not yet asked to go is missing."""
    assert looks
    for look in looks:
        deleted = {path for path, moment in gone.items() if moment <= look.sent}
        doubtful = {path for path, moment in asked.items() if moment <= look.answered}
        assert not look.found & deleted
        assert everything - doubtful <= look.found


def test_a_deleted_document_is_nowhere_to_be_read(server: Server) -> None:
    client = server.open_client("purged")
    client.create()
    file, kept = make_files(2, start=700)  # bytes that no other test has sent: equal ones would be kept for them
    client.upload(to_upload([file, kept]))
    (document,) = [d for d in client.wait_until_idle() if d["path"] == file.path]
    assert client.delete(document["id"]).status_code == 204
    for part in ("", "/content", "/chunks", "/text"):
        assert client.http.get(f"{client.path}/documents/{document['id']}{part}").status_code == 404
    assert client.delete(document["id"]).status_code == 404
    assert not [path for path in list_places(server.data_dir, document["sha256"]) if path.exists()]
    assert not [p for p in client.search(file.word) if file.word in p["text"]]
    answer = client.ask(f"What about {file.word}?")
    assert file.word not in "".join(passage["text"] for passage in answer["passages"])


def list_places(data_dir: Path, sha256: str) -> list[Path]:
    """Where a plain text file's bytes, and its text of the same bytes, are kept."""
    return [data_dir / store / sha256[:2] / sha256 for store in ("blobs", "texts")]
