"""The worker's walk for uploaded documents: load → split → embed → save chunks and vectors → publish a revision.

Documents go in small batches, so that the first of thousands answers at once and a transaction serves several. What a
crash interrupts is staged again: staging a version twice leaves one set of rows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from ingest.splitter import SplitterSettings, split_document
from kb import crash
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.knowledge_bases import KnowledgeBaseSettings
from kb.catalog.leases import Progress
from kb.catalog.spaces import ChunkToEmbed
from kb.catalog.staging import VersionToStage
from kb.errors import DocumentFailed, Unavailable
from kb.ports import Encoder, EncoderSource
from kb.types import ChunkToStage, Job, JobState, ParsedDocument, StagedVersion, TextChunk

FIRST_BATCH = 4  # documents; small, so that a user sees the first answers soon
BATCH = 64
BATCH_CHUNKS = 2_000  # a batch is closed early once it has this many
PASSES = 2  # a version that could not be published is staged once more before it is given up

log = logging.getLogger(__name__)


class Parser(Protocol):
    """Parses a file in a process of its own: a hostile one costs its own document alone."""

    def parse(self, path: Path, media_type: str) -> ParsedDocument:
        """Raises DocumentFailed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended; `code` says why it failed."""

    state: JobState
    message: str = ""
    result: Mapping[str, Any] | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A parsed and split document with the exact strings to embed."""

    staged: VersionToStage
    inputs: dict[str, str]  # input_sha → string


class UploadPipeline:
    """Indexes what one upload job staged."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, texts: TextStore, encoders: EncoderSource, parser: Parser
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._texts = texts
        self._encoders = encoders
        self._parser = parser

    def run(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        """Index and publish every staged version of `job`; None when told to stop before the end.

        Raises StaleLease when the job was lost or cancelled, Unavailable when the embedding model does not answer.
        """
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        tally = Tally.of(job)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse") as reader:
            for batch in self._iter_passes(job, job.kb_id):
                space = self._catalog.knowledge_bases.get_settings(job.kb_id)  # a re-index may have swapped it
                encoder = self._encoders.get_encoder(space.embedding_model)
                run = _Run(job=job, space=space, encoder=encoder, tally=tally, is_stopping=is_stopping)
                self._index_batch(run, self._load_batch(run, reader, batch))
                if is_stopping():
                    return None
        self._give_up_rest(job, tally)
        return tally.sum_up()

    def _iter_passes(self, job: Job, kb_id: str) -> Iterator[list[StagedVersion]]:
        """The batches of each pass. One during which the live space was swapped does not count: what was staged into
        the old one could not be published."""
        passes = 0
        while passes < PASSES:
            before = self._catalog.knowledge_bases.get_settings(kb_id)
            yield from self._iter_batches(job)
            passes += self._catalog.knowledge_bases.get_settings(kb_id) == before

    def _iter_batches(self, job: Job) -> Iterator[list[StagedVersion]]:
        last, size = 0, FIRST_BATCH
        while batch := self._catalog.staging.list_staged(job.id, size, last):
            yield batch
            last, size = batch[-1].version_id, BATCH

    def _load_batch(self, run: _Run, reader: ThreadPoolExecutor, batch: Sequence[StagedVersion]) -> Iterator[Loaded]:
        """Documents as they are read: the next one is parsed by a child while this one is split here.

        No more than that one is read ahead, so that a job that stops need not wait and few texts are in memory.
        """
        following = self._submit(reader, batch[0])
        for version, upcoming in zip_longest(batch, batch[1:]):
            reading = following
            if run.is_stopping():
                reading.cancel()
                return
            if upcoming is not None:
                following = self._submit(reader, upcoming)
            try:
                yield self._load(run, version, reading)
            except DocumentFailed as failure:
                run.tally.failures[version.version_id] = failure

    def _submit(self, reader: ThreadPoolExecutor, version: StagedVersion) -> Future[ParsedDocument]:
        return reader.submit(self._parser.parse, self._blobs.path(version.sha256), version.media_type)

    def _load(self, run: _Run, version: StagedVersion, reading: Future[ParsedDocument]) -> Loaded:
        parsed = reading.result()
        cut = cut_text(parsed, run.encoder, SplitterSettings(target_tokens=run.space.chunk_tokens))
        crash.reach("parse.done")
        staged = VersionToStage(
            version_id=version.version_id,
            parsed=parsed,
            text_sha=self._texts.put_text(parsed.text),
            chunks=cut.chunks,
        )
        return Loaded(staged=staged, inputs=cut.inputs)

    def _index_batch(self, run: _Run, documents: Iterator[Loaded]) -> None:
        for group in _group_by_size(documents):
            versions = [document.staged for document in group]
            inputs = {sha: text for document in group for sha, text in document.inputs.items()}
            missing = self._stage(run, versions)
            if missing:
                vectors = run.encoder.embed_texts([inputs[sha] for sha in missing])
                self._catalog.staging.stage_vectors(run.job, run.space.space_id, missing, vectors)
            self._publish(run, [version.version_id for version in versions])
        self._record_failures(run.job, run.tally)

    def _stage(self, run: _Run, versions: Sequence[VersionToStage]) -> list[str]:
        try:
            return self._catalog.staging.stage_chunks(run.job, run.space.space_id, versions)
        except Unavailable as error:
            if error.code != "text_gone":
                raise
        for version in versions:  # an equal text of a purged document was collected just now: write ours again
            self._texts.put_text(version.parsed.text)
        return self._catalog.staging.stage_chunks(run.job, run.space.space_id, versions)

    def _publish(self, run: _Run, version_ids: Sequence[int]) -> None:
        progress = run.tally.foresee(len(version_ids))
        publication = self._catalog.publisher.publish(run.job, run.space.space_id, version_ids, progress)
        run.tally.done += len(publication.published)
        if publication.skipped:
            log.info("publish.skipped job=%s versions=%s", run.job.id, publication.skipped)

    def _record_failures(self, job: Job, tally: Tally) -> None:
        failures, tally.failures = tally.failures, {}
        if not failures:
            return
        tally.done += len(failures)
        tally.failed += len(failures)
        self._catalog.staging.fail_versions(job, failures, tally.foresee(0))

    def _give_up_rest(self, job: Job, tally: Tally) -> None:
        """What passed no publish even when staged afresh was overtaken by a newer version of its document."""
        for batch in self._iter_batches(job):
            for version in batch:
                reason = "a newer version of this document was published first"
                tally.failures[version.version_id] = DocumentFailed("overtaken", reason)
        self._record_failures(job, tally)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A document's chunks with the exact strings to embed."""

    chunks: Sequence[ChunkToStage]
    inputs: dict[str, str]  # input_sha → string


def cut_text(parsed: ParsedDocument, encoder: Encoder, settings: SplitterSettings) -> Cut:
    """Raises DocumentFailed (`no_text`) when nothing is left to index."""
    chunks = split_document(parsed, encoder, settings)
    if not chunks:
        raise DocumentFailed("no_text", "the document holds no text to index")
    inputs = [write_input(parsed.text, chunk) for chunk in chunks]
    shas = [hashlib.sha256(text.encode()).hexdigest() for text in inputs]
    return Cut(
        chunks=[ChunkToStage(chunk=c, input_sha=sha) for c, sha in zip(chunks, shas, strict=True)],
        inputs=dict(zip(shas, inputs, strict=True)),
    )


def write_input(text: str, chunk: TextChunk | ChunkToEmbed) -> str:
    """The exact string that is embedded: the chunk under the headings it stands below."""
    own = text[chunk.start : chunk.end]
    return f"{chunk.heading}\n{own}" if chunk.heading else own


def _group_by_size(documents: Iterator[Loaded]) -> Iterator[list[Loaded]]:
    group: list[Loaded] = []
    chunks = 0
    for document in documents:
        group.append(document)
        chunks += len(document.staged.chunks)
        if chunks >= BATCH_CHUNKS:
            yield group
            group, chunks = [], 0
    if group:
        yield group


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of one job: `done` documents are dealt with, `failed` of them without success."""

    total: int
    done: int
    failed: int
    failures: dict[int, DocumentFailed]

    @classmethod
    def of(cls, job: Job) -> Tally:
        return cls(total=job.total, done=job.done, failed=job.failed, failures={})

    def foresee(self, published: int) -> Progress:
        return Progress(stage="index", done=self.done + published, failed=self.failed)

    def sum_up(self) -> Outcome:
        if self.failed and self.failed >= self.total:
            return Outcome(state=JobState.FAILED, message=f"none of {self.total} documents could be indexed")
        message = f"{self.failed} of {self.total} documents could not be indexed" if self.failed else ""
        return Outcome(state=JobState.SUCCEEDED, message=message)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What the steps of one job share."""

    job: Job
    space: KnowledgeBaseSettings
    encoder: Encoder
    tally: Tally
    is_stopping: Callable[[], bool]
