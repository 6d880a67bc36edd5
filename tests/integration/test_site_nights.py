"""Nights of a whole site, over HTTP: what is asked, what is read, what is embedded, and what answers afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.kills import Countdown, Death, free_the_job
from fakes.observatory_site import (
    ADVERTISEMENT,
    BROCHURE,
    COPIES,
    DATE,
    HOME,
    HUBS,
    MANUAL,
    NOTES,
    OTHERS,
    REDIRECTS,
    Text,
    add_calendar,
    add_sitemaps,
    build_site,
    find_text,
    list_texts,
    make_answer,
)
from fakes.page_nights import count
from fakes.site_nights import AGENT, SiteNights
from fakes.site_server import FIRST_DAY, Answer, SiteServer, serve_site
from fakes.store import Store, new_store

from ingest.parsing import ParserLimits, ParserPool
from kb.types import JobState, SourceKind, SourceState

TEXTS = list_texts()
PAGES = {"/": HOME, "/en/": HUBS["en"], "/zh/": HUBS["zh"], **{text.path: text.shown[0] for text in TEXTS}, **OTHERS}
OUTSIDE = {"/robots.txt", "/en/empty.html", "/loop/a", "/loop/b", *COPIES, *REDIRECTS}
WITH_ADVERTISEMENT = [text for text in TEXTS if text.has_advertisement]


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(ParserLimits()) as pool:
        yield pool


@pytest.fixture
def site() -> Iterator[SiteServer]:
    with serve_site(build_site()) as site:
        yield site


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store, site: SiteServer, pool: ParserPool) -> SiteNights:
    return SiteNights(store=store, site=site, pool=pool)


@pytest.fixture
def later(nights: SiteNights, site: SiteServer) -> SiteNights:
    """After the first night; the advertisements stand still."""
    freeze_advertisements(site)
    nights.run()
    nights.count_work()
    nights.parser.read.clear()
    site.take_asked()
    return nights


def freeze_advertisements(site: SiteServer) -> None:
    for text in WITH_ADVERTISEMENT:
        site.change(text.path, body=site.answers[text.path].write(1))


def count_asked(site: SiteServer) -> Counter[str]:
    return Counter(one.path for one in site.take_asked())


def write_whole(text: Text) -> str:
    """All that a document of the page must hold, in its order."""
    rows = [f"{text.slug} {row} | {10 * text.number + row}" for row in (1, 2)] if text.has_table else []
    code = [f"read --sensor {text.number}", f"write --year {1900 + text.number}"] if text.has_code else []
    return "\n".join([text.title, text.paragraphs[0], *rows, *code, *text.paragraphs[1:]])


# -- the first night ----------------------------------------------------------------------------------------------


def test_the_whole_site_is_found_and_each_page_asked_once(nights: SiteNights, site: SiteServer, store: Store) -> None:
    job = nights.run()
    assert job.state is JobState.SUCCEEDED, job
    assert nights.visible().keys() == PAGES.keys()
    assert count(job)["added"] == len(PAGES) == 66
    asked = count_asked(site)
    # a redirect is one question more, and the loop is given up
    several = {path: number for path, number in asked.items() if number > 1}
    assert set(several) <= {"/en/visits.html", "/older/visits", "/loop/a", "/loop/b"}
    assert asked["/robots.txt"] == 1
    assert not [path for path in asked if path.startswith("/private") or "PHPSESSID" in path or "utm_" in path]
    assert site.agents == {AGENT}
    assert store.check() == set()


def test_what_is_no_document_says_why(nights: SiteNights, site: SiteServer) -> None:
    result = nights.run().result
    assert result is not None
    told = {one["path"]: one["code"] for one in (*result["skips"], *result["failures"])}
    assert told == {
        site.locate(COPIES[0]): "same_page",
        site.locate(COPIES[1]): "duplicate_content",
        site.locate("/en/empty.html"): "fetch_empty",
        site.locate("/loop/a"): "too_many_redirects",
        site.locate("/private/diary.html"): "robots_denied",
        site.locate("/older/visits"): "same_page",
    }


def test_every_page_is_read_in_its_encoding_and_without_what_is_around_it(nights: SiteNights, store: Store) -> None:
    nights.run()
    for text in TEXTS:
        document = store.find(nights.site.locate(text.path))
        version = store.find_version(document.path)
        read = store.texts.read_text(version["text_sha"])
        if text.codec != "big5":
            assert read == write_whole(text)
            assert document.title == text.title
        assert all(paragraph in read for paragraph in text.shown)
        assert (text.path, document.language) == (text.path, text.language)
        assert document.metadata == ({"date": DATE} if text.number % 3 == 0 else {})
        assert ADVERTISEMENT not in read
    for path, words in (("/files/notes.txt", NOTES), ("/files/manual.pdf", MANUAL), ("/files/brochure", BROCHURE)):
        assert store.texts.read_text(store.find_version(nights.site.locate(path))["text_sha"]) == words
    assert store.find(nights.site.locate("/files/brochure")).media_type == "application/pdf"


# -- the nights after it ------------------------------------------------------------------------------------------


def test_a_night_in_which_nothing_changed_costs_one_question_a_page_and_reads_nothing(
    later: SiteNights, site: SiteServer, store: Store
) -> None:
    store.encoder.down = True
    job = later.run()
    assert (job.state, count(job)) == (JobState.SUCCEEDED, {"unchanged": 66, "failed": 2, "skipped": 4})
    asked = [one for one in site.take_asked() if one.path in PAGES]
    assert Counter(one.path for one in asked) == Counter([*PAGES, "/en/visits.html"])  # which a redirect leads to
    stateless = {text.path for text in TEXTS if text.tells_state is None}
    told_whole = {"/en/visits.html"}  # behind the redirect, which is no document because another one is
    assert {one.path for one in asked if not one.conditional} == stateless | told_whole
    assert {one.path for one in asked if one.status == 304} == PAGES.keys() - stateless
    assert later.count_work() == (0, 0)
    assert later.parser.read == []
    assert store.count("revision") == 1


def test_another_advertisement_each_night_is_read_and_changes_nothing(
    nights: SiteNights, site: SiteServer, store: Store
) -> None:
    nights.run()
    nights.count_work()
    assert count(nights.run())["touched"] == len(WITH_ADVERTISEMENT) == 6
    assert nights.count_work() == (6, 0)
    assert (store.count("version"), store.count("revision")) == (66, 1)


def change_by_day(site: SiteServer) -> None:
    """Four pages get a sentence more, two move, two are gone, one does not come, one is new."""
    for path in ("/en/bus.html", "/zh/公交.html", "/zh/停车.html", "/en/weather.html"):
        text = find_text(path)
        more = "The bus 48 runs on Sundays, too." if text.language == "en" else "四十八路公交车星期日也开。"
        shown = (text.shown[0] + more, *text.shown[1:])
        site.answers[path] = make_answer(text, shown, modified=FIRST_DAY + 86_400)
    site.move("/en/dome.html", "/en/the-dome.html")
    site.move("/zh/圆顶.html", "/zh/圆顶/转动.html", status=308)
    site.remove("/en/comet.html", status=410)
    site.remove("/zh/彗星.html")
    site.remove("/en/moon.html", status=503)
    words = "A new page tells that the tower has got a lift, which carries four people to the gallery in half a minute."
    page = f"<html><head><title>Lift</title></head><body><main><h1>Lift</h1><p>{words}</p></main></body></html>"
    site.answers["/en/lift.html"] = Answer(body=page.encode(), etag='"lift"')
    hub = site.answers["/en/"].write(1).replace(b"</ul>", b"<li><a href='/en/lift.html'>lift</a></li></ul>")
    site.change("/en/", body=hub, etag='"with a lift"')


def test_a_site_that_was_changed_moved_and_partly_taken_down(later: SiteNights, site: SiteServer, store: Store) -> None:
    before = later.visible()
    chunks = len(store.query("SELECT id FROM chunk"))
    change_by_day(site)
    job = later.run()
    assert job.state is JobState.SUCCEEDED, job
    found = count(job)
    assert (found["added"], found["changed"], found["moved"], found["touched"]) == (1, 4, 2, 1)
    assert "removed" not in found
    assert found["unchanged"] == 66 - 4 - 2 - 1 - 3
    after = later.visible()
    assert after.keys() == PAGES.keys() - {"/en/dome.html", "/zh/圆顶.html"} | {
        "/en/the-dome.html", "/zh/圆顶/转动.html", "/en/lift.html",
    }  # fmt: skip
    assert after["/en/the-dome.html"] == before["/en/dome.html"]
    assert after["/en/comet.html"] == before["/en/comet.html"]
    assert after["/en/moon.html"] == before["/en/moon.html"]
    assert "The bus 48 runs" in after["/en/bus.html"]
    assert "四十八路公交车星期日也开" in after["/zh/公交.html"]
    parsed, embedded = later.count_work()
    assert parsed == 4 + 1 + 1  # changed, touched, added
    assert embedded <= 15 < chunks / 10
    for path, state in (
        ("/en/comet.html", SourceState(code="fetch_http_410", nights=1)),
        ("/zh/彗星.html", SourceState(code="fetch_http_404", nights=1)),
        ("/en/moon.html", SourceState(code="fetch_http_503", nights=0)),
        ("/en/bus.html", None),
    ):
        assert (path, store.find(site.locate(path)).source_state) == (path, state)
    assert store.check() == set()


def test_a_page_that_is_gone_for_three_nights_goes(later: SiteNights, site: SiteServer) -> None:
    site.remove("/en/comet.html")
    for _ in range(2):
        assert "removed" not in count(later.run())
        assert "/en/comet.html" in later.visible()
    assert count(later.run())["removed"] == 1
    assert "/en/comet.html" not in later.visible()


def test_a_site_that_is_down_changes_nothing(later: SiteNights, site: SiteServer, store: Store) -> None:
    before = later.visible()
    for path in site.answers:
        site.change(path, status=503)
    job = later.run()
    assert (later.visible(), store.count("revision")) == (before, 1)
    assert job.state is not JobState.SUCCEEDED or not count(job).get("removed")


# -- other sources ------------------------------------------------------------------------------------------------


def test_a_sitemap_names_its_pages_and_no_link_is_followed(store: Store, site: SiteServer, pool: ParserPool) -> None:
    add_sitemaps(site)
    freeze_advertisements(site)
    uri = f"{site.url}/sitemap.xml"
    nights = SiteNights(store=store, site=site, pool=pool, uri=uri, kind=SourceKind.SITEMAP, depth=0)
    assert count(nights.run())["added"] == 59
    assert nights.visible().keys() == {text.path for text in TEXTS} - {"/en/history.html"}
    nights.count_work()
    assert count(nights.run()) == {"unchanged": 59}
    assert nights.count_work() == (0, 0)


def test_a_calendar_without_end_is_bounded(nights: SiteNights, site: SiteServer) -> None:
    add_calendar(site)
    nights.depth = 1_000
    result = nights.run().result
    assert result is not None
    months = [path for path in count_asked(site) if path.startswith("/calendar/")]
    assert 0 < len(months) <= 201
    assert PAGES.keys() <= nights.visible().keys()


def test_as_many_pages_as_are_wanted_and_no_more(store: Store, site: SiteServer, pool: ParserPool) -> None:
    nights = SiteNights(store=store, site=site, pool=pool, max_pages=20)
    assert count(nights.run())["added"] == 20


def test_a_dry_run_says_what_the_night_will_do_and_does_nothing(
    later: SiteNights, site: SiteServer, store: Store
) -> None:
    change_by_day(site)
    plan = later.plan()
    assert later.count_work() == (0, 0)
    assert store.count("revision") == 1
    assert plan["paths"]["added"] == [site.locate("/en/lift.html")]
    assert {one["to"] for one in plan["paths"]["moved"]} == {
        site.locate("/en/the-dome.html"), site.locate("/zh/圆顶/转动.html"),
    }  # fmt: skip
    job = later.run()
    assert (
        (plan["added"], plan["moved"], plan["removed"])
        == (1, 2, 0)
        == tuple((job.result or {}).get(name) for name in ("added", "moved", "removed"))
    )


# -- killed in the middle -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [3, 30, 75])
def test_a_night_that_was_killed_goes_on_and_asks_hardly_a_page_again(
    nights: SiteNights, site: SiteServer, store: Store, tmp_path: Path, at: int
) -> None:
    freeze_advertisements(site)
    whole = new_store(tmp_path / "whole")
    SiteNights(store=whole, site=site, pool=nights.pool).run()
    usual = count_asked(site)
    with pytest.raises(Death):
        nights.run(Countdown(left=at, kills=True))
    free_the_job(store)
    nights.work()
    again = count_asked(site) - usual
    assert all(number <= usual[path] for path, number in again.items())
    assert len(again) <= 16 + 2 + len(OUTSIDE)  # a batch, two on their way, and what is no document
    assert store.list_visible_texts() == whole.list_visible_texts()
    assert store.check() == set()
    whole.close()
