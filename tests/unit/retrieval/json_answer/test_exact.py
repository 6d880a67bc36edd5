"""Integers as they were written, however long; everything else as ever."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from retrieval.json_answer.exact import read_exact, write_exact

INTEGERS = [
    *(0, 160, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**30 + 1),
    *(-(2**63), -(2**63) - 1, -(10**30), 10**308, -(10**308)),
]


@pytest.mark.parametrize("number", INTEGERS)
def test_integers_come_back_as_they_were_written(number: int) -> None:
    value = {"票数": number, "in": [number, {"a": number}], "text": str(number)}
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for text in (written, written.encode()):
        assert read_exact(text) == value
    assert [type(read_exact(str(number))), read_exact(f" {number}\n")] == [int, number]
    assert write_exact(value).decode() == written


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e30", 1e30),
        ("1e-400", 0.0),
        ("-0", 0),
        ("12345678901234567890.0", 12345678901234567890.0),
        ("0.12345678901234567890123", 0.12345678901234567890123),
        ('{"a": 1, "a": 18446744073709551616}', {"a": 2**64}),
        ('"18446744073709551616"', "18446744073709551616"),
        ('["18446744073709551616", true, null, 1.5]', ["18446744073709551616", True, None, 1.5]),
    ],
)
def test_all_else_is_read_as_ever(written: str, value: object) -> None:
    read = read_exact(written)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "written",
    [
        "1e400",
        "-1e400",
        "[1" + "0" * 309 + "]",
        "1" * 5_000,
        "1" * 1_000_000,
        "18446744073709551616,",
        "0" * 20,
        '{"a": NaN, "b": 18446744073709551616}',
        r'["\ud800", 18446744073709551616]',
        "[" * 1_000 + "18446744073709551616" + "]" * 1_000,
        "[" * 5_000,
    ],
)
def test_what_is_no_json_or_beyond_all_floats(written: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_exact(written)


def test_keys_are_sorted_where_they_are_to_be() -> None:
    value = {"b": 2**64, "a": {"d": 1, "c": 2}}
    assert write_exact(value, sort=True) == b'{"a":{"c":2,"d":1},"b":18446744073709551616}'
    assert write_exact({"b": 1, "a": 2}, sort=True) == b'{"a":2,"b":1}'


def nest(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [[2**64, float("nan")], ["\ud800", 1], nest(100_000)])
def test_what_no_json_holds_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        write_exact(value)
