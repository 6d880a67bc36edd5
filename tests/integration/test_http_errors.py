"""`docs/errors.md` names every code that the source can raise, with the status it has, and no other."""

import ast
import re
from pathlib import Path

import pytest
from fakes.local_server import LocalServer

from api import openapi
from api.errors import BY_CODE, find_status, to_problem
from kb.errors import Conflict, Gone, InvalidInput, KbError, NotFound, StaleLease, Unavailable

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
RAISED = {"InvalidInput", "BadRequest", "NotFound", "Conflict", "Gone", "Unavailable", "DocumentFailed"}
RAISED |= {"FetchFailed", "StartRefused"}
HTTP = {"InvalidInput": InvalidInput, "NotFound": NotFound, "Conflict": Conflict, "Gone": Gone}
OTHER_CALLS = {"Problem", "PydanticCustomError"}
ONLY_WORKERS = {"stale_lease"}  # never leaves a worker
WORDED = {"bad_max_context_tokens", "bad_temperature"}  # put together from a field's name by the answerer


def read_page():
    rows = re.findall(r"^\| `([a-z_]+)` \| (\S+) \|", PAGE, re.MULTILINE)
    assert len(rows) == len({code for code, _ in rows})
    return dict(rows)


def find_codes():
    """Every code that stands as a literal in a call of an error class, with the classes it is raised as."""
    found = {}
    for path in sorted(
        path for package in ("kb", "ingest", "retrieval", "api") for path in (ROOT / package).rglob("*.py")
    ):
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name not in RAISED | OTHER_CALLS:
                continue
            named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
            first = next(iter(named or call.args), None)
            for part in ast.walk(first) if first is not None else ():
                if isinstance(part, ast.Constant) and re.fullmatch(
                    r"[a-z]+(?:_[a-z]+)+|busy|cancelled", str(part.value)
                ):
                    found.setdefault(part.value, set()).add(name)
    return found


def find_words():
    """Every word of the source that could be a code."""
    text = "\n".join(
        path.read_text("utf-8")
        for package in ("kb", "ingest", "retrieval", "api")
        for path in (ROOT / package).rglob("*.py")
    )
    return set(re.findall(r'"([a-z]+(?:_[a-z]+)*)"', text))


def list_field_codes(described):
    fields = {name for body in openapi.REQUEST_BODIES for name in body.model_fields}
    for methods in described["paths"].values():
        for operation in methods.values():
            fields |= {
                part["name"]
                for part in operation.get("parameters", ())
                if part["in"] == "query" and part["name"] != "kb"
            }
    return {f"bad_{field}" for field in fields}


@pytest.fixture(scope="module")
def field_codes(tmp_path_factory):
    server = LocalServer(tmp_path_factory.mktemp("server") / "store")
    described = server.app.openapi()
    server.close()
    return list_field_codes(described)


def test_every_code_of_the_source_is_on_the_page(field_codes):
    assert (set(find_codes()) | field_codes) - set(read_page()) - ONLY_WORKERS == set()


def test_every_code_on_the_page_is_in_the_source(field_codes):
    known = set(find_codes()) | field_codes | WORDED | find_words()
    assert set(read_page()) - known == set()


def test_the_page_tells_the_status_that_is_sent():
    page = read_page()
    for code, kinds in find_codes().items():
        for kind in sorted(kinds & set(HTTP)):
            assert page[code] == str(find_status(HTTP[kind](code, ""))), code
        if kinds == {"Unavailable"}:
            assert page[code] == str(find_status(Unavailable(code, ""))), code
    assert {code: page[code] for code in BY_CODE} == {code: str(status) for code, status in BY_CODE.items()}


@pytest.mark.parametrize("error", [StaleLease("j"), KbError("x", "secret")])
def test_what_no_request_should_meet_is_a_fault_of_ours(error):
    problem = to_problem(error)
    assert (problem.status, problem.code) == (500, "internal_error")
    assert "secret" not in problem.detail


@pytest.mark.parametrize(
    ("code", "status", "after"), [("disk_full", 507, "60"), ("index_unavailable", 503, "5"), ("too_busy", 429, "5")]
)
def test_try_again_later_says_when(code, status, after):
    problem = to_problem(Unavailable(code, "x"))
    assert (problem.status, problem.headers) == (status, {"retry-after": after})
