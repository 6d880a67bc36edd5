"""Real pages of the evaluation data through the whole walk of a web source: served, crawled, read and indexed.

F1 counts runs of four words beside a human's reference of the article, as `make bench-loaders` does.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.page_nights import count
from fakes.site_nights import SiteNights
from fakes.site_server import Answer, SiteServer, serve_site
from fakes.store import Store, new_store

from ingest.parsing import ParserPool

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data"))
REFERENCE, MANIFEST = DATA / "webextract/reference.jsonl", DATA / "docs/manifest.jsonl"
LEAST_F1 = 0.972
CODECS = {"utf-8-sig": {"utf-8-sig"}, "gbk": {"gb18030"}}  # GB18030 holds all of GBK

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not (REFERENCE.exists() and MANIFEST.exists()), reason="no evaluation data at KB_EVAL_DATA"),
]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


ARTICLES = {f"/article/{number:02}.html": entry for number, entry in enumerate(read_lines(REFERENCE))}
PAGES = {f"/{entry['path']}": entry for entry in read_lines(MANIFEST) if entry["format"] == "html"}


DOUBLE = "/html/zh-people-gb18030-bytes.html"  # in another encoding the same words as the page before it


def build_site() -> SiteServer:
    """Every other page of the documents says in its header what it is not."""
    site = SiteServer()
    for path, entry in ARTICLES.items():
        body = gzip.decompress((DATA / "webextract" / entry["path"]).read_bytes())
        site.answers[path] = Answer(body=body, content_type="text/html")
    for number, (path, entry) in enumerate(PAGES.items()):
        header = "text/html; charset=iso-8859-1" if number % 2 else "text/html"
        site.answers[path] = Answer(body=(DATA / "docs" / entry["path"]).read_bytes(), content_type=header)
    return site


@pytest.fixture(scope="module")
def site() -> Iterator[SiteServer]:
    with serve_site(build_site()) as site:
        yield site


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = new_store(tmp_path_factory.mktemp("web") / "store")
    yield store
    store.close()


@pytest.fixture(scope="module")
def nights(store: Store, site: SiteServer) -> Iterator[SiteNights]:
    uri = " ".join(map(site.locate, site.answers))
    with ParserPool() as pool:
        nights = SiteNights(store=store, site=site, pool=pool, uri=uri, depth=0)
        nights.result = nights.run().result or {}
        yield nights


def test_every_page_is_a_document_but_a_double_and_one_that_wants_to_be_none(nights: SiteNights) -> None:
    result = nights.result
    assert (result["added"], result["failures"]) == (len(nights.site.answers) - 2, [])
    skips = {one["code"]: one["path"] for one in result["skips"]}
    assert skips.keys() == {"noindex", "duplicate_content"}
    assert skips["duplicate_content"] == nights.site.locate(DOUBLE)


def test_main_content_is_found_as_well_as_by_the_loader_alone(nights: SiteNights) -> None:
    precisions, recalls = [], []
    texts = nights.read_texts()
    for path, entry in ARTICLES.items():
        if path in texts:
            found, expected = count_runs(texts[path]), count_runs(entry["body"])
            right = (found & expected).total()
            precisions.append(right / found.total())
            recalls.append(right / expected.total())
    precision, recall = statistics.mean(precisions), statistics.mean(recalls)
    assert len(precisions) == len(ARTICLES) - 1
    assert 2 * precision * recall / (precision + recall) >= LEAST_F1


def count_runs(text: str) -> Counter[tuple[str, ...]]:
    """Each run of four words, or all the words of a text that has fewer."""
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3)))


@pytest.mark.parametrize("path", [path for path in PAGES if path != DOUBLE])
def test_a_page_whatever_its_header_says_of_its_encoding(nights: SiteNights, path: str) -> None:
    entry: Mapping[str, Any] = PAGES[path]
    version = nights.store.find_version(nights.site.locate(path))
    assert version["encoding"] in CODECS.get(entry["encoding"], {entry["encoding"]})
    text = squeeze(nights.read_texts()[path])
    assert [wanted for wanted in entry["must_contain"] or () if squeeze(wanted) not in text] == []
    if entry["lang"] in {"zh", "en"}:
        assert version["language"] == entry["lang"]


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00ad]", "", unicodedata.normalize("NFKC", text))


def test_a_second_night_reads_nothing_again(nights: SiteNights) -> None:
    nights.count_work()
    assert count(nights.run()) == {"unchanged": len(nights.site.answers) - 2, "skipped": 2}
    assert nights.count_work() == (0, 0)


QUESTIONS = [
    ("共享充电宝涨价以后多少钱一小时？", "/html/zh-thepaper-powerbank.html"),
    ("郑板桥给女儿的嫁妆是什么？", "/html/zh-people-gb18030-bytes.html"),
    ("What do ducks eat?", "/html/en-wiki-duck.html"),
]


def test_an_answer_cites_the_page_and_quotes_it(tmp_path: Path, site: SiteServer) -> None:
    server = LocalServer(tmp_path / "store", fetch_loopback_ports=str(site.port), fetch_delay_seconds=0)
    try:
        server.create("b")
        uri = " ".join(map(site.locate, [path for _, path in QUESTIONS]))
        made = server.request("POST", f"{KB}/b/sources", json={"name": "s", "kind": "web", "uri": uri, "depth": 0})
        assert made.status_code == 201, made.text
        server.request("POST", f"{KB}/b/sources/s/sync", json={})
        server.work()
        for question, path in QUESTIONS:
            answer = server.request("POST", f"{KB}/b/ask", json={"question": question}).json()
            (first, *_) = answer["citations"]
            assert (question, first["document"]["path"]) == (question, site.locate(path))
            document = first["document"]["id"]
            text = server.request("GET", f"{KB}/b/documents/{document}/text").json()["text"]
            assert squeeze(first["quote"]) in squeeze(text)
    finally:
        server.close()
