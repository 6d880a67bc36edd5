"""`kb reindex`: sync every source, or split and embed everything anew and swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from api.cli.client import ATTEMPTS, Client, kb_path
from api.cli.failures import ExitCode
from api.cli.jobs import write_job
from api.cli.progress import show_stage
from api.cli.session import TEXT, Session, choose_knowledge_base, kb_option, talk_to_server
from api.cli.watch import Job, is_finished, job_path, watch_jobs

PAUSE_S = 0.2


@click.command()
@kb_option
@click.option("--full", is_flag=True, help="Also split and embed anew what the settings changed.")
@click.option("--embedding-model", type=TEXT, help="With --full: the embedding model from then on.")
@click.option("--no-gate", is_flag=True, help="With --full: do not ask the golden questions before the swap.")
@click.option("--no-wait", is_flag=True, help="End as soon as it is queued.")
@talk_to_server
def reindex(session: Session, /, kb: str | None, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Sync every source of a knowledge base; with --full, index everything anew beside what answers, then swap."""
    if options["embedding_model"] and not options["full"]:
        raise click.UsageError("another embedding model takes --full")
    body = {"mode": "full" if options["full"] else "changed", "gate": not options["no_gate"]}
    if options["embedding_model"]:
        body["embedding_model"] = options["embedding_model"]
    answer = session.client.post(kb_path(choose_knowledge_base(session, kb), "reindex"), body)
    if options["no_wait"]:
        write_job(session, session.client.get(job_path(answer["job_id"]), attempts=ATTEMPTS))
        return
    ended = follow_jobs(session.client, answer["job_id"])
    for job in ended:
        write_job(session, job)
    if any(job["state"] != "succeeded" or job.get("failed") for job in ended):
        raise click.exceptions.Exit(int(ExitCode.FAILED))


def follow_jobs(client: Client, job_id: str) -> Sequence[Job]:
    """The job as it ended, and those it has started."""
    with show_stage("re-index", count_documents(client, job_id)) as stage:
        (job,) = watch_jobs(client, [job_id], stage)
    started = list((job.get("result") or {}).get("sync_jobs") or ())
    if not started:
        return [job]
    with show_stage("sync", sum(count_documents(client, one) for one in started)) as stage:
        return [job, *watch_jobs(client, started, stage)]


def count_documents(client: Client, job_id: str) -> int:
    """How many the job is about, once a worker has counted them."""
    while True:
        job = client.get(job_path(job_id), attempts=ATTEMPTS)
        if is_finished(job) or job.get("total"):
            return int(job.get("total") or 0)
        client.sleep(PAUSE_S)
