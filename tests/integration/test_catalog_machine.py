"""Random walks over the catalog against a model in a dict: after every step the invariants hold and a search sees
what the model says. Workers die at any place, come back late, and are told to stop; users upload, replace, delete,
cancel and retry meanwhile.
"""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from fakes.store import Store, new_store, write_sentences
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kb.catalog.jobs import MAX_ATTEMPTS
from kb.errors import StaleLease
from kb.types import Job, JobState

PATHS = st.sampled_from(["a.txt", "b.txt", "x/c.txt"])
TEXTS = st.one_of(
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True).map(lambda numbers: write_sentences(*numbers)),
    st.just("BAD damaged"),
)


@dataclass
class ModelVersion:
    text: str
    state: str = "staged"


@dataclass(eq=False)
class ModelDocument:
    versions: list[ModelVersion] = field(default_factory=list)
    live: int | None = None
    deleted: bool = False


@dataclass(eq=False)
class ModelJob:
    id: str
    items: list[tuple[ModelDocument, int]]
    state: str = "queued"
    attempts: int = 0
    fence: int = 0

    def staged(self) -> list[tuple[ModelDocument, int]]:
        return [(d, n) for d, n in self.items if not d.deleted and d.versions[n].state == "staged"]


class CatalogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp(prefix="kb-machine-"))
        self.store: Store = new_store(self.root / "store")
        self.forget_all()

    def forget_all(self) -> None:
        self.documents: dict[str, ModelDocument] = {}
        self.jobs: list[ModelJob] = []
        self.lost: list[tuple[Job, ModelJob]] = []
        self.replayed: set[int] = set()
        self.replayed_to = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)

    # -- users ------------------------------------------------------------------------------------------------------

    @rule(files=st.dictionaries(PATHS, TEXTS, min_size=1, max_size=2))
    def upload(self, files: dict[str, str]) -> None:
        answer = self.store.upload(files)
        job = ModelJob(answer["job_id"], [])
        for found in answer["documents"]:
            document = self.documents.setdefault(found["path"], ModelDocument())
            newest = document.versions[-1] if document.versions else None
            text = files[found["path"]]
            if newest is not None and newest.text == text and newest.state != "failed":
                assert found["status"] == "unchanged"
                continue
            assert found["status"] == "pending"
            document.versions.append(ModelVersion(text))
            job.items.append((document, len(document.versions) - 1))
        self.jobs.append(job)

    @precondition(lambda self: self.documents)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.documents)))
        purged = self.store.catalog.documents.delete(self.store.kb.id, ids=[self.store.find(path).id])
        self.store.garbage.collect(purged)
        self.documents.pop(path).deleted = True

    @precondition(lambda self: any(d.versions[-1].state != "staged" for d in self.documents.values()))
    @rule(data=st.data())
    def retry_document(self, data: st.DataObject) -> None:
        ended = [path for path, d in self.documents.items() if d.versions[-1].state != "staged"]
        path = data.draw(st.sampled_from(sorted(ended)))
        document = self.documents[path]
        job_id = self.store.catalog.uploads.retry(self.store.find(path).id)
        document.versions.append(ModelVersion(document.versions[-1].text))
        self.jobs.append(ModelJob(job_id, [(document, len(document.versions) - 1)]))

    @precondition(lambda self: any(job.state == "queued" for job in self.jobs))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs if job.state == "queued"]))
        self.store.catalog.jobs.cancel(job.id)
        self.fail_rest(job)

    @precondition(lambda self: any(job.state == "ended" for job in self.jobs))
    @rule(data=st.data())
    def retry_job(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs if job.state == "ended"]))
        self.store.catalog.jobs.retry(job.id)
        job.state, job.attempts = "queued", 0
        for document, number in job.items:
            if document.versions[number].state == "failed":
                document.versions[number].state = "staged"

    @precondition(lambda self: len(self.documents) > 1)
    @rule()
    def delete_knowledge_base(self) -> None:
        catalog = self.store.catalog
        catalog.knowledge_bases.delete(self.store.kb.id)
        job = self.store.claim()
        while (purged := catalog.purges.purge_slice(self.store.kb.id)).versions:
            self.store.garbage.collect(purged)
        catalog.purges.purge_knowledge_base(self.store.kb.id)
        catalog.jobs.finish(job, JobState.SUCCEEDED)
        self.store.kb = self.store.add_kb("first")
        self.forget_all()

    # -- workers ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(job.state == "queued" for job in self.jobs))
    @rule()
    def work(self) -> None:
        job = self.claim_in_model()
        if job is None:
            assert self.store.catalog.jobs.claim("worker-1", 60) is None
            return
        self.store.run_job()
        for document, number in job.staged():
            version = document.versions[number]
            overtaken = document.live is not None and document.live > number
            if version.text.startswith("BAD") or overtaken:
                version.state = "failed"
                continue
            if document.live is not None:
                document.versions[document.live].state = "superseded"
            document.live, version.state = number, "published"
        job.state = "ended"

    @precondition(lambda self: any(job.state == "queued" for job in self.jobs))
    @rule(after=st.sampled_from(["claim", "chunks", "vectors"]))
    def die(self, after: str) -> None:
        """A worker is killed, or paused so long that its lease ends."""
        job = self.claim_in_model()
        if job is None:
            assert self.store.catalog.jobs.claim("worker-1", 60) is None
            return
        held = self.store.claim(lease=-1)
        assert (held.id, held.fence) == (job.id, job.fence)
        if after != "claim":
            for staged in self.store.catalog.staging.list_staged(job.id, 10):
                text = self.store.blobs.path(staged.sha256).read_text()
                if not text.startswith("BAD"):
                    self.store.stage(held, staged.version_id, text, lacking=1 if after == "chunks" else 0)
        self.lost.append((held, job))

    @precondition(lambda self: any(held.fence < job.fence or job.state == "ended" for held, job in self.lost))
    @rule(data=st.data())
    def come_back_late(self, data: st.DataObject) -> None:
        """A paused worker wakes up when its job is another's, and publishes nothing."""
        late = [held for held, job in self.lost if held.fence < job.fence or job.state == "ended"]
        held = data.draw(st.sampled_from(late))
        versions = [row["id"] for row in self.store.query("SELECT id FROM version WHERE job_id = :id", id=held.id)]
        with pytest.raises(StaleLease):
            self.store.publish(held, *versions)

    @rule()
    def keep_house(self) -> None:
        while (purged := self.store.catalog.purges.purge_expired(datetime.now(UTC) + timedelta(hours=1))).versions:
            self.store.garbage.collect(purged)
        self.store.garbage.sweep(retention_days=7)

    def claim_in_model(self) -> ModelJob | None:
        """The job that the next claim takes, after giving up those that get nowhere. All are of one lane."""
        order = {row["id"]: row["seq"] for row in self.store.query("SELECT id, seq FROM job")}
        for job in sorted((job for job in self.jobs if job.state == "queued"), key=lambda job: order[job.id]):
            if job.attempts < MAX_ATTEMPTS:
                job.attempts += 1
                job.fence += 1
                return job
            self.fail_rest(job)
        return None

    def fail_rest(self, job: ModelJob) -> None:
        for document, number in job.staged():
            document.versions[number].state = "failed"
        job.state = "ended"

    # -- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_found(self) -> None:
        assert self.store.check(deep=False) == set()

    @invariant()
    def a_search_sees_the_model(self) -> None:
        live = {p: d.versions[d.live].text for p, d in self.documents.items() if d.live is not None}
        assert self.store.list_visible_texts() == live

    @invariant()
    def documents_say_how_they_are(self) -> None:
        shown = {"staged": "pending", "published": "ready", "superseded": "ready", "failed": "failed"}
        for path, document in self.documents.items():
            found = self.store.find(path)
            live = None if document.live is None else document.live + 1
            newest = document.versions[-1]
            assert (found.version, found.live_version) == (len(document.versions), live)
            if newest.state != "staged":
                assert found.status == shown[newest.state]

    @invariant()
    def an_index_that_replays_the_log_has_what_is_visible(self) -> None:
        feed = self.store.catalog.feed
        head = feed.get_head(self.store.kb.id)
        changes = feed.list_changes(head.space_id, self.replayed_to, head.revision)
        assert self.replayed.isdisjoint(changes.added)
        assert self.replayed.issuperset(changes.removed)
        self.replayed = self.replayed - set(changes.removed) | set(changes.added)
        self.replayed_to = head.revision
        rows = [row.chunk_id for batch in feed.iter_rows(head.space_id, head.revision) for row in batch]
        assert sorted(self.replayed) == rows


TestCatalogMachine = CatalogMachine.TestCase
TestCatalogMachine.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
