from __future__ import annotations

import pytest

from retrieval.json_answer.patterns import find_foreign_group, measure_pattern


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        (r"^\d{4}-\d{2}$", 7),
        ("票{3}", 3),
        ("a{3,}b{0,99}c{,5}", 3 + 1 + 1 + 4),  # the last is no repetition
        ("(a{10}){10}", 110),
        ("((ab){10}c){10}", 10 * (1 + 10 * 3 + 1)),
        ("[a{99}b]{5}", 5),
        (r"[\]{99}]{5}", 5),
        (r"\({5}", 5),
        ("(?:a|b){7}", 7 * 4),
        (")){9}", 0),
        ("((a", 3),
    ],
)
def test_repetitions_are_written_out(pattern: str, size: int) -> None:
    assert measure_pattern(pattern) == size


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("(a)(?:b)(?=c)(?!d)(?<=e)(?<!f)(?<年>g)(?P<h>i)(?i)(?ms:j)", None),
        (r"\(?R[(?R]", None),
        ("a(?R)", "(?R"),
        ("(?1)", "(?1"),
        ("(?<1>a)", "(?<"),
        ("(?&x)", "(?&"),
        ("(?P>x)", "(?P"),
        ("(?x)", "(?x"),
        ("(?V1)", "(?V"),
    ],
)
def test_groups_of_other_kinds_are_found(pattern: str, found: str | None) -> None:
    assert find_foreign_group(pattern) == found
