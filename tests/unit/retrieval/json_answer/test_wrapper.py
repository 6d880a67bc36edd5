"""What is sent of a schema: pointers still lead where they led, and nothing that was allowed is forbidden."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from retrieval.json_answer.validator import ResponseSchema
from retrieval.json_answer.wrapper import wrap_schema


def wrap(schema: dict[str, Any], passages: int = 3) -> dict[str, Any]:
    return wrap_schema(ResponseSchema(schema), passages)


def takes(wrapper: dict[str, Any], answer: object, sources: object = (1,)) -> bool:
    Draft202012Validator.check_schema(wrapper)
    return Draft202012Validator(wrapper).is_valid({"answer": answer, "sources": list(sources)})


def test_the_wrapper_holds_the_answer_or_null_and_the_numbers_of_passages() -> None:
    assert wrap({"type": "string"}, 2) == {
        "type": "object",
        "properties": {
            "answer": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "sources": {"type": "array", "items": {"type": "integer", "enum": [1, 2]}, "maxItems": 2},
        },
        "required": ["answer", "sources"],
        "additionalProperties": False,
    }


def test_pointers_survive() -> None:
    price = {"type": "object", "properties": {"价": {"type": "integer"}}, "additionalProperties": False}
    tree = {
        "$defs": {"price": price, "old/new": {"$ref": "#/$defs/price/properties/价"}},
        "type": "object",
        "properties": {
            "price": {"$ref": "#/$defs/price"},
            "was": {"$ref": "#/$defs/old~1new"},
            "also": {"$ref": "#/properties/price"},
            "below": {"type": "array", "items": {"$ref": "#"}},
        },
        "additionalProperties": False,
    }
    wrapper = wrap(tree)
    assert takes(wrapper, {"price": {"价": 1}, "was": 2, "also": {"价": 3}, "below": [{"was": 4, "below": []}]})
    for wrong in ({"price": {"价": "1"}}, {"was": "2"}, {"also": {"x": 3}}, {"below": [{"below": [{"was": "4"}]}]}):
        assert not takes(wrapper, wrong)
    assert takes(wrapper, None)
    assert not takes(wrapper, {"was": 1}, (4,))


def test_older_definitions_and_inner_ones() -> None:
    wrapper = wrap({"definitions": {"a": {"type": "integer"}}, "items": {"$ref": "#/definitions/a"}})
    assert (takes(wrapper, [1]), takes(wrapper, ["1"])) == (True, False)
    inner = wrap({"items": {"$defs": {"a": {"type": "integer"}}, "$ref": "#/items/$defs/a"}})
    assert (takes(inner, [1]), takes(inner, ["1"])) == (True, False)


def test_numbers_that_an_engine_cannot_hold_are_left_out_and_never_narrower() -> None:
    """xgrammar makes 1.8446744073709552e+19 of the constant 2 ** 64, and refuses 2 ** 63 as a bound."""
    most, least = 2**63 - 1, -(2**63)
    for kept in ({"const": most}, {"enum": ["a", least]}, {"type": "integer", "minimum": least, "maximum": most}):
        assert wrap(kept)["properties"]["answer"]["anyOf"][0] == kept
    for beyond in (most + 1, least - 1, 2**64, 10**30, 1e30, -1e30):
        schema = {
            "properties": {"a": {"const": beyond}, "b": {"const": {"c": [beyond]}}, "d": {"enum": [1, beyond]}},
            "items": {"type": "integer", "minimum": beyond, "exclusiveMaximum": beyond, "maximum": 7},
        }
        wrapper = wrap(schema)
        [sent, _] = wrapper["properties"]["answer"]["anyOf"]
        assert sent == {"properties": {"a": {}, "b": {}, "d": {}}, "items": {"type": "integer", "maximum": 7}}
        assert takes(wrapper, {"a": beyond, "d": 1})


def test_what_a_grammar_may_not_know_is_left_out_and_never_narrower() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "t",
        "oneOf": [{"type": "string", "pattern": "^a", "minLength": 1, "maxLength": 5_000}, {"type": "string"}],
        "not": {"pattern": "b"},
        "if": {"format": "date"},
        "then": {"minLength": 3},
    }
    wrapper = wrap(schema)
    [sent, _] = wrapper["properties"]["answer"]["anyOf"]
    assert sent == {"title": "t", "anyOf": [{"type": "string", "minLength": 1}, {"type": "string"}]}
    wrapper = wrap({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]})
    assert (takes(wrapper, [1, "a"]), takes(wrapper, ["a"])) == (True, False)


DRAFT_7 = {"$schema": "http://json-schema.org/draft-07/schema#"}


def test_what_a_draft_does_not_know_says_nothing() -> None:
    wrapper = wrap(DRAFT_7 | {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}})
    assert (takes(wrapper, ["a"]), takes(wrapper, [1])) == (True, False)
    beside = {
        "definitions": {"a": {"type": "string"}},
        "properties": {"b": {"$ref": "#/definitions/a", "type": "null"}},
    }
    assert takes(wrap(DRAFT_7 | beside), {"b": "x"})


def test_a_pointer_to_what_is_left_out_is_left_out() -> None:
    wrapper = wrap({"not": {"type": "null"}, "properties": {"a": {"$ref": "#/not", "type": "string"}}})
    assert (takes(wrapper, {"a": "x"}), takes(wrapper, {"a": 1})) == (True, False)
