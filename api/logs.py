"""Logging of our own processes: one line an event, to standard error. No line carries a key or a document's text."""

from __future__ import annotations

import logging
import sys

NAMES = ("kb", "ingest", "retrieval", "api")


STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """The line, and behind it what was handed over as `extra`: `index.generation_set_aside kb_id=… reason=…`."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return " ".join([line, *(f"{name}={value}" for name, value in vars(record).items() if name not in STANDARD)])


def start_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in NAMES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.error").handlers = [handler]
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
