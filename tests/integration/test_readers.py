"""LlamaIndex readers that the operator names: from the setting to the text, through real parse children."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer
from fakes.server import run_command
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bootstrap.indexing import check_readers
from ingest.loaders import LoadLimits, load_with_reader
from ingest.loaders.plain import has_text
from ingest.parsing import ParserLimits, ParserPool
from kb.errors import DocumentFailed, StartRefused
from kb.media_type import sniff_media_type
from kb.text import clean_text
from kb.types import PageVerdict, ParsedDocument

READERS = {
    ".srt": "fakes.readers:SubtitleReader",
    ".json": "llama_index.core.readers.json:JSONReader",
    ".ipynb": "fakes.readers:NotebookReader",
    ".bad": "fakes.readers:BadReader",
    ".failing": "fakes.readers:FailingReader",
    ".none": "fakes.readers:NoReader",
    ".missing": "fakes.readers:MissingReader",
    ".module": "fakes.no_such_module:Reader",
}
SETTING = ", ".join(f"{extension}={named}" for extension, named in READERS.items())
SUBTITLES = (
    "1\r\n00:00:01,000 --> 00:00:02,000\r\n望远镜的口径是八米。\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,000\r\nIt was built in 1999.\r\n"
)
NOTEBOOK = {
    "title": " Light \n curves ",
    "cells": [
        {"source": ["# Reading\n", "\n", "The data.\r\n"], "metadata": {"page_label": "2"}},
        {"source": [" "], "metadata": {"page_label": "3"}},
        {"source": ["## 结果\n", "\n", "亮度变化了。\x00"], "metadata": {"page_label": "7"}},
    ],
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    limits = ParserLimits(load=LoadLimits(max_pages=5, max_characters=1_000))
    with ParserPool(limits, readers=READERS) as pool:
        yield pool


def parse(pool: ParserPool, folder: Path, name: str, content: str) -> ParsedDocument:
    path = folder / "0a1b2c"  # as the store names it
    path.write_bytes(content.encode())
    return pool.parse(path, sniff_media_type(name, content.encode(), READERS))


def fail(pool: ParserPool, folder: Path, name: str, content: str) -> DocumentFailed:
    with pytest.raises(DocumentFailed) as caught:
        parse(pool, folder, name, content)
    return caught.value


def test_a_reader_reads_what_we_do_not(pool: ParserPool, tmp_path: Path) -> None:
    parsed = parse(pool, tmp_path, "film/八米.SRT", SUBTITLES)
    assert parsed.text == "望远镜的口径是八米。\nIt was built in 1999."
    assert [(page.number, page.start, page.end) for page in parsed.pages] == [(1, 0, len(parsed.text))]
    assert (parsed.title, parsed.language) == (None, "zh")


def test_each_document_is_a_page_with_its_label_title_and_headings(pool: ParserPool, tmp_path: Path) -> None:
    parsed = parse(pool, tmp_path, "a.ipynb", json.dumps(NOTEBOOK))
    assert parsed.text == "# Reading\n\nThe data.\n\n\n \n\n## 结果\n\n亮度变化了。"
    assert parsed.title == "Light curves"
    texts = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert texts == ["# Reading\n\nThe data.\n", " ", "## 结果\n\n亮度变化了。"]
    assert [page.number for page in parsed.pages] == [2, 3, 7]
    assert [page.verdict for page in parsed.pages] == [PageVerdict.INDEXED, PageVerdict.EMPTY, PageVerdict.INDEXED]
    found = [(parsed.text[item.start : item.end], item.level, item.title) for item in parsed.headings]
    assert found == [("# Reading", 1, "Reading"), ("## 结果", 2, "结果")]


def test_a_reader_of_llama_index_itself(pool: ParserPool, tmp_path: Path) -> None:
    parsed = parse(pool, tmp_path, "a.json", json.dumps({"name": "望远镜", "metres": [8]}, ensure_ascii=False))
    assert '"name": "望远镜"' in parsed.text
    assert "{" not in parsed.text, "read as plain text"


@settings(deadline=None)  # the first example imports LlamaIndex
@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_pages_are_exact_and_hold_every_document(tmp_path_factory: pytest.TempPathFactory, sources: list[str]) -> None:
    path = tmp_path_factory.mktemp("notebook") / "document.ipynb"
    path.write_text(json.dumps({"cells": [{"source": [source]} for source in sources]}))
    if not has_text("".join(sources)):
        with pytest.raises(DocumentFailed, match="no_text"):
            load_with_reader(path, READERS[".ipynb"], LoadLimits())
        return
    parsed = load_with_reader(path, READERS[".ipynb"], LoadLimits())
    texts = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert "\n\n".join(texts) == parsed.text
    assert texts == [clean_text(source) for source in sources]


@pytest.mark.parametrize("labels", [["1", "1"], ["2", "1"], ["0", "1"], ["iv", "v"], ["1", ""], ["1", "9" * 20]])
def test_labels_that_do_not_ascend_are_not_page_numbers(pool: ParserPool, tmp_path: Path, labels: list[str]) -> None:
    cells = [{"source": ["Words."], "metadata": {"page_label": label}} for label in labels]
    parsed = parse(pool, tmp_path, "a.ipynb", json.dumps({"cells": cells}))
    assert [page.number for page in parsed.pages] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "code", "detail"),
    [
        ("a.bad", "raise", "reader_failed", "fakes.readers:BadReader raised KeyError in readers.py:"),
        ("a.bad", "import", "reader_failed", "(ImportError: install nbconvert as well)"),
        ("a.bad", "strings", "reader_failed", "gives something else"),
        ("a.bad", "write", "reader_failed", "raised OSError in"),
        ("a.failing", "x", "reader_failed", "install nbconvert to use this reader"),
        ("a.none", "x", "reader_failed", "fakes.readers:NoReader is no LlamaIndex reader"),
        ("a.missing", "x", "reader_failed", "MissingReader"),
        ("a.module", "x", "reader_failed", "No module named 'fakes.no_such_module'"),
        ("a.ipynb", "no JSON", "reader_failed", "raised JSONDecodeError in"),
        ("a.ipynb", '{"cells": []}', "no_text", ""),
        ("a.bad", "nothing", "no_text", ""),
        ("a.bad", "pages 6", "too_many_pages", "6 pages"),
        ("a.bad", "characters 1001", "text_too_large", ""),
        ("a.bad", "kill", "parser_crashed", "SIGSEGV"),
    ],
)
def test_what_a_reader_cannot_do_costs_its_document(
    pool: ParserPool, tmp_path: Path, name: str, content: str, code: str, detail: str
) -> None:
    failed = fail(pool, tmp_path, name, content)
    assert failed.code == code
    assert detail in failed.detail
    assert "secret" not in failed.detail
    assert parse(pool, tmp_path, "b.srt", SUBTITLES).text


def test_a_reader_that_hangs_or_eats_is_ended_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = ParserLimits(wall_seconds=60.0, memory_bytes=512 << 20)
    with ParserPool(limits, readers=READERS) as pool:
        assert fail(pool, tmp_path, "a.bad", "eat").code == "parse_limit"
        assert parse(pool, tmp_path, "a.srt", SUBTITLES).text
    with ParserPool(ParserLimits(wall_seconds=3.0), readers=READERS) as pool:
        assert fail(pool, tmp_path, "a.bad", "hang").code == "parse_timeout"
    assert [path.name for path in tmp_path.iterdir()] == ["0a1b2c"]


def test_a_reader_sees_no_environment(pool: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_LLM_API_KEY", "secret")
    assert "KB_LLM_API_KEY" not in parse(pool, tmp_path, "a.bad", "environment").text


def test_a_reader_that_is_not_named_any_more(tmp_path: Path) -> None:
    with ParserPool() as pool:
        failed = fail(pool, tmp_path, "a.srt", SUBTITLES)
    assert (failed.code, failed.detail) == ("unsupported_type", "KB_READERS names no reader for .srt")


@pytest.mark.parametrize("named", ["no_such_package_of_ours:Reader", "no_such_package_of_ours.readers:Reader"])
def test_a_start_without_the_package_is_refused(named: str) -> None:
    with pytest.raises(StartRefused) as caught:
        check_readers({".srt": named})
    assert caught.value.code == "bad_setting"
    assert f".srt={named}" in caught.value.detail


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_refused_start_names_the_reader(tmp_path: Path, command: str) -> None:
    ended = run_command(tmp_path / "store", command, readers=".srt=no_such_package_of_ours:Reader")
    assert ended.code == 78
    assert "KB_READERS: .srt=no_such_package_of_ours:Reader needs the package" in ended.err
    assert not (tmp_path / "store").exists()


def test_a_start_asks_for_no_more_than_the_package() -> None:
    check_readers(READERS)


def test_files_of_a_folder_are_left_to_the_readers(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "film.srt").write_text(SUBTITLES)
    server = LocalServer(tmp_path / "store", readers=SETTING, allowed_roots=str(root))
    try:
        server.create("kb")
        source = {"name": "films", "kind": "folder", "uri": str(root)}
        made = server.request("POST", f"{KB}/kb/sources", json=source).json()
        server.request("POST", f"{KB}/kb/sources/{made['id']}/sync")
        server.work()
        (found,) = server.request("GET", f"{KB}/kb/documents").json()["items"]
        assert (found["status"], found["media_type"]) == ("ready", "application/x-reader+srt")
    finally:
        server.close()


def test_uploads_are_left_to_the_readers(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "store", readers=SETTING)
    try:
        server.create("kb")
        files = {"film.srt": SUBTITLES.encode(), "a.bad": b"\x89PNG\r\n\x1a\n\x00", "b.txt": b"Words.", "c.srt": b""}
        answer = server.upload("kb", files).json()
        assert [(one["path"], one["code"]) for one in answer["rejected"]] == [("c.srt", "file_empty")]
        server.work()
        found = {one["path"]: one for one in server.request("GET", f"{KB}/kb/documents").json()["items"]}
        assert (found["film.srt"]["status"], found["film.srt"]["media_type"]) == ("ready", "application/x-reader+srt")
        assert (found["a.bad"]["status"], found["a.bad"]["error"]["code"]) == ("failed", "reader_failed")
        assert found["b.txt"]["media_type"] == "text/plain"
        text = server.request("GET", f"{KB}/kb/documents/{found['film.srt']['id']}/text").text
        assert "望远镜的口径是八米。" in text
    finally:
        server.close()
