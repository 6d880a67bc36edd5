"""`kb worker`: one worker process, attached to a store that a server holds."""

from __future__ import annotations

import os
import signal
import sys
from threading import Event, Thread, Timer

import click

from api.bootstrap.fetching import build_reach
from api.bootstrap.indexing import build_scheduler, build_worker, check_readers
from api.bootstrap.store import check_embedding, open_store
from api.logs import start_logging
from api.supervisor import PATIENCE_SECONDS
from ingest.loaders import check_ocr
from kb import crash
from kb.config import read_settings
from kb.data_folder import DataFolder
from kb.errors import StartRefused


@click.command()
@click.option("--supervised", is_flag=True, hidden=True, help="stop when standard input closes")
def worker(*, supervised: bool) -> None:
    """Index what is uploaded, until SIGTERM. Attaches to the store in KB_DATA_DIR."""
    try:
        settings = read_settings()
        crash.arm(settings.crash)
        start_logging(settings.log_level)
        check_readers(settings.reader_classes)
        check_embedding(settings)
        build_reach(settings)
        if settings.ocr == "on" and not supervised:  # the server has looked
            check_ocr()
        folder = DataFolder(settings.data_dir)
        store = open_store(settings, folder, folder.attach_database(settings))
    except StartRefused as refusal:
        click.echo(str(refusal), err=True)
        sys.exit(refusal.exit_code)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if supervised:
        Thread(target=_stop_with_parent, args=(stop,), name="parent", daemon=True).start()
    running, pool = build_worker(store)
    # In a thread of its own, so that a night is not late because a long job runs.
    schedule = Thread(target=build_scheduler(store).run, args=(stop,), name="schedule", daemon=True)
    schedule.start()
    try:
        running.run(stop)
    finally:
        stop.set()
        schedule.join()
        pool.close()
        store.close()


def _stop_with_parent(stop: Event) -> None:
    """The supervisor never writes: a read returns only when it is gone or wants us to end."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
    # A step that hangs must not outlive the server by more than the supervisor's own patience.
    last_resort = Timer(PATIENCE_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
