"""What is kept whole while it fits."""

from __future__ import annotations

from ingest.blocks import BlockKind, find_blocks


def blocks(text: str) -> list[tuple[BlockKind, str]]:
    return [(block.kind, text[block.start : block.end]) for block in find_blocks(text)]


def test_fences_tables_and_items_are_found() -> None:
    code, table = "```py\n# - x\n| a |\n```", "| a | b |\n|---|---|\n| 1 | 2 |\n"
    text = f"文\n{code}\n{table}\n- one\n  more\n- two\n\n1. first\n（二）第二\n"
    assert blocks(text) == [
        (BlockKind.CODE, code),
        (BlockKind.TABLE, table),
        (BlockKind.ITEM, "- one\n  more\n"),
        (BlockKind.ITEM, "- two"),
        (BlockKind.ITEM, "1. first\n"),
        (BlockKind.ITEM, "（二）第二\n"),
    ]


def test_a_fence_that_is_never_closed_swallows_nothing() -> None:
    assert blocks("```\ncode\n- item\n") == [(BlockKind.ITEM, "- item\n")]


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert blocks("````\n```\nx\n```\n````\n") == [(BlockKind.CODE, "````\n```\nx\n```\n````")]


def test_an_item_stops_before_a_table() -> None:
    assert blocks("- one\n| a |\n") == [(BlockKind.ITEM, "- one\n"), (BlockKind.TABLE, "| a |\n")]


def test_running_text_has_no_blocks() -> None:
    assert blocks("In 1999. Then\n3.14 is pi\n-5 degrees\n一、") == [(BlockKind.ITEM, "一、")]
