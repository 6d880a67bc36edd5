"""How every night ends, whatever its source is: index what was staged → gate → publish one revision.

Nothing is visible before the last step, and that step is one transaction: whatever kills the run before it leaves the
knowledge base as it was. The staged rows are the progress of a run that is taken up again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from ingest.indexing import Indexer, IndexRun, allow_one
from ingest.pipeline import Outcome, refuse_by_gate
from ingest.sources.intake import Fault
from kb.catalog.catalog import Catalog
from kb.catalog.leases import Progress
from kb.errors import Unavailable
from kb.ports import Gate
from kb.types import Candidate, GateReport, Job, JobState, Source, StagedVersion, SyncChange

BATCH = 64  # documents between two looks at whether to stop
PASSES = 3  # the live space may be swapped under a run: what is not whole in the new one is indexed again
MOST_TOLD = 200  # failures and skipped files that a job's result names


@dataclass(kw_only=True, slots=True)
class Night(ABC):
    """One run on its way. `faults` are wanted files or pages that did not come in or could not be indexed; `whole`
    counts the documents that lack nothing any more; `before` and `failed` are what was done and what failed before the
    run began to index."""

    loss: ClassVar[str] = "would vanish"  # what the brake says of documents
    job: Job
    source: Source
    is_stopping: Callable[[], bool]
    now: datetime
    faults: list[Fault] = field(default_factory=list)
    whole: int = 0
    before: int = 0
    failed: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"chunks": 0, "embedded": 0})

    @abstractmethod
    def name_fault(self, path: str) -> str:
        """How a fault of the document at `path` names it."""

    @abstractmethod
    def list_gone(self) -> list[str]:
        """Ids of the documents that go."""

    @abstractmethod
    def measure_loss(self) -> tuple[int, int]:
        """How many documents that answer would vanish, or as good as that (a move is no loss), and how many answer."""

    @abstractmethod
    def is_bare(self) -> bool:
        """Whether the source holds nothing at all."""

    @abstractmethod
    def tell(self, gate: GateReport | None) -> dict[str, Any]:
        """The job's result."""

    @abstractmethod
    def describe_change(self, result: Mapping[str, Any]) -> SyncChange:
        """What is to be published beside what was staged."""


class Closing:
    """`gate` is asked before anything is published."""

    def __init__(self, catalog: Catalog, indexer: Indexer, gate: Gate | None) -> None:
        self._catalog = catalog
        self._indexer = indexer
        self._gate = gate

    def brake(self, night: Night) -> Outcome | None:
        """A mount or a site that is down must not empty the index."""
        gone, live = night.measure_loss()
        if not gone or night.job.params.get("force"):
            return None
        share = self._catalog.knowledge_bases.get_limits(night.source.kb_id).vanish_share
        if gone <= share * live and not night.is_bare():
            return None
        reason = (
            f"{gone} of {live} documents of {night.source.name!r} {night.loss}, more than the allowed share of "
            f"{share:g}; nothing was changed. If they are really gone, sync with force"
        )
        return Outcome(state=JobState.FAILED, code="vanish_refused", message=reason, result=night.tell(None))

    def index(self, night: Night) -> int | None:
        """Chunks and vectors for what the job staged; the space they are in, None when told to stop.

        Raises StaleLease, NotFound, Unavailable.
        """
        space_id = self._indexer.read_space(night.job).space_id
        if not self._catalog.syncs.list_unfinished(night.job, space_id, 1):
            return space_id  # no model is needed on a night that brings nothing new
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse") as reader:
            for _ in range(PASSES):
                run = self._indexer.open_run(night.job, reader, allow_one(night.is_stopping))
                if not self._index_in(night, run):
                    return None
                if not self._catalog.syncs.list_unfinished(night.job, run.space.space_id, 1):
                    return run.space.space_id
        raise Unavailable("space_swapped", "the live space was swapped again and again while this source was indexed")

    def _index_in(self, night: Night, run: IndexRun) -> bool:
        """False when told to stop."""
        space_id, last = run.space.space_id, 0
        night.whole = self._catalog.syncs.count_whole(night.job, space_id)
        while batch := self._catalog.syncs.list_unfinished(night.job, space_id, BATCH, last):
            last = batch[-1].version_id
            known = set(self._catalog.known_content.copy(night.job, space_id, batch))
            night.whole += len(known)
            rest = [version for version in batch if version.version_id not in known]
            if rest:
                self._index_batch(night, run, rest)
            if night.is_stopping():
                return False
        return True

    def _index_batch(self, night: Night, run: IndexRun, batch: Sequence[StagedVersion]) -> None:
        for version_ids in self._indexer.index(run, batch):
            night.whole += len(version_ids)
            self._catalog.jobs.report(night.job, _measure(night))
        for name in night.counts:
            night.counts[name] += run.counts.pop(name, 0)
        failures = run.take_failures()
        paths = {version.version_id: night.name_fault(version.path) for version in batch}
        night.faults.extend(
            Fault(path=paths[key], code=failure.code, detail=failure.detail) for key, failure in failures.items()
        )
        self._catalog.syncs.fail(night.job, failures, _measure(night), night.now)

    def publish(self, night: Night, space_id: int) -> Outcome:
        """Raises StaleLease, Unavailable."""
        effects = self._catalog.syncs.find_effects(night.job, space_id, night.list_gone())
        report = None
        if self._gate is not None and (effects.opened or effects.closed):
            kb_id = night.source.kb_id
            report = self._gate.judge(
                Candidate(kb_id=kb_id, space_id=space_id, opened=effects.opened, closed=effects.closed)
            )
        result = night.tell(report)
        if report is not None and not report.passed:
            return refuse_by_gate(report, result)
        publication = self._catalog.syncs.publish(night.job, space_id, night.describe_change(result), report)
        return succeed({**result, "revision": publication.revision or None})


def succeed(result: Mapping[str, Any]) -> Outcome:
    names = ("added", "changed", "moved", "removed", "failed", "skipped")
    told = ", ".join(f"{result[name]} {name}" for name in names if result.get(name))
    return Outcome(state=JobState.SUCCEEDED, message=told or "nothing changed", result=result)


def _measure(night: Night) -> Progress:
    done = night.before + night.whole + len(night.faults)
    return Progress(stage="index", done=done, failed=night.failed + len(night.faults))
