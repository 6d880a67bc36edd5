"""Web pages after what else can happen to a document: a restore, a retry, a job that is cancelled or run again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.page_nights import PageNights, count
from fakes.sites import SITE
from fakes.store import Store, new_store, write_sentences

from kb.types import Candidate, GateReport, JobState

PAGES = {"/": write_sentences(0), "/a": write_sentences(1), "/b": write_sentences(2)}


class Refusal:
    """A gate that lets nothing pass."""

    def judge(self, candidate: Candidate) -> GateReport | None:
        del candidate
        rates = {"hit_rate_before": 1.0, "hit_rate_after": 0.5, "mrr_before": 1.0, "mrr_after": 0.5}
        return GateReport(passed=False, questions=2, **rates, lost=["where is it?"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store) -> PageNights:
    nights = PageNights(store=store)
    nights.write_all(PAGES)
    nights.run()
    nights.count_work()
    return nights


def test_after_a_restore_the_next_night_brings_the_site_as_it_is(nights: PageNights, store: Store) -> None:
    nights.write("/a", write_sentences(50))
    nights.write("/", PAGES["/"], "/a")
    nights.run()
    newer = {"/": PAGES["/"], "/a": write_sentences(50)}
    assert nights.visible() == newer
    store.restore(1)
    assert nights.visible() == PAGES
    nights.count_work()
    assert count(nights.run()) == {"changed": 1, "removed": 1, "unchanged": 1}
    assert (nights.visible(), nights.count_work()) == (newer, (0, 0)), "its bytes were known"
    assert count(nights.run()) == {"unchanged": 2}
    assert store.check() == set()


def test_a_clock_that_was_ahead_holds_nothing_up(nights: PageNights, store: Store) -> None:
    """For one night it was years ahead; then it was put right."""
    right = nights.now
    nights.now += timedelta(days=4_000)
    nights.site.statuses |= {f"{SITE}/a": 503, f"{SITE}/b": 404}
    assert count(nights.run()) == {"unchanged": 1, "failed": 1}
    nights.now = right
    del nights.site.statuses[f"{SITE}/a"]
    nights.write("/a", write_sentences(60))
    assert count(nights.run()) == {"changed": 1, "unchanged": 1}
    assert nights.visible() == PAGES | {"/a": write_sentences(60)}
    assert count(nights.run()) == {"unchanged": 2, "removed": 1}, "the third night"
    assert store.check() == set()


def test_a_document_that_is_tried_again_by_hand_is_known_the_night_after(nights: PageNights, store: Store) -> None:
    store.catalog.uploads.retry(store.find(f"{SITE}/a").id)
    store.run_job()
    nights.count_work()
    assert count(nights.run()) == {"touched": 1, "unchanged": 2}
    assert nights.count_work() == (0, 0)
    nights.site.take_asked()
    assert count(nights.run()) == {"unchanged": 3}
    assert all(conditional for _, conditional in nights.site.take_asked())
    assert store.find(f"{SITE}/a").version == 2
    assert store.check() == set()


def test_a_job_that_the_gate_refused_may_be_run_again(nights: PageNights, store: Store) -> None:
    nights.write("/a", write_sentences(60))
    nights.gate = Refusal()
    job = nights.run()
    assert (job.error_code, nights.visible()) == ("gate_refused", PAGES)
    nights.gate = None
    nights.site.take_asked()
    store.catalog.jobs.retry(job.id)
    nights.work()
    assert count(store.catalog.jobs.get(job.id)) == {"changed": 1, "unchanged": 2}
    assert nights.site.take_asked() == []
    assert nights.visible() == PAGES | {"/a": write_sentences(60)}
    assert store.check() == set()


def test_a_first_night_that_the_gate_refused_is_not_lost(store: Store) -> None:
    nights = PageNights(store=store, gate=Refusal())
    nights.write_all(PAGES)
    assert (nights.run().error_code, nights.visible()) == ("gate_refused", {})
    nights.gate = None
    nights.site.take_asked()
    assert count(nights.run()) == {"added": 3}
    assert all(conditional for _, conditional in nights.site.take_asked()), "what was stored then is taken now"
    assert nights.visible() == PAGES
    assert count(nights.run()) == {"unchanged": 3}
    assert store.check() == set()


def test_a_cancelled_run_publishes_nothing_and_the_next_one_has_all(nights: PageNights, store: Store) -> None:
    nights.write("/a", write_sentences(70))
    nights.write("/", PAGES["/"], "/a", "/b", "/c")
    nights.write("/c", write_sentences(71))
    job_id = store.catalog.sources.request_sync(nights.source.id)
    store.encoder.on_embed = lambda: store.catalog.jobs.cancel(job_id) and None
    nights.work()
    assert (store.catalog.jobs.get(job_id).state, nights.visible()) == (JobState.CANCELLED, PAGES)
    store.encoder.on_embed = lambda: None
    assert count(nights.run()) == {"added": 1, "changed": 1, "touched": 1, "unchanged": 1}
    assert nights.visible() == PAGES | {"/a": write_sentences(70), "/c": write_sentences(71)}
    assert store.check() == set()


def test_a_page_whose_old_text_comes_back_costs_nothing(nights: PageNights, store: Store) -> None:
    nights.write("/a", write_sentences(80))
    nights.run()
    nights.count_work()
    nights.write("/a", PAGES["/a"])
    assert count(nights.run()) == {"changed": 1, "unchanged": 2}
    assert (nights.count_work(), nights.visible()) == ((0, 0), PAGES)
    assert store.find(f"{SITE}/a").version == 3


def test_force_asks_for_every_page_in_full(nights: PageNights) -> None:
    nights.site.take_asked()
    assert count(nights.run(force=True)) == {"unchanged": 3}
    assert [conditional for _, conditional in nights.site.take_asked()] == [False] * 3
    assert nights.count_work() == (0, 0)
