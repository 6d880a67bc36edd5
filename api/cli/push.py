"""`kb push`: list the folder → send it, or its archive → wait for its jobs → report. What did not make it is named."""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, TypedDict, Unpack

import click

from api.cli.client import ATTEMPTS, Client, kb_path
from api.cli.failures import CallFailed, ExitCode
from api.cli.folder import Fault, FolderListing, list_archive, list_folder, pack_batches
from api.cli.ledger import is_partial, warn_of_partial
from api.cli.output import Output, format_size
from api.cli.progress import show_stage
from api.cli.session import NAME, TEXT, Session, is_unicode, talk_to_server
from api.cli.upload import Upload, UploadReport
from api.cli.watch import Job, job_path, watch_jobs

NOT_FOUND = 404
CONFLICT = 409
ARCHIVE = re.compile(r"\.(?:zip|tar\.gz|tgz)$", re.IGNORECASE)


class PushOptions(TypedDict):
    kb: str | None
    create: bool
    prefix: str
    password_file: IO[str] | None
    dry_run: bool
    no_wait: bool


@dataclass(kw_only=True, slots=True)
class PushReport:
    """What became of a folder. `failed` is known only when the jobs were waited for, and `partial`: documents that
    are ready though some of their pages have no text."""

    knowledge_base: str
    upload: UploadReport
    failed: list[Fault] = field(default_factory=list)
    partial: list[Mapping[str, Any]] = field(default_factory=list)
    failure: CallFailed | None = None


@click.command()
@click.argument("folder", metavar="FOLDER|ARCHIVE", type=click.Path(exists=True, path_type=Path))
@click.option("--kb", type=NAME, help="Knowledge base, by name or id (default: the folder's or archive's name).")
@click.option("--create/--no-create", default=True, help="Create the knowledge base when there is none (default: do).")
@click.option("--prefix", type=TEXT, default="/", show_default=False, help="Put the documents under this path.")
@click.option(
    "--password-file", type=click.File(encoding="utf-8"), help="Password for the encrypted PDFs: a file's first line."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be sent; asks no server.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the documents are indexed.")
@talk_to_server
def push(session: Session, folder: Path, **options: Unpack[PushOptions]) -> None:
    """Upload a folder, or a .zip or .tar.gz of one, and wait until it can be searched. Hidden files and links are left
    out; what the server already has is not indexed again."""
    started = time.monotonic()
    kb = options["kb"] or name_after(folder)
    listing = list_documents(folder, options["prefix"])
    for fault in listing.faults:
        session.output.say(f"skipped: {fault.path}: {fault.detail}")
    if options["dry_run"]:
        write_plan(session.output, listing)
        return
    find_knowledge_base(session.client, kb, create=options["create"])
    password = read_password(options["password_file"])
    report = PushReport(knowledge_base=kb, upload=send_listing(session.client, kb, listing, password))
    report.failure = report.upload.failure
    if not options["no_wait"]:
        wait_until_indexed(session.client, report)
    write_report(session.output, report, seconds=time.monotonic() - started)
    end_push(report)


def name_after(folder: Path) -> str:
    name = unicodedata.normalize("NFC", folder.resolve().name)
    if not folder.is_dir():
        name = ARCHIVE.sub("", name)
    if not name or not is_unicode(name):
        raise click.UsageError("the folder's name cannot name a knowledge base: say --kb NAME")
    return name


def list_documents(folder: Path, prefix: str) -> FolderListing:
    """Raises UsageError for a file that is no archive, and for an archive with a prefix."""
    if folder.is_dir():
        return list_folder(folder, prefix)
    if not ARCHIVE.search(folder.name):
        raise click.UsageError(f"{folder.name!a} is neither a folder nor a .zip or .tar.gz")
    if prefix.strip("/"):
        raise click.UsageError("--prefix does not go with an archive: its documents have their paths within it")
    return list_archive(folder)


def find_knowledge_base(client: Client, kb: str, *, create: bool) -> None:
    """Make sure that the knowledge base is there. Raises CallFailed."""
    try:
        client.get(kb_path(kb))
    except CallFailed as failure:
        if failure.status != NOT_FOUND or not create:
            raise
    else:
        return
    try:
        client.post("/knowledge-bases", {"name": kb})
    except CallFailed as failure:
        if failure.status != CONFLICT:  # else somebody was quicker
            raise


def read_password(source: IO[str] | None) -> str | None:
    """Raises UsageError."""
    if source is None:
        return None
    try:
        password = source.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"the password file cannot be read: {type(error).__name__}") from None
    if not password:
        raise click.UsageError("the password file's first line is empty")
    return password


def send_listing(client: Client, kb: str, listing: FolderListing, password: str | None = None) -> UploadReport:
    total = sum(file.size for file in listing.files)
    with show_stage("uploading", total, format_size) as stage:
        report = Upload(client, kb, stage, password).send_batches(pack_batches(listing.files))
    report.rejected = sorted([*listing.faults, *report.rejected], key=lambda fault: fault.path)
    return report


def wait_until_indexed(client: Client, report: PushReport) -> None:
    """Wait for the jobs, then ask which of these documents failed, now or in an earlier attempt at the same bytes."""
    upload = report.upload
    try:
        with show_stage("indexing", count_documents(client, upload.jobs)) as stage:
            jobs = watch_jobs(client, upload.jobs, stage)
        report.failed = [*list_failed(client, report), *list_left_over(client, report, jobs)]
        report.partial = list(list_partial(client, report))
    except CallFailed as failure:
        report.failure = report.failure or failure


def count_documents(client: Client, job_ids: Iterable[str]) -> int:
    """Of all jobs: also those that an earlier push sent, and that are still on their way."""
    return sum(int(client.get(job_path(job_id), attempts=ATTEMPTS).get("total") or 0) for job_id in job_ids)


def list_failed(client: Client, report: PushReport) -> Iterable[Fault]:
    sent = report.upload.pending.keys() | report.upload.unchanged.keys()
    for document in client.list_items(kb_path(report.knowledge_base, "documents"), {"status": "failed"}):
        if document["id"] in sent:
            error = document.get("error") or {}
            code, detail = error.get("code", "failed"), error.get("detail", "")
            yield Fault(path=document["path"], code=code, detail=detail)


def list_partial(client: Client, report: PushReport) -> Iterable[Mapping[str, Any]]:
    sent = report.upload.pending.keys() | report.upload.unchanged.keys()
    for document in client.list_items(kb_path(report.knowledge_base, "documents"), {"coverage": "partial"}):
        if document["id"] in sent and document["status"] == "ready" and is_partial(document):
            yield document


def list_left_over(client: Client, report: PushReport, jobs: Sequence[Job]) -> Iterable[Fault]:
    """Documents that a job which did not succeed has left where they were."""
    ended = next((job for job in jobs if job["state"] != "succeeded"), None)
    if ended is None:
        return
    detail = " ".join(part for part in (f"job {ended['id']} {ended['state']}:", ended.get("message") or "") if part)
    for status in ("pending", "indexing"):
        for document in client.list_items(kb_path(report.knowledge_base, "documents"), {"status": status}):
            if document["id"] in report.upload.pending:
                yield Fault(path=document["path"], code=f"job_{ended['state']}", detail=detail)


def write_plan(output: Output, listing: FolderListing) -> None:
    """What a push would send. Exit code 1 when it would leave out files that should have been sent."""
    requests, size = len(pack_batches(listing.files)), sum(file.size for file in listing.files)
    if output.as_json:
        files = [{"path": file.path, "size": file.size} for file in listing.files]
        skipped = [asdict(fault) for fault in listing.faults]
        output.write_json({"files": files, "skipped": skipped, "bytes": size, "requests": requests})
    else:
        for file in listing.files:
            output.write_text(file.path)
        output.say(f"{len(listing.files)} files, {format_size(size)}, {requests} requests")
    if listing.faults:
        raise click.exceptions.Exit(int(ExitCode.FAILED))


def write_report(output: Output, report: PushReport, *, seconds: float) -> None:
    upload = report.upload
    groups = {"rejected": upload.rejected, "failed": report.failed}
    failed = {fault.path for fault in report.failed}
    counts = {
        "added": sum(path not in failed for path in upload.pending.values()),
        "unchanged": sum(path not in failed for path in upload.unchanged.values()),
    }
    if output.as_json:
        faults = {name: [asdict(fault) for fault in group] for name, group in groups.items()}
        partial = [{key: one[key] for key in ("path", "pages", "verdicts")} for one in report.partial]
        document: Mapping[str, Any] = {"knowledge_base": report.knowledge_base, "jobs": upload.jobs, **counts, **faults}
        output.write_json({**document, "partial": partial, "seconds": round(seconds, 3)})
        return
    rows: list[Sequence[object]] = [(name, count, "") for name, count in counts.items()]
    rows += [(name, len(group), count_codes(group)) for name, group in groups.items()]
    output.write_table(("", "documents", "codes"), rows)
    lines = [(name, fault.path, fault.code, fault.detail) for name, group in groups.items() for fault in group]
    if lines:
        output.write_text("")
        output.write_table(("", "path", "code", "detail"), lines)
    output.say(f"{report.knowledge_base}: {seconds:.1f} s")
    warn_of_partial(output, report.partial, report.knowledge_base)


def count_codes(faults: Iterable[Fault]) -> str:
    """`file_empty 2, too_large 1`, the most frequent first."""
    return ", ".join(f"{code} {count}" for code, count in Counter(fault.code for fault in faults).most_common())


def end_push(report: PushReport) -> None:
    """Exit code 1 when a document did not make it; the failure's own when the push ended early."""
    if report.failure is not None:
        raise report.failure
    if report.upload.rejected or report.failed:
        raise click.exceptions.Exit(int(ExitCode.FAILED))
