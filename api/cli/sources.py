"""`kb sources`: the folders that a knowledge base is kept in step with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack
from zoneinfo import ZoneInfo

import click

from api.cli.client import kb_path
from api.cli.jobs import refuse_options
from api.cli.output import put_on_one_line
from api.cli.session import NAME, TEXT, Session, choose_knowledge_base, kb_option, talk_to_server

HEADERS = ("name", "kind", "schedule", "timezone", "next run", "uri")


class NewSourceOptions(TypedDict):
    kb: str | None
    name: str | None
    schedule: str | None
    timezone: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]


class ChangeOptions(TypedDict):
    kb: str | None
    folder: str | None
    schedule: str | None
    timezone: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    no_schedule: bool
    no_include: bool
    no_exclude: bool


@click.group(invoke_without_command=True)
@kb_option
@click.pass_context
@talk_to_server
def sources(session: Session, ctx: click.Context, kb: str | None) -> None:
    """List sources; or add, show, edit or remove one."""
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    found = list(session.client.list_items(kb_path(choose_knowledge_base(session, kb), "sources")))
    if session.output.as_json:
        for source in found:
            session.output.write_json(source)
    elif found:
        session.output.write_table(HEADERS, [make_row(source) for source in found])
    else:
        session.output.say("no sources: `kb sources add FOLDER` makes one")


def make_row(source: Mapping[str, Any]) -> list[object]:
    shown = {**source, "next run": show_next_run(source)}
    return [shown.get(key) for key in HEADERS]


def show_next_run(source: Mapping[str, Any]) -> str | None:
    """In the source's own time zone, as the schedule is meant."""
    moment = source.get("next_run")
    if not isinstance(moment, str):
        return None
    try:
        zone = ZoneInfo(str(source.get("timezone")))
        return datetime.fromisoformat(moment).astimezone(zone).isoformat(" ", "minutes")
    except (KeyError, ValueError, OSError):  # a zone that this machine does not know
        return moment


@sources.command()
@click.argument("folder", type=TEXT)
@kb_option
@click.option("--name", type=NAME, help="First folder of its documents' paths (default: the folder's name).")
@click.option("--schedule", type=TEXT, help='When it is synced, as a cron line: "30 2 * * *". Without: on request.')
@click.option("--timezone", type=TEXT, help="Time zone of the schedule, as Asia/Shanghai (default: UTC).")
@click.option("--include", multiple=True, type=TEXT, metavar="GLOB", help="Only these files; may be repeated.")
@click.option("--exclude", multiple=True, type=TEXT, metavar="GLOB", help="Not these files; may be repeated.")
@talk_to_server
def add(session: Session, folder: str, **options: Unpack[NewSourceOptions]) -> None:
    """Keep the knowledge base in step with FOLDER, which lies on the server's machine."""
    kb = choose_knowledge_base(session, options["kb"])
    body = {
        "name": options["name"] or name_source(folder),
        "kind": "folder",
        "uri": make_uri(folder),
        **{key: value for key in ("schedule", "timezone") if (value := options[key]) is not None},
        **{key: list(globs) for key in ("include", "exclude") if (globs := options[key])},
    }
    created = session.client.post(kb_path(kb, "sources"), body)
    if session.output.as_json:
        session.output.write_json(created)
        return
    session.output.write_text(f"added {created['name']} ({created['id']})")
    when = show_next_run(created)
    session.output.say(f"next run {when}" if when else "no schedule: it is synced on request")
    session.output.say(f"sync it now: kb sync {created['name']}")


def name_source(folder: str) -> str:
    name = Path(folder).resolve().name
    if not name:
        raise click.UsageError(f"{folder} has no name of its own: say --name NAME")
    return name


def make_uri(folder: str) -> str:
    """A relative path is meant from here, not from where the server was started."""
    return folder if "://" in folder else str(Path(folder).absolute())


@sources.command()
@click.argument("name", type=NAME)
@kb_option
@talk_to_server
def show(session: Session, name: str, kb: str | None) -> None:
    """Show the source NAME (or id)."""
    write_source(session, session.client.get(kb_path(choose_knowledge_base(session, kb), "sources", name)))


@sources.command()
@click.argument("name", type=NAME)
@kb_option
@click.option("--folder", type=TEXT, help="Another folder.")
@click.option("--schedule", type=TEXT, help="Another cron line.")
@click.option("--timezone", type=TEXT, help="Another time zone of the schedule.")
@click.option("--include", multiple=True, type=TEXT, metavar="GLOB", help="These patterns in place of the old ones.")
@click.option("--exclude", multiple=True, type=TEXT, metavar="GLOB", help="These patterns in place of the old ones.")
@click.option("--no-schedule", is_flag=True, help="Sync it on request alone.")
@click.option("--no-include", is_flag=True, help="Include every file.")
@click.option("--no-exclude", is_flag=True, help="Exclude none.")
@talk_to_server
def edit(session: Session, name: str, **options: Unpack[ChangeOptions]) -> None:
    """Change the source NAME (or id): what is not named stays."""
    changes = list_changes(options)
    if not changes:
        raise click.UsageError("say what to change: --folder, --schedule, --timezone, --include or --exclude")
    kb = choose_knowledge_base(session, options["kb"])
    write_source(session, session.client.patch(kb_path(kb, "sources", name), changes))


def list_changes(options: ChangeOptions) -> dict[str, Any]:
    """The body of the request. Raises UsageError for an option and its opposite."""
    given = {key: value for key in ("schedule", "timezone", "include", "exclude") if (value := options[key])}
    changes: dict[str, Any] = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    if options["folder"] is not None:
        changes["uri"] = make_uri(options["folder"])
    ends = {"schedule": options["no_schedule"], "include": options["no_include"], "exclude": options["no_exclude"]}
    for key in (key for key, ended in ends.items() if ended):
        if key in changes:
            raise click.UsageError(f"--{key} and --no-{key} exclude each other")
        changes[key] = None if key == "schedule" else []
    return changes


@sources.command()
@click.argument("name", type=NAME)
@kb_option
@click.option("--keep-documents", is_flag=True, help="Leave its documents as if they had been uploaded.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@talk_to_server
def rm(session: Session, name: str, kb: str | None, *, keep_documents: bool, yes: bool) -> None:
    """Remove the source NAME (or id) with its documents, for good. Its folder is not touched."""
    kb = choose_knowledge_base(session, kb)
    if not yes:
        found = session.client.get(kb_path(kb, "sources", name))
        what = "and keep its documents" if keep_documents else "with all its documents"
        click.confirm(f"Remove the source {found['name']} {what}?", abort=True, err=True)
    session.client.delete(kb_path(kb, "sources", name), {"keep_documents": "true" if keep_documents else None})
    if session.output.as_json:
        session.output.write_json({"deleted": name})
    else:
        session.output.write_text(f"removed {name}")


def write_source(session: Session, source: Mapping[str, Any]) -> None:
    """All fields, one a line."""
    if session.output.as_json:
        session.output.write_json(source)
        return
    shown = {**source, "next_run": show_next_run(source)}
    shown |= {key: ", ".join(source.get(key) or ()) for key in ("include", "exclude")}
    for key, value in shown.items():
        session.output.write_text(f"{key + ':':<12} {'' if value is None else put_on_one_line(str(value))}".rstrip())
