"""A whole store on a disk for tests: data folder, catalog, pipeline with a fake parser, and how many texts it embedded.

The parser takes what a test wrote: UTF-8 text is one page; text that begins with `BAD ` fails with the code after it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import text as sql

from ingest.encoders.builtin import BuiltinEncoder
from ingest.indexing import Indexer
from ingest.pipeline import Outcome, UploadPipeline
from ingest.restore import RestorePipeline
from ingest.splitter import SplitterSettings
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.knowledge_bases import NewKnowledgeBase
from kb.catalog.leases import Progress
from kb.catalog.publishing import Publication
from kb.catalog.revisions import RevisionDraft, write_revision
from kb.catalog.staging import VersionToStage
from kb.catalog.uploads import Upload, UploadedFile
from kb.checks import check_store
from kb.config import Settings
from kb.data_folder import DataFolder
from kb.errors import DocumentFailed, Unavailable
from kb.garbage import Garbage
from kb.ports import Gate
from kb.types import (
    ChunkToStage,
    Document,
    Job,
    JobKind,
    KnowledgeBase,
    Page,
    PageVerdict,
    ParsedDocument,
    RevisionKind,
    TextChunk,
    Vectors,
)

LEASE = 60.0


class TextParser:
    """Reads the stored bytes as UTF-8. `on_parse` is called with each text before it is parsed."""

    def __init__(self) -> None:
        self.parsed: list[str] = []
        self.on_parse: Callable[[str], None] = lambda _: None

    def parse(self, path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
        del media_type, password
        text = path.read_text("utf-8")
        self.parsed.append(text)
        self.on_parse(text)
        self.fail_if_bad(text)
        page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
        return ParsedDocument(text=text, pages=[page], title=text[:20] or None, language="en")

    @staticmethod
    def fail_if_bad(text: str) -> None:
        if text.startswith("BAD "):
            raise DocumentFailed(text.split()[1], "the test said so")


class CountingEncoder(BuiltinEncoder):
    """The built-in encoder; `embedded` keeps every string it was given. `on_embed` is called before it embeds. It takes
    no text that holds `refused`."""

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.refused: str | None = None
        self.down = False
        self.on_embed: Callable[[], None] = lambda: None

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        if self.down:
            raise Unavailable("embedding_unavailable", "the fake encoder was switched off")
        if self.refused is not None and any(self.refused in text for text in texts):
            raise DocumentFailed("embedding_refused", "the fake encoder does not take this text")
        self.embedded += texts
        self.on_embed()
        return super().embed_texts(texts)


class OneEncoder:
    """An EncoderSource with one encoder under every name."""

    def __init__(self, encoder: CountingEncoder) -> None:
        self._encoder = encoder

    def get_encoder(self, name: str) -> CountingEncoder:
        return self._encoder


@dataclass(kw_only=True)
class Store:
    """Everything over one data folder; `kb` is its first knowledge base."""

    folder: DataFolder
    blobs: BlobStore
    texts: TextStore
    catalog: Catalog
    encoder: CountingEncoder
    parser: TextParser
    kb: KnowledgeBase
    gate: Gate | None = None

    @property
    def pipeline(self) -> UploadPipeline:
        return UploadPipeline(self.catalog, self.indexer)

    @property
    def restoring(self) -> RestorePipeline:
        return RestorePipeline(self.catalog, self.texts, self.indexer, self.gate)

    @property
    def indexer(self) -> Indexer:
        return Indexer(self.catalog, self.blobs, self.texts, OneEncoder(self.encoder), self.parser)

    @property
    def garbage(self) -> Garbage:
        return Garbage(self.catalog, self.blobs, self.texts)

    def close(self) -> None:
        self.catalog.close()
        self.folder.release()

    def add_kb(self, name: str) -> KnowledgeBase:
        return self.catalog.knowledge_bases.create(new_kb(name))

    def upload(self, files: Mapping[str, str], **options: Any) -> dict[str, Any]:
        """Store and record texts by path; the catalog's answer."""
        return self.catalog.uploads.record(self.describe(files, **options))

    def describe(self, files: Mapping[str, str], **options: Any) -> Upload:
        stored = [
            UploadedFile(path=path, sha256=self.blobs.put(data), size=len(data), media_type="text/plain")
            for path, data in ((path, text.encode()) for path, text in files.items())
        ]
        return Upload(**{"kb_id": self.kb.id, "files": stored, **options})

    def claim(self, owner: str = "worker-1", lease: float = LEASE, dead: Sequence[str] = ()) -> Job:
        job = self.catalog.jobs.claim(owner, lease, dead)
        assert job is not None, "there is no job to claim"
        return job

    def run_job(self, is_stopping: Callable[[], bool] = lambda: False) -> Outcome | None:
        """Claim the next job and run it as a worker would."""
        job = self.claim()
        handler = self.restoring if job.kind is JobKind.RESTORE else self.pipeline
        outcome = handler.run(job, is_stopping)
        self.end(job, outcome)
        return outcome

    def end(self, job: Job, outcome: Outcome | None) -> None:
        """What a worker does with an outcome."""
        if outcome is None:
            self.catalog.jobs.release(job)
        elif outcome.code is not None:
            self.catalog.jobs.fail(job, outcome.code, outcome.message, outcome.result)
        else:
            self.catalog.jobs.finish(job, outcome.state, outcome.message, outcome.result)

    def restore(self, number: int) -> Outcome:
        """Restore a revision as a worker would."""
        self.catalog.restores.start(self.kb.id, number)
        outcome = self.run_job()
        assert outcome is not None
        return outcome

    def hide(self, *paths: str) -> int:
        """Take documents away as a sync does whose folder no longer has them; the new head."""
        documents = [self.find(path).id for path in paths]
        with self.catalog.database.write() as connection:
            rows = connection.execute(
                sql("SELECT version_id, document_id FROM publication WHERE until_revision IS NULL")
            )
            closed = {row.version_id: row.document_id for row in rows if row.document_id in documents}
            draft = RevisionDraft(kb_id=self.kb.id, space_id=self.space_id, kind=RevisionKind.SYNC, closed=closed)
            return write_revision(connection, draft)

    def index(self, files: Mapping[str, str], **options: Any) -> dict[str, str]:
        """Upload and index; document ids by path."""
        answer = self.upload(files, **options)
        self.run_job()
        return {document["path"]: document["id"] for document in answer["documents"]}

    def stage(self, job: Job, version_id: int, text: str, *, lacking: int = 0) -> None:
        """Stage a version as one chunk a sentence, by hand; the last `lacking` chunks get no vector."""
        page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
        parsed = ParsedDocument(text=text, pages=[page], language="en")
        ends = [found.end() for found in re.finditer(r"\.", text)]
        spans = list(zip([0, *ends], ends, strict=False))
        chunks = [
            ChunkToStage(
                chunk=TextChunk(ordinal=i, start=a, end=b, tokens=9, page_start=1, page_end=1),
                input_sha=hashlib.sha256(text[a:b].encode()).hexdigest(),
            )
            for i, (a, b) in enumerate(spans)
        ]
        staged = VersionToStage(version_id=version_id, parsed=parsed, text_sha=self.texts.put_text(text), chunks=chunks)
        missing = self.catalog.staging.stage_chunks(job, self.space_id, [staged])
        missing = missing[: len(missing) - lacking]
        vectors = self.encoder.embed_texts(missing) if missing else np.zeros((0, self.encoder.dimension), np.float32)
        self.catalog.staging.stage_vectors(job, self.space_id, missing, vectors)

    @property
    def space_id(self) -> int:
        return self.catalog.feed.get_head(self.kb.id).space_id

    def publish(self, job: Job, *version_ids: int, space_id: int | None = None) -> Publication:
        progress = Progress(stage="index", done=job.done + len(version_ids), failed=0)
        return self.catalog.publisher.publish(job, space_id or self.space_id, version_ids, progress)

    def find(self, path: str) -> Document:
        return self.catalog.documents.find_by_path(self.kb.id, path)

    def find_version(self, path: str) -> Mapping[str, Any]:
        """The row of the newest version, hidden or not."""
        by_path = "SELECT v.* FROM version v JOIN document d ON d.id = v.document_id WHERE d.path = :path"
        row: Mapping[str, Any] = self.query(f"{by_path} ORDER BY v.number DESC LIMIT 1", path=path)[0]
        return row

    def list_visible_texts(self, revision: int | None = None) -> dict[str, str]:
        """Text by path as a search sees it at a revision: all chunks of each visible document, joined."""
        feed = self.catalog.feed
        head = feed.get_head(self.kb.id)
        found: dict[str, list[str]] = {}
        ids = [row["id"] for row in self.query("SELECT id FROM chunk WHERE space_id = :space", space=head.space_id)]
        visible = feed.list_visible(self.kb.id, head.revision if revision is None else revision, ids)
        for chunk in sorted(visible.values(), key=lambda c: (c.version_id, c.ordinal)):
            text = self.texts.read_text(chunk.text_sha)
            found.setdefault(chunk.path, []).append(text[chunk.start : chunk.end])
        return {path: " ".join(parts) for path, parts in found.items()}

    def check(self, *, deep: bool = True) -> set[str]:
        """Codes of what `check_store` finds."""
        return {finding.code for finding in check_store(self.catalog.database, self.blobs, self.texts, deep)}

    def query(self, statement: str, **values: Any) -> list[Any]:
        with self.catalog.database.read() as connection:
            return list(connection.execute(sql(statement), values).mappings())

    def count(self, table: str) -> int:
        number: int = self.query(f"SELECT count(*) AS n FROM {table}")[0]["n"]
        return number

    def execute(self, statement: str, **values: Any) -> int:
        """Change rows behind the catalog's back; the number of rows changed. Foreign keys are not looked at."""
        engine = self.catalog.database.engine
        with engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            changed = connection.execute(sql(statement), values).rowcount
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            connection.exec_driver_sql("BEGIN")
        return changed


def new_kb(name: str) -> NewKnowledgeBase:
    return NewKnowledgeBase(
        name=name,
        description="",
        language="auto",
        embedding_model="builtin",
        fingerprint=SplitterSettings(target_tokens=16).name_space(BuiltinEncoder.fingerprint),
        dimension=BuiltinEncoder.dimension,
        chunk_tokens=16,
    )


def settings_for(root: Path) -> Settings:
    return Settings(data_dir=root, crash=None)


def open_store(root: Path) -> Store:
    """Open what lies at `root`, or start there; the lock is held until `close`."""
    folder = DataFolder(root)
    folder.hold()
    database = folder.open_database(settings_for(root))
    blobs, texts = BlobStore(folder.blobs), TextStore(folder.texts)
    catalog = Catalog(database, blobs, texts)
    found = catalog.knowledge_bases.list_knowledge_bases(1)
    kb = found[0] if found else catalog.knowledge_bases.create(new_kb("first"))
    parts = {"folder": folder, "blobs": blobs, "texts": texts, "catalog": catalog, "kb": kb}
    return Store(**parts, encoder=CountingEncoder(), parser=TextParser())


@cache
def _make_template() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="kb-template-")  # removed when the process ends
    open_store(Path(folder.name) / "store").close()
    return folder


def new_store(root: Path) -> Store:
    """A store as it is after its first start: a copy, which is quicker than bringing up a new schema each time."""
    return copy_store(Path(_make_template().name) / "store", root)


def copy_store(template: Path, root: Path) -> Store:
    """A store like the closed one at `template`."""
    shutil.copytree(template, root)
    return open_store(root)


def write_sentences(*numbers: int) -> str:
    """An English text of one sentence a number; each sentence is about one chunk long."""
    words = "the quick fox number {0} jumps over lazy dog {0} and finds a warm place near river {0} to sleep"
    return " ".join(words.format(number).capitalize() + "." for number in numbers)
