"""Which addresses are one too many."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ingest.web.traps import MOST_BRED, MOST_COMBINED, Traps, find_mask

HOST = "https://example.com"


@pytest.mark.parametrize(
    ("path", "mask"),
    [
        ("/", "example.com/"),
        ("/2024/01/05", "example.com/#/#/#"),
        ("/news/a12b3.html", "example.com/news/a#b#.html"),
        ("/a?page=12", "example.com/a?page=#"),
        ("/a?title=Foo", "example.com/a?title=Foo"),
        ("/a?c=red&b=2", "example.com/a?b&c"),
    ],
)
def test_a_mask_has_no_digits(path: str, mask: str) -> None:
    assert find_mask(HOST + path) == mask


def test_pages_that_breed_their_own_kind_are_stopped() -> None:
    traps = Traps()
    days = [f"{HOST}/calendar/{number}" for number in range(MOST_BRED + 3)]
    caught = [traps.is_trap(day, before) for before, day in pairwise(days)]
    assert caught == [False] * MOST_BRED + [True] * 2


def test_however_many_articles_a_list_has_none_is_a_trap() -> None:
    traps = Traps()
    lists = [(f"{HOST}/news?page={number // 20}", f"{HOST}/news/{number}.html") for number in range(5_000)]
    assert not any(traps.is_trap(article, page) for page, article in lists)


def test_filters_that_are_combined_are_stopped() -> None:
    traps = Traps()
    combined = [f"{HOST}/shop?c={letter}&s={size}&p={size}" for letter in "abcdefghij" for size in range(100)]
    assert sum(not traps.is_trap(url, f"{HOST}/") for url in combined) == MOST_COMBINED
    assert not traps.is_trap(f"{HOST}/other?c=1&s=1&p=1", f"{HOST}/")


@pytest.mark.parametrize(
    ("path", "is_trap"),
    [
        ("/a/b/a/b", False),
        ("/a/b/a/b/a/b", True),
        ("/x/a/b/a/b/a/b/y", True),
        ("/a/a", False),
        ("/文/文/文", True),
        ("/2011/11/11", False),
        ("/11/11/11", False),
        ("/a/b/c/a/b/c/a/b/c", True),
        ("/" + "/".join("abcdefghijklmnopqrstuvwx"), False),
        ("/" + "/".join("abcdefghijklmnopqrstuvwxy"), True),
        ("/?" + "&".join("abcdefghij"), False),
        ("/?" + "&".join("abcdefghijk"), True),
    ],
)
def test_addresses_that_grow_are_stopped(path: str, *, is_trap: bool) -> None:
    assert Traps().is_trap(HOST + path, f"{HOST}/") is is_trap
