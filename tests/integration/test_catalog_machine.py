"""Random walks over the catalog against a model in a dict: after every step the invariants hold and a search sees
what the model says. Workers die at any place, come back late, and are told to stop; users upload, replace, delete,
cancel and retry meanwhile; syncs hide documents, and earlier revisions are restored.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from fakes.store import Store, new_store, write_sentences
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kb.catalog.documents import DocumentFilter
from kb.catalog.jobs import MAX_ATTEMPTS
from kb.errors import Gone, StaleLease
from kb.types import Job, JobState

PATHS = st.sampled_from(["a.txt", "b.txt", "x/c.txt"])
TEXTS = st.one_of(
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True).map(lambda numbers: write_sentences(*numbers)),
    st.just("BAD damaged"),
)


@dataclass(eq=False)
class ModelVersion:
    text: str
    state: str = "staged"


@dataclass(eq=False)
class ModelDocument:
    versions: list[ModelVersion] = field(default_factory=list)
    live: int | None = None
    deleted: bool = False
    hidden: bool = False

    def find_shown(self) -> int | None:
        """The version that the document is described by: the newest, or what answers when a restore took that back."""
        newest = len(self.versions) - 1
        return self.live if self.versions[newest].state == "superseded" else newest

    def close(self) -> None:
        if self.live is not None:
            self.versions[self.live].state = "superseded"
        self.live = None

    def open(self, number: int) -> None:
        self.close()
        self.live, self.versions[number].state, self.hidden = number, "published", False


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
        self.past: dict[int, dict[ModelDocument, int]] = {}  # what answered at a revision
        self.gone: set[int] = set()  # revisions of which retention took something

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
            shown = document.find_shown() if document.versions else None
            current = document.versions[shown] if shown is not None else None
            text = files[found["path"]]
            document.hidden = False
            if current is not None and current.text == text and current.state != "failed":
                assert found["status"] == "unchanged"
                continue
            assert found["status"] == "pending"
            document.versions.append(ModelVersion(text))
            job.items.append((document, len(document.versions) - 1))
        self.jobs.append(job)

    @precondition(lambda self: self.documents)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Hidden documents too, which are found by their path alone."""
        path = data.draw(st.sampled_from(sorted(self.documents)))
        purged = self.store.catalog.documents.delete(self.store.kb.id, path_prefix=path)
        assert purged.documents == 1
        self.store.garbage.collect(purged)
        self.documents.pop(path).deleted = True

    def list_shown(self) -> dict[str, tuple[ModelDocument, ModelVersion]]:
        """The documents that are not hidden, each with the version it is described by."""
        shown = {path: (d, d.find_shown()) for path, d in self.documents.items() if not d.hidden}
        return {path: (d, d.versions[number]) for path, (d, number) in shown.items() if number is not None}

    @precondition(lambda self: any(version.state != "staged" for _, version in self.list_shown().values()))
    @rule(data=st.data())
    def retry_document(self, data: st.DataObject) -> None:
        ended = {path: pair for path, pair in self.list_shown().items() if pair[1].state != "staged"}
        path = data.draw(st.sampled_from(sorted(ended)))
        document, version = ended[path]
        job_id = self.store.catalog.uploads.retry(self.store.find(path).id)
        document.versions.append(ModelVersion(version.text))
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

    # -- syncs and restores -----------------------------------------------------------------------------------------

    @precondition(lambda self: any(d.live is not None for d in self.documents.values()))
    @rule(data=st.data())
    def hide(self, data: st.DataObject) -> None:
        live = sorted(path for path, d in self.documents.items() if d.live is not None)
        paths = data.draw(st.lists(st.sampled_from(live), min_size=1, unique=True))
        self.store.hide(*paths)
        for path in paths:
            self.documents[path].close()
            self.documents[path].hidden = True

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.past)))
        if number in self.gone:
            with pytest.raises(Gone):
                self.store.catalog.restores.start(self.store.kb.id, number)
            return
        with self.other_jobs_waiting():
            outcome = self.store.restore(number)
        assert outcome.state is JobState.SUCCEEDED
        target = {d: n for d, n in self.past[number].items() if not d.deleted}
        for document in self.documents.values():
            if document in target:
                if document.live != target[document]:
                    document.open(target[document])
            elif document.live is not None:
                document.close()
                document.hidden = True

    @contextmanager
    def other_jobs_waiting(self) -> Iterator[None]:
        """Uploads are under way beside a restore, and yet the restore is what is claimed next."""
        leases = self.store.query("SELECT id, lease_until FROM job WHERE state IN ('queued', 'running')")
        self.store.execute("UPDATE job SET lease_until = 9e12 WHERE state IN ('queued', 'running')")
        yield
        for row in leases:
            self.store.execute("UPDATE job SET lease_until = :lease_until WHERE id = :id", **row)

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
            document.open(number)
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
        for path, document in list(self.documents.items()):
            kept = [n for n, version in enumerate(document.versions) if version.state != "purged"]
            over = {"superseded", "failed"} if document.hidden else {"superseded"}
            ended = [n for n in kept if document.versions[n].state in over]
            for number in ended:
                if ended == kept or number != kept[-1]:  # else its number would be given again
                    document.versions[number].state = "purged"
                    self.gone |= {n for n, past in self.past.items() if past.get(document) == number}
            if ended == kept:
                del self.documents[path]

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
        only = DocumentFilter(kb_id=self.store.kb.id)
        found = {one.path: one for one in self.store.catalog.documents.list_documents(only, 10)}
        assert found.keys() == self.list_shown().keys()
        assert self.store.catalog.knowledge_bases.get(self.store.kb.id).documents == len(found)
        for path, (document, version) in self.list_shown().items():
            live = None if document.live is None else document.live + 1
            assert (found[path].version, found[path].live_version) == (document.versions.index(version) + 1, live)
            if version.state != "staged":
                assert found[path].status == shown[version.state]

    @invariant()
    def revisions_are_remembered(self) -> None:
        """What is kept of every revision is what answered then; those that lack something say so."""
        live = {d: d.live for d in self.documents.values() if d.live is not None}
        head = self.store.catalog.feed.get_head(self.store.kb.id).revision
        assert self.past.setdefault(head, live) == live or head == 0
        listed = {r.number: r.restorable for r in self.store.catalog.history.list_revisions(self.store.kb.id, 1000)}
        self.past.pop(0, None)
        for number, past in self.past.items():
            assert listed[number] == (number not in self.gone)
            if number not in self.gone:
                paths = {d: path for path, d in self.documents.items()}
                texts = {paths[d]: d.versions[n].text for d, n in past.items() if not d.deleted}
                assert self.store.list_visible_texts(number) == texts

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
    suppress_health_check=list(HealthCheck),
)
