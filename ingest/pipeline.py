"""The worker's walk for uploaded documents: load → split → embed → save chunks and vectors → publish a revision.

Documents go in small batches, so that the first of thousands answers at once and a transaction serves several.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ingest.indexing import Indexer, IndexRun
from kb.catalog.catalog import Catalog
from kb.catalog.leases import Progress
from kb.errors import DocumentFailed
from kb.types import GateReport, Job, JobState, StagedVersion

FIRST_BATCH = 4  # documents; small, so that a user sees the first answers soon
BATCH = 64
PASSES = 2  # a version that could not be published is staged once more before it is given up

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended. With a `code` it failed as a whole: what it had staged goes with it."""

    state: JobState
    message: str = ""
    result: Mapping[str, Any] | None = None
    code: str | None = None


def refuse_by_gate(report: GateReport, result: Mapping[str, Any]) -> Outcome:
    """The end of a job whose candidate failed the golden questions: nothing of it is published."""
    reason = (
        f"the golden questions fare worse: hit rate {report.hit_rate_before:.2f} → {report.hit_rate_after:.2f}, "
        f"MRR {report.mrr_before:.2f} → {report.mrr_after:.2f}; nothing was published"
    )
    return Outcome(state=JobState.FAILED, code="gate_refused", message=reason, result=result)


class UploadPipeline:
    """Indexes what one upload job staged."""

    def __init__(self, catalog: Catalog, indexer: Indexer) -> None:
        self._catalog = catalog
        self._indexer = indexer

    def run(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        """Index and publish every staged version of `job`; None when told to stop before the end.

        Raises StaleLease when the job was lost or cancelled, Unavailable when the embedding model does not answer.
        """
        tally = Tally.of(job)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse") as reader:
            for batch in self._iter_passes(job):
                run = self._indexer.open_run(job, reader, is_stopping)  # a re-index may have swapped the live space
                self._index_batch(run, tally, batch)
                if is_stopping():
                    return None
        self._give_up_rest(job, tally)
        return tally.sum_up()

    def _iter_passes(self, job: Job) -> Iterator[list[StagedVersion]]:
        """The batches of each pass. One during which the live space was swapped does not count: what was staged into
        the old one could not be published."""
        passes = 0
        while passes < PASSES:
            before = self._indexer.read_space(job)
            yield from self._iter_batches(job)
            passes += self._indexer.read_space(job) == before

    def _iter_batches(self, job: Job) -> Iterator[list[StagedVersion]]:
        last, size = 0, FIRST_BATCH
        while batch := self._catalog.staging.list_staged(job.id, size, last):
            yield batch
            last, size = batch[-1].version_id, BATCH

    def _index_batch(self, run: IndexRun, tally: Tally, batch: Sequence[StagedVersion]) -> None:
        for version_ids in self._indexer.index(run, batch):
            self._publish(run, tally, version_ids)
        self._record_failures(run.job, tally, run.take_failures())

    def _publish(self, run: IndexRun, tally: Tally, version_ids: Sequence[int]) -> None:
        progress = tally.foresee(len(version_ids))
        publication = self._catalog.publisher.publish(run.job, run.space.space_id, version_ids, progress)
        tally.done += len(publication.published)
        if publication.skipped:
            log.info("publish.skipped job=%s versions=%s", run.job.id, publication.skipped)

    def _record_failures(self, job: Job, tally: Tally, failures: Mapping[int, DocumentFailed]) -> None:
        if not failures:
            return
        tally.done += len(failures)
        tally.failed += len(failures)
        self._catalog.staging.fail_versions(job, failures, tally.foresee(0))

    def _give_up_rest(self, job: Job, tally: Tally) -> None:
        """What passed no publish even when staged afresh was overtaken by a newer version of its document."""
        reason = "a newer version of this document was published first"
        for batch in self._iter_batches(job):
            failures = {version.version_id: DocumentFailed("overtaken", reason) for version in batch}
            self._record_failures(job, tally, failures)


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of one job: `done` documents are dealt with, `failed` of them without success."""

    total: int
    done: int
    failed: int

    @classmethod
    def of(cls, job: Job) -> Tally:
        return cls(total=job.total, done=job.done, failed=job.failed)

    def foresee(self, published: int) -> Progress:
        return Progress(stage="index", done=self.done + published, failed=self.failed)

    def sum_up(self) -> Outcome:
        if self.failed and self.failed >= self.total:
            return Outcome(state=JobState.FAILED, message=f"none of {self.total} documents could be indexed")
        message = f"{self.failed} of {self.total} documents could not be indexed" if self.failed else ""
        return Outcome(state=JobState.SUCCEEDED, message=message)
