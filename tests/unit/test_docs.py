"""Documentation is tested: what can be set, called and linked stands on its page, and nothing that is gone does.

The error codes of requests are held by `tests/integration/test_http_errors.py`.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from fastapi import FastAPI

from api.app import NOUNS
from api.cli.main import kb
from kb.config import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])
PACKAGES = ("kb", "ingest", "retrieval", "api")
FOR_TESTS = {"KB_EVAL_DATA"}  # read by tests alone
KNOWLEDGE_BASE = "/api/v1/knowledge-bases/{kb}"  # written … on the page
CHECKS = (
    "kb/checks.py",
    "kb/catalog/checks.py",
    "kb/catalog/revision_checks.py",
    "kb/catalog/conversation_checks.py",
    "api/cli/check.py",
)


@cache
def read_page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def read_rows(page: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@cache
def parse_source(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def list_sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def iter_calls(names: set[str]) -> Iterator[ast.Call]:
    for path in list_sources():
        for node in ast.walk(parse_source(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node


def read_literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def find_keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


# -- settings -----------------------------------------------------------------------------------------------------


def show_default(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and value != Settings.model_fields["port"].default else str(value)


def test_every_setting_stands_on_its_page_with_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in read_rows(read_page("settings")) if row[0].startswith("`KB_")}
    assert told == {f"KB_{name.upper()}": show_default(field.default) for name, field in Settings.model_fields.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_no_page_names_a_setting_that_is_not_there(page: Path) -> None:
    named = set(re.findall(r"\bKB_[A-Z][A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named - FOR_TESTS - {f"KB_{name.upper()}" for name in Settings.model_fields} == set()


def test_limits_are_told_with_the_code_that_they_give() -> None:
    told = {row[0].strip("`"): row[2].strip("`") for row in read_rows(read_page("settings")) if len(row) == 4}
    for name, field in Settings.model_fields.items():
        given = re.search(r"\(([a-z_]+)\)$", field.description or "")
        if given:
            assert told[f"KB_{name.upper()}"] == given[1]


# -- the HTTP interface -------------------------------------------------------------------------------------------


def list_routes() -> set[str]:
    app = FastAPI()
    for noun in NOUNS:
        app.include_router(noun.router)
    described = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}


def test_every_route_stands_on_the_page_and_no_other() -> None:
    cells = [row[0] for row in read_rows(read_page("http"))]
    told = {call for cell in cells for call in re.findall(r"`([A-Z]+ [/…][^`]*)`", cell)}
    assert {call.replace("…", KNOWLEDGE_BASE) for call in told} == list_routes()


# -- the command line ---------------------------------------------------------------------------------------------


def list_commands(group: click.Group, above: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield f"{above} {name}"
        if isinstance(command, click.Group):
            yield from list_commands(command, f"{above} {name}")


def read_commands(line: str) -> Iterator[str]:
    """`kb jobs` and each of its two for `kb jobs show\\|cancel ID`, which is how a table has to write it."""
    above, *words = line.replace("\\", "").split()
    for word in words[:2]:
        yield from (f"{above} {choice}" for choice in word.split("|"))
        above = f"{above} {word}"


def test_every_command_stands_on_its_page() -> None:
    lines = re.findall(r"(?:^|`)(kb [^`\n]*)", read_page("command-line"), re.MULTILINE)
    told = {command for line in lines for command in read_commands(line)}
    assert set(list_commands(kb, "kb")) - told == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_command_that_a_page_shows_can_be_typed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    shown = [found[1] for line in lines if (found := re.match(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?kb (.*)", line))]
    assert [line for line in shown if find_unknown(shlex.split(line, comments=True))] == []


def find_unknown(words: list[str]) -> str | None:
    """The first word that no command or option of ours has."""
    command: click.Command = kb
    for word in words:
        if word in {"&", "|"}:
            return None
        options = {name for one in command.params for name in one.opts} | {"--help", "-h"}
        if word.startswith("-") and word.partition("=")[0] not in options:
            return word
        if isinstance(command, click.Group) and not word.startswith("-"):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return word
            command = inner
    return None


def test_every_code_of_the_command_line_stands_on_its_page() -> None:
    codes = {code for call in iter_calls({"CallFailed"}) if (code := read_literal(call.args[0]))}
    assert codes
    pages = read_page("command-line") + read_page("errors")  # some are the server's own
    assert {code for code in codes if f"`{code}`" not in pages} == set()


# -- exit codes and findings --------------------------------------------------------------------------------------


def test_the_errors_page_tells_the_exit_code_of_every_refused_start() -> None:
    told = {row[0].strip("`"): row[1] for row in read_rows(read_page("errors")) if len(row) == 3}
    found = {}
    for call in iter_calls({"StartRefused"}):
        code = read_literal(call.args[0])
        if code is not None:
            found[code] = "75" if find_keyword(call, "exit_code") is not None else "78"
    assert {code: told[code] for code in found} == found


def test_every_finding_of_a_check_stands_on_its_page() -> None:
    told = {code for row in read_rows(read_page("check")) for code in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row[0])}
    literals: set[str] = set()
    added: set[str] = set()
    for node in (node for name in CHECKS for node in ast.walk(parse_source(ROOT / name))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            literals.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
            added.add(read_literal(node.args[0]) or "")
    assert len(added) > 10, "the checks are not found where they were"
    assert added - {""} - told == set()
    assert told - literals == set()


# -- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    broken = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in list_anchors(target)):
            broken.append(link)
    assert broken == []


def list_anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: small letters, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:kb|ingest|retrieval|api|tests|bench|deploy|data/samples)/[^`\s*{}<>…]*[\w/])`", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in DOCS.glob("*.md")} - set(re.findall(r"\(docs/([\w-]+\.md)\)", readme)) == set()
