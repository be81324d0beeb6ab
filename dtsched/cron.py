"""When a schedule fires: cron fields read as wall time in a zone, or an interval. Knows no clock and no database.

The cron library reads the fields and walks wall times; it is never given a zone, because what it makes of the hours in
which a clock is moved is not what is promised here (docs/adr/0015-cron.md).
"""

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from dtsched.errors import InvalidInput
from dtsched.settings import parse_duration

MAX_SPEC = 200
MAX_INTERVAL_SECONDS = 366 * 86400

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_FIELDS = re.compile(r"[0-9A-Za-z*/,#-]+(?: [0-9A-Za-z*/,#-]+){4,5}")
_EVERY = re.compile(r"every ([0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP_CYCLE = datetime(2000, 1, 1)
_FIRST_SPAN = timedelta(minutes=1)


class Times(Protocol):
    """The ticks of a schedule, all of them in UTC and on whole seconds."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than that; None when there is none within fifty years."""
        ...


def parse(spec: str, tz: str = "UTC") -> Times:
    """Cron with five fields, or six with seconds first; a macro such as @daily; or "every 10m". InvalidInput when it is
    none of them, when the zone is unknown, or when no moment will ever fit."""
    spec = normal(spec)
    zone = parse_zone(tz)
    if spec.startswith("every "):
        return Interval(_interval_seconds(spec))
    fields = MACROS.get(spec.lower(), spec)
    if len(spec) > MAX_SPEC or not _FIELDS.fullmatch(fields):
        raise InvalidInput(
            "spec must be cron fields (minute hour day month weekday, or second before them), @daily, @hourly, "
            f"@weekly, @monthly or @yearly, or an interval like 'every 10m', not {_shown(spec)}",
            field="spec",
        )
    try:
        first = next(CronSim(fields, _LEAP_CYCLE), None)
    except CronSimError as error:
        if "day-of-month" in str(error) and _days_fit(fields):
            first = None
        else:
            field = str(error).removeprefix("Bad ")
            raise InvalidInput(f"spec has no valid {field} in {_shown(spec)}", field="spec") from error
    if first is None:
        raise InvalidInput(f"spec {_shown(spec)} never fires: no month has such a day", field="spec")
    minute, hour = fields.split()[-5:-3]
    return ByInstant(fields, zone) if minute.startswith("*") or hour.startswith("*") else ByWall(fields, zone)


def normal(spec: str) -> str:
    """With single blanks, as it is stored."""
    return " ".join(spec.split())


def parse_zone(tz: str) -> tzinfo:
    if tz == "UTC":
        return UTC
    try:
        if not _ZONE.fullmatch(tz):
            raise ValueError
        return ZoneInfo(tz)
    except (ValueError, OSError, LookupError) as error:  # a folder of the zone database is no zone either
        raise InvalidInput(
            f"tz must be the name of a time zone like Europe/Berlin, not {_shown(tz)}", field="tz"
        ) from error


def ticks_between(times: Times, first: datetime, until: datetime, *, limit: int) -> tuple[list[datetime], bool]:
    """The newest `limit` ticks from the tick `first` to `until`, both included, and whether there are older ones. Looks
    back in growing spans: of a schedule that fires each second, a week has 604,800."""
    span = _FIRST_SPAN
    while True:
        since = max(first - _SECOND, until - span)
        found: deque[datetime] = deque(maxlen=limit + 1)
        tick = times.after(since)
        while tick is not None and tick <= until:
            found.append(tick)
            tick = times.after(tick)
        if len(found) > limit:
            return list(found)[1:], True
        if since < first:
            return list(found), False
        span *= 4


class Interval:
    """Every so many seconds, counted from 1970 in UTC, so that all processes agree."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def after(self, moment: datetime) -> datetime | None:
        passed = (moment - _EPOCH) // timedelta(seconds=self._seconds)
        return _EPOCH + timedelta(seconds=(passed + 1) * self._seconds)


class ByWall:
    """Fixed times of the day: a wall time that the clock skips fires at the moment after the gap, one that it shows
    twice fires the first time."""

    def __init__(self, fields: str, zone: tzinfo) -> None:
        self._fields = fields
        self._zone = zone

    def after(self, moment: datetime) -> datetime | None:
        for wall in _walls(self._fields, _wall(moment, self._zone)):
            tick = _instant(wall, self._zone)
            if tick > moment:  # the second time that the clock shows an hour, the wall is earlier than the moment
                return tick
        return None


class ByInstant:
    """Any minute or any hour: every real moment at which the clock shows a time that fits."""

    def __init__(self, fields: str, zone: tzinfo) -> None:
        self._fields = fields
        self._zone = zone

    def after(self, moment: datetime) -> datetime | None:
        since = moment
        wall = _wall(moment, self._zone)
        while True:
            offset = _offset(since, self._zone)
            found = next(_walls(self._fields, wall), None)
            if found is None:
                return None
            tick = (found - offset).replace(tzinfo=UTC)
            change = _first_change(since, tick, self._zone)
            if change is None:
                return tick
            since = change
            wall = _wall(change, self._zone) - _SECOND


def _walls(fields: str, after: datetime) -> Iterator[datetime]:
    """The wall times that fit, without a zone, none for fifty years ends it."""
    try:
        yield from CronSim(fields, after)
    except OverflowError:  # the year 10000
        return


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0, fold=0)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    before = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(before, zone) == wall:
        return before
    after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)  # in a gap, by the offset that holds behind it: too early
    return _first_change(after, before, zone) or before


def _first_change(since: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    """The first moment in (since, until] with another offset than `since`. No zone changes twice within a day."""
    offset = _offset(since, zone)
    while since < until:
        probe = min(since + _DAY, until)
        if _offset(probe, zone) != offset:
            break
        since = probe
    else:
        return None
    seconds = round((probe - since) / _SECOND)
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(probe - timedelta(seconds=seconds - middle), zone) == offset:
            low = middle
        else:
            high = middle
    return probe - timedelta(seconds=seconds - high)


def _interval_seconds(spec: str) -> int:
    found = _EVERY.fullmatch(spec)
    seconds = parse_duration(found[1], field="spec") if found else 0.0
    if not 1 <= seconds <= MAX_INTERVAL_SECONDS or seconds != int(seconds):
        raise InvalidInput(
            f"spec must be an interval of whole seconds from 1s to 366d, like 'every 10m', not {_shown(spec)}",
            field="spec",
        )
    return int(seconds)


def _days_fit(fields: str) -> bool:
    """Whether it is only the months that the days do not fit: February has no 30th."""
    parts = fields.split()
    try:
        CronSim(" ".join([*parts[:-2], "1", parts[-1]]), _LEAP_CYCLE)
    except CronSimError:
        return False
    return True


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
