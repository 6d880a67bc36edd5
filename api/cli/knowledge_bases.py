"""`kb create`, `kb list`, `kb edit`, `kb delete`: the knowledge bases of a server."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click

from api.cli.client import kb_path
from api.cli.session import NAME, TEXT, Session, talk_to_server

CHUNK_TOKENS = click.IntRange(16, 256)
FILE = click.Path(dir_okay=False, path_type=Path)


class NewOptions(TypedDict):
    description: str | None
    language: str | None
    embedding_model: str | None
    chunk_tokens: int | None


class ChangeOptions(TypedDict):
    new_name: str | None
    description: str | None
    chunk_tokens: int | None
    prompt_zh: Path | None
    prompt_en: Path | None
    default_prompts: Sequence[str]


@click.command()
@click.argument("name", type=NAME)
@click.option("--description", type=TEXT, help="What it holds, for people.")
@click.option("--language", type=click.Choice(["auto", "zh", "en"]), help="Language of its documents.")
@click.option("--embedding-model", type=TEXT, help="Embedding model (default: the server's).")
@click.option("--chunk-tokens", type=CHUNK_TOKENS, help="Tokens that its chunks aim at (default: the server's).")
@talk_to_server
def create(session: Session, /, name: str, **options: Unpack[NewOptions]) -> None:
    """Create a knowledge base called NAME."""
    body = {"name": name, **{key: value for key, value in options.items() if value is not None}}
    created = session.client.post("/knowledge-bases", body)
    if session.output.as_json:
        session.output.write_json(created)
    else:
        session.output.write_text(f"created {created['name']} ({created['id']})")


@click.command("list")
@talk_to_server
def list_knowledge_bases(session: Session) -> None:
    """List the knowledge bases."""
    found = session.client.list_items("/knowledge-bases")
    if session.output.as_json:
        for one in found:
            session.output.write_json(one)
        return
    keys = ("name", "documents", "chunks", "revision", "embedding_model", "chunk_tokens", "language", "id")
    rows = [[one.get(key) for key in keys] for one in found]
    if rows:
        session.output.write_table([key.replace("_", " ") for key in keys], rows)
    else:
        session.output.say("no knowledge bases")


@click.command()
@click.argument("name", type=NAME)
@click.option("--name", "new_name", type=NAME, help="Another name.")
@click.option("--description", type=TEXT, help="Another description.")
@click.option("--chunk-tokens", type=CHUNK_TOKENS, help="Tokens that its chunks aim at from the next full re-index on.")
@click.option("--prompt-zh", type=FILE, help="File with what the chat model is told for questions in Chinese.")
@click.option("--prompt-en", type=FILE, help="File with what the chat model is told for questions in English.")
@click.option(
    "--default-prompt",
    "default_prompts",
    type=click.Choice(["zh", "en"]),
    multiple=True,
    help="Take its own prompt of a language away. May be repeated.",
)
@talk_to_server
def edit(session: Session, name: str, **options: Unpack[ChangeOptions]) -> None:
    """Change the knowledge base NAME (or id): what is not named stays."""
    wanted = {
        "name": options["new_name"],
        "description": options["description"],
        "chunk_tokens": options["chunk_tokens"],
    }
    changes: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if prompt := read_prompts(options):
        changes["prompt"] = prompt
    if not changes:
        raise click.UsageError("say what to change: --name, --description, --chunk-tokens or a prompt")
    changed = session.client.patch(kb_path(name), changes)
    if session.output.as_json:
        session.output.write_json(changed)
        return
    session.output.write_text(f"changed {changed['name']} ({changed['id']})")
    tell_wish(session, changed)


def read_prompts(options: ChangeOptions) -> dict[str, str | None]:
    """What is to be changed, by language. Raises UsageError for a file that is no text."""
    prompts: dict[str, str | None] = dict.fromkeys(options["default_prompts"])
    for language, path in (("zh", options["prompt_zh"]), ("en", options["prompt_en"])):
        if path is None:
            continue
        if language in prompts:
            raise click.UsageError(f"--prompt-{language} and --default-prompt {language} exclude each other")
        try:
            prompts[language] = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise click.UsageError(f"--prompt-{language}: {path} cannot be read: {reason}") from None
    return prompts


def tell_wish(session: Session, base: Mapping[str, Any]) -> None:
    """That another chunk size waits for a re-index, and the command that does it."""
    live, wanted = base.get("chunk_tokens"), base.get("wanted_chunk_tokens")
    if wanted != live:
        how = f"kb reindex --full --kb {shlex.quote(base['name'])}"
        session.output.say(f"its chunks aim at {live} tokens until it is re-indexed for {wanted}: {how}")


@click.command()
@click.argument("name", type=NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@talk_to_server
def delete(session: Session, name: str, *, yes: bool) -> None:
    """Delete the knowledge base NAME (or id) and all its documents, for good."""
    if not yes:
        found = session.client.get(kb_path(name))
        click.confirm(f"Delete {found['name']} with {found['documents']} documents?", abort=True, err=True)
    session.client.delete(kb_path(name))
    if session.output.as_json:
        session.output.write_json({"deleted": name})
    else:
        session.output.write_text(f"deleted {name}")
