from __future__ import annotations

import importlib
import io
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from api.cli.main import ATTRIBUTES, COMMANDS, bear_any_text, kb

HEAVY = ("fastapi", "faiss", "sqlalchemy", "httpx", "pydantic", "numpy", "uvicorn", "torch")


def test_help_imports_no_framework() -> None:
    script = f"""
import sys
from api.cli.main import kb
kb(["--help"], standalone_mode=False)
sys.exit(repr([m for m in {HEAVY} if m in sys.modules]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.stderr == "[]\n"
    assert all(f"  {name} " in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_is_one(name: str) -> None:
    command = getattr(importlib.import_module(COMMANDS[name][0]), ATTRIBUTES.get(name, name))
    assert isinstance(command, click.Command)
    assert command.name == name
    assert CliRunner().invoke(kb, [name, "--help"]).exit_code == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(kb, ["pish"])
    assert result.exit_code == 2
    assert "No such command 'pish'" in result.stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://h:99999", "http://h/?a=b"])
def test_a_url_that_cannot_be_one_is_wrong_usage(url: str) -> None:
    result = CliRunner().invoke(kb, ["list", "--url", url])
    assert result.exit_code == 2
    assert "is to look like http://127.0.0.1:8088" in result.stderr


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    result = CliRunner().invoke(kb, ["list", "--url", "http://me:hunter2@h"])
    assert result.exit_code == 2
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("KB_API_KEY", "kb_é", "KB_API_KEY"), ("KB_PORT", "many", "KB_PORT"), ("KB_URL", "x", "not 'x'")],
)
def test_wrong_settings_are_wrong_usage(name: str, value: str, says: str) -> None:
    result = CliRunner(env={name: value}).invoke(kb, ["list"])
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    "arguments", [["delete", ".."], ["create", " "], ["search", ""], ["ask", "\udc80"], ["documents", "--kb", "."]]
)
def test_arguments_that_no_server_need_see(arguments: list[str]) -> None:
    assert CliRunner().invoke(kb, arguments).exit_code == 2


def test_a_stream_that_lacks_a_character_writes_an_escape() -> None:
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii")
    bear_any_text(stream)
    stream.write("a穹")
    stream.flush()
    assert held.getvalue() == b"a\\u7a79"
