"""`kb sources`: the folders and web pages that a knowledge base is kept in step with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click

from api.cli.client import kb_path
from api.cli.jobs import refuse_options
from api.cli.output import put_on_one_line
from api.cli.session import NAME, TEXT, Session, choose_knowledge_base, kb_option, talk_to_server

SITEMAP = re.compile(r"\.xml(?:\.gz)?$|/robots\.txt$", re.IGNORECASE)
HEADERS = ("name", "kind", "schedule", "timezone", "next run", "uri")


class NewSourceOptions(TypedDict):
    kb: str | None
    name: str | None
    kind: str | None
    depth: int | None
    max_pages: int | None
    schedule: str | None
    timezone: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]


class ChangeOptions(TypedDict):
    kb: str | None
    folder: str | None
    address: tuple[str, ...]
    depth: int | None
    max_pages: int | None
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
        session.output.say("no sources: `kb sources add FOLDER_OR_URL` makes one")


def make_row(source: Mapping[str, Any]) -> list[object]:
    shown = {**source, "next run": show_next_run(source), "uri": shorten_uri(source)}
    return [shown.get(key) for key in HEADERS]


def shorten_uri(source: Mapping[str, Any]) -> str:
    """Of a list of pages the first."""
    uri = str(source.get("uri") or "")
    if source.get("kind") == "folder":
        return uri
    first, *others = uri.split() or [""]
    return f"{first} and {len(others)} more" if others else first


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
@click.argument("places", metavar="FOLDER_OR_URL…", type=TEXT, nargs=-1, required=True)
@kb_option
@click.option("--name", type=NAME, help="Its name; of a folder, the first of its documents' paths (default: its own).")
@click.option(
    "--kind", type=click.Choice(["web", "sitemap"]), help="What the addresses are (default: by how they end)."
)
@click.option("--depth", type=int, help="How many links are followed from the pages named (default: 0, none).")
@click.option("--max-pages", type=int, help="At most so many pages (default: 1,000).")
@click.option("--schedule", type=TEXT, help='When it is synced, as a cron line: "30 2 * * *". Without: on request.')
@click.option("--timezone", type=TEXT, help="Time zone of the schedule, as Asia/Shanghai (default: UTC).")
@click.option("--include", multiple=True, type=TEXT, metavar="GLOB", help="Only these files or pages; may be repeated.")
@click.option("--exclude", multiple=True, type=TEXT, metavar="GLOB", help="Not these files or pages; may be repeated.")
@talk_to_server
def add(session: Session, places: tuple[str, ...], **options: Unpack[NewSourceOptions]) -> None:
    """Keep the knowledge base in step with a folder on the server's machine, or with web pages: one address, several,
    or that of a sitemap."""
    kb = choose_knowledge_base(session, options["kb"])
    body = {
        "name": options["name"] or name_source(places[0]),
        "kind": find_kind(places, options["kind"]),
        "uri": " ".join(make_uri(place) for place in places),
        **{key: value for key in ("depth", "max_pages", "schedule", "timezone") if (value := options[key]) is not None},
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


def is_address(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


def find_kind(places: Sequence[str], named: str | None) -> str:
    """Raises UsageError for what cannot be one source."""
    if not any(map(is_address, places)):
        if len(places) > 1:
            raise click.UsageError("a source is one folder; add the others one by one")
        if named is not None:
            raise click.UsageError(f"--kind {named} is of addresses that begin with http:// or https://")
        return "folder"
    if not all(map(is_address, places)):
        raise click.UsageError("name a folder or addresses, not both")
    ends = {SITEMAP.search(urlsplit(place).path) is not None for place in places}
    return named or ("sitemap" if ends == {True} else "web")


def name_source(place: str) -> str:
    """A folder's own name, an address's host."""
    name = (urlsplit(place).hostname or "").removeprefix("www.") if is_address(place) else Path(place).resolve().name
    if not name:
        raise click.UsageError(f"{place} has no name of its own: say --name NAME")
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
@click.option("--address", multiple=True, type=TEXT, help="These addresses in place of the old ones.")
@click.option("--depth", type=int, help="Follow links so deep.")
@click.option("--max-pages", type=int, help="At most so many pages.")
@click.option("--schedule", type=TEXT, help="Another cron line.")
@click.option("--timezone", type=TEXT, help="Another time zone of the schedule.")
@click.option("--include", multiple=True, type=TEXT, metavar="GLOB", help="These patterns in place of the old ones.")
@click.option("--exclude", multiple=True, type=TEXT, metavar="GLOB", help="These patterns in place of the old ones.")
@click.option("--no-schedule", is_flag=True, help="Sync it on request alone.")
@click.option("--no-include", is_flag=True, help="Include everything.")
@click.option("--no-exclude", is_flag=True, help="Exclude none.")
@talk_to_server
def edit(session: Session, name: str, **options: Unpack[ChangeOptions]) -> None:
    """Change the source NAME (or id): what is not named stays."""
    changes = list_changes(options)
    if not changes:
        raise click.UsageError("say what to change, as --folder, --address, --depth, --schedule or --include")
    kb = choose_knowledge_base(session, options["kb"])
    write_source(session, session.client.patch(kb_path(kb, "sources", name), changes))


def list_changes(options: ChangeOptions) -> dict[str, Any]:
    """The body of the request. Raises UsageError for an option and its opposite."""
    given = {key: value for key in ("schedule", "timezone", "include", "exclude") if (value := options[key])}
    bounds = {"depth": options["depth"], "max_pages": options["max_pages"]}
    changes: dict[str, Any] = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    changes |= {key: bound for key, bound in bounds.items() if bound is not None}
    if options["folder"] is not None and options["address"]:
        raise click.UsageError("--folder and --address exclude each other")
    if options["folder"] is not None:
        changes["uri"] = make_uri(options["folder"])
    if options["address"]:
        changes["uri"] = " ".join(options["address"])
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
    """Remove the source NAME (or id) with its documents, for good. Its folder or site is not touched."""
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
