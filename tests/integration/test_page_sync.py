"""Nights of web pages against a site in memory: what is asked, what is indexed, what answers afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.page_nights import PageNights, count
from fakes.sites import SITE
from fakes.store import Store, new_store, write_sentences

from kb.types import JobState, SourceState

PAGES = {"/": write_sentences(1), "/a": write_sentences(2, 3), "/文档/b": write_sentences(4)}
SHOWN = {"/": PAGES["/"], "/a": PAGES["/a"], "/%E6%96%87%E6%A1%A3/b": PAGES["/文档/b"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store) -> PageNights:
    nights = PageNights(store=store)
    for path, main in PAGES.items():
        quoted = path.replace("文档", "%E6%96%87%E6%A1%A3")
        nights.write(quoted, main, *(PAGES if path == "/" else ()))
    return nights


@pytest.fixture
def later(nights: PageNights, store: Store) -> PageNights:
    """After the first night."""
    assert count(nights.run()) == {"added": 3}
    nights.count_work()
    nights.site.take_asked()
    return nights


def state_of(store: Store, path: str) -> SourceState | None:
    return store.find(f"{SITE}{path}").source_state


def test_the_first_night_brings_every_page_under_its_address(nights: PageNights, store: Store) -> None:
    job = nights.run()
    assert (job.state, count(job), job.message) == (JobState.SUCCEEDED, {"added": 3}, "3 added")
    assert nights.visible() == SHOWN
    assert nights.count_work() == (3, 4)
    document = store.find(f"{SITE}/a")
    assert (document.source_id, document.media_type) == (nights.source.id, "text/html; charset=utf-8")
    assert store.check() == set()


def test_a_night_without_a_change_costs_one_conditional_question_a_page(later: PageNights, store: Store) -> None:
    store.encoder.down = True  # not even the model is needed
    job = later.run()
    assert (job.state, count(job), job.message) == (JobState.SUCCEEDED, {"unchanged": 3}, "nothing changed")
    assert later.site.take_asked() == sorted((f"{SITE}{path}", True) for path in SHOWN)
    assert later.count_work() == (0, 0)
    assert (store.count("version"), store.count("revision")) == (3, 1)


def test_pages_of_a_server_that_says_nothing_of_their_state_are_known_by_their_bytes(
    nights: PageNights, store: Store
) -> None:
    nights.site.tags = False
    nights.run()
    nights.count_work()
    assert count(nights.run()) == {"unchanged": 3}
    assert nights.count_work() == (0, 0)


def test_another_advertisement_is_no_change(later: PageNights, store: Store) -> None:
    later.write("/a", PAGES["/a"], ad="buy this")
    assert count(later.run()) == {"touched": 1, "unchanged": 2}
    assert later.count_work() == (1, 0)
    assert (store.count("version"), store.count("revision")) == (3, 1)
    later.site.take_asked()
    assert count(later.run()) == {"unchanged": 3}
    assert later.count_work() == (0, 0)
    assert all(conditional for _, conditional in later.site.take_asked())
    assert store.check() == set()


@pytest.mark.parametrize("part", [{"title": "another"}, {"robots": "<h2>another</h2>"}])
def test_another_title_or_heading_is_a_change_that_embeds_nothing_it_knows(
    later: PageNights, part: dict[str, str]
) -> None:
    later.write("/a", PAGES["/a"], **part)
    assert count(later.run()) == {"changed": 1, "unchanged": 2}


def test_another_text_is_a_new_version_and_embeds_only_what_is_new(later: PageNights, store: Store) -> None:
    later.write("/a", write_sentences(2, 30))
    assert count(later.run()) == {"changed": 1, "unchanged": 2}
    assert later.count_work() == (1, 1)
    assert later.visible()["/a"] == write_sentences(2, 30)
    assert store.find(f"{SITE}/a").version == 2


def test_a_page_that_is_not_linked_any_more_goes_and_comes_back(later: PageNights, store: Store) -> None:
    later.write("/", PAGES["/"], "/文档/b")
    assert count(later.run()) == {"touched": 1, "removed": 1, "unchanged": 1}
    assert set(later.visible()) == {"/", "/%E6%96%87%E6%A1%A3/b"}
    later.write("/", PAGES["/"], "/a", "/文档/b")
    later.count_work()
    assert count(later.run()) == {"touched": 1, "added": 1, "unchanged": 1}
    assert later.count_work()[1] == 0
    assert later.visible() == SHOWN
    assert store.check() == set()


# -- pages that move ----------------------------------------------------------------------------------------------


def test_a_page_behind_a_redirect_takes_its_text_along(later: PageNights, store: Store) -> None:
    site = later.site
    site.pages[f"{SITE}/new/a"] = site.pages.pop(f"{SITE}/a")
    site.moved[f"{SITE}/a"] = f"{SITE}/new/a"
    assert count(later.run()) == {"moved": 1, "unchanged": 2}
    assert later.count_work() == (0, 0)
    assert later.visible() == {**{p: t for p, t in SHOWN.items() if p != "/a"}, "/new/a": PAGES["/a"]}
    assert count(later.run()) == {"unchanged": 3}
    assert store.check() == set()


def test_a_page_that_is_elsewhere_without_a_redirect_moved_too(later: PageNights) -> None:
    site = later.site
    site.pages[f"{SITE}/new/a"] = site.pages.pop(f"{SITE}/a")
    later.write("/", PAGES["/"], "/new/a", "/文档/b")
    assert count(later.run()) == {"moved": 1, "touched": 1, "unchanged": 1}
    later.write("/newer/a", PAGES["/a"], ad="and with other bytes")
    later.write("/", PAGES["/"], "/new/a", "/newer/a", "/文档/b")
    del site.pages[f"{SITE}/new/a"]
    job = later.run()
    assert count(job) == {"moved": 1, "touched": 1, "unchanged": 1}
    assert later.visible() == {**{p: t for p, t in SHOWN.items() if p != "/a"}, "/newer/a": PAGES["/a"]}


# -- pages that are not there any more ----------------------------------------------------------------------------


def test_a_page_that_is_gone_is_flagged_and_goes_after_three_nights(later: PageNights, store: Store) -> None:
    kept = later.site.pages.pop(f"{SITE}/a")
    for night in (1, 2):
        job = later.run()
        assert (job.state, count(job)) == (JobState.SUCCEEDED, {"unchanged": 2})
        told = {"path": f"{SITE}/a", "code": "fetch_http_404", "nights": night}
        assert job.result is not None
        assert job.result["gone"] == [told]
        assert state_of(store, "/a") == SourceState(code="fetch_http_404", nights=night)
        assert later.visible() == SHOWN
    assert count(later.run()) == {"removed": 1, "unchanged": 2}
    assert set(later.visible()) == set(SHOWN) - {"/a"}
    later.site.pages[f"{SITE}/a"] = kept
    assert count(later.run()) == {"added": 1, "unchanged": 2}
    assert (later.visible(), state_of(store, "/a")) == (SHOWN, None)
    assert store.check() == set()


def test_a_page_that_comes_back_is_flagged_no_longer_and_counts_anew(later: PageNights, store: Store) -> None:
    for _ in range(3):
        kept = later.site.pages.pop(f"{SITE}/a")
        assert [count(later.run()) for _ in range(2)] == [{"unchanged": 2}] * 2
        later.site.pages[f"{SITE}/a"] = kept
        assert count(later.run()) == {"unchanged": 3}
        assert state_of(store, "/a") is None


def test_syncs_of_one_day_are_one_night(later: PageNights, store: Store) -> None:
    del later.site.pages[f"{SITE}/a"]
    for hours, nights in ((24, 1), (1, 1), (1, 1), (9, 1), (1.5, 2), (11, 2)):
        later.run(hours=hours)
        assert state_of(store, "/a") == SourceState(code="fetch_http_404", nights=nights)
    assert count(later.run(hours=1)) == {"removed": 1, "unchanged": 2}


# -- pages that fail for now --------------------------------------------------------------------------------------


def test_a_page_that_fails_keeps_its_text_and_is_asked_after_1_2_4_nights(later: PageNights, store: Store) -> None:
    later.site.statuses[f"{SITE}/a"] = 503
    asked = []
    for _ in range(8):
        job = later.run()
        assert (job.state, count(job)) == (JobState.SUCCEEDED, {"failed": 1, "unchanged": 2})
        assert later.visible() == SHOWN
        asked.append(any(url == f"{SITE}/a" for url, _ in later.site.take_asked()))
    assert asked == [True, True, False, True, False, False, False, True]
    assert state_of(store, "/a") == SourceState(code="fetch_http_503", nights=0)
    del later.site.statuses[f"{SITE}/a"]
    assert count(later.run(force=True)) == {"unchanged": 3}
    assert state_of(store, "/a") is None
    later.site.statuses[f"{SITE}/a"] = 503
    later.run()
    later.site.take_asked()
    later.run()
    assert (f"{SITE}/a", True) in later.site.take_asked(), "the pauses begin anew"


def test_a_site_that_is_down_changes_nothing_and_fails(later: PageNights, store: Store) -> None:
    later.site.is_down = True
    job = later.run()
    while job.state is JobState.QUEUED:
        later.work()
        job = store.catalog.jobs.get(job.id)
    assert (job.state, job.error_code) == (JobState.FAILED, "source_unavailable")
    assert (later.visible(), state_of(store, "/a")) == (SHOWN, None)
    later.site.is_down = False
    assert count(later.run()) == {"unchanged": 3}


def test_content_that_cannot_be_read_fails_once_and_waits(later: PageNights, store: Store) -> None:
    later.write("/a", "BAD no_text")
    other = f"{SITE}/%E6%96%87%E6%A1%A3/b"
    later.site.statuses[other] = 503
    job = later.run()
    assert (count(job), job.failed) == ({"failed": 2, "unchanged": 1}, 2)
    del later.site.statuses[other]
    assert job.result is not None
    assert [fault["code"] for fault in job.result["failures"]] == ["fetch_http_503", "no_text"]
    assert later.visible() == SHOWN
    parsed = []
    for _ in range(7):
        later.count_work()
        assert count(later.run()) == {"failed": 1, "unchanged": 2}
        parsed.append(later.count_work()[0])
    assert parsed == [1, 0, 1, 0, 0, 0, 1]
    assert store.count("version") == 4
    later.write("/a", PAGES["/a"])
    assert count(later.run()) == {"unchanged": 3}
    assert store.count("version") == 3
    assert store.find(f"{SITE}/a").error is None


def test_broken_links_are_skipped_and_named_pages_fail(store: Store) -> None:
    nights = PageNights(store=store, uri=f"{SITE}/ {SITE}/named")
    nights.write("/", PAGES["/"], "/broken")
    job = nights.run()
    assert count(job) == {"added": 1, "failed": 1, "skipped": 1}
    assert job.result is not None
    assert [(one["path"], one["code"]) for one in job.result["failures"]] == [(f"{SITE}/named", "fetch_http_404")]
    assert [(one["path"], one["code"]) for one in job.result["skips"]] == [(f"{SITE}/broken", "fetch_http_404")]
