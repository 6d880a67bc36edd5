"""Cron lines and time zones: when a schedule comes round next. The one door to cronsim.

A line has five fields and the meaning Debian's cron gives them. A line that names its hour and minute runs at a time of
day: one that daylight saving skips comes round once, at the first minute after the gap, and one that comes twice is run
at its first. A line whose hour or minute begins with `*` goes by elapsed time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from kb.errors import InvalidInput

RANGES = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L for the last",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT",
}
_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)


def check_schedule(schedule: str) -> str:
    """The line with single blanks. Raises InvalidInput (`bad_schedule`) naming the field and its value."""
    fields = schedule.split()
    if len(fields) != len(RANGES):
        names = ", ".join(RANGES)
        raise _refuse_line(schedule, f"has {len(fields)} fields; a schedule has five: {names}, as in 30 2 * * *")
    line = " ".join(fields)
    _find_after(line, ZoneInfo("UTC"), _ANY_TIME)
    return line


def check_timezone(name: str) -> str:
    """Raises InvalidInput (`bad_timezone`)."""
    _read_zone(name)
    return name


def find_next(schedule: str, timezone: str, after: datetime) -> datetime:
    """The first moment, in UTC, that the schedule names later than `after`.

    Raises InvalidInput (`bad_schedule`, `bad_timezone`).
    """
    return _find_after(check_schedule(schedule), _read_zone(timezone), after)


def _find_after(line: str, zone: ZoneInfo, after: datetime) -> datetime:
    try:
        for moment in CronSim(line, after.astimezone(zone)):
            # Times of day are counted without their zone: while an hour is repeated the next one may lie behind us.
            if (found := moment.astimezone(UTC)) > after:
                return found
    except CronSimError as error:
        raise _refuse_field(line, str(error).removeprefix("Bad ")) from None
    except (OverflowError, ValueError):  # beyond the year 9999
        pass
    raise _refuse_line(line, "names no moment within the next fifty years")


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name at all, or a folder of names
        reason = f"{name[:64]!r} is no time zone; name one like Asia/Shanghai, Europe/Berlin or UTC"
        raise InvalidInput("bad_timezone", reason) from None


def _refuse_field(line: str, field: str) -> InvalidInput:
    values = dict(zip(RANGES, line.split(), strict=True))
    if field not in values:
        return _refuse_line(line, f"cannot be read ({field})")
    return _refuse_line(line, f"has the {field} {values[field]!r}, which cannot be; it may hold {RANGES[field]}")


def _refuse_line(line: str, fault: str) -> InvalidInput:
    return InvalidInput("bad_schedule", f"the schedule {line[:255]!r} {fault}")
