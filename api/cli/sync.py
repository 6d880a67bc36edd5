"""`kb sync`: start the syncs → wait for their jobs → report. `--dry-run` shows the plan and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import click

from api.cli.client import ATTEMPTS, Client, kb_path
from api.cli.failures import ExitCode
from api.cli.output import Output, put_on_one_line
from api.cli.progress import show_stage
from api.cli.session import NAME, Session, choose_knowledge_base, kb_option, talk_to_server
from api.cli.watch import FIRST_PAUSE_S, LONGEST_PAUSE_S, Job, is_finished, job_path, watch_jobs

COUNTS = ("added", "changed", "moved", "removed", "unchanged")
MOST_TOLD = 20  # failures and flagged pages that are printed; --json has them all


class SyncOptions(TypedDict):
    kb: str | None
    dry_run: bool
    force: bool
    include_deleted: bool
    no_wait: bool


@click.command()
@click.argument("name", type=NAME, required=False)
@click.option("--all", "every", is_flag=True, help="Sync every source of the knowledge base.")
@kb_option
@click.option("--dry-run", is_flag=True, help="Only show what a sync would do.")
@click.option("--force", is_flag=True, help="Compare every file or page, and go on even where too many would vanish.")
@click.option("--include-deleted", is_flag=True, help="Bring back what was deleted as a document and is still there.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is done.")
@talk_to_server
def sync(session: Session, name: str | None, *, every: bool, **options: Unpack[SyncOptions]) -> None:
    """Sync the source NAME (or id) with its folder or site and wait until what changed can be searched."""
    if every == (name is not None):
        raise click.UsageError("name a source, or say --all")
    kb = choose_knowledge_base(session, options["kb"])
    names = [name] if name is not None else list_names(session.client, kb)
    if options["dry_run"]:
        plans = [(one, session.client.post(sync_path(kb, one), {"dry_run": True})) for one in names]
        write_plans(session.output, plans)
        return
    wishes = {"force": options["force"], "include_deleted": options["include_deleted"]}
    body = {name: True for name, wished in wishes.items() if wished}
    started = {one: str(session.client.post(sync_path(kb, one), body)["job_id"]) for one in names}
    if options["no_wait"]:
        write_started(session.output, started)
        return
    jobs = wait_for_syncs(session.client, list(started.values()))
    write_report(session.output, list(zip(started, jobs, strict=True)))
    if any(job["state"] != "succeeded" or job.get("failed") for job in jobs):
        raise click.exceptions.Exit(int(ExitCode.FAILED))


def list_names(client: Client, kb: str) -> list[str]:
    """Raises UsageError when there is no source."""
    names = [str(source["name"]) for source in client.list_items(kb_path(kb, "sources"))]
    if not names:
        raise click.UsageError("there is no source yet: `kb sources add FOLDER_OR_URL` makes one")
    return names


def sync_path(kb: str, name: str) -> str:
    return kb_path(kb, "sources", name, "sync")


def wait_for_syncs(client: Client, job_ids: Sequence[str]) -> list[Job]:
    """The jobs as they ended, one after the other: how much there is to do is known only once a folder was listed, and
    of a site it shows as its pages are found."""
    jobs = []
    for job_id in job_ids:
        with show_stage("syncing", wait_for_total(client, job_id)) as stage:
            jobs += watch_jobs(client, [job_id], stage, grows=True)
    return jobs


def wait_for_total(client: Client, job_id: str) -> int:
    pause = FIRST_PAUSE_S
    while True:
        job = client.get(job_path(job_id), attempts=ATTEMPTS)
        if job.get("total") or is_finished(job):
            return int(job.get("total") or 0)
        client.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def write_started(output: Output, started: Mapping[str, str]) -> None:
    for name, job_id in started.items():
        if output.as_json:
            output.write_json({"source": name, "job_id": job_id})
        else:
            output.write_text(f"{name}: job {job_id}")


def write_plans(output: Output, plans: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    for name, plan in plans:
        if output.as_json:
            output.write_json({"source": name, **plan})
            continue
        paths = plan.get("paths") or {}
        rows: list[Sequence[object]] = [(key, path, "") for key in ("added", "changed") for path in paths.get(key, ())]
        rows += [("moved", move["from"], move["to"]) for move in paths.get("moved", ())]
        rows += [("removed", path, "") for path in paths.get("removed", ())]
        rows += [("failed", one["path"], f"{one['code']}: {one['detail']}") for one in paths.get("failed", ())]
        if rows:
            output.write_table(("", "path", ""), rows)
        output.say(f"{name}: {show_counts(plan)}")
        if plan.get("complete") is False:
            output.say(f"{name}: the site was not seen to its end in the time that a dry run has")


def write_report(output: Output, ended: Iterable[tuple[str, Job]]) -> None:
    for name, job in ended:
        if output.as_json:
            output.write_json({"source": name, "job": job})
            continue
        line = f"{name}: {job['state']}"
        if counts := show_counts(job.get("result") or {}):
            line += f": {counts}"
        output.write_text(line)
        if job.get("message"):
            code = f"{job['code']}: " if job.get("code") else ""
            output.write_text(f"  {code}{job['message']}")
        write_faults(output, job.get("result") or {})


def write_faults(output: Output, result: Mapping[str, Any]) -> None:
    """What did not come in, and pages that are not there any more."""
    failures, gone = result.get("failures") or [], result.get("gone") or []
    lines = [f"{one['path']}: {one['code']}: {one['detail']}" for one in failures]
    lines += [f"{one['path']}: gone for {one['nights']} nights ({one['code']})" for one in gone]
    for line in lines[:MOST_TOLD]:
        output.write_text(f"  {put_on_one_line(line)}")
    if len(lines) > MOST_TOLD:
        output.write_text(f"  and {len(lines) - MOST_TOLD} more: kb jobs show has them all")


def show_counts(result: Mapping[str, Any]) -> str:
    return ", ".join(f"{result[key]} {key}" for key in COUNTS if isinstance(result.get(key), int))
