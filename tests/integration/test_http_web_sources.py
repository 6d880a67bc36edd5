"""Web pages as sources over HTTP: what may be one, a night from creation to a citation, and what a page's address does
wherever a document's path can stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.local_server import KB, LocalServer
from fakes.sites import SITE, FakeSite

from api.bootstrap.sites import Addresses, Web
from ingest.web.addresses import PUBLIC
from ingest.web.dialing import Dialer

NAMES = {"docs.test": ["93.184.216.34"], "inside.test": ["10.0.0.7"], "both.test": ["93.184.216.34", "127.0.0.1"]}
GUIDE = """<!doctype html><html><head><title>Guide</title></head><body><nav><a href="/%E8%AF%B4%E6%98%8E">说明</a>
<a href="/files/prices.csv">prices</a></nav><main><h1>Guide</h1><p>The brass compass is kept in the third drawer of the
map room, beside the sextant, and may be borrowed by anybody who signs the book.</p></main></body></html>"""
CHINESE = """<!doctype html><html><head><meta charset="gbk"><title>说明</title></head><body><main><h1>说明</h1>
<p>黄铜罗盘放在地图室的第三个抽屉里，与六分仪放在一起，任何人登记之后都可以借用，借期一般不超过两个星期。</p></main></body></html>"""


def look_up(host: str, port: int) -> Sequence[str]:
    del port
    if host not in NAMES:
        raise OSError(host)
    return NAMES[host]


@pytest.fixture
def site() -> FakeSite:
    site = FakeSite(pages={f"{SITE}/": GUIDE, f"{SITE}/%E8%AF%B4%E6%98%8E": CHINESE.encode("gbk")})
    site.types[f"{SITE}/%E8%AF%B4%E6%98%8E"] = "text/html; charset=gbk"
    site.pages[f"{SITE}/files/prices.csv"] = "thing,price\ncompass,12\nsextant,40\n"
    site.types[f"{SITE}/files/prices.csv"] = "text/csv"
    return site


@pytest.fixture
def server(tmp_path: Path, site: FakeSite) -> Iterator[LocalServer]:
    gate = Addresses(Dialer(reach=PUBLIC, resolver=look_up))
    server = LocalServer(tmp_path / "store", web=Web(gate=gate, fetcher=site))
    server.create("b")
    yield server
    server.close()


def add(server: LocalServer, uri: str, kind: str = "web", **fields: Any) -> httpx.Response:
    return server.request("POST", f"{KB}/b/sources", json={"name": "docs", "kind": kind, "uri": uri, **fields})


def change(server: LocalServer, **changes: Any) -> httpx.Response:
    return server.request("PATCH", f"{KB}/b/sources/docs", json=changes)


def get_code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


# -- creation and change ------------------------------------------------------------------------------------------


def test_what_is_left_out_has_its_default(server: LocalServer) -> None:
    made = add(server, f"{SITE}/").json()
    assert (made["kind"], made["uri"], made["depth"], made["max_pages"]) == ("web", f"{SITE}/", 0, 1_000)
    assert change(server).json() == made


def test_pages_may_be_listed_and_their_names_need_not_be_known_yet(server: LocalServer) -> None:
    listed = [f"{SITE}/{number}" for number in range(999)]
    made = add(server, "\n".join([*listed, "https://not-yet.test/"]), depth=2, max_pages=1_500).json()
    assert (made["uri"], made["depth"]) == (" ".join([*listed, "https://not-yet.test/"]), 2)
    assert get_code(change(server, max_pages=999)) == (422, "bad_max_pages")
    changed = change(server, uri=f"{SITE}/", max_pages=None, depth=None).json()
    assert (changed["uri"], changed["max_pages"], changed["depth"]) == (f"{SITE}/", 1_000, 0)


def test_uploads_may_go_where_a_web_source_has_its_name(server: LocalServer) -> None:
    server.upload("b", {"docs/a.txt": b"x"})
    assert add(server, f"{SITE}/").status_code == 201
    assert [one["status"] for one in server.upload("b", {"docs/b.txt": b"y"}).json()["documents"]] == ["pending"]
    refused = server.upload("b", {f"{SITE}/a": b"y"})
    assert [one["code"] for one in refused.json()["rejected"]] == ["bad_path"]


@pytest.mark.parametrize("kind", ["web", "sitemap"])
@pytest.mark.parametrize(
    ("uri", "code"),
    [
        # bad inputs 55
        *((uri, "bad_url") for uri in ("file:///etc/passwd", "gopher://h/1", "ftp://h/x", "data:text/html,x")),
        *((uri, "bad_url") for uri in ("javascript:alert(1)", "//docs.test/x", "docs.test/x", "/etc/passwd", " ")),
        # 56
        *((uri, "url_forbidden") for uri in ("http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/")),
        *((uri, "url_forbidden") for uri in ("http://localhost/", "http://[::1]/", "http://[::ffff:7f00:1]/")),
        *((uri, "url_forbidden") for uri in ("https://inside.test/", "https://both.test/", "http://0.0.0.0/")),
        # 58
        ("https://user:secret@docs.test/", "bad_url"),
        ("https://user@docs.test/", "bad_url"),
        # 59
        (f"{SITE}/{'x' * 2_049}", "bad_url"),
        (f"{SITE}/{'x' * 1_025}", "bad_url"),
        *((f"https://docs.test:{port}/", "bad_url") for port in (0, 22, 25, 99999)),
        ("https://xn--a/", "bad_url"),
        ("https://docs.test/a b", "bad_url"),
        ("https://docs.test%2f@10.0.0.1/", "bad_url"),
        (f"{SITE}/ https://127.0.0.1/", "url_forbidden"),
        (" ".join(f"{SITE}/{number}" for number in range(1_001)), "bad_url"),
    ],
)
def test_what_no_web_source_may_be(server: LocalServer, site: FakeSite, kind: str, uri: str, code: str) -> None:
    answer = add(server, uri, kind)
    assert get_code(answer) == (422, code)
    assert "secret" not in answer.text
    assert server.request("GET", f"{KB}/b/sources").json()["items"] == []
    add(server, f"{SITE}/", kind)
    assert get_code(change(server, uri=uri)) == (422, code)
    assert server.request("GET", f"{KB}/b/sources/docs").json()["uri"] == f"{SITE}/"
    assert site.asked == []


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *(("max_pages", value, "bad_max_pages") for value in (0, -1, 50_001, 10**20, "5", 1.5, True)),
        *(("depth", value, "bad_depth") for value in (-1, 11, 10**20, "5", 1.5)),
        ("include", [""], "bad_include"),
        ("exclude", [" "], "bad_glob"),
        ("name", "a/b", "bad_name"),
        ("schedule", "sometimes", "bad_schedule"),
    ],
)
def test_what_bounds_and_patterns_may_not_be(server: LocalServer, field: str, value: object, code: str) -> None:
    assert get_code(add(server, f"{SITE}/", **{field: value})) == (422, code)
    add(server, f"{SITE}/")
    if field != "name":
        assert get_code(change(server, **{field: value})) == (422, code)


def test_a_folder_has_no_bounds(server: LocalServer, tmp_path: Path) -> None:
    server.create("c")
    for field in ("max_pages", "depth"):
        body = {"name": "docs", "kind": "folder", "uri": str(tmp_path), field: 1}
        assert get_code(server.request("POST", f"{KB}/c/sources", json=body)) == (422, f"bad_{field}")


# -- a night, and what answers afterwards --------------------------------------------------------------------------


def sync(server: LocalServer, **wishes: Any) -> dict[str, Any]:
    started = server.request("POST", f"{KB}/b/sources/docs/sync", json=wishes)
    assert started.status_code == 202, started.text
    server.work()
    job: dict[str, Any] = server.request("GET", f"/api/v1/jobs/{started.json()['job_id']}").json()
    return job


def test_a_page_is_found_by_search_and_cited_by_its_address(server: LocalServer, site: FakeSite) -> None:
    add(server, f"{SITE}/", depth=1)
    plan = server.request("POST", f"{KB}/b/sources/docs/sync", json={"dry_run": True}).json()
    chinese = f"{SITE}/%E8%AF%B4%E6%98%8E"
    pages = [f"{SITE}/", chinese, f"{SITE}/files/prices.csv"]
    assert (plan["added"], plan["paths"]["added"], plan["complete"]) == (3, pages, True)
    job = sync(server)
    assert (job["state"], job["result"]["added"], job["result"]["failed"]) == ("succeeded", 3, 0), job

    asked = server.request("POST", f"{KB}/b/ask", json={"question": "Where is the brass compass kept?"}).json()
    assert f"{SITE}/" in {citation["document"]["path"] for citation in asked["citations"]}
    found = server.request("POST", f"{KB}/b/search", json={"query": "罗盘放在哪里"}).json()["passages"][0]
    assert (found["document"]["path"], found["document"]["title"]) == (chinese, "说明")
    assert "第三个抽屉" in found["text"]

    for prefix, number in ((SITE, 3), (f"{SITE}/files/", 1), ("https://other.test", 0)):
        listed = server.request("GET", f"{KB}/b/documents", params={"path_prefix": prefix}).json()["items"]
        assert len(listed) == number
        body = {"query": "compass 罗盘", "filter": {"path_prefix": prefix}}
        passages = server.request("POST", f"{KB}/b/search", json=body).json()["passages"]
        assert all(passage["document"]["path"].startswith(prefix) for passage in passages)
        assert bool(passages) == bool(number)
    explained = server.request("POST", f"{KB}/b/explain", json={"query": "brass compass", "document": f"{SITE}/"})
    assert (explained.status_code, explained.json()["document"]["path"]) == (200, f"{SITE}/")


@pytest.mark.parametrize(
    ("path", "name"),
    [("", "docs.test.html"), ("%E8%AF%B4%E6%98%8E", "说明.html"), ("files/prices.csv", "prices.csv")],
)
def test_a_page_is_downloaded_as_it_came_under_a_name_for_a_file(server: LocalServer, path: str, name: str) -> None:
    add(server, f"{SITE}/", depth=1)
    sync(server)
    listed = server.request("GET", f"{KB}/b/documents").json()["items"]
    (document,) = [one for one in listed if one["path"] == f"{SITE}/{path}"]
    answer = server.request("GET", f"{KB}/b/documents/{document['id']}/content")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-disposition"].endswith(f"''{httpx.URL('http://x/' + name).raw_path.decode()[1:]}")
    if name == "说明.html":
        assert (answer.content, document["media_type"]) == (CHINESE.encode("gbk"), "text/html; charset=gbk")


def test_a_page_that_is_gone_is_flagged_in_every_answer(server: LocalServer, site: FakeSite) -> None:
    add(server, f"{SITE}/", depth=1)
    sync(server)
    del site.pages[f"{SITE}/files/prices.csv"]
    site.statuses[f"{SITE}/%E8%AF%B4%E6%98%8E"] = 503
    job = sync(server)
    assert (job["state"], job["result"]["failed"]) == ("succeeded", 1)
    states = {one["path"]: one["source_state"] for one in server.request("GET", f"{KB}/b/documents").json()["items"]}
    assert states == {
        f"{SITE}/": None,
        f"{SITE}/%E8%AF%B4%E6%98%8E": {"state": "failing", "nights": 0, "code": "fetch_http_503"},
        f"{SITE}/files/prices.csv": {"state": "gone", "nights": 1, "code": "fetch_http_404"},
    }


def test_reindexing_what_changed_syncs_web_sources_too(server: LocalServer) -> None:
    add(server, f"{SITE}/")
    assert server.request("POST", f"{KB}/b/reindex", json={"mode": "changed"}).status_code == 202
    server.work()
    assert [one["path"] for one in server.request("GET", f"{KB}/b/documents").json()["items"]] == [f"{SITE}/"]


@pytest.mark.parametrize("keep", [True, False])
def test_a_deleted_source_takes_its_pages_or_leaves_them(server: LocalServer, *, keep: bool) -> None:
    add(server, f"{SITE}/", depth=1)
    sync(server)
    assert server.request("DELETE", f"{KB}/b/sources/docs", params={"keep_documents": keep}).status_code == 204
    left = server.request("GET", f"{KB}/b/documents").json()["items"]
    assert [one["source_id"] for one in left] == [None] * (3 if keep else 0)
    found = server.request("POST", f"{KB}/b/search", json={"query": "brass compass"}).json()["passages"]
    assert bool(found) is keep
    assert server.list_files()[0] == 0


def test_a_sitemap_is_a_source(server: LocalServer, site: FakeSite) -> None:
    listed = "".join(f"<url><loc>{url}</loc></url>" for url in site.pages)
    site.pages[f"{SITE}/sitemap.xml"] = (
        f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>'
    )
    site.types[f"{SITE}/sitemap.xml"] = "application/xml"
    add(server, f"{SITE}/sitemap.xml", "sitemap", exclude=["/files/*"])
    assert sync(server)["result"]["added"] == 2
    listed_now = [one["path"] for one in server.request("GET", f"{KB}/b/documents").json()["items"]]
    assert listed_now == [f"{SITE}/", f"{SITE}/%E8%AF%B4%E6%98%8E"]
