"""Re-index jobs over a store of `fakes.store`, and what they work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fakes.feed import HashEncoder
from fakes.store import Store

from ingest.indexing import Indexer
from ingest.pipeline import Outcome, UploadPipeline
from ingest.reindex import Reindexer, ReindexTools
from kb.catalog.jobs import NewJob
from kb.errors import Unavailable
from kb.types import Candidate, GateReport, Job, JobKind, JobState, Lane, Vectors
from retrieval.sealing import seal_generation

OTHER = "org/other"  # a model's name


class OtherEncoder(HashEncoder):
    """Another encoder than the store's, of another dimension; `embedded` keeps every string it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.name = OTHER
        self.embedded: list[str] = []
        self.on_embed: Callable[[], None] = lambda: None

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.on_embed()
        self.embedded += texts
        return super().embed_texts(texts)

    def embed_question(self, question: str) -> Vectors:
        return HashEncoder.embed_texts(self, [question])


class TwoEncoders:
    """An EncoderSource: `builtin` is the store's, OTHER another."""

    def __init__(self, store: Store) -> None:
        self.encoders: dict[str, Any] = {"builtin": store.encoder, OTHER: OtherEncoder()}

    def get_encoder(self, name: str) -> Any:
        if name not in self.encoders:
            raise Unavailable("embedding_unavailable", f"{name} is not on this machine")
        return self.encoders[name]


class FixedGate:
    """Answers every candidate alike, and keeps them."""

    def __init__(self, *, passed: bool) -> None:
        rates = {"hit_rate_before": 0.9, "hit_rate_after": 0.9 if passed else 0.2, "mrr_before": 0.8, "mrr_after": 0.8}
        self.report = GateReport(passed=passed, questions=10, **rates)
        self.asked: list[Candidate] = []

    def judge(self, candidate: Candidate) -> GateReport | None:
        self.asked.append(candidate)
        return self.report


class Reindexing:
    """Queues and runs re-index jobs; `chunk_tokens` is what is wished for of the knowledge base."""

    def __init__(self, store: Store, *, chunk_tokens: int = 16, gate: FixedGate | None = None) -> None:
        self.store = store
        self.chunk_tokens = chunk_tokens
        self.gate = gate
        self.encoders = TwoEncoders(store)
        self.on_seal: Callable[[], None] = lambda: None

    @property
    def other(self) -> OtherEncoder:
        found: OtherEncoder = self.encoders.get_encoder(OTHER)
        return found

    def enqueue(self, **params: Any) -> str:
        new = NewJob(
            kind=JobKind.REINDEX,
            lane=Lane.BULK,
            kb_id=self.store.kb.id,
            dedupe_key=f"reindex:{self.store.kb.id}",
            params={"mode": "full", **params},
        )
        return self.store.catalog.jobs.enqueue_or_find(new)

    def run(self, job: Job, is_stopping: Callable[[], bool] = lambda: False) -> Outcome | None:
        self.store.catalog.knowledge_bases.update(self.store.kb.id, {}, chunk_tokens=self.chunk_tokens)
        tools = ReindexTools(
            catalog=self.store.catalog,
            texts=self.store.texts,
            encoders=self.encoders,
            seal=self._seal,
            gate=self.gate,
        )
        return Reindexer(tools).run(job, is_stopping)

    def _seal(self, kb_id: str, head: Any) -> None:
        seal_generation(self.store.catalog.feed, kb_id, self.store.folder.indexes, head)
        self.on_seal()

    def reindex(self, **params: Any) -> Job:
        """Queue a job and run it to its end as a worker would; the job."""
        job_id = self.enqueue(**params)
        job = self.store.claim()
        outcome = self.run(job)
        assert outcome is not None
        self.store.end(job, outcome)
        assert job.id == job_id
        return self.store.catalog.jobs.get(job_id)

    def index(self, files: dict[str, str]) -> None:
        """Upload and index with whichever encoder the live space asks for."""
        self.store.upload(files)
        job = self.store.claim()
        outcome = self.make_pipeline().run(job, lambda: False)
        assert outcome is not None
        assert outcome.state is JobState.SUCCEEDED
        self.store.catalog.jobs.finish(job, outcome.state)

    def make_pipeline(self) -> UploadPipeline:
        store = self.store
        indexer = Indexer(store.catalog, store.blobs, store.texts, self.encoders, store.parser)
        return UploadPipeline(store.catalog, indexer)
