from __future__ import annotations

import pytest

from api.cli.progress import show_stage


def test_without_a_terminal_there_is_a_line_for_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with show_stage("indexing", 40) as stage:
        for _ in range(40):
            stage.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "indexing: 4 of 40"
    assert lines[-1] == "indexing: 40 of 40"
    assert len(lines) == 10


def test_what_is_taken_back_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with show_stage("uploading", 10) as stage:
        for count in (5, -5, 5, 5):
            stage.advance(count)
    assert capsys.readouterr().err == "uploading: 5 of 10\nuploading: 10 of 10\n"


def test_nothing_to_count_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_stage("indexing", 0) as stage:
        stage.advance(0)
    assert capsys.readouterr() == ("", "")
