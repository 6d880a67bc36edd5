"""The Chinese pages say what the English ones say.

`test_docs.py` holds the English pages to the code. Here each Chinese page is held to its English one, row by row, so
that a setting, a route or a code that gets an English row and no Chinese one fails and is named.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
PAGES = [ROOT / "README.zh.md", *sorted(CHINESE.glob("*.md"))]
NOUNS = sorted(page.stem for page in CHINESE.glob("*.md"))  # a page that is not translated yet is English for everybody
TRANSLATED = {page: DOCS / page.name for page in PAGES[1:]} | {ROOT / "README.zh.md": ROOT / "README.md"}
HAN = r"\u3400-\u9fff"
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:(?:\S*/)?(?:kb|pip|python)|curl|make|hf) ")
LETTER = re.compile(r"[^\W\d_]")
SPAN = re.compile(r"`([^`]+)`")

Row = list[str]


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read_rows(page: str) -> list[Row]:
    """The cells of every table row."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def read_pair(noun: str) -> tuple[str, str]:
    return read(DOCS / f"{noun}.md"), read(CHINESE / f"{noun}.md")


def assert_same(english: Iterable[Hashable], chinese: Iterable[Hashable]) -> None:
    """Compared as bags: order is the translator's, but nothing may be lost, added or said twice."""
    wanted, told = Counter(english), Counter(chinese)
    only_in_english, only_in_chinese = list(wanted - told), list(told - wanted)
    assert only_in_english == []
    assert only_in_chinese == []


# -- what a row is about ------------------------------------------------------------------------------------------


def list_settings(page: str) -> list[tuple[str, ...]]:
    """Name, default and, for a limit, the code that breaking it gives."""
    return [tuple(row[:-1]) for row in read_rows(page) if row[0].startswith("`KB_")]


def list_routes(page: str) -> list[str]:
    return [call for row in read_rows(page) for call in re.findall(r"`([A-Z]+ [/…][^`]*)`", row[0])]


def list_errors(page: str) -> list[tuple[str, ...]]:
    """The code, and the status or exit code in the second column."""
    return [tuple(row[:2]) for row in read_rows(page) if re.fullmatch(r"`[a-z_]+`", row[0])]


def list_commands(page: str) -> list[str]:
    return [call for row in read_rows(page) for call in SPAN.findall(row[0]) if call.startswith("kb ")]


@pytest.mark.parametrize(
    ("noun", "list_facts"),
    [
        ("settings", list_settings),
        ("http", list_routes),
        ("errors", list_errors),
        ("command-line", list_commands),
    ],
)
def test_every_fact_stands_on_the_chinese_page_and_no_other(
    noun: str, list_facts: Callable[[str], list[Hashable]]
) -> None:
    english, chinese = map(list_facts, read_pair(noun))
    assert english, "the rows are not found where they were"
    assert_same(english, chinese)


def find_row_facts(row: Row) -> tuple[str, ...]:
    """What no translation changes: names in backquotes, in any order, and cells without a letter, such as a figure."""
    return tuple(" ".join(sorted(SPAN.findall(cell))) or ("" if LETTER.search(cell) else cell) for cell in row)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_row_has_its_chinese_row_in_its_place(noun: str) -> None:
    """In order, so that a row of mere prose, which has no facts to tell it by, is told by its neighbours."""
    english, chinese = map(read_rows, read_pair(noun))
    facts = [[find_row_facts(row) for row in rows] for rows in (english, chinese)]
    steps = [step for step in SequenceMatcher(None, *facts, autojunk=False).get_opcodes() if step[0] != "equal"]
    only_in_english = [" | ".join(row) for _, start, end, _, _ in steps for row in english[start:end]]
    only_in_chinese = [" | ".join(row) for _, _, _, start, end in steps for row in chinese[start:end]]
    assert only_in_english == []
    assert only_in_chinese == []


def test_every_sample_and_question_stands_on_the_chinese_page() -> None:
    english, chinese = ([row[0] for row in read_rows(page) if len(row[0]) > 8] for page in read_pair("samples"))
    assert_same(english, chinese)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_names_in_the_text_are_those_of_the_english_page(page: Path) -> None:
    """A setting, a code, a file: what stands in backquotes anywhere. One that is gone in English must go here too."""
    english, chinese = (set(find_spans(read(path))) for path in (TRANSLATED[page], page))
    assert_same(english, chinese)


def find_spans(page: str) -> Iterator[str]:
    yield from SPAN.findall(re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL).replace("\n", " "))


# -- commands -----------------------------------------------------------------------------------------------------


def list_typed(page: str) -> list[list[str]]:
    """The words of each command in a block, as a shell reads them, so without its comment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if COMMAND.match(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_commands_to_type_are_the_same(page: Path) -> None:
    assert list_typed(read(page)) == list_typed(read(TRANSLATED[page]))


def test_commands_are_found() -> None:
    assert len(list_typed(read(ROOT / "README.md"))) > 10


# -- links --------------------------------------------------------------------------------------------------------


def list_links(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))
    return [link for link in links if not re.match(r"[a-z]+:", link)]


def list_anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: small letters, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in list_links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in list_anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_lead_to_chinese_pages_where_there_are_any(page: Path) -> None:
    """The one link to a page's own English text, under its title, is the exception."""
    targets = [(page.parent / link.partition("#")[0]).resolve() for link in list_links(page)]
    assert targets.count(TRANSLATED[page]) == 1
    assert [path.name for path in targets if path in TRANSLATED.values() and path != TRANSLATED[page]] == []


def test_the_readme_links_every_page_in_chinese_or_else_in_english() -> None:
    wanted = {CHINESE / page.name if page.stem in NOUNS else page for page in DOCS.glob("*.md")}
    linked = {(ROOT / link).resolve() for link in list_links(ROOT / "README.zh.md")}
    assert {str(page.relative_to(ROOT)) for page in wanted - linked} == set()


# -- how Chinese is set -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_han_and_latin_are_set_apart_and_punctuation_is_full_width(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`", "x", text)  # a name in backquotes is set like a Latin word
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE) if page.stem == "samples" else text  # paths, questions
    text = re.sub(r"\S+/\S+\.\w+", "x", text)  # a path outside of backquotes
    touching = re.findall(rf"[{HAN}][A-Za-z0-9]+|[A-Za-z0-9]+[{HAN}]", text)
    half_width = re.findall(rf"[{HAN}] ?[,;:?!()]|[,;:?!()] ?[{HAN}]", text)
    spaced = re.findall(r" [，。；：！？、）]|[，。；：！？、（] (?!\|)", text)
    # A star pair between punctuation and a letter closes nothing: GitHub would show the asterisks.
    bold = re.findall(r"\*\*([^*\n]+)\*\*(.?)", text)
    unclosed = [inner for inner, after in bold if re.search(r"\W$", inner) and re.match(r"\w", after)]
    assert touching + half_width + spaced + unclosed == []
