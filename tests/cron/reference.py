"""When a schedule fires, computed without any cron library: what the clock of a zone shows is asked of zoneinfo for
every minute of a span, and held against the fields one by one. Slow and plain on purpose.

    python -m tests.cron.reference [YEARS]       # all clocks of the world, whole years from 2026: says what differs
"""

from __future__ import annotations

import sys
import time
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from dtsched import cron

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SPECS = (
    "0 0 * * *",
    "30 0 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "15,45 1-3 * * *",
    "0 9 * * 1-5",
    "*/7 * * * *",
    "0 * * * *",
    "*/20 0-3 * * *",
    "30 */2 * * *",
    "5 4 13 * fri",
    "10 3 */2 * mon",
    "0 12 29 2 *",
    "59 23 28-31 mar,oct sun",
)
SPARSE = tuple(spec for spec in SPECS if spec[0] != "*" and " *" not in spec[:4])
"""Few a day."""

_NAMES_OF_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS: dict[str, int] = {name: number for number, name in enumerate(_NAMES_OF_MONTHS, start=1)}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}


class Fields(NamedTuple):
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both: bool
    """Day of month and day of week both have to fit, because one of them begins with a star; else one is enough."""
    real: bool
    """Any minute or any hour: it follows real time."""

    def fit(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        by_month, by_week = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return (by_month and by_week) if self.both else (by_month or by_week)


def read(spec: str) -> Fields:
    minute, hour, day, month, weekday = spec.split()
    return Fields(
        _numbers(minute, 0, 59),
        _numbers(hour, 0, 23),
        _numbers(day, 1, 31),
        _numbers(month, 1, 12, _MONTHS),
        frozenset(number % 7 for number in _numbers(weekday, 0, 7, _DAYS)),
        both=day.startswith("*") or weekday.startswith("*"),
        real=minute.startswith("*") or hour.startswith("*"),
    )


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "", "") if span == "*" else span.partition("-")
        one, other = (low, high) if span == "*" else (_number(first, names), _number(last or first, names))
        found.update(range(one, other + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: dict[str, int] | None) -> int:
    return (names or {}).get(text, -1) if text.isalpha() else int(text)


def walls(zone: tzinfo, first: datetime, last: datetime) -> list[tuple[datetime, datetime]]:
    """Each minute of the span, and what the clock shows then."""
    moments = (first + number * MINUTE for number in range((last - first) // MINUTE + 1))
    return [(moment, moment.astimezone(zone).replace(tzinfo=None)) for moment in moments]


def ticks(fields: Fields, shown: Sequence[tuple[datetime, datetime]]) -> list[datetime]:
    """Of a span that begins and ends where no clock is moved for some hours."""
    if fields.real:
        return [moment for moment, wall in shown if fields.fit(wall)]
    found: set[datetime] = set()
    seen = shown[0][1] - MINUTE
    for moment, wall in shown:
        if wall <= seen:
            continue  # shown a second time
        if wall - seen > MINUTE:  # skipped: what would have been in the gap is now
            missing = (seen + number * MINUTE for number in range(1, (wall - seen) // MINUTE))
            if any(map(fields.fit, missing)):
                found.add(moment)
        if fields.fit(wall):
            found.add(moment)
        seen = wall
    return sorted(found)


def computed(spec: str, tz: str, first: datetime, last: datetime) -> list[datetime]:
    """By dtsched.cron."""
    times = cron.parse(spec, tz)
    found: list[datetime] = []
    tick = times.after(first - timedelta(seconds=1))
    while tick is not None and tick <= last:
        found.append(tick)
        tick = times.after(tick)
    return found


def offsets(zone: tzinfo, year: int, years: int) -> list[tuple[datetime, timedelta | None]]:
    """Each hour, in UTC, from which on the clock is another one; by the hour before."""
    found: list[tuple[datetime, timedelta | None]] = []
    day, before = datetime(year, 1, 1, tzinfo=UTC), None
    while day.year < year + years:
        if before is None or (day + DAY).astimezone(zone).utcoffset() != before:
            for hour in (day + number * HOUR for number in range(25)):
                if (offset := hour.astimezone(zone).utcoffset()) != before:
                    found.append((hour, offset))
                    before = offset
        day += DAY
    return found


def zones(year: int, years: int) -> list[str]:
    """One of all whose clocks do the same in these years; there are as many as the clocks of the world differ."""
    chosen: dict[tuple[object, ...], str] = {}
    for name in sorted(zoneinfo.available_timezones() - {"localtime", "Factory"}):
        chosen.setdefault(tuple(offsets(zoneinfo.ZoneInfo(name), year, years)), name)
    return sorted(chosen.values())


def differences(tz: str, first: datetime, last: datetime, specs: Sequence[str] = SPECS) -> tuple[int, list[str]]:
    """How many ticks there are, and where the two calculations differ."""
    shown = walls(zoneinfo.ZoneInfo(tz), first, last)
    count, told = 0, list[str]()
    for spec in specs:
        wanted, got = ticks(read(spec), shown), computed(spec, tz, first, last)
        count += len(wanted)
        if wanted != got:
            told.append(f"{spec!r} in {tz}: {[str(each) for each in sorted(set(wanted) ^ set(got))[:4]]}")
    return count, told


def around_changes(tz: str, year: int, years: int) -> Iterator[tuple[datetime, datetime]]:
    """The hours before and after each time that the clock is moved."""
    for hour, _ in offsets(zoneinfo.ZoneInfo(tz), year, years)[1:]:
        yield hour - 5 * HOUR, hour + 5 * HOUR


def main() -> int:
    years = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    began = time.monotonic()
    count, told, names = 0, list[str](), zones(2026, years)
    for number, name in enumerate(names, start=1):
        print(f"\r{number} of {len(names)} clocks: {name:<40}", end="", file=sys.stderr)
        spans = list(around_changes(name, 2026, years))
        for first, last, specs in (
            *((first, last, SPECS) for first, last in spans),
            (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026 + years, 1, 1, tzinfo=UTC), SPARSE),
        ):
            found, different = differences(name, first, last, specs)
            count += found
            told += different
            for line in different:
                print(line, flush=True)
    print(file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{len(names)} different clocks, {years} years: {count:,} ticks, {len(told)} differences, {seconds:.0f} s")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
