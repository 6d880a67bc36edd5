import pytest

from retrieval.numbers import list_claimed_numbers, list_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("4,200 euro", {4200}),
        ("３.５ 米", {3.5}),
        ("1, 2 and 3", {1, 2, 3}),
        ("2024-06-01", {2024, 6, 1}),
        ("160万元", {1_600_000}),
        ("四千二百", {4200}),
        ("二〇二四年", {2024}),
        ("一百零五", {105}),
        ("十二", {12}),
        ("兩萬", {20_000}),
        ("一万二", {12_000}),
        ("一百二", {120}),
        ("三亿五千万", {350_000_000}),
        ("twelve", {12}),
        ("Thirty-one hours", {31}),
        ("one hundred and sixty", {160}),
        ("four thousand two hundred", {4200}),
        ("nineteen twenty", {19, 20}),
        ("none", set()),
        ("", set()),
    ],
)
def test_numbers_are_values_however_they_are_written(text, numbers):
    assert list_numbers(text) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("一般来说十分重要，千万不要万一", set()),
        ("三天后共五人", {3, 5}),
        ("一百六十元", {160}),
        ("one of them", set()),
        ("two of them", {2}),
        ("第17页", {17}),
    ],
)
def test_words_that_count_nothing_claim_no_number(text, numbers):
    assert list_claimed_numbers(text) == numbers
