from __future__ import annotations

import io
import json
import sys

import pytest

from api.cli.output import (
    Output,
    format_json,
    format_pages,
    format_size,
    format_table,
    show_controls,
    trim_text,
)


def test_columns_align_by_width_not_by_characters() -> None:
    rows = [("手册/观测员.pdf", 12, None), ("a.txt", 3, "no_text")]
    assert format_table(("path", "chunks", "error"), rows) == [
        "path             chunks  error",
        "手册/观测员.pdf      12",
        "a.txt                 3  no_text",
    ]


def test_a_cell_stays_on_its_line() -> None:
    assert format_table(("path",), [("a\nb\x1b[31m",)]) == ["path", "a b\\x1b[31m"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (999_700, "1.0 MB"), (1_540_000, "1.5 MB"), (250e9, "250 GB")],
)
def test_sizes(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("start", "end", "text"), [(3, 3, "p. 3"), (3, 4, "pp. 3–4"), (3, None, "p. 3"), (None, None, "")]
)
def test_pages(start: int | None, end: int | None, text: str) -> None:
    assert format_pages(start, end) == text


def test_trimming_joins_lines_and_counts_the_ellipsis() -> None:
    assert trim_text("穹顶\n 电机", 10) == "穹顶 电机"
    assert trim_text("一二三四五六", 5) == "一二三四…"


def test_terminal_commands_in_a_document_are_shown_not_obeyed() -> None:
    assert show_controls("a\x1b]0;x\x07\r\nb\tc\x9b") == "a\\x1b]0;x\\x07\nb\tc\\x9b"


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", '{"q": "值班😀"}'), ("latin-1", None), ("gbk", None)])
def test_json_is_json_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, written: str | None) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stdout)
    text = format_json({"q": "值班😀"})
    assert json.loads(text.encode(encoding).decode(encoding)) == {"q": "值班😀"}
    assert written is None or text == written


def test_a_lone_surrogate_is_escaped() -> None:
    assert format_json({"q": "\udc80"}) == '{"q": "\\udc80"}'


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.say("waiting")
    output.write_json({"a": 1})
    assert capsys.readouterr() == ('{"a": 1}\n', "waiting\n")
