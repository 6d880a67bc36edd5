"""Reads, splits and embeds staged versions: what it writes nobody sees before it is published.

Every job that indexes goes through here; the jobs differ in what they stage and in when they publish. What a crash
interrupts is indexed again: staging a version twice leaves one set of rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Protocol

from ingest.splitter import SplitterSettings, split_document
from kb import crash
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.knowledge_bases import KnowledgeBaseSettings
from kb.catalog.spaces import ChunkToEmbed
from kb.catalog.staging import VersionToStage
from kb.errors import DocumentFailed, Unavailable
from kb.ports import Encoder, EncoderSource
from kb.types import ChunkToStage, Job, ParsedDocument, StagedVersion, TextChunk

GROUP_CHUNKS = 2_000  # versions are written together until they have this many


class Parser(Protocol):
    """Parses a file in a process of its own: a hostile one costs its own document alone."""

    def parse(self, path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
        """`password` is for an encrypted PDF. Raises DocumentFailed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRun:
    """What the steps of one job share. `failures` are those of the versions read since the caller last took them;
    `counts` tells the `chunks` written and the strings `embedded`, which are fewer where a string is known already."""

    job: Job
    space: KnowledgeBaseSettings
    encoder: Encoder
    reader: ThreadPoolExecutor
    is_stopping: Callable[[], bool]
    failures: dict[int, DocumentFailed] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def take_failures(self) -> dict[int, DocumentFailed]:
        taken = dict(self.failures)
        self.failures.clear()
        return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A parsed and split document with the exact strings to embed."""

    staged: VersionToStage
    inputs: dict[str, str]  # input_sha → string


class Indexer:
    """Writes the chunks and vectors of staged versions into the live space of their knowledge base."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, texts: TextStore, encoders: EncoderSource, parser: Parser
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._texts = texts
        self._encoders = encoders
        self._parser = parser

    def open_run(self, job: Job, reader: ThreadPoolExecutor, is_stopping: Callable[[], bool]) -> IndexRun:
        """For the space that is live now: a job that outlives its space opens another run.

        `reader` has one thread, which waits for the parser while this one works. Raises NotFound
        (`knowledge_base_not_found`), Unavailable (`embedding_unavailable`).
        """
        space = self.read_space(job)
        encoder = self._encoders.get_encoder(space.embedding_model)
        if encoder.dimension != space.dimension:  # another model stands there now under the same name
            reason = f"{encoder.name} has dimension {encoder.dimension}, the index was made with {space.dimension}"
            raise Unavailable("embedding_unavailable", f"{reason}: bring that model back, or re-index in full")
        return IndexRun(job=job, space=space, encoder=encoder, reader=reader, is_stopping=is_stopping)

    def read_space(self, job: Job) -> KnowledgeBaseSettings:
        """The space that is live now. Raises NotFound (`knowledge_base_not_found`)."""
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        return self._catalog.knowledge_bases.get_settings(job.kb_id)

    def index(self, run: IndexRun, batch: Sequence[StagedVersion]) -> Iterator[list[int]]:
        """Ids of versions whose chunks and vectors are all written, a group at a time; stops early when told to stop.

        What cannot be read stands in `run.failures`. Raises StaleLease, Unavailable.
        """
        yield from self._write(run, self._load_batch(run, batch))

    def index_texts(self, run: IndexRun, texts: Iterable[tuple[int, ParsedDocument]]) -> Iterator[list[int]]:
        """The same for versions (by id) that were read before. Raises StaleLease, Unavailable, DocumentFailed."""
        going_on = takewhile(lambda _: not run.is_stopping(), texts)
        yield from self._write(run, (self._split(run, version_id, parsed) for version_id, parsed in going_on))
        for failure in run.take_failures().values():  # all of them belong together
            raise failure

    def _write(self, run: IndexRun, documents: Iterator[Loaded]) -> Iterator[list[int]]:
        for group in _group_by_size(documents):
            versions = [document.staged for document in group]
            missing = self._stage(run, versions)
            run.counts.update(chunks=sum(len(version.chunks) for version in versions))
            yield self._embed(run, group, frozenset(missing))

    def _embed(self, run: IndexRun, group: Sequence[Loaded], missing: Collection[str]) -> list[int]:
        """Ids of the versions that lack no vector any more. A text that the model refuses costs its own document: the
        group goes once more, one document at a time."""
        inputs = {sha: text for document in group for sha, text in document.inputs.items() if sha in missing}
        try:
            if inputs:
                vectors = run.encoder.embed_texts(list(inputs.values()))
                self._catalog.staging.stage_vectors(run.job, run.space.space_id, list(inputs), vectors)
        except DocumentFailed as failure:
            if len(group) == 1:
                run.failures[group[0].staged.version_id] = failure
                return []
            return [version_id for document in group for version_id in self._embed(run, [document], missing)]
        run.counts.update(embedded=len(inputs))
        return [document.staged.version_id for document in group]

    def _load_batch(self, run: IndexRun, batch: Sequence[StagedVersion]) -> Iterator[Loaded]:
        """Documents as they are read: the next one is parsed by a child while this one is split here.

        No more than that one is read ahead, so that a job that stops need not wait and few texts are in memory.
        """
        following = self._submit(run, batch[0])
        for version, upcoming in zip_longest(batch, batch[1:]):
            reading = following
            if run.is_stopping():
                reading.cancel()
                return
            if upcoming is not None:
                following = self._submit(run, upcoming)
            try:
                yield self._split(run, version.version_id, reading.result())
            except DocumentFailed as failure:
                run.failures[version.version_id] = failure

    def _submit(self, run: IndexRun, version: StagedVersion) -> Future[ParsedDocument]:
        path = self._blobs.path(version.sha256)
        return run.reader.submit(self._parser.parse, path, version.media_type, version.password)

    def _split(self, run: IndexRun, version_id: int, parsed: ParsedDocument) -> Loaded:
        cut = cut_text(parsed, run.encoder, SplitterSettings(target_tokens=run.space.chunk_tokens))
        crash.reach("parse.done")
        text_sha = self._texts.put_text(parsed.text)
        staged = VersionToStage(version_id=version_id, parsed=parsed, text_sha=text_sha, chunks=cut.chunks)
        return Loaded(staged=staged, inputs=cut.inputs)

    def _stage(self, run: IndexRun, versions: Sequence[VersionToStage]) -> list[str]:
        try:
            return self._catalog.staging.stage_chunks(run.job, run.space.space_id, versions)
        except Unavailable as error:
            if error.code != "text_gone":
                raise
        for version in versions:  # an equal text of a purged document was collected just now: write ours again
            self._texts.put_text(version.parsed.text)
        return self._catalog.staging.stage_chunks(run.job, run.space.space_id, versions)


def allow_one(is_stopping: Callable[[], bool]) -> Callable[[], bool]:
    """The same, but False when it is asked for the first time: however short a slice is, one document gets on."""
    first = iter([False])
    return lambda: next(first, True) and is_stopping()


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
        if chunks >= GROUP_CHUNKS:
            yield group
            group, chunks = [], 0
    if group:
        yield group
