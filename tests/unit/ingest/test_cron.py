"""When a schedule comes round: against moments worked out by hand, where daylight saving begins and ends above all."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ingest.sources.cron import check_schedule, check_timezone, find_next
from kb.errors import InvalidInput

SHANGHAI, BERLIN, NEW_YORK = "Asia/Shanghai", "Europe/Berlin", "America/New_York"
NIGHT = "30 2 * * *"


def at(zone: str, *numbers: int, fold: int = 0) -> datetime:
    return datetime(*numbers, tzinfo=ZoneInfo(zone), fold=fold)  # type: ignore[arg-type,misc]


def list_runs(schedule: str, zone: str, start: datetime, count: int) -> list[str]:
    """The next moments as a clock on that wall shows them."""
    shown, after = [], start
    for _ in range(count):
        after = find_next(schedule, zone, after)
        assert after.tzinfo is UTC
        shown.append(after.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %Z"))
    return shown


def test_a_night_in_a_zone_without_daylight_saving() -> None:
    assert find_next(NIGHT, SHANGHAI, at(SHANGHAI, 2025, 3, 1, 2, 29)) == datetime(2025, 2, 28, 18, 30, tzinfo=UTC)
    assert find_next(NIGHT, SHANGHAI, at(SHANGHAI, 2025, 3, 1, 2, 30)) == datetime(2025, 3, 1, 18, 30, tzinfo=UTC)
    assert find_next(NIGHT, SHANGHAI, at(SHANGHAI, 2025, 12, 31, 3)) == at(SHANGHAI, 2026, 1, 1, 2, 30)


@pytest.mark.parametrize(
    ("zone", "start", "shown"),
    [
        (BERLIN, (2025, 3, 29, 1), ["03-29 02:30 CET", "03-30 03:00 CEST", "03-31 02:30 CEST"]),
        (NEW_YORK, (2025, 3, 8, 1), ["03-08 02:30 EST", "03-09 03:00 EDT", "03-10 02:30 EDT"]),
        (SHANGHAI, (2025, 3, 29, 1), ["03-29 02:30 CST", "03-30 02:30 CST", "03-31 02:30 CST"]),
    ],
)
def test_a_time_in_the_gap_runs_once_after_it(zone: str, start: tuple[int, ...], shown: list[str]) -> None:
    assert list_runs(NIGHT, zone, at(zone, *start), 3) == shown


@pytest.mark.parametrize(
    ("zone", "line", "start", "shown"),
    [
        (BERLIN, NIGHT, (2025, 10, 25, 12), ["10-26 02:30 CEST", "10-27 02:30 CET"]),
        (NEW_YORK, "30 1 * * *", (2025, 11, 1, 12), ["11-02 01:30 EDT", "11-03 01:30 EST"]),
    ],
)
def test_a_time_that_comes_twice_runs_at_its_first(
    zone: str, line: str, start: tuple[int, ...], shown: list[str]
) -> None:
    assert list_runs(line, zone, at(zone, *start), 2) == shown


@pytest.mark.parametrize("minute", [0, 10, 29, 30, 45])
def test_asked_within_the_second_pass_of_an_hour_the_next_one_is_tomorrow(minute: int) -> None:
    asked = at(BERLIN, 2025, 10, 26, 2, minute, fold=1)
    assert find_next(NIGHT, BERLIN, asked) == at(BERLIN, 2025, 10, 27, 2, 30)


def test_a_line_of_every_hour_goes_by_elapsed_time() -> None:
    shown = list_runs("0 * * * *", BERLIN, at(BERLIN, 2025, 10, 26, 1, 30), 3)
    assert shown == ["10-26 02:00 CEST", "10-26 02:00 CET", "10-26 03:00 CET"]
    shown = list_runs("0 * * * *", BERLIN, at(BERLIN, 2025, 3, 30, 0, 30), 2)
    assert shown == ["03-30 01:00 CET", "03-30 03:00 CEST"]


@pytest.mark.parametrize("zone", [SHANGHAI, BERLIN, NEW_YORK, "Australia/Lord_Howe", "Africa/Cairo", "UTC"])
@pytest.mark.parametrize("line", [NIGHT, "0 0 * * *", "*/20 * * * *", "30 */2 * * *"])
def test_a_year_has_no_moment_twice_and_none_before_what_was_asked(zone: str, line: str) -> None:
    """Asked again from each moment found and from shortly after it, the moments rise and agree."""
    after = datetime(2025, 1, 1, tzinfo=UTC)
    days: set[str] = set()
    for _ in range(400):
        found = find_next(line, zone, after)
        assert found > after
        assert find_next(line, zone, after + timedelta(seconds=1)) in (found, find_next(line, zone, found))
        days.add(found.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d"))
        after = found
    if line == NIGHT:
        assert len(days) == 400, "a night is one run, neither none nor two"


@pytest.mark.parametrize(
    ("line", "asked", "found"),
    [
        ("0 4 * * MON", (2025, 6, 3), (2025, 6, 9, 4)),  # a Tuesday
        ("0 4 L * *", (2025, 2, 1), (2025, 2, 28, 4)),
        ("0 4 29 2 *", (2025, 2, 1), (2028, 2, 29, 4)),
        ("15,45 6-7 * JAN *", (2025, 1, 1, 6, 20), (2025, 1, 1, 6, 45)),
    ],
)
def test_what_a_line_may_say(line: str, asked: tuple[int, ...], found: tuple[int, ...]) -> None:
    assert find_next(line, SHANGHAI, at(SHANGHAI, *asked)) == at(SHANGHAI, *found)


def test_blanks_of_a_line_are_made_one() -> None:
    assert check_schedule("  30\t2 *  * *\n") == NIGHT


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "0 fields"),
        ("30 2 * *", "4 fields"),
        ("0 30 2 * * *", "6 fields"),
        ("@daily", "1 fields"),
        ("61 2 * * *", "the minute '61'"),
        ("30 25 * * *", "the hour '25'"),
        ("30 2 32 * *", "the day-of-month '32'"),
        ("30 2 30 2 *", "the day-of-month '30'"),
        ("30 2 * 13 *", "the month '13'"),
        ("30 2 * * 8", "the day-of-week '8'"),
        ("*/0 2 * * *", "the minute '*/0'"),
        ("30 2 * * MON#9", "the day-of-week 'MON#9'"),
        ("30 5-2 * * *", "the hour '5-2'"),
        ("三十 2 * * *", "the minute '三十'"),
        ("1,, 2 * * *", "the minute '1,,'"),
    ],
)
def test_a_line_that_cannot_be_names_the_field_and_its_value(line: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_schedule(line)
    assert refused.value.code == "bad_schedule"
    assert says in refused.value.detail


@pytest.mark.parametrize(
    "name", ["", "Asia", "Mars/Base", "../../etc/passwd", "/etc/localtime", "GMT+8", "A\0", "x" * 64, "北京"]
)
def test_a_zone_that_is_none(name: str) -> None:
    for call in (lambda: check_timezone(name), lambda: find_next(NIGHT, name, datetime.now(UTC))):
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.code == "bad_timezone"
        assert repr(name) in refused.value.detail


def test_beyond_what_a_calendar_holds() -> None:
    with pytest.raises(InvalidInput, match="bad_schedule"):
        find_next(NIGHT, SHANGHAI, datetime(9999, 12, 31, 23, tzinfo=UTC))
