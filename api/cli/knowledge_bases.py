"""`kb create`, `kb list`, `kb delete`: the knowledge bases of a server."""

from __future__ import annotations

import click

from api.cli.client import kb_path
from api.cli.session import NAME, TEXT, Session, talk_to_server


@click.command()
@click.argument("name", type=NAME)
@click.option("--description", type=TEXT, help="What it holds, for people.")
@click.option("--language", type=click.Choice(["auto", "zh", "en"]), help="Language of its documents.")
@click.option("--embedding-model", type=TEXT, help="Embedding model (default: the server's).")
@talk_to_server
def create(session: Session, /, name: str, **options: str | None) -> None:
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
    keys = ("name", "documents", "chunks", "revision", "embedding_model", "language", "id")
    rows = [[one.get(key) for key in keys] for one in found]
    if rows:
        session.output.write_table([key.replace("_", " ") for key in keys], rows)
    else:
        session.output.say("no knowledge bases")


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
