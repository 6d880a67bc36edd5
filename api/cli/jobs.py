"""`kb jobs`: what the server is doing and has done."""

from __future__ import annotations

import click
from click.core import ParameterSource

from api.cli.client import ATTEMPTS
from api.cli.failures import ExitCode
from api.cli.output import put_on_one_line
from api.cli.progress import show_stage
from api.cli.session import NAME, Session, talk_to_server
from api.cli.watch import Job, job_path, watch_jobs

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
HEADERS = ("id", "kind", "state", "stage", "done", "total", "failed", "started at", "message")


@click.group(invoke_without_command=True)
@click.option("--kb", type=NAME, help="Only jobs of this knowledge base, by name or id.")
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.pass_context
@talk_to_server
def jobs(session: Session, ctx: click.Context, kb: str | None, state: str | None) -> None:
    """List jobs; or show, cancel or retry one."""
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    found = session.client.list_items("/jobs", {"kb": kb, "state": state})
    if session.output.as_json:
        for job in found:
            session.output.write_json(job)
        return
    rows = [[job.get(key.replace(" ", "_")) for key in HEADERS] for job in found]
    if rows:
        session.output.write_table(HEADERS, rows)
    else:
        session.output.say("no jobs")


def refuse_options(ctx: click.Context) -> None:
    """Options between `jobs` and its subcommand would be lost without a word: `--url` too."""
    for name in ctx.params:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"put options behind `{ctx.invoked_subcommand}`", ctx)


@jobs.command()
@click.argument("job_id", type=NAME)
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit code 1 unless it succeeded.")
@talk_to_server
def show(session: Session, job_id: str, *, wait: bool) -> None:
    """Show one job."""
    job: Job = session.client.get(job_path(job_id))
    if wait:
        with show_stage("job", int(job.get("total") or 0)) as stage:
            (job,) = watch_jobs(session.client, [job_id], stage)
    write_job(session, job)
    if wait and (job["state"] != "succeeded" or job.get("failed")):
        raise click.exceptions.Exit(int(ExitCode.FAILED))


@jobs.command()
@click.argument("job_id", type=NAME)
@talk_to_server
def cancel(session: Session, job_id: str) -> None:
    """Cancel a job. What it has published stays."""
    change_job(session, job_id, "cancel")


@jobs.command()
@click.argument("job_id", type=NAME)
@talk_to_server
def retry(session: Session, job_id: str) -> None:
    """Run a job again that failed or was cancelled."""
    change_job(session, job_id, "retry")


def change_job(session: Session, job_id: str, verb: str) -> None:
    """Ask for the change, then show the job as it stands: the answer of a retry may name a new one."""
    answer = session.client.post(f"{job_path(job_id)}/{verb}")
    now = str(answer.get("id") or answer.get("job_id") or job_id)
    write_job(session, session.client.get(job_path(now), attempts=ATTEMPTS))


def write_job(session: Session, job: Job) -> None:
    """All fields, one a line."""
    if session.output.as_json:
        session.output.write_json(job)
        return
    for key, value in job.items():
        session.output.write_text(f"{key + ':':<16} {'' if value is None else put_on_one_line(str(value))}".rstrip())
