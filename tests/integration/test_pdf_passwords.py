"""Encrypted PDFs: what opens them, what is said when nothing does, and that a password is gone once it was used."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer
from pypdf import PdfReader, PdfWriter
from sqlalchemy import text

from ingest.loaders import LoadLimits, load_document
from ingest.parsing import ParserPool
from kb.errors import DocumentFailed
from kb.media_type import PDF
from kb.types import StagedVersion

REPORT = Path(__file__).parents[2] / "data/samples/reports/2024-06-mirror-coating.pdf"
DOCS = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data")) / "docs/pdf"
PASSWORD = "Kenn-wort 密码 7"


def encrypt(user: str, owner: str = "owner", algorithm: str = "AES-256") -> bytes:
    writer = PdfWriter(clone_from=PdfReader(REPORT))
    writer.encrypt(user_password=user, owner_password=owner, algorithm=algorithm)
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("locked") / "locked.pdf"
    path.write_bytes(encrypt(PASSWORD, algorithm="RC4-128"))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path / "store")
    server.create("kb")
    yield server
    server.close()


def fail(path: Path, password: str | None) -> DocumentFailed:
    with pytest.raises(DocumentFailed) as caught:
        load_document(path, PDF, LoadLimits(), password)
    return caught.value


def list_secrets(server: LocalServer) -> list[str | None]:
    with server.store.catalog.database.read() as connection:
        return list(connection.execute(text("SELECT secret FROM version ORDER BY id")).scalars())


def find_document(server: LocalServer, path: str) -> dict[str, object]:
    items = server.request("GET", f"{KB}/kb/documents").json()["items"]
    return next(item for item in items if item["path"] == path)


def test_the_password_opens_it_and_another_does_not(locked: Path) -> None:
    whole = load_document(REPORT, PDF, LoadLimits())
    assert load_document(locked, PDF, LoadLimits(), PASSWORD).text == whole.text
    assert load_document(locked, PDF, LoadLimits(), "owner").text == whole.text
    assert fail(locked, None).code == "pdf_encrypted"
    wrong = fail(locked, "sesame 9")
    assert wrong.code == "pdf_wrong_password"
    assert "sesame" not in wrong.detail


def test_a_file_that_needs_none_is_read_whatever_is_given(tmp_path: Path) -> None:
    path = tmp_path / "owner-only.pdf"
    path.write_bytes(encrypt("", algorithm="RC4-128"))
    assert load_document(path, PDF, LoadLimits(), "wrong").text == load_document(path, PDF, LoadLimits()).text
    assert load_document(REPORT, PDF, LoadLimits(), "needless").text


@pytest.mark.evaluation
@pytest.mark.parametrize(
    ("name", "password", "outcome"),
    [
        ("enc-both-passwords-aes256.pdf", None, "pdf_encrypted"),
        ("enc-both-passwords-aes256.pdf", "bar-none", "pdf_wrong_password"),
        ("enc-both-passwords-aes256.pdf", "foo", "ok"),
        ("enc-libreoffice-password.pdf", "openpassword", "ok"),
        ("enc-owner-only-readable.pdf", None, "ok"),
        ("enc-owner-only-readable.pdf", "anything", "ok"),
    ],
)
def test_real_encrypted_files(name: str, password: str | None, outcome: str) -> None:
    if not (DOCS / name).exists():
        pytest.skip("no evaluation data at KB_EVAL_DATA")
    if outcome == "ok":
        assert load_document(DOCS / name, PDF, LoadLimits(), password).text
    else:
        assert fail(DOCS / name, password).code == outcome


def test_a_parse_child_is_given_it_over_its_pipe(locked: Path) -> None:
    with ParserPool() as pool:
        assert pool.parse(locked, PDF, PASSWORD).text
        with pytest.raises(DocumentFailed) as caught:
            pool.parse(locked, PDF)
        assert caught.value.code == "pdf_encrypted"  # the child has forgotten it


def test_an_upload_with_its_password_is_indexed(
    server: LocalServer, locked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = {"locked.pdf": locked.read_bytes(), "notes.md": b"# Notes\n\nWords enough to be read."}
    answer = server.upload("kb", files, data={"password": PASSWORD})
    assert answer.status_code == 202
    assert list_secrets(server) == [PASSWORD, None]  # durable with the upload, for PDFs alone
    server.work()
    assert find_document(server, "locked.pdf")["status"] == "ready"
    assert list_secrets(server) == [None, None]
    shown = server.request("GET", f"{KB}/kb/documents").text + answer.text + caplog.text
    assert PASSWORD not in shown


def test_a_wrong_password_is_said_so_and_the_right_one_helps(server: LocalServer, locked: Path) -> None:
    body = locked.read_bytes()
    for password, code in ((None, "pdf_encrypted"), ("wrong one", "pdf_wrong_password")):
        server.upload("kb", {"a.pdf": body}, data={"password": password} if password else {})
        server.work()
        error = find_document(server, "a.pdf")["error"]
        assert isinstance(error, dict)
        assert error["code"] == code
        assert "wrong one" not in error["detail"]
        assert list_secrets(server)[-1] is None
    server.upload("kb", {"a.pdf": body}, data={"password": PASSWORD})
    server.work()
    assert find_document(server, "a.pdf")["status"] == "ready"


def test_another_password_for_a_file_that_still_waits_is_taken(server: LocalServer, locked: Path) -> None:
    body = locked.read_bytes()
    said = [
        server.upload("kb", {"a.pdf": body}, data=data).json()["documents"][0]["status"]
        for data in ({}, {"password": "wrong"}, {"password": PASSWORD}, {"password": PASSWORD}, {})
    ]
    assert said == ["pending", "pending", "pending", "unchanged", "unchanged"]
    server.work()
    assert find_document(server, "a.pdf")["status"] == "ready"
    assert set(list_secrets(server)) == {None}


def test_a_cancelled_job_forgets_it(server: LocalServer, locked: Path) -> None:
    answer = server.upload("kb", {"a.pdf": locked.read_bytes()}, data={"password": PASSWORD}).json()
    server.request("POST", f"/api/v1/jobs/{answer['job_id']}/cancel")
    assert list_secrets(server) == [None]


@pytest.mark.parametrize("password", [b"", b"\xff\xfe", b"line\nend", b"x" * 256, b"nul\x00"])
def test_what_is_no_password(server: LocalServer, password: bytes) -> None:
    answer = server.request(
        "POST", f"{KB}/kb/documents", files=[("files", ("a.md", b"words")), ("password", (None, password))]
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_password")
    assert list_secrets(server) == []


def test_two_passwords_are_refused(server: LocalServer) -> None:
    answer = server.request(
        "POST", f"{KB}/kb/documents", files=[("files", ("a.md", b"x")), *[("password", (None, b"one"))] * 2]
    )
    assert answer.json()["code"] == "bad_password"


def test_what_holds_a_password_does_not_show_it() -> None:
    version = StagedVersion(
        version_id=1, document_id="d", path="a.pdf", sha256="0" * 64, media_type=PDF, password=PASSWORD
    )
    assert PASSWORD not in repr(version)
