"""Which addresses are one too many."""

from __future__ import annotations

import pytest

from ingest.web.traps import LONGEST_CHAIN, MOST_BRED, MOST_COMBINED, Traps, Verdict, find_mask

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
        ("/p/3f2a9c1b-77aa-4e0d-9f00-000000000001", "example.com/p/#"),
        ("/p/deadbeef", "example.com/p/deadbeef"),
    ],
)
def test_a_mask_has_no_digits(path: str, mask: str) -> None:
    assert find_mask(HOST + path) == mask


def test_a_chain_of_one_mask_is_followed_only_so_far() -> None:
    traps = Traps()
    months = [traps.judge(f"{HOST}/calendar/{number}", number) for number in range(LONGEST_CHAIN + 3)]
    assert months == [Verdict.TAKE] * (LONGEST_CHAIN + 1) + [Verdict.LEAVE] * 2


def test_many_of_one_mask_wait_if_it_bred_them_but_none_is_left() -> None:
    traps = Traps()
    bred = [traps.judge(f"{HOST}/view?pageId={number}", 1) for number in range(5_000)]
    assert bred == [Verdict.TAKE] * MOST_BRED + [Verdict.WAIT] * (5_000 - MOST_BRED)
    assert {traps.judge(f"{HOST}/news/{number}.html", 0) for number in range(5_000)} == {Verdict.TAKE}


def test_words_that_are_combined_are_left_and_numbers_are_not() -> None:
    traps = Traps()
    words = [f"{HOST}/shop?c={c}{d}&s={s}&p=1" for c in "abcdefghij" for d in "abcde" for s in "mnopqrst"]
    assert [traps.judge(url, 0) for url in words].count(Verdict.TAKE) == MOST_COMBINED
    assert traps.judge(words[0], 0) is Verdict.TAKE
    threads = [f"{HOST}/forum.php?mod=viewthread&tid={number}&extra=page%3D{number % 9}" for number in range(5_000)]
    assert {traps.judge(url, 0) for url in threads} == {Verdict.TAKE}


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
    assert Traps().judge(HOST + path, 0) is (Verdict.LEAVE if is_trap else Verdict.TAKE)
