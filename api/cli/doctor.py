"""`kb doctor`: walk the whole chain and say in words what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from api.bootstrap.checkup import Step, fail, walk_chain
from api.cli.client import Client
from api.cli.failures import CallFailed, ExitCode
from api.cli.output import Output, put_on_one_line
from api.cli.session import check_url, read_key
from kb.config import Settings, read_settings
from kb.errors import StartRefused

MARKS = {"ok": "ok", "wrong": "WRONG", "skipped": "–"}


@click.command()
@click.option("--url", help="Server to look at (default: KB_URL).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there.")
def doctor(*, url: str | None, as_json: bool) -> None:
    """Walk the whole chain, from the settings to the chat model, and say in words what is wrong.

    Looks at this machine with the settings that the server would get here, then at the server itself. Nothing is
    written; a model is loaded, and the chat model writes one token. Exit codes: 0 all is well, 1 something is wrong.
    """
    output, steps = Output(as_json=as_json), []
    for step in list_steps(url):
        steps.append(step)
        if not as_json:
            code = f"{step.code}: " if step.code else ""
            output.write_text(f"{MARKS[step.state]:<6}{step.name:<16} {put_on_one_line(code + step.detail)}")
    wrong = sum(step.state == "wrong" for step in steps)
    if as_json:
        output.write_json({"steps": [asdict(step) for step in steps]})
    else:
        output.say("nothing is wrong" if not wrong else f"{wrong} wrong; docs/errors.md explains the codes")
    if wrong:
        sys.exit(ExitCode.FAILED)


def list_steps(url: str | None) -> Iterator[Step]:
    try:
        settings = read_settings()
    except StartRefused as error:
        yield fail("settings", error)
        return
    yield from walk_chain(settings)
    yield from look_at_server(settings, url)


def look_at_server(settings: Settings, url: str | None) -> Iterator[Step]:
    """Whether it is up, what it says of its own parts, and whether it takes our key."""
    client = Client(check_url(url or settings.url), api_key=read_key(settings))
    name = "server"
    try:
        health = client.get(f"{client.url}/health/ready")
        client.get("/knowledge-bases", {"limit": 1})
    except CallFailed as failure:
        if failure.code == "unreachable":
            detail = f"{failure.detail}; start it with `kb serve`, or name it by KB_URL or --url"
            yield Step(name=name, state="wrong", code=failure.code, detail=detail)
        else:
            yield fail(name, failure)
        return
    finally:
        client.close()
    down = [part for part in health.get("parts", []) if part.get("state") == "down"]
    yield Step(name=name, state="ok", detail=f"{client.url} is {health.get('status')}")
    for part in down:
        yield Step(name=f"server: {part['name']}", state="wrong", code=part.get("code"), detail=str(part.get("detail")))
