"""What a schema may be, and values held against it."""

from __future__ import annotations

from typing import Any

import pytest

from kb.errors import InvalidInput
from retrieval.json_answer.rules import DEEPEST, MOST_BYTES
from retrieval.json_answer.validator import Misfit, ResponseSchema

PRICE = {
    "$defs": {"票": {"type": "object", "properties": {"价": {"type": "integer"}}, "required": ["价"]}},
    "type": "array",
    "items": {"$ref": "#/$defs/票"},
}


def nest(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def refuse(schema: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        ResponseSchema(schema)
    assert caught.value.code == "bad_response_schema"
    return caught.value.detail.removeprefix("response_schema ")


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "objekt"}, "#/type"),
        ({"properties": {"a": {"minimum": "1"}}}, "#/properties/a/minimum"),
        ({"properties": 5}, "#/properties"),
        ({"required": "a"}, "#/required"),
        ({"properties": {"a/b": {"$ref": "https://example.org/x.json"}}}, "#/properties/a~1b/$ref"),
        ({"$ref": "other.json#/a"}, "#/$ref"),
        ({"$ref": 5}, "#/$ref"),
        ({"$ref": "#/$defs/none"}, "#/$ref"),
        ({"default": {"type": "x"}, "$ref": "#/default"}, "#/$ref"),  # data is no schema
        ({"$dynamicRef": "#a"}, "#/$dynamicRef"),
        ({"items": {"$anchor": "a"}}, "#/items/$anchor"),
        ({"items": {"$id": "https://example.org/x"}}, "#/items/$id"),
        ({"items": {"patternProperties": {"^a": {}}}}, "#/items/patternProperties"),
        ({"pattern": "(("}, "#/pattern"),
        ({"pattern": "a" * 501}, "#/pattern"),
        ({"pattern": "a{10000000}"}, "#/pattern repeats too often"),
        ({"items": {"pattern": "(?:(a{99}){99}){99}"}}, "#/items/pattern repeats too often"),
        ({"properties": {"a": {"pattern": "a{6000}"}, "b": {"pattern": "b{6000,}"}}}, "#/properties/"),
        ({"pattern": "(?R)?a"}, "#/pattern has a group that begins with (?R"),
        ({"pattern": "(?#[)a{10000000}]"}, "#/pattern has a group that begins with (?#"),
        ({"$schema": "https://example.org/own"}, "#/$schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "#/$schema"),
        ({"description": "x" * MOST_BYTES}, "#"),
        (nest(DEEPEST + 1), "#"),
        ({"enum": [nest(DEEPEST)]}, "#"),
        ({"$ref": "#"}, "#"),
        # what draft 7 does not look for, though `$ref` may lead there
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": {"a": {"maxLength": "5"}}},
            "#/$defs/a/maxLen",
        ),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [{"type": 5}]}, "#/prefixItems/0/type"),
        ({"additionalItems": {"pattern": 1}}, "#/additionalItems/pattern"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "#/$defs/"),
    ],
)
def test_what_is_refused_is_named_by_its_place(schema: dict[str, Any], place: str) -> None:
    assert refuse(schema).startswith(place)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        nest(DEEPEST),
        {"properties": {"$ref": {"type": "string"}, "pattern": {}, "$id": {}}},  # names of properties
        {"enum": [{"$ref": "https://example.org"}], "const": {"patternProperties": 1}, "default": {"$id": "x"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.org/mine", "type": "string"},
        {"properties": {"below": {"type": "array", "items": {"$ref": "#"}}}},  # a tree
        {"pattern": r"^(?i)(?<y>\d{4})-(?:0[1-9]|1[0-2])(?=-|$)|[(?R]\(\?R|票{0,9999999}|\p{L}{1,200}"},
        {"pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
    ],
)
def test_what_may_be_asked_for(schema: dict[str, Any]) -> None:
    assert ResponseSchema(schema).schema is schema


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], None),
        ([{"价": 160}, {"价": 80, "more": 1}], None),
        ({}, "#/type"),
        ([{"价": "160"}], "#/items/properties/价/type"),
        ([{}], "#/items/required"),
    ],
)
def test_a_value_is_held_against_it(value: object, place: str | None) -> None:
    found = ResponseSchema(PRICE).find_misfit(value)
    assert (found.place if found else None) == place


@pytest.mark.parametrize("ref", ["#/$defs/a~1b", "#/$defs/a%7E1b", "#/$defs/票", "#/$defs/%E7%A5%A8"])
def test_pointers_are_read_as_the_library_reads_them(ref: str) -> None:
    schema = ResponseSchema({"$defs": {"a/b": {"type": "string"}, "票": {"type": "string"}}, "$ref": ref})
    assert schema.find_misfit("x") is None
    assert schema.find_misfit(1) is not None


@pytest.mark.parametrize("ref", ["#/$defs/a%2Fb", "#/$defs/a/b"])
def test_an_escaped_bar_parts_keys_like_any_other(ref: str) -> None:
    assert refuse({"$defs": {"a/b": {"type": "string"}}, "$ref": ref}).startswith("#/$ref points to a place")


def test_each_draft_is_read_by_its_own_rules() -> None:
    beside = {"definitions": {"a": {"type": "string"}}, "$ref": "#/definitions/a", "maxLength": 1}
    assert ResponseSchema(beside).find_misfit("ab") is not None
    assert ResponseSchema(beside | {"$schema": "http://json-schema.org/draft-07/schema#"}).find_misfit("ab") is None


def test_patterns_and_equal_items() -> None:
    schema = ResponseSchema({"items": {"pattern": r"^\d{4}-\d{2}$"}, "uniqueItems": True})
    assert schema.find_misfit(["2024-05", "2024-06"]) is None
    assert schema.find_misfit(["2024-05", "2024-5"]) is not None
    assert schema.find_misfit([{"a": 1, "b": 2}, {"b": 2, "a": 1}]) is not None
    assert schema.find_misfit([{"a": 1}] + [{"a": number} for number in range(2, 9_000)]) is None


def test_what_would_take_for_ever_is_ended() -> None:
    doubled: dict[str, Any] = {
        f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}, {"$ref": f"#/$defs/a{i + 1}"}]} for i in range(60)
    }
    for schema, value in (
        ({"$defs": doubled | {"a60": {}}, "$ref": "#/$defs/a0"}, 1),
        ({"items": {"pattern": r"^(a|aa)+$"}}, ["a" * 60 + "b"] * 100),
        ({"pattern": r"(x+x+)+y"}, "x" * 2_000),
        ({"items": {"required": [f"r{n}" for n in range(1_500)]}}, [{"k": "value"}] * 2_500),  # few steps, long ones
    ):
        with pytest.raises(InvalidInput, match="bad_response_schema"):
            ResponseSchema(schema).find_misfit(value)


def test_a_value_nested_beyond_all_measure_does_not_fit() -> None:
    value: list[Any] = []
    for _ in range(1_000):
        value = [value]
    found = ResponseSchema({"items": {"$ref": "#"}}).find_misfit(value)
    assert found is not None
    assert "nested" in found.place


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**30, -(2**63) - 1])
def test_integers_beyond_64_bits_are_compared_as_they_are(number: int) -> None:
    def list_fitting(schema: dict[str, Any]) -> list[int]:
        checked = ResponseSchema(schema)
        assert str(abs(number)) in checked.text
        return [one - number for one in (number - 1, number, number + 1) if checked.find_misfit(one) is None]

    assert list_fitting({"type": "integer", "const": number}) == [0]
    assert list_fitting({"enum": ["x", number]}) == [0]
    assert list_fitting({"maximum": number}) == [-1, 0]
    assert list_fitting({"exclusiveMinimum": number}) == [1]
    assert list_fitting({"multipleOf": abs(number)}) == [0]
    assert ResponseSchema({"multipleOf": 1e-300}).find_misfit(number) == Misfit(place="#/multipleOf")  # inf by floats
