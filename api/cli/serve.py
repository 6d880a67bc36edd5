"""`kb serve`: hold the data directory, start the workers, answer HTTP until SIGTERM."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import sys
from types import FrameType

import click
import uvicorn

from api.app import create_app
from api.bootstrap.services import build_services, check_faiss
from api.bootstrap.settings_checks import check_settings
from api.bootstrap.store import open_store
from api.logs import start_logging
from api.supervisor import Supervisor
from kb import crash
from kb.config import HubSettings, Settings, read_settings
from kb.data_folder import TRY_LATER, DataFolder
from kb.errors import StartRefused

DRAIN_SECONDS = 20

log = logging.getLogger(__name__)


def _describe_settings() -> str:
    lines = ["\b", "Settings, from the environment:"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" [{field.default}]"
        lines.append(f"  KB_{name.upper():<26}{field.description}{default}")
    hubs = ", ".join(name.upper() for name in HubSettings.model_fields)
    return "\n".join([*lines, "", f"`kb models` also reads what the model hubs' own programs do: {hubs}."])


@click.command(epilog=_describe_settings())
def serve() -> None:
    """Run the server in the foreground, with KB_WORKERS worker processes beside it, until SIGTERM."""
    try:
        settings = read_settings()
        crash.arm(settings.crash)
        start_logging(settings.log_level)
        run_server(settings)
    except StartRefused as refusal:
        click.echo(str(refusal), err=True)
        sys.exit(refusal.exit_code)


def run_server(settings: Settings) -> None:
    """Raises StartRefused before anything is written when the port or the data directory cannot be had."""
    # uvicorn takes these signals over while it serves and raises them once more when it has drained: without a handler
    # of ours the default one would end this process there, before the workers are ended.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_in_order)
    check_faiss()
    check_host(settings.host)
    check_settings(settings)
    with bind_socket(settings) as listener:
        folder = DataFolder(settings.data_dir)
        folder.hold()
        services = build_services(open_store(settings, folder, folder.open_database(settings)))
        supervisor = Supervisor(settings.workers)
        supervisor.start()
        try:
            address = listener.getsockname()
            click.echo(f"kb serves on http://{address[0]}:{address[1]} from {settings.data_dir}", err=True)
            config = uvicorn.Config(
                create_app(services),
                loop="uvloop",
                http="httptools",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=True,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            supervisor.stop()
            services.close()
            folder.release()


def _end_in_order(number: int, frame: FrameType | None) -> None:
    """Leave by way of every `finally`, with exit code 0: to be told to stop is no failure."""
    del number, frame
    raise SystemExit(0)


def check_host(host: str) -> None:
    """Raises StartRefused (`key_required`): without a key the server answers its own machine only."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        reason = f"KB_HOST={host} can be reached from other machines and this version has no API keys yet"
        raise StartRefused("key_required", f"{reason}; listen on 127.0.0.1 behind a proxy that checks access")


def bind_socket(settings: Settings) -> socket.socket:
    """Raises StartRefused (`port_in_use`, exit code 75; `bad_setting`)."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        reason = f"{settings.host}:{settings.port}: {error.strerror}; stop what listens there or set KB_PORT"
        raise StartRefused("port_in_use", reason, exit_code=TRY_LATER) from None
    return listener
