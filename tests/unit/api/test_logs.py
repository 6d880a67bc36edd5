from __future__ import annotations

import logging

from api.logs import EventFormatter


def test_what_is_handed_over_beside_the_event_stands_in_the_line() -> None:
    fields = {"kb_id": "abc", "revision": 3, "reason": "3.dense: lost or changed"}
    record = logging.makeLogRecord({"name": "retrieval", "levelname": "WARNING", "msg": "index.set_aside", **fields})
    line = EventFormatter("%(asctime)s %(levelname)s %(name)s %(message)s").format(record)
    assert line.endswith("WARNING retrieval index.set_aside kb_id=abc revision=3 reason=3.dense: lost or changed")


def test_a_line_without_extras_stays_as_it_is() -> None:
    record = logging.makeLogRecord({"msg": "job.started id=%s", "args": ("7",)})
    assert EventFormatter("%(message)s").format(record) == "job.started id=7"
