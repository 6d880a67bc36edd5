"""`kb models`: which models are on this machine, and fetching one from a hub. Asks no server of ours."""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.failures import CallFailed, ExitCode
from api.cli.output import Output, format_size
from api.cli.progress import show_stage
from api.cli.session import TEXT
from ingest.encoders.hub_client import HubClient
from ingest.encoders.hubs import Hub, HuggingFace, ModelScope
from ingest.encoders.model_faults import ModelUse, find_fault, find_use
from ingest.encoders.model_folder import find_cache
from ingest.encoders.model_list import FoundModel, list_models
from ingest.encoders.pulling import PulledModel, hold_model, place_model, plan_pull, pull_model
from kb.config import HubSettings, Settings, read_hub_settings, read_settings
from kb.errors import KbError, Unavailable

HEADERS = ("name", "use", "dimension", "max tokens", "size", "place", "usable")
HUBS = ("huggingface", "modelscope")
EXIT_CODES = {
    "hub_unreachable": ExitCode.UNREACHABLE,
    "hub_failed": ExitCode.SERVER_ERROR,
    "model_not_found": ExitCode.REFUSED,
    "bad_model_name": ExitCode.USAGE,
}
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there.")


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """List the models on this machine; or fetch one."""
    if ctx.invoked_subcommand is None:
        write_models(Output(as_json=False))


@models.command("list")
@json_option
def list_found(*, as_json: bool) -> None:
    """List the models on this machine: pulled ones, then those of ModelScope's and Hugging Face's caches."""
    write_models(Output(as_json=as_json))


def write_models(output: Output) -> None:
    settings = read_settings()
    folders = read_hub_settings().modelscope_folders
    places = [("models folder", settings.models_folder), *(("ModelScope cache", folder) for folder in folders)]
    found = list_models(places, find_cache())
    if output.as_json:
        for model in found:
            output.write_json(make_document(model))
    elif found:
        output.write_table(HEADERS, [make_row(model) for model in found])
    else:
        output.say(f"no models in {settings.models_folder} or the hubs' caches: `kb models pull NAME` fetches one")


def make_document(model: FoundModel) -> dict[str, object]:
    return {
        "name": model.name,
        "use": model.use.value,
        "dimension": model.dimension,
        "max_tokens": model.max_tokens,
        "bytes": model.bytes,
        "place": model.place,
        "folder": str(model.folder),
        "usable": model.fault is None,
        "fault": model.fault,
    }


def make_row(model: FoundModel) -> list[object]:
    usable = "yes" if model.fault is None else f"no: {model.fault}"
    size = format_size(model.bytes)
    return [model.name, model.use.value, model.dimension, model.max_tokens, size, model.place, usable]


@models.command()
@click.argument("name", type=TEXT)
@click.option("--hub", type=click.Choice(HUBS), help="Hub to fetch from (default: KB_MODEL_HUB).")
@click.option("--again", is_flag=True, help="Fetch it even if it is here, and put it in the place of what is.")
@json_option
def pull(name: str, hub: str | None, *, again: bool, as_json: bool) -> None:
    """Fetch a model from a hub into KB_MODELS_DIR. What broke off goes on where it was when pulled again."""
    settings = read_settings()
    output = Output(as_json=as_json)
    try:
        target = place_model(settings.models_folder, name)
        if not again and target.is_dir() and find_fault(target, (name,)) is None:
            output.say(f"{name} is here already; --again fetches it anew")
            write_pulled(output, name, PulledModel(folder=target, files=0, bytes=0))
            return
        pulled = pull_from(choose_hub(hub or settings.model_hub, read_hub_settings()), name, settings, target)
    except KbError as error:
        code = EXIT_CODES.get(error.code, ExitCode.FAILED)
        raise CallFailed(error.code, error.detail, exit_code=code) from error
    write_pulled(output, name, pulled)


def choose_hub(hub: str, settings: HubSettings) -> Hub:
    """Raises Unavailable (`hub_unreachable`) for one that the environment says not to ask."""
    if hub == "modelscope":
        return ModelScope(endpoint=settings.modelscope_endpoint)
    if settings.is_hugging_face_offline:
        reason = f"HF_HUB_OFFLINE={settings.hf_hub_offline} says not to ask Hugging Face"
        raise Unavailable("hub_unreachable", f"{reason}; unset it for this command, or use --hub modelscope")
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return HuggingFace(endpoint=settings.hf_endpoint, token=token)


def pull_from(hub: Hub, name: str, settings: Settings, target: Path) -> PulledModel:
    if settings.models_dir is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # as the server would make it
    client = HubClient(hub)
    try:
        with hold_model(settings.models_folder, name) as staging:
            plan = plan_pull(client, name)
            with show_stage(f"pulling {name}", plan.total, format_size) as stage:
                return pull_model(client, plan, staging, target, stage.advance)
    finally:
        client.close()


def write_pulled(output: Output, name: str, pulled: PulledModel) -> None:
    if output.as_json:
        output.write_json({"name": name, "folder": str(pulled.folder), "files": pulled.files, "bytes": pulled.bytes})
        return
    output.write_text(str(pulled.folder))
    if pulled.files:
        output.say(f"{pulled.files} files, {format_size(pulled.bytes)}")
    if find_use(pulled.folder) is ModelUse.EMBEDDING:
        output.say(f"KB_EMBEDDING={name} makes new knowledge bases use it")
    else:
        output.say(f"KB_RERANKER={name} makes searches use it")
