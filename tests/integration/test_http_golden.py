"""Golden questions over HTTP: every call, and the exact code of what goes wrong."""

import json

import pytest
from fakes.local_server import KB, LocalServer

from api.bootstrap.indexing import build_gate
from kb.types import Candidate

GOLDEN = f"{KB}/read/golden-questions"
TEXT = "# 望远镜\n\n望远镜的口径是八米。它建于一九九八年。\n\n# Domes\n\nThe dome opens at night. It weighs 200 tons.\n"
LINES = "application/x-ndjson"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = LocalServer(tmp_path_factory.mktemp("server") / "store")
    server.create("read")
    server.upload("read", {"天文/口径.md": TEXT.encode(), "b.txt": "还有别的文件".encode()})
    server.work()
    yield server
    server.close()


@pytest.fixture
def server(shared):
    """Without questions left by another test."""
    answer = shared.request("POST", f"{GOLDEN}/import", json={"items": [], "replace": True})
    assert answer.json() == {"added": 0, "unchanged": 0, "total": 0}
    return shared


def add(server, question="口径多少？", **fields):
    answer = server.request("POST", GOLDEN, json={"question": question, **(fields or {"answers": ["八米"]})})
    assert answer.status_code == 201, answer.text
    return answer.json()


def get_code(answer):
    return answer.status_code, answer.json()["code"]


def send_lines(server, text, query=""):
    data = text if isinstance(text, bytes) else text.encode()
    return server.request("POST", f"{GOLDEN}/import{query}", content=data, headers={"content-type": LINES})


def list_all(server):
    return server.request("GET", GOLDEN).json()["items"]


def test_one_question_from_its_addition_to_its_end(server):
    made = add(server, " When? ", paths=["天文/", "cafe\u0301.md"], answers=["1998"])
    assert set(made) == {"id", "question", "paths", "answers", "created_at"}
    assert (made["question"], made["paths"], made["answers"]) == ("When?", ["天文/", "café.md"], ["1998"])
    assert add(server, "When?", paths=["café.md", "天文/"], answers=["1998"]) == made
    assert server.request("GET", f"{GOLDEN}/{made['id']}").json() == made
    changed = server.request("PATCH", f"{GOLDEN}/{made['id']}", json={"question": "Wann?", "paths": []}).json()
    assert changed == {**made, "question": "Wann?", "paths": []}
    assert server.request("PATCH", f"{GOLDEN}/{made['id']}", json={}).json() == changed
    assert list_all(server) == [changed]
    assert server.request("DELETE", f"{GOLDEN}/{made['id']}").status_code == 204
    assert get_code(server.request("DELETE", f"{GOLDEN}/{made['id']}")) == (404, "golden_question_not_found")
    assert list_all(server) == []


def test_lists_are_cut_into_pages(server):
    for n in range(5):
        add(server, f"q{n}")
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = server.request("GET", GOLDEN, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [item["question"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (found, pages) == ([f"q{n}" for n in range(5)], 3)
    assert get_code(server.request("GET", f"{GOLDEN}?cursor=x")) == (400, "bad_cursor")


BAD_BODIES = [
    ({"question": "q"}, "missing_field"),
    ({"question": "q", "paths": [], "answers": []}, "missing_field"),
    ({"answers": ["x"]}, "missing_field"),
    ({"question": " ", "answers": ["x"]}, "question_empty"),
    ({"question": "x" * 8_001, "answers": ["x"]}, "question_too_long"),
    ({"question": 1, "answers": ["x"]}, "bad_question"),
    ({"question": "q", "answers": "x"}, "bad_answers"),
    ({"question": "q", "answers": [""]}, "bad_answers"),
    ({"question": "q", "answers": ["\u3000 "]}, "bad_answers"),
    ({"question": "q", "answers": ["x" * 1_001]}, "bad_answers"),
    ({"question": "q", "answers": ["x"] * 101}, "bad_answers"),
    ({"question": "q", "paths": [""]}, "bad_paths"),
    ({"question": "q", "paths": [1]}, "bad_paths"),
    ({"question": "q", "paths": None}, "bad_paths"),
    ({"question": "q", "paths": ["x" * 1_025]}, "bad_paths"),
    ({"question": "q", "answers": ["x"], "path": "y"}, "unknown_field"),
    ({"question": "q\0", "answers": ["x"]}, "bad_text"),
    ([], "bad_body"),
]


@pytest.mark.parametrize(("body", "code"), BAD_BODIES)
def test_bad_questions(server, body, code):
    assert get_code(server.request("POST", GOLDEN, json=body)) == (422, code)
    good = {"question": "good", "answers": ["x"]}
    lines = f"{json.dumps(good)}\r\n\n{json.dumps(body)}\n{json.dumps(good)}"
    for answer, place in (
        (send_lines(server, lines), "lines.3"),
        (server.request("POST", f"{GOLDEN}/import", json={"items": [good, body]}), "items.1"),
    ):
        assert answer.status_code == 422
        if code == "bad_text" and place == "items.1":  # told of the body as a whole
            assert answer.json()["code"] == code
            continue
        (fault,) = answer.json()["errors"]
        assert fault["code"] == answer.json()["code"] == code
        assert fault["field"] == place or fault["field"].startswith(f"{place}.")
        assert answer.json()["detail"].startswith(place)
    assert list_all(server) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"answers": []}, "missing_field"),
        ({"question": ""}, "question_empty"),
        ({"answers": [" "]}, "bad_answers"),
        ({"id": "x"}, "unknown_field"),
    ],
)
def test_bad_changes(server, change, code):
    made = add(server)
    assert get_code(server.request("PATCH", f"{GOLDEN}/{made['id']}", json=change)) == (422, code)
    assert list_all(server) == [made]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_what_is_no_question(server, method):
    body = {"json": {}} if method == "PATCH" else {}
    for name in ("0" * 32, "run", "%00", "x" * 5_000):
        assert get_code(server.request(method, f"{GOLDEN}/{name}", **body)) == (404, "golden_question_not_found")
    missing = f"{KB}/nothing/golden-questions"
    assert get_code(server.request(method, f"{missing}/x", **body)) == (404, "knowledge_base_not_found")


def test_an_import_in_lines_and_as_json(server):
    items = [{"question": f"q{n}", "answers": ["x"]} for n in range(3)]
    lines = "\n".join(json.dumps(item) for item in items) + "\n"
    assert send_lines(server, lines).json() == {"added": 3, "unchanged": 0, "total": 3}
    assert send_lines(server, lines).json() == {"added": 0, "unchanged": 3, "total": 3}
    answer = server.request("POST", f"{GOLDEN}/import", json={"items": [*items, {"question": "n", "paths": ["a"]}]})
    assert answer.json() == {"added": 1, "unchanged": 3, "total": 4}
    assert send_lines(server, lines.splitlines()[1], "?replace=true").json() == {"added": 0, "unchanged": 1, "total": 1}
    assert [one["question"] for one in list_all(server)] == ["q1"]
    assert send_lines(server, "").json() == {"added": 0, "unchanged": 0, "total": 1}


def test_every_fault_of_an_import_names_its_line(server):
    add(server, "kept")
    lines = ['{"question": "a", "answers": ["x"]}', "{", '{"question": "b"}', '{"question": 1, "paths": 2}', "[]"]
    answer = send_lines(server, "\n".join(lines), "?replace=true")
    assert get_code(answer) == (400, "bad_json")
    faults = [(fault["field"], fault["code"]) for fault in answer.json()["errors"]]
    assert faults == [
        ("lines.2", "bad_json"),
        ("lines.3", "missing_field"),
        ("lines.4.question", "bad_question"),
        ("lines.4.paths", "bad_paths"),
        ("lines.5", "bad_body"),
    ]
    assert [one["question"] for one in list_all(server)] == ["kept"]
    assert len(send_lines(server, "{\n" * 900).json()["errors"]) == 100


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"json": {}}, 422, "missing_field"),
        ({"json": {"items": {}}}, 422, "bad_items"),
        ({"json": {"items": [], "replace": "yes"}}, 422, "bad_replace"),
        ({"json": {"items": [], "more": 1}}, 422, "unknown_field"),
        ({"json": {"items": [{}] * 1_001}}, 422, "too_many_golden_questions"),
        ({"content": b"{}\n" * 1_001, "headers": {"content-type": LINES}}, 422, "too_many_golden_questions"),
        ({"content": b"\xff", "headers": {"content-type": LINES}}, 400, "bad_json"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b" " * 10_000_001, "headers": {"content-type": LINES}}, 413, "too_large"),
    ],
)
def test_bad_imports(server, body, status, code):
    assert get_code(server.request("POST", f"{GOLDEN}/import", **body)) == (status, code)
    assert list_all(server) == []


def test_a_knowledge_base_takes_a_thousand(server):
    lines = "\n".join(json.dumps({"question": f"q{n}", "answers": ["x"]}) for n in range(1_000))
    assert send_lines(server, lines).json()["total"] == 1_000
    one = {"question": "one more", "answers": ["x"]}
    assert get_code(server.request("POST", GOLDEN, json=one)) == (422, "too_many_golden_questions")
    assert get_code(send_lines(server, json.dumps(one))) == (422, "too_many_golden_questions")


def test_how_the_questions_fare_now(server):
    empty = server.request("POST", f"{GOLDEN}/run").json()
    assert empty == {"questions": 0, "hit_rate": 0, "mrr": 0, "degraded": [], "items": []}
    good = add(server, "望远镜的口径是多少", paths=["天文/口径.md"], answers=["口径是 八米"])
    bad = add(server, "望远镜的口径", paths=["b.txt"], answers=["八米"])
    answer = server.request("POST", f"{GOLDEN}/run").json()
    assert answer["items"] == [
        {"id": good["id"], "question": good["question"], "rank": 1},
        {"id": bad["id"], "question": bad["question"], "rank": None},
    ]
    assert (answer["questions"], answer["hit_rate"], answer["mrr"], answer["degraded"]) == (2, 0.5, 0.5, [])
    missing = f"{KB}/nothing/golden-questions/run"
    assert get_code(server.request("POST", missing)) == (404, "knowledge_base_not_found")


def test_the_workers_gate_stands_over_the_same_store(server):
    gate, catalog = build_gate(server.store), server.store.catalog
    kb_id = catalog.knowledge_bases.find("read").id
    space_id = catalog.feed.get_head(kb_id).space_id
    assert gate.judge(Candidate(kb_id=kb_id, space_id=space_id)) is None
    add(server, "望远镜的口径是多少", paths=["天文/口径.md"])
    assert gate.judge(Candidate(kb_id=kb_id, space_id=space_id)).passed
    with catalog.database.read() as connection:
        versions = list(connection.exec_driver_sql("SELECT version_id FROM publication").scalars())
    report = gate.judge(Candidate(kb_id=kb_id, space_id=space_id, closed=versions))
    assert (report.passed, report.hit_rate_before, report.hit_rate_after) == (False, 1, 0)
    assert report.lost == ["望远镜的口径是多少"]


def test_the_limits_of_a_knowledge_base(server):
    path = f"{KB}/{server.create('limits')['id']}"
    made = server.request("GET", path).json()
    assert made["gate"] == {"hit_rate_fall": 0.05, "mrr_fall": 0.05}
    assert made["vanish_share"] == 0.5
    changed = server.request("PATCH", path, json={"gate": {"mrr_fall": 0}, "vanish_share": 1}).json()
    assert changed == {**made, "gate": {"hit_rate_fall": 0.05, "mrr_fall": 0}, "vanish_share": 1}
    assert server.request("PATCH", path, json={"name": "limits 2", "gate": {}}).json()["gate"] == changed["gate"]
    for body, code in [
        ({"gate": {"mrr_fall": 1.1}}, "bad_gate"),
        ({"gate": {"mrr_fall": -0.1}}, "bad_gate"),
        ({"gate": {"mrr_fall": True}}, "bad_gate"),
        ({"gate": {"rate": 0.1}}, "unknown_field"),
        ({"gate": 0.1}, "bad_gate"),
        ({"vanish_share": 2}, "bad_vanish_share"),
        ({"vanish_share": "0.5"}, "bad_vanish_share"),
    ]:
        assert get_code(server.request("PATCH", path, json=body)) == (422, code), body
