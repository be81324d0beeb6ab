"""When schedules fire: held against a calculation without a cron library, and the cases that others get wrong."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dtsched import cron
from dtsched.errors import InvalidInput
from tests.cron.reference import around_changes, differences, zones


def shown(spec: str, tz: str, after: str, count: int = 3) -> list[str]:
    """The next ticks as the clocks of the zone show them, with their offset where it matters."""
    times = cron.parse(spec, tz)
    zone = ZoneInfo(tz)
    moment = datetime.fromisoformat(after)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    ticks: list[str] = []
    for _ in range(count):
        tick = times.after(moment.astimezone(UTC))
        assert tick is not None
        ticks.append(tick.astimezone(zone).isoformat(sep=" ")[5:])
        moment = tick
    return ticks


def test_f50_around_every_change_of_every_clock_in_four_years_ticks_are_those_of_the_plain_calculation() -> None:
    """All zones of the world: those whose clocks do the same in these years are looked at once."""
    assert len(zoneinfo.available_timezones()) > 200
    names = zones(2026, 4)
    assert len(names) > 50
    total, different = 0, list[str]()
    for name in names:
        for first, last in around_changes(name, 2026, 4):
            count, told = differences(name, first, last)
            total += count
            different += told
    assert different == []
    assert total > 20_000


def test_f50_over_a_whole_leap_year_too() -> None:
    first = datetime(2027, 12, 31, 12, tzinfo=UTC)
    count, told = differences(
        "Europe/Berlin", first, first + timedelta(days=367), ["0 12 29 2 *", "5 4 13 * fri", "59 23 28-31 mar,oct sun"]
    )
    assert (count > 60, told) == (True, [])


def test_a_time_that_the_clock_skips_fires_once_after_the_gap() -> None:
    assert shown("30 2 * * *", "America/New_York", "2026-03-07 12:00") == [
        "03-08 03:00:00-04:00",
        "03-09 02:30:00-04:00",
        "03-10 02:30:00-04:00",
    ]
    assert shown("0,30 2,3 * * *", "America/New_York", "2026-03-08 01:00", 2) == [
        "03-08 03:00:00-04:00",
        "03-08 03:30:00-04:00",
    ]


def test_a_time_that_the_clock_shows_twice_fires_the_first_time_alone() -> None:
    assert shown("30 1 * * *", "America/New_York", "2026-10-31 12:00", 2) == [
        "11-01 01:30:00-04:00",
        "11-02 01:30:00-05:00",
    ]
    assert shown("30 1 * * *", "America/New_York", "2026-11-01 01:10:00-05:00", 1) == ["11-02 01:30:00-05:00"]


def test_seconds_make_no_difference_to_that() -> None:
    assert shown("15 30 2 * * *", "America/New_York", "2026-03-07 12:00", 1) == ["03-08 03:00:00-04:00"]
    assert shown("15 30 1 * * *", "America/New_York", "2026-10-31 12:00", 2)[1] == "11-02 01:30:15-05:00"
    assert shown("*/20 59 23 * * *", "UTC", "2026-03-07 12:00", 4)[-1] == "03-08 23:59:00+00:00"


def test_any_hour_and_any_minute_follow_real_time() -> None:
    assert shown("0 * * * *", "America/New_York", "2026-03-08 00:30", 2) == [
        "03-08 01:00:00-05:00",
        "03-08 03:00:00-04:00",
    ]
    assert shown("*/30 * * * *", "America/New_York", "2026-11-01 01:00:00-04:00", 4) == [
        "11-01 01:30:00-04:00",
        "11-01 01:00:00-05:00",
        "11-01 01:30:00-05:00",
        "11-01 02:00:00-05:00",
    ]
    assert shown("*/5 2 * * *", "America/New_York", "2026-03-08 01:00", 1) == ["03-09 02:00:00-04:00"]


def test_a_midnight_that_cairo_skips() -> None:
    assert shown("0 0 * * *", "Africa/Cairo", "2026-04-23 12:00", 2) == ["04-24 01:00:00+03:00", "04-25 00:00:00+03:00"]
    assert shown("*/30 0 * * *", "Africa/Cairo", "2026-04-23 12:00", 1) == ["04-25 00:00:00+03:00"]


def test_lord_howes_half_hour() -> None:
    assert shown("*/20 3 * * *", "Australia/Lord_Howe", "2026-10-04 00:30", 3) == [
        "10-04 03:00:00+11:00",
        "10-04 03:20:00+11:00",
        "10-04 03:40:00+11:00",
    ]
    assert shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-04 00:30", 1) == ["10-04 02:30:00+11:00"]
    assert shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", 2) == [
        "04-05 01:45:00+11:00",
        "04-06 01:45:00+10:30",
    ]


def test_the_day_that_samoa_left_out_fires_at_its_end() -> None:
    assert shown("0 9 * * *", "Pacific/Apia", "2011-12-28 12:00") == [
        "12-29 09:00:00-10:00",
        "12-31 00:00:00+14:00",
        "12-31 09:00:00+14:00",
    ]
    assert shown("0 */12 * * *", "Pacific/Apia", "2011-12-29 06:00") == [
        "12-29 12:00:00-10:00",
        "12-31 00:00:00+14:00",
        "12-31 12:00:00+14:00",
    ]


def test_the_29th_of_february() -> None:
    assert shown("0 0 29 2 *", "UTC", "2026-01-01 00:00") == ["02-29 00:00:00+00:00"] * 3
    assert cron.parse("0 0 29 2 *").after(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


def test_a_day_of_month_and_a_day_of_week_are_either_one_or_the_other_as_cron_has_it() -> None:
    assert shown("0 0 13 * fri", "UTC", "2026-02-01 00:00", 4) == [
        "02-06 00:00:00+00:00",
        "02-13 00:00:00+00:00",
        "02-20 00:00:00+00:00",
        "02-27 00:00:00+00:00",
    ]
    assert shown("0 0 */2 * fri", "UTC", "2026-02-01 00:00", 1) == ["02-13 00:00:00+00:00"]


def test_steps_start_at_the_beginning_of_each_hour() -> None:
    assert [tick[6:11] for tick in shown("*/7 * * * *", "UTC", "2026-01-01 00:50", 3)] == ["00:56", "01:00", "01:07"]


@pytest.mark.parametrize(
    ("macro", "fields"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@Daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_macros_are_what_cron_says(macro: str, fields: str) -> None:
    assert shown(macro, "Europe/Berlin", "2026-03-01 00:30") == shown(fields, "Europe/Berlin", "2026-03-01 00:30")


def test_an_interval_is_counted_from_1970_whoever_asks() -> None:
    times = cron.parse("every 10m", "Asia/Kathmandu")
    for minute in range(10):
        after = datetime(2026, 3, 1, 12, minute, 30, tzinfo=UTC)
        assert times.after(after) == datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
    assert times.after(datetime(2026, 3, 1, 12, 10, tzinfo=UTC)) == datetime(2026, 3, 1, 12, 20, tzinfo=UTC)
    assert cron.parse("every 1.5h").after(datetime(1970, 1, 1, tzinfo=UTC)) == datetime(1970, 1, 1, 1, 30, tzinfo=UTC)


def test_a_tick_lies_strictly_after_the_moment_and_on_a_whole_second() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for spec in ("0 12 * * *", "*/1 12 * * *", "every 12h"):
        times = cron.parse(spec)
        assert times.after(noon - timedelta(microseconds=1)) == noon
        after = times.after(noon)
        assert after is not None
        assert after > noon


@pytest.mark.parametrize("spec", ["* * * * * *", "*/10 * * * *", "0 0 1 * *", "30 1 * * *", "* * 1 1 *"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_newest_ticks_of_a_span_are_the_last_of_all_of_them(spec: str, limit: int) -> None:
    times = cron.parse(spec, "Europe/Berlin")
    last = datetime(2026, 3, 30, 12, 0, 0, 500, tzinfo=UTC)
    first = times.after(last - timedelta(minutes=40 if spec.startswith("* * * * * *") else 100_000))
    assert first is not None
    ticks, tick = list[datetime](), first
    while tick is not None and tick <= last:
        ticks.append(tick)
        tick = times.after(tick)
    assert cron.ticks_between(times, first, last, limit=limit) == (ticks[-limit:], len(ticks) > limit)


@pytest.mark.parametrize("spec", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 31 feb *"])
def test_what_never_fires_is_refused(spec: str) -> None:
    with pytest.raises(InvalidInput, match=r"never fires: no month has such a day"):
        cron.parse(spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("61 * * * *", "spec has no valid minute in '61 * * * *'"),
        ("* 24 * * *", "spec has no valid hour"),
        ("* * 0 * *", "spec has no valid day-of-month"),
        ("* * * 13 *", "spec has no valid month"),
        ("* * * * 8", "spec has no valid day-of-week"),
        ("60 * * * * *", "spec has no valid second"),
        ("*/0 * * * *", "spec has no valid minute"),
        ("5-1 * * * *", "spec has no valid minute"),
        ("* * * * funday", "spec has no valid day-of-week"),
        ("", "spec must be cron fields"),
        ("* * * *", "spec must be cron fields"),
        ("* * * * * * *", "spec must be cron fields"),
        ("@reboot", "spec must be cron fields"),
        ("* * ٣ * *", "spec must be cron fields"),
        ("0 0 " + "1," * 200 + "1 * *", "spec must be cron fields"),
        ("every", "spec must be cron fields"),
        ("every 0s", "spec must be an interval of whole seconds from 1s to 366d"),
        ("every 1500ms", "spec must be an interval of whole seconds"),
        ("every 367d", "spec must be an interval of whole seconds"),
        ("every minute", "spec must be an interval of whole seconds"),
    ],
)
def test_what_is_no_spec_is_refused_in_a_sentence(spec: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        cron.parse(spec)
    assert (says in str(refused.value), refused.value.field) == (True, "spec")


@pytest.mark.parametrize(
    "tz", ["Mars/X", "../../etc/passwd", "/etc/localtime", "Europe", "europe/berlin", "UTC+3", "", "a" * 999]
)
def test_what_is_no_zone_is_refused_in_a_sentence(tz: str) -> None:
    with pytest.raises(InvalidInput, match="tz must be the name of a time zone like Europe/Berlin, not ") as refused:
        cron.parse("@daily", tz)
    assert refused.value.field == "tz"
    assert len(str(refused.value)) < 200
