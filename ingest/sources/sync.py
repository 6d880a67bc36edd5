"""One night of one source: list → compare → brake → read → index → gate → publish one revision.

Nothing is visible before the last step, and that step is one transaction: whatever kills the run before it leaves the
knowledge base as it was. A run that is taken up again lists and compares anew and goes on with what it had staged: the
rows are its progress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ingest.indexing import Indexer, IndexRun, allow_one
from ingest.pipeline import Outcome, refuse_by_gate
from ingest.sources.intake import Fault, FileIntake
from ingest.sources.look import Look, list_source, look_at
from ingest.sources.registry import Roots
from kb.catalog.catalog import Catalog
from kb.catalog.leases import Progress
from kb.errors import Unavailable
from kb.ports import Gate
from kb.types import Candidate, GateReport, Job, JobState, StagedVersion, SyncChange

BATCH = 64  # documents between two looks at whether to stop
PASSES = 3  # the live space may be swapped under a run: what is not whole in the new one is indexed again
MOST_TOLD = 200  # failures and skipped files that a job's result names


@dataclass(kw_only=True, slots=True)
class Night:
    """One run on its way. `faults` are wanted files that did not come in or could not be indexed; `whole` counts the
    documents that lack nothing any more."""

    job: Job
    look: Look
    is_stopping: Callable[[], bool]
    now: datetime
    faults: list[Fault] = field(default_factory=list)
    whole: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"chunks": 0, "embedded": 0})

    def is_settled(self) -> bool:
        """Whether nothing has to be looked at again before a file changes."""
        return not self.look.plan.failing and all(fault.is_skip for fault in self.list_faults())

    def list_faults(self) -> list[Fault]:
        refused = [Fault(path=one.path, code=one.code, detail=one.detail) for one in self.look.plan.refused]
        return [*refused, *self.faults]

    def tell(self, gate: GateReport | None) -> dict[str, Any]:
        """The job's result."""
        counts, changes = self.look.count(), self.look.list_changes()
        out = {fault.path for fault in self.faults}
        for name in ("added", "changed"):
            counts[name] -= sum(change.path in out for change in changes[name])
        skips = [asdict(fault) for fault in self.list_faults() if fault.is_skip]
        failures = [asdict(fault) for fault in self.list_faults() if not fault.is_skip]
        return {
            **counts,
            **self.counts,
            "failed": len(failures) + len(self.look.plan.failing),
            "skipped": len(skips),
            "failures": failures[:MOST_TOLD],
            "skips": skips[:MOST_TOLD],
            "gate": None if gate is None else gate.describe(),
            "revision": None,
        }


class FolderSync:
    """Runs the syncs of folder sources. `gate` is asked before anything is published."""

    def __init__(self, catalog: Catalog, indexer: Indexer, intake: FileIntake, roots: Roots, gate: Gate | None) -> None:
        self._catalog = catalog
        self._indexer = indexer
        self._intake = intake
        self._roots = roots
        self._gate = gate

    def run(self, job: Job, is_stopping: Callable[[], bool], now: datetime) -> Outcome | None:
        """None when told to stop before the end.

        Raises StaleLease, NotFound (`source_not_found`), InvalidInput (`root_…`: the folder is not what it was allowed
        to be), Unavailable (`source_unavailable`, `embedding_unavailable`, …).
        """
        if job.result is not None:  # published; its worker died before it could say so
            return _succeed(job.result)
        source = self._catalog.sources.get(job.params["source_id"])
        listing = list_source(source, self._roots)
        again, force = bool(job.params.get("include_deleted")), bool(job.params.get("force"))
        if listing.sha256 == source.listing_sha and not again and not force:
            return _succeed({"unchanged": len(listing.files), "revision": None})
        known = self._catalog.source_files.list_known(source.id)
        if again:
            known = {path: file for path, file in known.items() if not file.deleted}
        look = look_at(source, listing, known, now)
        night = Night(job=job, look=look, is_stopping=is_stopping, now=now)
        return self._brake(night) or self._carry_out(night)

    def _brake(self, night: Night) -> Outcome | None:
        """A mount that is down must not empty the index."""
        gone, live = night.look.measure_loss()
        if not gone or night.job.params.get("force"):
            return None
        share = self._catalog.knowledge_bases.get_limits(night.look.source.kb_id).vanish_share
        if gone <= share * live and night.look.listing.files:
            return None
        reason = (
            f"{gone} of {live} documents of {night.look.source.name!r} would vanish, more than the allowed share of "
            f"{share:g}; nothing was changed. If they are really gone, sync with force"
        )
        return Outcome(state=JobState.FAILED, code="vanish_refused", message=reason, result=night.tell(None))

    def _carry_out(self, night: Night) -> Outcome | None:
        if not self._read(night):
            return None
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse") as reader:
            for _ in range(PASSES):
                run = self._indexer.open_run(night.job, reader, allow_one(night.is_stopping))
                if not self._index(night, run):
                    return None
                if not self._catalog.syncs.list_unfinished(night.job, run.space.space_id, 1):
                    return self._publish(night, run.space.space_id)
        raise Unavailable("space_swapped", "the live space was swapped again and again while this source was indexed")

    def _read(self, night: Night) -> bool:
        """Bring new and changed bytes in and record them; False when told to stop."""
        look, files = night.look, self._catalog.source_files
        wanted = {look.name_document(path): look.listing.files[path] for path in look.list_wanted()}
        staged = files.list_staged_stats(night.job)
        files.drop_staged(night.job, [p for p, stat in staged.items() if p not in wanted or wanted[p].stat != stat])
        left = [file for path, file in wanted.items() if staged.get(path) != file.stat]
        for first in range(0, len(left), BATCH):
            taken = self._intake.take(look.listing.root, left[first : first + BATCH], look.name_document)
            refused = files.stage_files(night.job, look.source.id, taken.files, len(wanted))
            night.faults.extend(taken.faults)
            night.faults.extend(_refuse_path(look, path, code) for path, code in refused.items())
            if night.is_stopping():  # behind the batch: a job that is given away again and again must get on
                return False
        return True

    def _index(self, night: Night, run: IndexRun) -> bool:
        """Chunks and vectors for what this job staged; False when told to stop."""
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
        paths = {version.version_id: version.path.removeprefix(night.look.name_document("")) for version in batch}
        night.faults.extend(
            Fault(path=paths[key], code=failure.code, detail=failure.detail) for key, failure in failures.items()
        )
        self._catalog.syncs.fail(night.job, failures, _measure(night), night.now)

    def _publish(self, night: Night, space_id: int) -> Outcome:
        look, removed = night.look, night.look.list_gone()
        effects = self._catalog.syncs.find_effects(night.job, space_id, removed)
        report = None
        if self._gate is not None and (effects.opened or effects.closed):
            kb_id = look.source.kb_id
            report = self._gate.judge(
                Candidate(kb_id=kb_id, space_id=space_id, opened=effects.opened, closed=effects.closed)
            )
        result = night.tell(report)
        if report is not None and not report.passed:
            return refuse_by_gate(report, result)
        change = SyncChange(
            source_id=look.source.id,
            seen_at=look.source.updated_at,
            removed=removed,
            touched={one.document_id: one.stat for one in look.plan.touched if one.document_id and one.stat},
            listing_sha=look.listing.sha256 if night.is_settled() else None,
            result=result,
        )
        publication = self._catalog.syncs.publish(night.job, space_id, change, report)
        return _succeed({**result, "revision": publication.revision or None})


def _measure(night: Night) -> Progress:
    return Progress(stage="index", done=night.whole + len(night.faults), failed=len(night.faults))


def _refuse_path(look: Look, path: str, code: str) -> Fault:
    detail = "a document that is not the source's has this path"
    return Fault(path=path.removeprefix(look.name_document("")), code=code, detail=detail)


def _succeed(result: Mapping[str, Any]) -> Outcome:
    names = ("added", "changed", "moved", "removed", "failed", "skipped")
    told = ", ".join(f"{result[name]} {name}" for name in names if result.get(name))
    return Outcome(state=JobState.SUCCEEDED, message=told or "nothing changed", result=result)
