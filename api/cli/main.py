"""The command `kb`. Its help is written from the table below: no command's module is imported before it runs."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TextIO

import click

from api.cli.failures import ExitCode
from kb.errors import KbError

# name → (module, line in `kb --help`); the module holds a click command under the same name
COMMANDS = {
    "serve": ("api.cli.serve", "Run the server."),
    "worker": ("api.cli.worker", "Run one more worker for a server's data directory."),
    "check": ("api.cli.check", "Check what the server keeps."),
    "doctor": ("api.cli.doctor", "Walk the whole chain and say what is wrong."),
    "llm": ("api.cli.llm", "The chat model: start vLLM with a Qwen2.5."),
    "models": ("api.cli.models", "List the models on this machine, or fetch one from a hub."),
    "create": ("api.cli.knowledge_bases", "Create a knowledge base."),
    "list": ("api.cli.knowledge_bases", "List the knowledge bases."),
    "edit": ("api.cli.knowledge_bases", "Rename or describe a knowledge base, or set its chunk size."),
    "delete": ("api.cli.knowledge_bases", "Delete a knowledge base and all its documents."),
    "push": ("api.cli.push", "Upload a folder and wait until it can be searched."),
    "documents": ("api.cli.documents", "List the documents of a knowledge base, or show one."),
    "rm": ("api.cli.documents", "Delete documents."),
    "sources": ("api.cli.sources", "List, add, show, edit and remove sources: folders to keep in step with."),
    "sync": ("api.cli.sync", "Sync sources now, or show what a sync would do."),
    "search": ("api.cli.search", "Find the passages nearest to a question."),
    "explain": ("api.cli.explain", "Say why a search finds a document or does not."),
    "ask": ("api.cli.ask", "Ask a question and get an answer with citations."),
    "conversations": ("api.cli.conversations", "List, show and delete kept conversations."),
    "golden": ("api.cli.golden", "Questions that a knowledge base must go on answering."),
    "eval": ("api.cli.evaluate", "Tell how well a file of questions is answered."),
    "revisions": ("api.cli.revisions", "List, show and restore revisions."),
    "reindex": ("api.cli.reindex", "Sync every source; or split and embed everything anew."),
    "jobs": ("api.cli.jobs", "List, show, cancel and retry jobs."),
}
ATTRIBUTES = {"list": "list_knowledge_bases", "eval": "evaluate"}  # a command that must not take the name of a built-in


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; the boundary at which our errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names them
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click names them
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, ATTRIBUTES.get(cmd_name, cmd_name))
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except KbError as error:
            click.echo(f"{error.code}: {' '.join(error.detail.split())}", err=True)
            raise click.exceptions.Exit(int(getattr(error, "exit_code", ExitCode.FAILED))) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The server is named by KB_URL and the key by KB_API_KEY. Exit codes: 0 done, 1 a job or document failed, "
    "2 wrong usage, 3 server not reachable, 4 refused by the server, 5 server error.",
)
@click.version_option(package_name="kb-server")
def kb() -> None:
    """Upload documents in Chinese and English, search them, and ask questions that are answered with citations."""


def main() -> None:
    """Entry point of the `kb` script."""
    for stream in (sys.stdout, sys.stderr):
        bear_any_text(stream)
    kb()


def bear_any_text(stream: TextIO) -> None:
    """Make a stream write what its encoding lacks as escapes: a terminal that cannot show Chinese must not end us."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


if __name__ == "__main__":  # how the supervisor starts its workers
    main()
