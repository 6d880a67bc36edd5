import pytest

from api.errors import BadRequest
from api.json_body import parse_json, validate_json
from api.schemas.ask import AskBody
from api.schemas.knowledge_base import KnowledgeBaseChange, KnowledgeBaseCreation
from api.schemas.search import SearchBody
from kb.errors import InvalidInput


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"NaN",
        b'{"top_k": Infinity}',
        b'{"top_k": -Infinity}',
        b"1e400",
        b"1" * 5_000,
        b"[" * 5_000 + b"]" * 5_000,
        b"[" * 100_000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b"{'a': 1}",
        b'{"a": 1} x',
    ],
)
def test_what_is_not_json(body):
    with pytest.raises(InvalidInput) as caught:
        parse_json(body)
    assert caught.value.code == "bad_json"


@pytest.mark.parametrize(
    "body",
    [
        rb'{"query": "\ud800"}',
        rb'{"query": "\udc00 x"}',
        rb'{"query": "a\u0000b"}',
        rb'{"filter": {"metadata": {"a": ["\u0000"]}}}',
        rb'{"filter": {"metadata": {"\u0000": 1}}}',
    ],
)
def test_text_that_no_database_takes(body):
    with pytest.raises(InvalidInput) as caught:
        parse_json(body)
    assert caught.value.code == "bad_text"


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**30, -(2**63) - 1])
def test_integers_stay_whole_in_the_field_that_asks_for_it(number):
    body = f'{{"question": "x", "top_k": {number}, "response_schema": {{"const": {number}}}}}'.encode()
    value = parse_json(body, "response_schema")
    assert value["response_schema"] == {"const": number}
    assert isinstance(value["response_schema"]["const"], int)
    assert value["top_k"] == float(number) if number >= 2**64 or number < -(2**63) else number
    assert parse_json(b"[1]", "response_schema") == [1]
    assert parse_json(b"{}", "response_schema") == {}


def test_what_is_nested_too_deep_to_be_read_exactly_is_no_json():
    schema = b"[" * 1_000 + b"18446744073709551616" + b"]" * 1_000
    with pytest.raises(InvalidInput) as caught:
        parse_json(b'{"response_schema": %b}' % schema, "response_schema")
    assert caught.value.code == "bad_json"


def test_an_escaped_backslash_before_u0000_is_text():
    assert parse_json(rb'{"query": "\\u0000"}') == {"query": r"\u0000"}


def test_of_equal_keys_the_last_one_counts():
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("top_k", [0, -1, 101, 1e20, "5", 1.5, 5.0, None, True, [], "١٢"])
def test_top_k_out_of_range_or_of_another_type(top_k):
    for model, field in ((SearchBody, "query"), (AskBody, "question")):
        with pytest.raises(BadRequest) as caught:
            validate_json(model, {field: "q", "top_k": top_k})
        assert caught.value.code == "bad_top_k"


@pytest.mark.parametrize(
    ("model", "body", "code"),
    [
        (SearchBody, None, "bad_body"),
        (SearchBody, [], "bad_body"),
        (SearchBody, "x", "bad_body"),
        (SearchBody, {}, "missing_field"),
        (SearchBody, {"query": 1}, "bad_query"),
        (SearchBody, {"query": "q", "k": 1}, "unknown_field"),
        (SearchBody, {"query": "q", "mode": "best"}, "bad_mode"),
        (SearchBody, {"query": "q", "merge": 1}, "bad_merge"),
        (SearchBody, {"query": "q", "rerank": "yes"}, "bad_rerank"),
        (SearchBody, {"query": "q", "rerank": 1}, "bad_rerank"),
        (SearchBody, {"query": "q", "max_tokens": 0}, "bad_max_tokens"),
        (SearchBody, {"query": "q", "filter": []}, "bad_filter"),
        (SearchBody, {"query": "q", "filter": {"path": "x"}}, "unknown_field"),
        (SearchBody, {"query": "q", "filter": {"metadata": 1}}, "bad_filter"),
        (AskBody, {"question": None}, "bad_question"),
        (AskBody, {"question": "q", "history": [{"role": "system", "content": "x"}]}, "bad_role"),
        (AskBody, {"question": "q", "history": [{"role": "user"}]}, "missing_field"),
        (AskBody, {"question": "q", "history": [{"role": "user", "content": 1}]}, "bad_history"),
        (AskBody, {"question": "q", "history": [{"role": "user", "content": "", "tool_calls": []}]}, "unknown_field"),
        (AskBody, {"question": "q", "conversation_id": 1}, "bad_conversation_id"),
        (AskBody, {"question": "q", "logit_bias": {}}, "unknown_field"),
        (AskBody, {"question": "q", "language": "de"}, "bad_language"),
        (AskBody, {"question": "q", "temperature": "0"}, "bad_temperature"),
        (AskBody, {"question": "q", "stream": "true"}, "bad_stream"),
        (KnowledgeBaseCreation, {}, "missing_field"),
        (KnowledgeBaseCreation, {"name": ""}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "  "}, "bad_name"),
        (KnowledgeBaseCreation, {"name": ".."}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "a/b"}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "a\nb"}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "x" * 256}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "字" * 86}, "bad_name"),
        (KnowledgeBaseCreation, {"name": 5}, "bad_name"),
        (KnowledgeBaseCreation, {"name": "a", "description": "x" * 4_001}, "bad_description"),
        (KnowledgeBaseCreation, {"name": "a", "language": "de"}, "bad_language"),
        (KnowledgeBaseCreation, {"name": "a", "embedding_model": ""}, "bad_embedding_model"),
        (KnowledgeBaseChange, {"language": "zh"}, "unknown_field"),
    ],
)
def test_a_body_that_does_not_fit_its_schema(model, body, code):
    with pytest.raises(BadRequest) as caught:
        validate_json(model, body)
    assert caught.value.code == code
    assert caught.value.more["errors"][0].code == code


def test_every_fault_is_told_and_no_value_is_repeated():
    with pytest.raises(BadRequest) as caught:
        validate_json(SearchBody, {"query": "q", "top_k": 0, "mode": "a secret"})
    assert [fault.code for fault in caught.value.more["errors"]] == ["bad_top_k", "bad_mode"]
    assert "a secret" not in str(caught.value.more) + caught.value.detail


@pytest.mark.parametrize(
    ("name", "kept"), [(" 天文 ", "天文"), ("cafe\u0301", "caf\u00e9"), ("🔭", "🔭"), ("x" * 255, "x" * 255)]
)
def test_a_name_is_kept_in_one_form(name, kept):
    assert validate_json(KnowledgeBaseCreation, {"name": name}).name == kept
