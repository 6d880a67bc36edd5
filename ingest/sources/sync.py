"""One night of a folder: list → compare → brake → read → index → gate → publish one revision.

A run that is taken up again lists and compares anew and goes on with what it had staged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ingest.indexing import Indexer
from ingest.pipeline import Outcome
from ingest.sources.closing import BATCH, MOST_TOLD, Closing, Night, succeed
from ingest.sources.intake import Fault, FileIntake
from ingest.sources.look import Look, list_source, look_at
from ingest.sources.registry import Roots
from kb.catalog.catalog import Catalog
from kb.ports import Gate
from kb.types import GateReport, Job, SyncChange


@dataclass(kw_only=True, slots=True)
class FolderNight(Night):
    look: Look

    def name_fault(self, path: str) -> str:
        return path.removeprefix(self.look.name_document(""))

    def list_gone(self) -> list[str]:
        return self.look.list_gone()

    def measure_loss(self) -> tuple[int, int]:
        return self.look.measure_loss()

    def is_bare(self) -> bool:
        return not self.look.listing.files

    def is_settled(self) -> bool:
        """Whether nothing has to be looked at again before a file changes."""
        return not self.look.plan.failing and all(fault.is_skip for fault in self.list_faults())

    def list_faults(self) -> list[Fault]:
        refused = [Fault(path=one.path, code=one.code, detail=one.detail) for one in self.look.plan.refused]
        return [*refused, *self.faults]

    def tell(self, gate: GateReport | None) -> dict[str, Any]:
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

    def describe_change(self, result: Mapping[str, Any]) -> SyncChange:
        look = self.look
        return SyncChange(
            source_id=self.source.id,
            seen_at=self.source.updated_at,
            removed=look.list_gone(),
            touched={one.document_id: one.stat for one in look.plan.touched if one.document_id and one.stat},
            listing_sha=look.listing.sha256 if self.is_settled() else None,
            result=result,
        )


class FolderSync:
    """Runs the syncs of folder sources. `gate` is asked before anything is published."""

    def __init__(self, catalog: Catalog, indexer: Indexer, intake: FileIntake, roots: Roots, gate: Gate | None) -> None:
        self._catalog = catalog
        self._closing = Closing(catalog, indexer, gate)
        self._intake = intake
        self._roots = roots

    def run(self, job: Job, is_stopping: Callable[[], bool], now: datetime) -> Outcome | None:
        """None when told to stop before the end.

        Raises StaleLease, NotFound (`source_not_found`), InvalidInput (`root_…`: the folder is not what it was allowed
        to be), Unavailable (`source_unavailable`, `embedding_unavailable`, …).
        """
        if job.result is not None:  # published; its worker died before it could say so
            return succeed(job.result)
        source = self._catalog.sources.get(job.params["source_id"])
        listing = list_source(source, self._roots)
        again, force = bool(job.params.get("include_deleted")), bool(job.params.get("force"))
        if listing.sha256 == source.listing_sha and not again and not force:
            return succeed({"unchanged": len(listing.files), "revision": None})
        known = self._catalog.source_files.list_known(source.id)
        if again:
            known = {path: file for path, file in known.items() if not file.deleted}
        look = look_at(source, listing, known, now)
        night = FolderNight(job=job, source=source, look=look, is_stopping=is_stopping, now=now)
        return self._closing.brake(night) or self._carry_out(night)

    def _carry_out(self, night: FolderNight) -> Outcome | None:
        space_id = self._closing.index(night) if self._read(night) else None
        return None if space_id is None else self._closing.publish(night, space_id)

    def _read(self, night: FolderNight) -> bool:
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


def _refuse_path(look: Look, path: str, code: str) -> Fault:
    detail = "a document that is not the source's has this path"
    return Fault(path=path.removeprefix(look.name_document("")), code=code, detail=detail)
