"""Runs over web pages that are killed, given away, braked or refused; copies, other documents, dry runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.kills import Countdown, Death, free_the_job
from fakes.page_nights import PageNights, count
from fakes.sites import SITE
from fakes.store import Store, new_store, write_sentences

from ingest.sources.page_intake import PageIntake
from ingest.sources.page_plan import PagePlanner
from ingest.sources.page_sync import Crawler
from ingest.web.plan import Site
from kb.types import Candidate, GateReport, JobState, SourceKind

FORTY = {"/": write_sentences(0), **{f"/{n:02}": write_sentences(n) for n in range(1, 40)}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store) -> PageNights:
    return PageNights(store=store)


# -- slices and kills ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 5])
def test_a_run_told_to_stop_again_and_again_asks_for_no_page_twice(nights: PageNights, store: Store, at: int) -> None:
    nights.write_all(FORTY)
    job = nights.run(Countdown(left=at, kills=False))
    slices = 1
    while job.state is JobState.QUEUED:
        assert nights.visible() == {}
        nights.work(Countdown(left=at, kills=False))
        job = store.catalog.jobs.get(job.id)
        slices += 1
        assert slices < 200
    assert (job.state, count(job)) == (JobState.SUCCEEDED, {"added": 40})
    assert slices > 5
    assert nights.visible() == FORTY
    assert nights.count_work()[1] == 40
    asked = [url for url, _ in nights.site.take_asked()]
    assert len(asked) <= 40 + slices, "a slice leaves at most one page behind that was under way"
    assert store.check() == set()


def test_pages_that_are_as_they_were_are_not_asked_twice_either(nights: PageNights, store: Store) -> None:
    nights.write_all(FORTY)
    nights.run()
    nights.site.take_asked()
    job = nights.run(Countdown(left=5, kills=False))
    assert (job.stage, job.failed, 0 < job.done < job.total) == ("fetch", 0, True)
    assert re.fullmatch(r"\d+ asked, \d+ found, \d+ to go", job.message)
    slices = 1
    while job.state is JobState.QUEUED:
        nights.work(Countdown(left=5, kills=False))
        job = store.catalog.jobs.get(job.id)
        slices += 1
        assert slices < 50
    assert (count(job), slices > 3) == ({"unchanged": 40}, True)
    assert len(nights.site.take_asked()) <= 40 + slices
    assert store.catalog.jobs.get(job.id).stage == "done"


def test_a_page_that_is_readable_again_is_so_for_every_slice(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write("/a", "BAD no_text")
    nights.run()
    nights.write("/a", FOUR["/a"])
    job = nights.run(Countdown(left=2, kills=False))
    while job.state is JobState.QUEUED:
        nights.restart()
        nights.work(Countdown(left=2, kills=False))
        job = store.catalog.jobs.get(job.id)
    assert count(job) == {"unchanged": 4}
    assert (store.find(f"{SITE}/a").error, nights.visible()) == (None, FOUR)


@pytest.mark.parametrize("restarts", [False, True])
def test_pages_that_fail_or_are_none_keep_no_slice_from_getting_on(
    nights: PageNights, store: Store, *, restarts: bool
) -> None:
    """A slice that asked for nothing but broken links and pictures must leave more behind than the one before."""
    nights.write_all(FORTY)
    for number in range(1, 30):
        if number % 3 == 0:
            del nights.site.pages[f"{SITE}/{number:02}"]
        elif number % 3 == 1:
            nights.site.pages[f"{SITE}/{number:02}"] = b"\x89PNG\r\n\x1a\n" + bytes([number]) * 100
        else:
            nights.write(f"/{number:02}", write_sentences(0), ad=str(number))
    job = nights.run(Countdown(left=2, kills=False))
    slices = 1
    while job.state is JobState.QUEUED:
        if restarts:
            nights.restart()
        nights.work(Countdown(left=2 + 40 * restarts, kills=False))
        job = store.catalog.jobs.get(job.id)
        slices += 1
        assert slices < 60
    assert count(job) == {"added": 11, "skipped": 29}
    assert len(nights.site.take_asked()) <= (40 + slices if not restarts else 40 * slices)
    nights.count_work()
    job = nights.run(Countdown(left=2, kills=False))
    while job.state is JobState.QUEUED:
        nights.work(Countdown(left=2, kills=False))
        job = store.catalog.jobs.get(job.id)
    assert count(job) == {"unchanged": 11, "skipped": 29}
    assert nights.count_work() == (0, 0)
    assert store.check() == set()


@pytest.mark.parametrize("place", ["fetch", "parse", "embed"])
@pytest.mark.parametrize("at", [1, 2, 19])
def test_a_run_killed_at_any_step_is_taken_up_and_leaves_no_trace_of_the_kill(
    nights: PageNights, store: Store, place: str, at: int
) -> None:
    pages = dict(list(FORTY.items())[:20])
    nights.write_all(pages)
    nights.run()
    before = nights.visible()
    pages = FORTY | {"/05": write_sentences(500)}
    del pages["/07"]
    nights.write_all(pages)
    death = Countdown(left=at, kills=True)
    if place == "fetch":
        nights.site.on_fetch = death
    elif place == "parse":
        store.parser.on_parse = death
    else:
        store.encoder.on_embed = death
    try:
        nights.run()
    except Death:
        assert nights.visible() == before
        free_the_job(store)
        nights.work()
    (_, job), *_ = store.catalog.jobs.list_jobs(1)
    expected = {"added": 20, "changed": 1, "touched": 1, "removed": 1, "unchanged": 17}
    assert (job.state, count(job)) == (JobState.SUCCEEDED, expected)
    assert nights.visible() == pages
    assert store.check() == set()


def test_a_worker_that_dies_behind_the_publish_leaves_the_counts(nights: PageNights, store: Store) -> None:
    nights.write_all({"/": write_sentences(1)})
    job = nights.run()
    store.execute("UPDATE job SET state = 'queued', finished_at = NULL, message = '' WHERE id = :id", id=job.id)
    nights.work()
    again = store.catalog.jobs.get(job.id)
    assert (again.state, again.result, again.message) == (JobState.SUCCEEDED, job.result, "1 added")
    assert store.count("revision") == 1


# -- brake and gate -----------------------------------------------------------------------------------------------


class Verdict:
    """A gate that says what the test wants."""

    def __init__(self, *, passed: bool) -> None:
        self.passed = passed
        self.asked: list[Candidate] = []

    def judge(self, candidate: Candidate) -> GateReport | None:
        self.asked.append(candidate)
        rates = {"hit_rate_before": 1.0, "hit_rate_after": 0.5, "mrr_before": 1.0, "mrr_after": 0.5}
        return GateReport(passed=self.passed, questions=2, **rates, lost=["where is it?"])


FOUR = {"/": write_sentences(0), "/a": write_sentences(1), "/b": write_sentences(2), "/c": write_sentences(3)}


def test_a_site_that_lost_most_of_its_pages_empties_no_index(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write("/", FOUR["/"], "/a")
    job = nights.run(force=False)
    assert (job.state, count(job)) == (JobState.SUCCEEDED, {"touched": 1, "removed": 2, "unchanged": 1}), "half may go"
    nights.write("/", FOUR["/"], "/a", "/b", "/c")
    nights.run()
    nights.write("/", FOUR["/"])
    job = nights.run()
    assert (job.state, job.error_code, nights.visible()) == (JobState.FAILED, "vanish_refused", FOUR)
    assert count(nights.run(force=True)) == {"touched": 1, "removed": 3}
    assert nights.visible() == {"/": FOUR["/"]}
    assert store.check() == set()


def test_a_site_whose_pages_all_say_the_same_empties_no_index(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write_all(dict.fromkeys(FOUR, write_sentences(9)))
    for path in FOUR:
        nights.write(path, write_sentences(9), *FOUR, ad=path)
    job = nights.run()
    assert (job.state, job.error_code, nights.visible()) == (JobState.FAILED, "vanish_refused", FOUR)
    nights.write_all(FOUR)
    nights.run()
    assert nights.visible() == FOUR
    assert store.check() == set()


def test_three_nights_of_a_site_that_is_all_gone_are_braked(nights: PageNights) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.site.pages.clear()
    for _ in range(2):
        nights.run()
    for _ in range(2):
        assert nights.run().error_code == "vanish_refused"
    assert nights.visible() == FOUR


def test_a_change_that_the_gate_refuses_is_not_seen_and_not_lost(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write("/a", write_sentences(40))
    nights.write("/b", FOUR["/b"], ad="touched")
    nights.gate = Verdict(passed=False)
    job = nights.run()
    assert (job.state, job.error_code, nights.visible()) == (JobState.FAILED, "gate_refused", FOUR)
    (asked,) = nights.gate.asked
    assert (len(asked.opened), len(asked.closed)) == (1, 1)
    nights.gate = None
    assert count(nights.run()) == {"changed": 1, "touched": 1, "unchanged": 2}
    assert nights.visible() == FOUR | {"/a": write_sentences(40)}
    assert count(nights.run()) == {"unchanged": 4}
    assert store.check() == set()


# -- pages that say the same --------------------------------------------------------------------------------------


def test_of_pages_that_say_the_same_one_is_a_document(nights: PageNights, store: Store) -> None:
    pages = {"/": write_sentences(0), "/z": write_sentences(1), "/print": write_sentences(1), "/c": write_sentences(1)}
    nights.write_all(pages)
    nights.write("/print", write_sentences(1), ad="another frame")
    job = nights.run()
    assert (count(job), set(nights.visible())) == ({"added": 2, "skipped": 2}, {"/", "/z"})
    assert job.result is not None
    assert {(one["path"], one["code"]) for one in job.result["skips"]} == {
        (f"{SITE}/print", "duplicate_content"),
        (f"{SITE}/c", "duplicate_content"),
    }
    nights.count_work()
    assert count(nights.run()) == {"unchanged": 2, "skipped": 2}
    assert nights.count_work() == (0, 0)
    nights.write("/z", write_sentences(70))
    assert count(nights.run()) == {"changed": 1, "added": 1, "unchanged": 1, "skipped": 1}
    assert set(nights.visible()) == {"/", "/z", "/print"}
    assert store.check() == set()


def test_a_copy_outlives_the_page_it_was_a_copy_of(nights: PageNights, store: Store) -> None:
    nights.write_all({"/": write_sentences(0), "/a": write_sentences(1), "/b": write_sentences(1)})
    nights.write("/b", write_sentences(1), ad="another frame")
    assert count(nights.run()) == {"added": 2, "skipped": 1}
    nights.write("/", write_sentences(0), "/b")
    nights.count_work()
    assert count(nights.run()) == {"moved": 1, "touched": 1}
    assert nights.count_work()[1] == 0
    assert nights.visible() == {"/": write_sentences(0), "/b": write_sentences(1)}
    assert store.check() == set()


def test_a_copy_stays_one_while_what_the_other_says_now_cannot_be_read(nights: PageNights, store: Store) -> None:
    nights.write_all({"/": write_sentences(0), "/a": write_sentences(1), "/b": write_sentences(1)})
    nights.write("/b", write_sentences(1), ad="another frame")
    nights.run()
    nights.write("/a", "BAD no_text")
    for _ in range(3):
        assert count(nights.run()) == {"unchanged": 1, "failed": 1, "skipped": 1}
        assert set(nights.visible()) == {"/", "/a"}


def test_a_copy_whose_bytes_went_in_a_long_night_is_asked_anew_in_the_next(nights: PageNights, store: Store) -> None:
    nights.write_all({path: write_sentences(n) for n, path in enumerate(("/", "/a", "/b", "/c", "/d", "/e"))})
    copy = nights.write("/b", write_sentences(1), ad="another frame")
    nights.run()
    nights.write("/a", write_sentences(90))
    sha256 = hashlib.sha256(nights.site.pages[copy].encode()).hexdigest()
    nights.site.on_fetch = lambda url: store.blobs.remove(sha256) if url.endswith("/e") else None
    job = nights.run()
    assert count(job) == {"changed": 1, "unchanged": 4, "failed": 1}
    assert job.result is not None
    assert [(one["path"], one["code"]) for one in job.result["failures"]] == [(copy, "content_gone")]
    nights.site.on_fetch = lambda _: None
    assert count(nights.run()) == {"added": 1, "unchanged": 5}
    assert store.check() == set()


def test_a_page_that_comes_to_say_what_another_says_goes(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write("/b", FOUR["/a"], ad="another frame")
    assert count(nights.run()) == {"removed": 1, "unchanged": 3, "skipped": 1}
    assert nights.visible() == {path: text for path, text in FOUR.items() if path != "/b"}
    nights.write("/b", FOUR["/b"])
    assert count(nights.run()) == {"added": 1, "unchanged": 3}
    assert nights.visible() == FOUR
    assert store.check() == set()


def titled(nights: PageNights, *links: str) -> list[str]:
    """Eight pages, each with a title and a heading of its own."""
    paths = ["/", *(f"/{number}" for number in range(1, 8))]
    for number, path in enumerate(paths):
        text = write_sentences(number)
        nights.write(path, text, *(paths if path == "/" else links), title=f"Page {number}")
    return paths


def test_a_night_in_which_every_page_leads_to_a_login_page_of_its_own_changes_nothing(nights: PageNights) -> None:
    paths = titled(nights)
    nights.run()
    before = nights.visible()
    for path in paths[1:]:
        there = nights.write(f"/login?next={path}", f"Log in to go on to {path}.", title="Log in")
        nights.site.moved[f"{SITE}{path}"] = there
    job = nights.run()
    assert (job.state, job.error_code, nights.visible()) == (JobState.FAILED, "vanish_refused", before)
    assert job.message is not None
    assert job.message.startswith(
        "6 of 8 documents of '站点' would vanish, or have the title and headings of another one"
    )
    nights.site.moved.clear()
    assert count(nights.run())["unchanged"] == 8
    assert nights.visible() == before


def test_neither_does_one_in_which_each_is_an_error_with_a_number(nights: PageNights) -> None:
    paths = titled(nights)
    nights.run()
    before = nights.visible()
    for number, path in enumerate(paths):
        nights.write(path, f"Sorry. Tell us the number {number * 7919:x}.", *paths, title="Error")
    job = nights.run()
    assert (job.state, job.error_code, nights.visible()) == (JobState.FAILED, "vanish_refused", before)
    assert count(nights.run(force=True)) == {"changed": 8}


def test_a_site_that_gives_all_its_pages_another_title_goes_on(nights: PageNights) -> None:
    """It had one title for all of them before; and one that changes them one by one."""
    paths = ["/", *(f"/{number}" for number in range(1, 8))]
    for night, title in enumerate(("Old name", "New name")):
        for number, path in enumerate(paths):
            text = f"{write_sentences(10 * night + number)}<h2>About us</h2>"
            nights.write(path, text, *paths, title=title)
        assert count(nights.run())["added" if night == 0 else "changed"] == 8
    for number, path in enumerate(paths):
        text = f"{write_sentences(40 + number)}<h2>About {number}</h2>"
        nights.write(path, text, *paths, title="New name")
    assert count(nights.run()) == {"changed": 8}


# -- what is no document ------------------------------------------------------------------------------------------


def test_what_nothing_reads_and_what_asks_not_to_be_indexed_is_skipped(nights: PageNights, store: Store) -> None:
    nights.write("/", write_sentences(0), "/logo", "/secret", "/table.csv", "/empty-page")
    nights.site.pages[f"{SITE}/logo"] = b"\x89PNG\r\n\x1a\n" + bytes(100)
    nights.site.types[f"{SITE}/logo"] = "image/png"
    nights.write("/secret", write_sentences(5), robots="noindex")
    nights.site.pages[f"{SITE}/table.csv"] = "city,people\nWien,2000000\n"
    nights.site.types[f"{SITE}/table.csv"] = "text/csv"
    del nights.site.pages[f"{SITE}/"]
    nights.write("/", write_sentences(0), "/logo", "/secret", "/table.csv")
    job = nights.run()
    assert count(job) == {"added": 2, "skipped": 2}
    assert job.result is not None
    assert sorted(one["code"] for one in job.result["skips"]) == ["noindex", "unsupported_type"]
    assert store.find(f"{SITE}/table.csv").media_type == "text/csv"
    nights.site.take_asked()
    assert count(nights.run()) == {"unchanged": 2, "skipped": 2}
    assert all(conditional for _, conditional in nights.site.take_asked())
    nights.write("/secret", write_sentences(5))
    assert count(nights.run()) == {"added": 1, "unchanged": 2, "skipped": 1}


def test_a_page_that_a_user_deleted_stays_away(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    store.catalog.documents.delete(store.kb.id, [store.find(f"{SITE}/a").id])
    rest = {path: text for path, text in FOUR.items() if path != "/a"}
    for _ in range(2):
        assert count(nights.run()) == {"unchanged": 3, "kept_out": 1}
        assert nights.visible() == rest
    nights.write("/a", write_sentences(90))
    assert count(nights.run()) == {"unchanged": 3, "kept_out": 1}
    assert count(nights.run(include_deleted=True)) == {"added": 1, "unchanged": 3}
    assert nights.visible() == FOUR | {"/a": write_sentences(90)}
    assert count(nights.run()) == {"unchanged": 4}
    assert store.check() == set()


def test_of_two_sources_with_one_page_the_first_has_it(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    second = PageNights(store=store, site=nights.site, uri=f"{SITE}/a {SITE}/own", depth=0, name="second")
    nights.write("/own", write_sentences(77))
    job = second.run()
    assert count(job) == {"added": 1, "skipped": 1}
    assert job.result is not None
    assert [(one["path"], one["code"]) for one in job.result["skips"]] == [(f"{SITE}/a", "path_taken")]
    assert nights.visible() == FOUR | {"/own": write_sentences(77)}
    store.catalog.sources.delete(nights.source.id)
    assert count(second.run()) == {"added": 1, "unchanged": 1}
    assert set(nights.visible()) == {"/a", "/own"}


def test_documents_that_were_kept_are_not_taken_over(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.write("/", FOUR["/"], "/a", "/b")
    nights.run()
    store.catalog.sources.delete(nights.source.id, keep_documents=True)
    nights.write_all(FOUR)
    again = PageNights(store=store, site=nights.site, name="again")
    assert count(again.run()) == {"added": 1, "skipped": 3}, "only what a sync had hidden"
    assert nights.visible() == FOUR
    assert store.check() == set()


# -- bounds and dry runs ------------------------------------------------------------------------------------------


def test_no_more_pages_than_asked_for_and_no_deeper(store: Store) -> None:
    nights = PageNights(store=store, depth=1, max_pages=3)
    nights.write_all(FOUR)
    nights.write("/a", FOUR["/a"], "/deep")
    nights.write("/deep", write_sentences(50))
    job = nights.run()
    assert count(job) == {"added": 3, "skipped": 1}
    assert set(nights.visible()) == {"/", "/a", "/b"}
    store.catalog.sources.update(nights.source.id, {"max_pages": 100}, lambda *_: None)
    assert count(nights.run()) == {"added": 1, "unchanged": 3}
    assert set(nights.visible()) == set(FOUR)


def test_a_sitemaps_pages_are_followed_once_depth_says_so(store: Store) -> None:
    nights = PageNights(store=store, kind=SourceKind.SITEMAP, uri=f"{SITE}/sitemap.xml", depth=0)
    nights.site.pages[f"{SITE}/sitemap.xml"] = f"{SITE}/\n{SITE}/a\n"
    nights.site.types[f"{SITE}/sitemap.xml"] = "text/plain"
    nights.write_all(FOUR)
    assert count(nights.run()) == {"added": 2}
    assert all("links" not in json.loads(row["origin"]) for row in store.query("SELECT origin FROM version"))
    assert count(nights.run()) == {"unchanged": 2}
    store.catalog.sources.update(nights.source.id, {"depth": 1}, lambda *_: None)
    nights.site.take_asked()
    assert count(nights.run()) == {"added": 2, "unchanged": 2}
    assert [conditional for _, conditional in nights.site.take_asked()].count(True) == 0
    nights.write("/d", write_sentences(8))
    nights.write("/a", FOUR["/a"], "/d")
    assert count(nights.run()) == {"added": 1, "touched": 1, "unchanged": 3}
    nights.site.take_asked()
    assert count(nights.run()) == {"unchanged": 5}
    assert [conditional for _, conditional in nights.site.take_asked()].count(False) == 1, "the sitemap"
    assert nights.visible() == FOUR | {"/d": write_sentences(8)}


def make_planner(nights: PageNights, *, seconds: float = 0.0) -> PagePlanner:
    """Each question takes so many seconds."""
    site = Site(fetcher=nights.site, link_reader=nights.site)
    intake = PageIntake(nights.store.blobs, 1_000_000)
    return PagePlanner(
        nights.store.catalog, intake, Crawler(site=site), lambda: nights.now, lambda: seconds * len(nights.site.asked)
    )


def test_a_dry_run_says_what_a_sync_would_do_and_does_nothing(nights: PageNights, store: Store) -> None:
    nights.write_all(FOUR)
    nights.run()
    before = store.query("SELECT * FROM document ORDER BY id"), store.query("SELECT * FROM version ORDER BY id")
    files = sorted(nights.store.blobs.iter_names())
    nights.write("/a", write_sentences(40))
    nights.write("/", FOUR["/"], "/a", "/c", "/new", "/broken")
    nights.write("/new", write_sentences(41))
    plan = make_planner(nights).plan(nights.source)
    counts = {"added": 1, "changed": 2, "moved": 0, "removed": 1, "unchanged": 1, "failed": 0, "skipped": 1}
    assert {name: plan[name] for name in counts} == counts
    assert plan["complete"] is True
    assert plan["paths"]["added"] == [f"{SITE}/new"]
    assert plan["paths"]["changed"] == [f"{SITE}/", f"{SITE}/a"]
    assert plan["paths"]["removed"] == [f"{SITE}/b"]
    after = store.query("SELECT * FROM document ORDER BY id"), store.query("SELECT * FROM version ORDER BY id")
    assert (after, [name for name, _ in files]) == (before, [name for name, _ in sorted(store.blobs.iter_names())])


def test_a_dry_run_that_takes_too_long_says_what_it_saw(nights: PageNights) -> None:
    nights.write_all(FOUR)
    nights.run()
    nights.site.take_asked()
    plan = make_planner(nights, seconds=31.0).plan(nights.source)
    assert (plan["complete"], plan["unchanged"], plan["removed"]) == (False, 2, 0)
    assert len(nights.site.asked) <= 3  # two are under way at a time


def write_sitemaps(nights: PageNights, number: int) -> None:
    """An index of so many sitemaps, each of which lists one page."""
    maps = "".join(f"<sitemap><loc>{SITE}/{one}.xml</loc></sitemap>" for one in range(number))
    nights.site.pages[f"{SITE}/index.xml"] = f"<sitemapindex>{maps}</sitemapindex>"
    for one in range(number):
        nights.site.pages[f"{SITE}/{one}.xml"] = f"<urlset><url><loc>{SITE}/p{one}</loc></url></urlset>"
        nights.write(f"/p{one}", write_sentences(one))


def test_the_sitemaps_of_a_dry_run_take_no_longer_than_its_pages(store: Store) -> None:
    nights = PageNights(store=store, uri=f"{SITE}/index.xml", kind=SourceKind.SITEMAP, depth=0)
    write_sitemaps(nights, 200)
    plan = make_planner(nights, seconds=1.0).plan(nights.source)
    assert (plan["complete"], plan["removed"], plan["failed"]) == (False, 0, 0)
    assert len(nights.site.asked) == 60


def test_a_job_that_gives_way_reads_its_sitemaps_once(store: Store) -> None:
    nights = PageNights(store=store, uri=f"{SITE}/index.xml", kind=SourceKind.SITEMAP, depth=0)
    write_sitemaps(nights, 5)
    job = nights.run(lambda: True)
    while store.catalog.jobs.get(job.id).state is not JobState.SUCCEEDED:
        nights.work(lambda: True)
    asked = [url.removeprefix(SITE) for url, _ in nights.site.take_asked()]
    assert sorted(url for url in asked if url.endswith(".xml")) == [*(f"/{one}.xml" for one in range(5)), "/index.xml"]
    assert len(nights.visible()) == 5
    nights.restart()
    write_sitemaps(nights, 6)
    assert count(nights.run()) == {"added": 1, "unchanged": 5}
