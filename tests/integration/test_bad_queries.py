"""What a search over HTTP makes of strange or wrong input: an answer with the values it must have, or a code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer

FILES = {
    "天窗.md": "天窗停在半途，先断电，再手摇。标题：天窗手册。\n".encode(),
    "dome.md": b"The title of this manual is Dome and shutter.\n",
    "年假.md": "职工年假为十五天。\n".encode(),
}
METADATA = (
    '{"年": 2024, "one": 1, "yes": true, "list": [1, true], "nested": {"team": ["a", {"b": null}]}, "empty": null}'
)
MODES = pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """`k` has three documents of one chunk each; those of FILES have METADATA, `plain.txt` has none."""
    server = LocalServer(tmp_path_factory.mktemp("bad") / "store")
    server.create("k")
    server.upload("k", FILES, data={"metadata": METADATA})
    server.upload("k", {"plain.txt": b"It rained on Monday."})
    server.work()
    yield server
    server.close()


def search(server: LocalServer, query: str, **body: Any) -> list[dict[str, Any]]:
    answer = server.request("POST", f"{KB}/k/search", json={"query": query, **body})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["degraded"] == []
    passages: list[dict[str, Any]] = told["passages"]
    return passages


def list_found(server: LocalServer, query: str, **body: Any) -> list[tuple[str, float | None]]:
    """Path and score by words of each passage."""
    return [(one["document"]["path"], one["scores"]["lexical"]) for one in search(server, query, **body)]


def name_case(value: object) -> str:
    """The same in every process, as those that share the tests must call each by one name."""
    return str(sorted(value) if isinstance(value, set) else value)[:40]


def refuse(server: LocalServer, **body: Any) -> tuple[int, str]:
    answer = server.request("POST", f"{KB}/k/search", json={"query": "年假", **body})
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("query", "words"), [("天窗", {"天窗.md"}), ("dome shutter", {"dome.md"})])
def test_more_than_there_is_gives_all_there_is_each_once(server: LocalServer, query: str, words: set[str]) -> None:
    everything = {*FILES, "plain.txt"}
    for mode, wanted in (("hybrid", everything), ("dense", everything), ("lexical", words)):
        found = [path for path, _ in list_found(server, query, mode=mode, top_k=100)]
        assert (len(found), set(found)) == (len(wanted), wanted)


WORDLESS = [
    *('"(', "+-", "*:*", "^~2", "[]{}", "\\", "/", "&&||!"),
    *("，。！？、；：", "“”‘’「」《》……——", "（　）"),
    *("🔭", "👩\u200d🚀🇨🇳", "\u200b", "\u202e\u2066", "\u0301"),
]


@pytest.mark.parametrize("query", WORDLESS)
def test_a_question_without_a_word_has_no_match_by_words(server: LocalServer, query: str) -> None:
    assert search(server, query, mode="lexical") == []
    near = list_found(server, query)
    assert {path for path, _ in near} == {*FILES, "plain.txt"}  # by their vectors all are near to anything
    assert {score for _, score in near} == {None}
    answer = server.request("POST", f"{KB}/k/ask", json={"question": query}).json()
    assert (answer["refused"], answer["citations"]) == (True, [])


@MODES
@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ('" AND (', "AND"),
        ("title:*", "title"),
        ("+title -shutter", "title shutter"),
        ("dome^4 OR shutter~2", "dome 4 OR shutter 2"),
        ("标题:天窗*", "标题 天窗"),
        ("“天窗”（手册）", "天窗 手册"),
        ("dome\u0001\u001b[31m\u007f\u0085shutter", "dome 31m shutter"),
        ("天窗\t\r\n手册", "天窗 手册"),
        ("🔭天窗🔭手册", "天窗 手册"),
        ("ｄｏｍｅ　ＳＨＵＴＴＥＲ", "dome shutter"),
    ],
)
def test_syntax_and_controls_are_mere_characters(server: LocalServer, mode: str, query: str, plain: str) -> None:
    """By words exactly what the words alone find; by vectors, which see every character, the same documents."""
    found, wanted = list_found(server, query, mode=mode), list_found(server, plain, mode=mode)
    if mode == "lexical":
        assert found == wanted
        assert wanted or plain == "AND"
    else:
        assert {path for path, _ in found} == {path for path, _ in wanted}


@pytest.mark.parametrize("place", ["query", "path_prefix", "metadata", "key"])
@pytest.mark.parametrize("escape", [r"\u0000", r"a\u0000b", r"\ud800", r"\udc00\ud800", r"x\ud83d"])
def test_what_is_no_text_is_refused_wherever_it_stands(server: LocalServer, place: str, escape: str) -> None:
    bodies = {
        "query": f'{{"query": "{escape}"}}',
        "path_prefix": f'{{"query": "x", "filter": {{"path_prefix": "{escape}"}}}}',
        "metadata": f'{{"query": "x", "filter": {{"metadata": {{"a": ["{escape}"]}}}}}}',
        "key": f'{{"query": "x", "filter": {{"metadata": {{"{escape}": 1}}}}}}',
    }
    content, headers = bodies[place].encode(), {"content-type": "application/json"}
    for call in (f"{KB}/k/search", f"{KB}/k/explain"):
        answer = server.request("POST", call, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_text")


def test_a_whole_pair_of_surrogates_is_a_character(server: LocalServer) -> None:
    content = rb'{"query": "\ud83d\udd2d dome"}'
    answer = server.request(
        "POST", f"{KB}/k/search", content=content, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.json()["passages"][0]["document"]["path"] == "dome.md"


@pytest.mark.parametrize("query", ["", " ", "\n\t", "\u3000\u00a0\u2028"])
def test_an_empty_question(server: LocalServer, query: str) -> None:
    assert refuse(server, query=query) == (422, "question_empty")


@pytest.mark.parametrize(
    ("only", "code"),
    [
        ({"path": "a"}, "unknown_field"),
        ({"Language": "zh"}, "unknown_field"),
        ({"path_prefix": "天窗", "$or": []}, "unknown_field"),
        ([], "bad_filter"),
        ("zh", "bad_filter"),
        ({"language": 1}, "bad_filter"),
        ({"language": "x" * 17}, "bad_filter"),
        ({"path_prefix": "x" * 1_025}, "bad_filter"),
        ({"path_prefix": ["天窗"]}, "bad_filter"),
        ({"metadata": []}, "bad_filter"),
        ({"metadata": "年=2024"}, "bad_filter"),
        ({"metadata": None}, "bad_filter"),
        ({"metadata": {"a": "x" * 65_536}}, "metadata_too_large"),
        ({"metadata": {"x" * 65_537: 1}}, "metadata_too_large"),
        ({"metadata": {str(i): i for i in range(1_001)}}, "metadata_too_large"),
        ({"metadata": {"a": [[[[[[[[1]]]]]]]]}}, "metadata_too_large"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("call", ["search", "explain", "ask"])
def test_a_filter_that_cannot_be_meant(server: LocalServer, call: str, only: object, code: str) -> None:
    named = {
        "search": {"query": "年假"},
        "explain": {"query": "年假", "document": "年假.md"},
        "ask": {"question": "年假"},
    }
    answer = server.request("POST", f"{KB}/k/{call}", json={**named[call], "filter": only})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"年": 2024}, set(FILES)),
        ({"年": 2024.0}, set(FILES)),
        ({"年": "2024"}, set()),
        ({"one": 1, "yes": True, "list": [1.0, True]}, set(FILES)),
        ({"one": True}, set()),
        ({"yes": 1}, set()),
        ({"list": [True, True]}, set()),
        ({"list": [1]}, set()),
        ({"nested": {"team": ["a", {"b": None}], "c": 1}}, set()),
        ({"nested": {"team": ["a", {"b": None}]}}, set(FILES)),
        ({"nested": {"team": ["a"]}}, set()),
        ({"nested.team": ["a", {"b": None}]}, set()),
        ({"年": {"$gt": 1}}, set()),
        ({"empty": None, "年": 2024}, set(FILES)),
        ({"年": None}, {"plain.txt"}),
        ({"nope": None}, {*FILES, "plain.txt"}),
        ({"年": "x" * 60_000}, set()),
        ({"' OR 1=1 --": 1}, set()),
        ({}, {*FILES, "plain.txt"}),
    ],
    ids=name_case,
)
def test_metadata_is_compared_whole_and_null_is_what_is_not_there(
    server: LocalServer, metadata: dict[str, Any], found: set[str]
) -> None:
    passages = search(server, "年假 dome 天窗 rained", filter={"metadata": metadata})
    assert {one["document"]["path"] for one in passages} == found


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ({"path_prefix": "天"}, {"天窗.md"}),
        ({"path_prefix": "%"}, set()),
        ({"path_prefix": "_"}, set()),
        ({"path_prefix": "../"}, set()),
        ({"path_prefix": "DOME"}, set()),
        ({"path_prefix": ""}, {*FILES, "plain.txt"}),
        ({"language": "ZH"}, set()),
        ({"language": ""}, {*FILES, "plain.txt"}),
        ({"path_prefix": None, "language": None}, {*FILES, "plain.txt"}),
    ],
    ids=name_case,
)
def test_paths_and_languages_are_compared_as_they_are(
    server: LocalServer, only: dict[str, Any], found: set[str]
) -> None:
    passages = search(server, "年假 dome 天窗 rained", filter=only)
    assert {one["document"]["path"] for one in passages} == found


@pytest.mark.parametrize("top_k", [0, -1, 101, 10**20, 8.0, "8", True, None, [8]])
def test_a_number_out_of_its_range_or_of_no_kind(server: LocalServer, top_k: object) -> None:
    assert refuse(server, top_k=top_k) == (422, "bad_top_k")


@MODES
@pytest.mark.parametrize(("query", "path"), [("天窗" * 4_000, "天窗.md"), ("dome " * 1_599 + "dome", "dome.md")])
def test_the_longest_question_is_answered(server: LocalServer, mode: str, query: str, path: str) -> None:
    assert len(query) <= 8_000
    assert search(server, query, mode=mode)[0]["document"]["path"] == path
    assert refuse(server, query=query + "x" * 8_000) == (422, "question_too_long")
