"""`kb llm serve`: the command that starts vLLM for a Qwen2.5, and starting it.

vLLM runs beside the server, in an environment of its own: its packages clash with ours. So nothing of it is imported
here; the command is written, printed, and put in the place of this process.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import click
from typing_extensions import TypedDict

from kb.config import read_settings
from kb.errors import StartRefused

WINDOW = 32_768  # what every Qwen2.5 is trained to read; more takes YaRN
STRETCH = 4.0
# JSON of a given schema without white space, in which a model can get lost until it is cut off.
COMPACT = '{"backend":"xgrammar","disable_any_whitespace":true}'
KEY_NAME = "VLLM_API_KEY"  # not an option of the command: lists of processes show those
Quantization = Literal["awq", "gptq"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """`heads` are what GPUs share between them, and so are `pairs`, those of keys and values, and a layer's `width`.
    `stretches`: whether its makers say that it reads more with YaRN."""

    heads: int
    pairs: int
    width: int
    stretches: bool = True

    def can_be_shared(self, gpus: int) -> bool:
        """As vLLM asserts it; where there are more GPUs than `pairs`, several hold the same one."""
        return not (self.heads % gpus or self.width % gpus) and not (self.pairs % gpus and gpus % self.pairs)


SIZES: Mapping[str, Size] = {
    "0.5B": Size(heads=14, pairs=2, width=4_864, stretches=False),
    "1.5B": Size(heads=12, pairs=2, width=8_960, stretches=False),
    "3B": Size(heads=16, pairs=2, width=11_008, stretches=False),
    "7B": Size(heads=28, pairs=4, width=18_944),
    "14B": Size(heads=40, pairs=8, width=13_824),
    "32B": Size(heads=40, pairs=8, width=27_648),
    "72B": Size(heads=64, pairs=8, width=29_568),
}
SUFFIXES: Mapping[Quantization | None, str] = {None: "", "awq": "-AWQ", "gptq": "-GPTQ-Int4"}


class Wishes(TypedDict):
    """The options of the command."""

    size: str
    model: str | None
    served_name: str | None
    quantization: Quantization | None
    tensor_parallel: int
    yarn: bool
    window: int | None
    tools: bool
    host: str
    port: int


@click.group()
def llm() -> None:
    """The chat model."""


@llm.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="7B", show_default=True, help="Which Qwen2.5.")
@click.option("--model", help="A model's name or folder instead; --size still says what it is like.")
@click.option("--served-name", help="Name that it is asked for by (default: the model's own).")
@click.option("--awq", "quantization", flag_value="awq", default=None, help="The 4-bit weights made by AWQ.")
@click.option("--gptq", "quantization", flag_value="gptq", help="The 4-bit weights made by GPTQ.")
@click.option("--tensor-parallel", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs that share it.")
@click.option("--yarn", is_flag=True, help="Read 131,072 tokens instead of 32,768 (7B and more).")
@click.option(
    "--window", type=click.IntRange(min=256), help="Tokens it reads and writes in all; fewer take less memory."
)
@click.option("--tools", is_flag=True, help="Let it call tools, in the format Hermes.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; its key guards only /v1.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8000, show_default=True)
@click.option("--vllm", "program", default="vllm", show_default=True, help="The command vllm, where it is not on PATH.")
@click.option("--print", "only_print", is_flag=True, help="Print the command and start nothing.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF VLLM]")
def serve(*, program: str, only_print: bool, more: Sequence[str], **wishes: Unpack[Wishes]) -> None:
    """Start vLLM with a Qwen2.5, here and now, and print the command that does it.

    KB_LLM_API_KEY, where it is set, becomes the key that vLLM asks for. What stands behind -- is passed on to it.
    """
    settings = read_settings()
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else ""
    words = [program, *write_command(wishes), *more]
    click.echo((f'{KEY_NAME}="$KB_LLM_API_KEY" ' if key else "") + shlex.join(words))
    click.echo(describe_use(wishes), err=True)
    if only_print:
        return
    path = find_program(program)
    sys.stdout.flush()
    environment = {**os.environ, KEY_NAME: key} if key else dict(os.environ)
    os.execve(path, words, environment)  # noqa: S606 - a list of words, no shell


def write_command(wishes: Wishes) -> list[str]:
    """The words behind `vllm`. Raises UsageError for what vLLM would refuse only after it has loaded the weights."""
    size = SIZES[wishes["size"]]
    check_wishes(wishes, size)
    words = ["serve", name_model(wishes), "--served-model-name", name_served(wishes)]
    words += ["--host", wishes["host"], "--port", str(wishes["port"])]
    words += ["--structured-outputs-config", COMPACT]
    if wishes["tensor_parallel"] > 1:
        words += ["--tensor-parallel-size", str(wishes["tensor_parallel"])]
    words += ["--max-model-len", str(find_window(wishes))]
    if wishes["yarn"]:
        words += ["--hf-overrides", json.dumps(write_stretch(), separators=(",", ":"))]
    if wishes["tools"]:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    return words


def check_wishes(wishes: Wishes, size: Size) -> None:
    named, gpus = f"Qwen2.5-{wishes['size']}", wishes["tensor_parallel"]
    if not size.can_be_shared(gpus):
        fitting = ", ".join(str(n) for n in range(1, 17) if size.can_be_shared(n))
        raise click.UsageError(f"{gpus} GPUs cannot share {named} evenly: --tensor-parallel {fitting}")
    if wishes["yarn"] and not size.stretches:
        raise click.UsageError(f"{named} reads {WINDOW:,} tokens, with YaRN too: take 7B or more, or leave out --yarn")
    longest = int(STRETCH * WINDOW) if wishes["yarn"] else WINDOW
    if (wishes["window"] or 0) > longest:
        way_out = "" if wishes["yarn"] or not size.stretches else "; --yarn reads 131,072"
        raise click.UsageError(f"--window {wishes['window']} is more than the {longest:,} that {named} reads{way_out}")
    if wishes["model"] is not None and wishes["quantization"] is not None:
        raise click.UsageError(
            "--awq and --gptq choose a model's name: leave them out with --model, vLLM sees it itself"
        )


def name_model(wishes: Wishes) -> str:
    return wishes["model"] or f"Qwen/Qwen2.5-{wishes['size']}-Instruct{SUFFIXES[wishes['quantization']]}"


def name_served(wishes: Wishes) -> str:
    return wishes["served_name"] or name_model(wishes)


def find_window(wishes: Wishes) -> int:
    return wishes["window"] or (int(STRETCH * WINDOW) if wishes["yarn"] else WINDOW)


def write_stretch() -> dict[str, Any]:
    """What Qwen2.5's makers say to put into its configuration, in the words of transformers 5."""
    rope = {
        "rope_type": "yarn",
        "rope_theta": 1_000_000.0,
        "factor": STRETCH,
        "original_max_position_embeddings": WINDOW,
    }
    return {"max_position_embeddings": int(STRETCH * WINDOW), "rope_parameters": rope}


def describe_use(wishes: Wishes) -> str:
    host = "127.0.0.1" if wishes["host"] in {"0.0.0.0", "::"} else wishes["host"]  # noqa: S104 - compared, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{wishes['port']}/v1"
    return f"when it is up: KB_LLM_BASE_URL={url} KB_LLM_MODEL={shlex.quote(name_served(wishes))} kb serve"


def find_program(program: str) -> str:
    """Its path. Raises StartRefused (`vllm_missing`)."""
    beside = Path(sys.executable).parent / program  # a virtual environment need not be on PATH
    found = shutil.which(program) or shutil.which(str(beside))
    if found is None:
        reason = f"there is no command {program!r} on this machine's PATH"
        way_out = "install it in an environment of its own (python -m venv vllm; vllm/bin/pip install vllm)"
        raise StartRefused("vllm_missing", f"{reason}; {way_out} and name it: --vllm vllm/bin/vllm")
    return found
