"""What every command that talks to the server shares: `--url`, `--json`, and the knowledge base it is about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import click

from api.cli.client import Client, kb_path
from api.cli.output import Output
from kb.config import Settings, read_settings
from kb.errors import StartRefused

P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One command's run: where it asks and where it prints."""

    client: Client
    output: Output


class TextParam(click.ParamType[str]):
    """Text that is Unicode and not empty; passed on as it is."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        text = str(value)
        if not is_unicode(text):
            self.fail("the bytes are not text in the terminal's encoding", param, ctx)
        if not text.strip():
            self.fail("it is empty", param, ctx)
        return text


class NameParam(TextParam):
    """What becomes one part of a URL's path."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        text = super().convert(value, param, ctx)
        if text in {".", ".."}:
            self.fail(f"{text!r} cannot be a name", param, ctx)
        return text


TEXT = TextParam()
NAME = NameParam()
kbs_option = click.option(
    "--kb",
    "kbs",
    type=NAME,
    multiple=True,
    help="Knowledge base, by name or id; may be repeated to ask several at once.",
)
kb_option = click.option("--kb", type=NAME, help="Knowledge base, by name or id; may be left out when there is one.")


def talk_to_server(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Give a command `--url` and `--json`, and a session as its first argument."""

    @click.option("--url", help="Server to talk to (default: KB_URL).")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there.")
    @functools.wraps(command)
    def run(*args: Any, url: str | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's arguments
        client = open_client(url)
        try:
            command(Session(client=client, output=Output(as_json=as_json)), *args, **options)
        finally:
            client.close()

    return run


def open_client(url: str | None) -> Client:
    """A client for `--url`, else KB_URL, with KB_API_KEY. Raises UsageError for a setting that cannot be meant."""
    try:
        settings = read_settings()
    except StartRefused as error:
        raise click.UsageError(error.detail) from None
    return Client(check_url(url or settings.url), api_key=read_key(settings))


def check_url(url: str) -> str:
    """Raises UsageError for anything but `http(s)://host…` without a password, which errors would show."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits, parts = False, urlsplit("")
    if not fits or parts.query or parts.fragment or not is_unicode(url):
        raise click.UsageError(f"the server's URL is to look like http://127.0.0.1:8088, not {url!a}")
    if parts.username is not None:
        raise click.UsageError("put the key into KB_API_KEY, not into the URL")
    return url


def read_key(settings: Settings) -> str | None:
    key = settings.api_key.get_secret_value().strip() if settings.api_key else ""
    if not key.isascii() or not key.isprintable():
        raise click.UsageError("KB_API_KEY holds characters that no key has")
    return key or None


def is_unicode(text: str) -> bool:
    """False for text with lone surrogates: how Python carries bytes of a broken encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def choose_knowledge_base(session: Session, kb: str | None) -> str:
    """The named knowledge base, else the only one there is. Raises UsageError naming the choices."""
    if kb is not None:
        return kb
    found = list(session.client.list_items("/knowledge-bases"))
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise click.UsageError("there is no knowledge base yet: `kb push FOLDER` makes one")
    names = ", ".join(sorted(str(one["name"]) for one in found))
    raise click.UsageError(f"say --kb NAME: there are {names}")


def address_question(session: Session, call: str, kbs: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """Path of `search` or `ask`, and what its body must say of the knowledge bases. Raises UsageError."""
    if len(kbs) > 1:
        return f"/{call}", {"knowledge_bases": list(kbs)}
    return kb_path(choose_knowledge_base(session, kbs[0] if kbs else None), call), {}


def name_place(found: Mapping[str, Any], *, several: bool) -> str:
    """The path of a passage's or a citation's document; of several knowledge bases `name: path`."""
    path = str(found["document"]["path"])
    return f"{found['knowledge_base']['name']}: {path}" if several else path
