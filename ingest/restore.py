"""The worker's walk for a restore: plan → index what the live space lacks → ask the gate → publish a revision.

Chunks and vectors are there already unless another space is live since; then the texts that are kept are split and
embedded once more. They are rows that nobody sees yet: a restore that is interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ingest.indexing import Indexer, allow_one
from ingest.pipeline import Outcome, refuse_by_gate
from kb.catalog.catalog import Catalog
from kb.catalog.leases import Progress
from kb.catalog.restoring import RestorePlan
from kb.errors import Unavailable
from kb.ports import Gate, TextSource
from kb.types import Candidate, GateReport, Job, JobState, ParsedDocument

PASSES = 3  # what comes between indexing and publishing is indexed as well, so often
TEXTS_A_BATCH = 64


class RestorePipeline:
    """Restores the revision that a job names. Without a `gate` none is asked."""

    def __init__(self, catalog: Catalog, texts: TextSource, indexer: Indexer, gate: Gate | None) -> None:
        self._catalog = catalog
        self._texts = texts
        self._indexer = indexer
        self._gate = gate

    def run(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        """None when told to stop before the end.

        Raises StaleLease, NotFound, Gone (`revision_gone`, `text_gone`), Unavailable (`restore_overtaken`; when the
        embedding model does not answer), DocumentFailed.
        """
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        if job.result is not None:  # its worker died between publishing and saying so
            return _tell(job.result)
        number = int(job.params["revision"])
        for _ in range(PASSES):
            space_id = self._catalog.knowledge_bases.get_settings(job.kb_id).space_id
            plan = self._catalog.restores.plan(job.kb_id, number)
            if not self._index(job, space_id, plan, is_stopping):
                return None
            report = self._ask_gate(job, space_id, plan)
            if report is not None and not report.passed:
                return refuse_by_gate(report, {"restored": None, "gate": report.describe()})
            gate = report.describe() if report is not None else None
            result = self._catalog.restores.publish(job, space_id, gate)
            if result is not None:
                return _tell(result)
        reason = f"the knowledge base changed {PASSES} times while revision {number} was prepared"
        raise Unavailable("restore_overtaken", reason)

    def _index(self, job: Job, space_id: int, plan: RestorePlan, is_stopping: Callable[[], bool]) -> bool:
        """Write what the versions to open lack in the space; False when told to stop before the end."""
        lacking = self._catalog.restores.list_unindexed(plan, space_id)
        done = len(plan.opened) - len(lacking)
        self._report(job, done)
        if not lacking:
            return not is_stopping()
        with ThreadPoolExecutor(max_workers=1) as reader:
            run = self._indexer.open_run(job, reader, allow_one(is_stopping))
            for version_ids in self._indexer.index_texts(run, self._read_texts(lacking)):
                done += len(version_ids)
                self._report(job, done)
        return not is_stopping()

    def _report(self, job: Job, done: int) -> None:
        self._catalog.jobs.report(job, Progress(stage="index", done=done, failed=0))

    def _read_texts(self, version_ids: Sequence[int]) -> Iterator[tuple[int, ParsedDocument]]:
        for first in range(0, len(version_ids), TEXTS_A_BATCH):
            for stored in self._catalog.restores.list_texts(version_ids[first : first + TEXTS_A_BATCH]):
                yield (
                    stored.version_id,
                    ParsedDocument(
                        text=self._texts.read_text(stored.text_sha),
                        pages=stored.pages,
                        headings=stored.headings,
                        title=stored.title,
                        language=stored.language,
                        encoding=stored.encoding,
                    ),
                )

    def _ask_gate(self, job: Job, space_id: int, plan: RestorePlan) -> GateReport | None:
        if self._gate is None or not job.params.get("gate", True) or not (plan.opened or plan.closed):
            return None
        opened = [opening.version_id for opening in plan.opened]
        return self._gate.judge(
            Candidate(kb_id=job.kb_id or "", space_id=space_id, opened=opened, closed=list(plan.closed))
        )


def _tell(result: Mapping[str, Any]) -> Outcome:
    number = result["restored"]
    message = f"revision {number} answers again, as revision {result['revision']}"
    if result["revision"] is None:
        message = f"nothing to do: what answers is what answered at revision {number}"
    return Outcome(state=JobState.SUCCEEDED, message=message, result=result)
