"""Replies as models write them."""

from __future__ import annotations

import pytest

from retrieval.json_answer.reply import BadReply, Reply, list_leaves, read_reply, write_value
from retrieval.json_answer.validator import ResponseSchema

SCHEMA = ResponseSchema({"type": "object", "properties": {"票价": {"type": "integer"}}, "required": ["票价"]})
GOOD = '{"answer": {"票价": 160}, "sources": [2, 1, 2]}'


@pytest.mark.parametrize(
    "written",
    [
        GOOD,
        f"\n{GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"```JSON {GOOD}",
        f"Here is the JSON:\n{GOOD}\nI hope it helps.",
        f"<think>hm</think>{GOOD}",
    ],
)
def test_a_reply_is_found_in_its_frame(written: str) -> None:
    assert read_reply(written, SCHEMA, 2) == Reply(value={"票价": 160}, places=[1, 0])


@pytest.mark.parametrize(
    ("sources", "places", "dropped"),
    [
        ("[]", [], 0),
        ('["2", 1]', [1, 0], 0),
        ("[0, 3, -1, 2.5, true, null, [1], 1]", [0], 7),
        ('["1234567890", 1]', [0], 1),
        (f'["{"1" * 5_000}", 1]', [0], 1),
        ('"1"', [], 0),
        ("{}", [], 0),
        ("null", [], 0),
    ],
)
def test_sources_are_checked_against_the_passages(sources: str, places: list[int], dropped: int) -> None:
    reply = read_reply(f'{{"answer": {{"票价": 1}}, "sources": {sources}}}', SCHEMA, 2)
    assert reply == Reply(value={"票价": 1}, places=places, dropped=dropped)


def test_null_says_that_the_passages_do_not_hold_it() -> None:
    assert read_reply('{"answer": null, "sources": []}', SCHEMA, 2) == Reply(value=None, places=[])
    assert read_reply('{"answer": null}', SCHEMA, 2) == Reply(value=None, places=[])


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "no JSON"),
        ("不知道", "no JSON"),
        (GOOD[:20], "no JSON: broken at character"),
        ("[1]", "no JSON object"),
        ('{"票价": 160}', "no JSON object"),
        ('{"answer": {"票价": "secret"}, "sources": []}', "#/properties/票价/type"),
        ('{"answer": {}, "sources": []}', "#/required"),
        ('{"answer": NaN}', "no JSON"),
        ("[" * 5_000, "no JSON"),
    ],
)
def test_why_it_cannot_be_used_is_said_without_its_words(written: str, reason: str) -> None:
    reply = read_reply(written, SCHEMA, 2)
    assert isinstance(reply, BadReply)
    assert reason in reply.reason
    assert "secret" not in reply.reason


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**30, -(2**63) - 1, 10**308])
def test_integers_are_what_the_model_wrote(number: int) -> None:
    schema = ResponseSchema({"type": "array", "items": {"type": "integer"}, "uniqueItems": True})
    reply = read_reply(f'{{"answer": [{number}, {number + 1}], "sources": [1]}}', schema, 1)
    assert reply == Reply(value=[number, number + 1], places=[0])
    assert isinstance(reply, Reply)
    assert write_value(reply.value) == f"[{number},{number + 1}]"
    assert list_leaves(reply.value) == [str(number), str(number + 1)]
    twice = read_reply(f'{{"answer": [{number}, {number}], "sources": [1]}}', schema, 1)
    assert twice == BadReply(reason='"answer" does not fit the schema at #/uniqueItems')


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 310, "9" * 5_000, "9" * 39_000])
def test_numbers_beyond_all_bounds_are_no_answer(number: str) -> None:
    reply = read_reply(f'{{"answer": {number}, "sources": [1]}}', ResponseSchema({"type": "number"}), 1)
    assert isinstance(reply, BadReply)
    assert reply.reason == "it holds a number that is too large: of more than 308 figures, or with such an exponent"


def test_a_source_may_be_any_number() -> None:
    schema = ResponseSchema({})
    assert read_reply(f'{{"answer": 1, "sources": [{10**30}, 1]}}', schema, 1) == Reply(value=1, places=[0], dropped=1)


def test_leaves_are_the_values_in_their_order() -> None:
    value = {"名": "望江塔", "高": 46, "有": [True, None, "砖", 1.5], "in": {"a": ""}}
    assert list_leaves(value) == ["望江塔", "46", "砖", "1.5", ""]
    assert list_leaves(7) == ["7"]
    assert write_value(value) == '{"名":"望江塔","高":46,"有":[true,null,"砖",1.5],"in":{"a":""}}'


@pytest.mark.parametrize("levels", [101, 300, 900])
def test_what_is_nested_too_deep_to_be_written_again_is_no_answer(levels: int) -> None:
    anything, tree = ResponseSchema({}), "[" * levels + "]" * levels
    reply = read_reply(f'{{"answer": {tree}, "sources": []}}', anything, 2)
    assert isinstance(reply, BadReply)
    assert "nested" in reply.reason
    kept = read_reply(f'{{"answer": {"[" * 100 + "]" * 100}, "sources": []}}', anything, 2)
    assert isinstance(kept, Reply)
    assert write_value(kept.value) == "[" * 100 + "]" * 100
