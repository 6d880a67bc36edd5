"""`kb revisions`: what a knowledge base was, and taking it back there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from api.cli.client import kb_path
from api.cli.failures import ExitCode
from api.cli.jobs import refuse_options, write_job
from api.cli.progress import show_stage
from api.cli.session import Session, choose_knowledge_base, kb_option, talk_to_server
from api.cli.watch import Job, job_path, watch_jobs

HEADERS = ("number", "kind", "created at", "added", "changed", "removed", "gate", "restorable")
NUMBER = click.IntRange(min=1)


@click.group(invoke_without_command=True)
@kb_option
@click.pass_context
@talk_to_server
def revisions(session: Session, ctx: click.Context, kb: str | None) -> None:
    """List revisions; or show or restore one."""
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    write_list(session, kb)


@revisions.command("list")
@kb_option
@talk_to_server
def list_revisions(session: Session, kb: str | None) -> None:
    """List revisions, newest first."""
    write_list(session, kb)


def write_list(session: Session, kb: str | None) -> None:
    found = session.client.list_items(kb_path(choose_knowledge_base(session, kb), "revisions"))
    if session.output.as_json:
        for revision in found:
            session.output.write_json(revision)
        return
    rows = [make_row(revision) for revision in found]
    if rows:
        session.output.write_table(HEADERS, rows)
    else:
        session.output.say("no revisions")


def make_row(revision: Mapping[str, Any]) -> Sequence[object]:
    gate = revision.get("gate")
    told = {
        "gate": "" if gate is None else "passed" if gate.get("passed") else "not passed",
        "restorable": "yes" if revision.get("restorable") else "no",
    }
    return [told.get(header, revision.get(header.replace(" ", "_"))) for header in HEADERS]


@revisions.command()
@click.argument("number", type=NUMBER)
@kb_option
@talk_to_server
def show(session: Session, number: int, kb: str | None) -> None:
    """Show one revision with the paths it changed."""
    kb = choose_knowledge_base(session, kb)
    revision = session.client.get(kb_path(kb, "revisions", str(number)))
    if session.output.as_json:
        session.output.write_json(revision)
        return
    paths = revision["paths"]
    write_job(session, {key: value for key, value in revision.items() if key != "paths"})
    for sign, kind in (("+", "added"), ("~", "changed"), ("-", "removed")):
        for path in paths[kind]:
            session.output.write_text(f"{sign} {path}")


@revisions.command()
@click.argument("number", type=NUMBER)
@kb_option
@click.option(
    "--gate/--no-gate", default=True, help="Let golden questions refuse it (the default), or do not ask them."
)
@click.option("--no-wait", is_flag=True, help="End as soon as the job is queued.")
@talk_to_server
def restore(session: Session, number: int, kb: str | None, *, gate: bool, no_wait: bool) -> None:
    """Let answer again what answered at a revision. What was deleted since stays deleted."""
    kb = choose_knowledge_base(session, kb)
    started = session.client.post(kb_path(kb, "revisions", str(number), "restore"), {"gate": gate})
    job: Job = session.client.get(job_path(started["job_id"]))
    if not no_wait:
        with show_stage("restore", int(job.get("total") or 0)) as stage:
            (job,) = watch_jobs(session.client, [started["job_id"]], stage)
    if session.output.as_json:
        session.output.write_json(job)
    elif no_wait:
        session.output.write_text(f"queued as job {started['job_id']}")
    else:
        session.output.write_text(f"{job['state']}: {job['message']}")
    if not no_wait and job["state"] != "succeeded":
        raise click.exceptions.Exit(int(ExitCode.FAILED))
