"""Re-indexing: split and embed anew what the settings changed, in a second space beside the live one, then swap.

    laps: split what lacks chunks → embed what lacks vectors, until nothing that answers lacks anything
    → ask the gate → write an index of the new space → a last lap → swap, or one more lap

The rows are the progress. What a crash or a stop leaves is found lacking and taken up; nothing is embedded twice.
Uploads publish into the live space meanwhile and are found lacking by the next lap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ingest.indexing import Cut, cut_text, write_input
from ingest.pipeline import Outcome, refuse_by_gate
from ingest.splitter import SplitterSettings
from kb.blobs import LastText
from kb.catalog.catalog import Catalog
from kb.catalog.jobs import NewJob
from kb.catalog.knowledge_bases import KnowledgeBaseSettings
from kb.catalog.leases import Progress
from kb.catalog.spaces import ChunkToEmbed, Filling, NewSpace, VersionToSplit
from kb.errors import DocumentFailed, Gone
from kb.ports import Encoder, EncoderSource, Gate, TextSource
from kb.types import Candidate, GateReport, Head, Job, JobKind, JobState, Lane, ParsedDocument

PAGE = 64  # documents looked up at once
CHUNKS_A_STEP = 256  # staged in one transaction; a document has as many as it has
EMBEDDED_A_STEP = 128  # strings; an upload that waits for this worker waits for one step at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReindexTools:
    """What a re-index works with. Without a `gate` nothing is asked; `seal` writes an index of a knowledge base's space
    as it is at a head, so that servers need not build one."""

    catalog: Catalog
    texts: TextSource
    encoders: EncoderSource
    seal: Callable[[str, Head], None]
    gate: Gate | None = None


@dataclass(kw_only=True, slots=True)
class _Run:
    """What the steps of one job share; `embedded` is the last chunk seen to."""

    job: Job
    kb_id: str
    live: KnowledgeBaseSettings
    wanted: NewSpace
    encoder: Encoder
    splitter: SplitterSettings
    space_id: int
    is_stopping: Callable[[], bool]
    texts: TextSource
    embedded: int = 0
    filling: Filling = field(default_factory=lambda: Filling(total=0, done=0))

    @property
    def reuse_from(self) -> int | None:
        """The live space, when its vectors are of the same encoder: only the splitter has changed."""
        same = self.live.fingerprint.startswith(f"{self.encoder.fingerprint}+")
        return self.live.space_id if same else None


class Reindexer:
    """Runs re-index jobs: `changed` has every source synced, `full` also splits and embeds anew."""

    def __init__(self, tools: ReindexTools) -> None:
        self._tools = tools
        self._catalog = tools.catalog
        self._spaces = tools.catalog.spaces

    def run(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        """None when told to stop before the end; what is done is kept.

        Raises StaleLease, Gone (`text_gone`) when the text of a document that answers is lost, Unavailable when the
        embedding model does not answer.
        """
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        if job.params.get("mode") == "changed":
            return self._sync_sources(job.kb_id)
        live = self._catalog.knowledge_bases.get_settings(job.kb_id)
        model = job.params.get("embedding_model") or live.embedding_model
        encoder = self._tools.encoders.get_encoder(model)
        splitter = SplitterSettings(target_tokens=live.wanted_chunk_tokens)
        wanted = NewSpace(
            embedding_model=model,
            fingerprint=splitter.name_space(encoder.fingerprint),
            dimension=encoder.dimension,
            chunk_tokens=splitter.target_tokens,
        )
        if (wanted.fingerprint, model) == (live.fingerprint, live.embedding_model):
            return self._leave_as_it_is(job)
        space_id = self._spaces.open_building(job, wanted)
        run = _Run(
            job=job,
            kb_id=job.kb_id,
            live=live,
            wanted=wanted,
            encoder=encoder,
            splitter=splitter,
            space_id=space_id,
            is_stopping=is_stopping,
            texts=LastText(self._tools.texts),
        )
        return self._rebuild(run)

    def _sync_sources(self, kb_id: str) -> Outcome:
        started = [
            self._catalog.jobs.enqueue_or_find(
                NewJob(
                    kind=JobKind.SYNC,
                    lane=Lane.BULK,
                    kb_id=kb_id,
                    dedupe_key=f"sync:{source_id}",
                    params={"source_id": source_id},
                )
            )
            for source_id in self._catalog.knowledge_bases.list_source_ids(kb_id)
        ]
        message = f"{len(started)} sources are being synced" if started else "there is no source to sync"
        return Outcome(state=JobState.SUCCEEDED, message=message, result={"sync_jobs": started})

    def _leave_as_it_is(self, job: Job) -> Outcome:
        """The live space is what is wanted: because nothing changed, or because a worker died just after its swap."""
        self._spaces.abandon_building(job)
        revision = self._catalog.swaps.find_swap(job)
        if revision:
            return Outcome(state=JobState.SUCCEEDED, message=f"revision {revision}", result={"revision": revision})
        return Outcome(state=JobState.SUCCEEDED, message="nothing changed: encoder and splitter are what they were")

    def _rebuild(self, run: _Run) -> Outcome | None:
        if not self._catch_up(run):
            return None
        report = self._ask_gate(run)
        if report is not None and not report.passed:
            self._spaces.abandon_building(run.job)
            return refuse_by_gate(report, {"gate": report.describe()})
        if not self._seal(run):
            return None
        while not (revision := self._catalog.swaps.swap(run.job, run.space_id, report)):
            if not self._catch_up(run):
                return None
        return self._sum_up(run, revision, report)

    # -- laps ---------------------------------------------------------------------------------------------------

    def _catch_up(self, run: _Run) -> bool:
        """Laps until nothing that answers lacks anything; False when told to stop before."""
        return all(not run.is_stopping() for _ in self._iter_steps(run))

    def _iter_steps(self, run: _Run) -> Iterator[None]:
        """Each step leaves rows that the next run finds, so that the shortest slice gets on."""
        lacking = True
        while lacking:
            lacking, run.embedded = False, 0
            yield from self._embed_rest(run)  # what a stop or a crash left without vectors
            run.filling = self._spaces.measure_filling(run.kb_id, run.space_id)
            self._report(run, 0)
            for group in self._iter_groups(run):
                lacking = True
                chunks = {version_id: cut.chunks for version_id, cut in group.items()}
                self._spaces.stage_chunks(run.job, run.space_id, chunks, run.reuse_from)
                yield
                yield from self._embed_rest(run)
                self._report(run, len(group))

    def _iter_groups(self, run: _Run) -> Iterator[dict[int, Cut]]:
        for page in self._iter_unsplit(run):
            yield from self._cut_page(run, page)

    def _iter_unsplit(self, run: _Run) -> Iterator[Sequence[VersionToSplit]]:
        last = 0
        while page := self._spaces.list_unsplit(run.kb_id, run.space_id, PAGE, last):
            yield page
            last = page[-1].version_id

    def _cut_page(self, run: _Run, page: Sequence[VersionToSplit]) -> Iterator[dict[int, Cut]]:
        """Chunks by version, in groups of about CHUNKS_A_STEP."""
        group: dict[int, Cut] = {}
        for version in page:
            cut = self._cut(run, version)
            if cut is not None:
                group[version.version_id] = cut
            if sum(len(one.chunks) for one in group.values()) >= CHUNKS_A_STEP:
                yield group
                group = {}
        if group:
            yield group

    def _cut(self, run: _Run, version: VersionToSplit) -> Cut | None:
        """None when it answers no longer."""
        text = self._read_text(run, version.version_id, version.text_sha)
        if text is None:
            return None
        try:
            parsed = ParsedDocument(text=text, pages=version.pages, headings=version.headings)
            return cut_text(parsed, run.encoder, run.splitter)
        except DocumentFailed as failure:
            raise DocumentFailed(failure.code, f"{version.path}: {failure.detail}") from failure

    def _embed_rest(self, run: _Run) -> Iterator[None]:
        while chunks := self._spaces.list_unembedded(run.space_id, EMBEDDED_A_STEP, run.embedded):
            inputs = self._write_inputs(run, chunks)
            if inputs:
                vectors = run.encoder.embed_texts(list(inputs.values()))
                self._catalog.staging.stage_vectors(run.job, run.space_id, list(inputs), vectors)
            run.embedded = chunks[-1].chunk_id
            yield

    def _write_inputs(self, run: _Run, chunks: Sequence[ChunkToEmbed]) -> dict[str, str]:
        inputs: dict[str, str] = {}
        for chunk in chunks:
            text = self._read_text(run, chunk.version_id, chunk.text_sha)
            if text is not None:
                inputs[chunk.input_sha] = write_input(text, chunk)
        return inputs

    def _read_text(self, run: _Run, version_id: int, text_sha: str) -> str | None:
        """None when the version answers no longer: it was purged meanwhile. Raises Gone."""
        try:
            return run.texts.read_text(text_sha)
        except Gone as lost:
            if not self._spaces.is_visible(run.kb_id, version_id):
                return None
            reason = f"the extracted text of version {version_id} is lost: upload that document again, then re-index"
            raise Gone(lost.code, reason) from lost

    def _report(self, run: _Run, more: int) -> None:
        """`more` documents lack nothing any more."""
        run.filling = replace(run.filling, done=min(run.filling.done + more, run.filling.total))
        done, total = run.filling.done, run.filling.total
        self._catalog.jobs.report(run.job, Progress(stage="index", done=done, failed=0, total=total))

    # -- the end ------------------------------------------------------------------------------------------------

    def _ask_gate(self, run: _Run) -> GateReport | None:
        """What is published while it is asked is not judged: the questions are about encoder and splitter."""
        if self._tools.gate is None or run.job.params.get("gate") is False:
            return None
        return self._tools.gate.judge(Candidate(kb_id=run.kb_id, space_id=run.space_id))

    def _seal(self, run: _Run) -> bool:
        """Write an index of the new space at a head at which nothing lacks; False when told to stop before.

        Servers load it and replay what came since, instead of reading every row while questions wait.
        """
        while True:
            head = self._catalog.feed.get_head(run.kb_id)
            run.filling = self._spaces.measure_filling(run.kb_id, run.space_id)
            if run.filling.done == run.filling.total:
                break
            if not self._catch_up(run):
                return False
        dimension, model = run.wanted.dimension, run.wanted.embedding_model
        self._tools.seal(run.kb_id, replace(head, space_id=run.space_id, dimension=dimension, embedding_model=model))
        return True

    def _sum_up(self, run: _Run, revision: int, report: GateReport | None) -> Outcome:
        size = self._catalog.swaps.measure_size(run.space_id, run.live.space_id)
        reused = size.reused if run.reuse_from is not None else 0
        result: dict[str, Any] = {
            "revision": revision,
            "documents": size.documents,
            "chunks": size.chunks,
            "embedded": size.vectors - reused,
            "reused": reused,
        }
        if report is not None:
            result["gate"] = report.describe()
        log.info("reindex.swapped kb=%s space=%d revision=%d", run.kb_id, run.space_id, revision)
        message = f"revision {revision}: {size.vectors - reused} strings embedded, {reused} reused"
        return Outcome(state=JobState.SUCCEEDED, message=message, result=result)
