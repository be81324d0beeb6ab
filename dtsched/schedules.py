"""What a schedule is: the structs that travel between Python, REST and SQL, and what of one is refused."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from dtsched import cron
from dtsched.checks import MAX_SECONDS, check_name, shown
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, check
from dtsched.settings import parse_duration

Catchup: TypeAlias = Literal["skip", "latest", "all"]
Overlap: TypeAlias = Literal["allow", "skip", "cancel"]
TickOutcome: TypeAlias = Literal["fired", "skipped", "missed"]

_AT = re.compile(r" - at .*`\$\.(?P<field>\w+)[^`]*`$")
_OF_JOBS = ("task", "args", "queue", "priority", "max_attempts", "timeout", "limit_key", "tags", "backoff")


class NewSchedule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A schedule to be made. None leaves a field to its default; of the job's options that is the default of a
    submission. `timeout` and `tolerance` are seconds, or like "10m"."""

    spec: str
    task: str
    args: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    tz: str | None = None
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: float | str | None = None
    limit_key: str | None = None
    tags: list[str] | None = None
    backoff: dict[str, Any] | None = None
    catchup: Catchup | None = None
    catchup_limit: int | None = None
    overlap: Overlap | None = None
    tolerance: float | str | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as the database has it. `timeout` and `tolerance` in seconds. `next_at` is null while it is paused or
    has a `problem`, when it is yet to be computed, and when it will never fire again. `edited`: it is another one than
    the code of workers has declared; null without a declaration. `args` as of a job."""

    name: str
    spec: str
    tz: str
    task: str
    args: dict[str, Any] | None
    queue: str | None
    priority: int | None
    max_attempts: int | None
    timeout: float | None
    limit_key: str | None
    tags: list[str] | None
    backoff: dict[str, Any] | None
    catchup: Catchup
    catchup_limit: int
    overlap: Overlap
    tolerance: float
    paused_at: datetime | None
    problem: str | None
    next_at: datetime | None
    last_tick: datetime | None
    last_outcome: TickOutcome | None
    last_job_id: int | None
    declared_at: datetime | None
    edited: bool | None
    version: int
    created_at: datetime
    updated_at: datetime


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tick: fired (with its job), skipped (because of its `overlap`) or missed (too late)."""

    tick: datetime
    outcome: TickOutcome
    job_id: int | None
    at: datetime


class DueSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to compute a schedule's times. `next_at` None: that is to be computed, after `since`."""

    name: str
    version: int
    spec: str
    tz: str
    since: datetime
    next_at: datetime | None


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """`now` is the database's clock; `next_seconds`: until the next of the others is due, None when there is none."""

    schedules: list[DueSchedule]
    now: datetime
    next_seconds: float | None


def check_schedule(name: str, given: NewSchedule) -> NewSchedule:
    """The schedule with durations in seconds. Raises InvalidInput with the field, before anything is sent; the rules
    are those of dtsched.schedule_problem() and of dtsched.cron."""
    check_schedule_name(name)
    given = _check_types(given)
    cron.parse(given.spec, given.tz if given.tz is not None else "UTC")
    if given.catchup_limit is not None and not 1 <= given.catchup_limit <= 1000:
        raise InvalidInput(f"catchup_limit must be 1 to 1000, not {given.catchup_limit}", field="catchup_limit")
    job = check(NewJob(**{name: getattr(given, name) for name in _OF_JOBS}))
    return msgspec.structs.replace(
        given, spec=cron.normal(given.spec), timeout=job.timeout, tolerance=_tolerance(given.tolerance)
    )


def check_change(schedule: Schedule, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What save_schedule() takes to change one. InvalidInput for what a NewSchedule could not say."""
    unknown = next((name for name in fields if name not in NewSchedule.__struct_fields__), None)
    if unknown is not None:
        known = ", ".join(NewSchedule.__struct_fields__)
        raise InvalidInput(f"a schedule has no field {shown(unknown)}: known are {known}", field=unknown)
    for name in ("spec", "task"):
        if name in fields and fields[name] is None:
            raise InvalidInput(f"{name} has no default: give it, or leave it out", field=name)
    whole = {**definition(schedule), **fields}
    whole["args"] = {} if whole["args"] is None else whole["args"]
    checked = check_schedule(schedule.name, NewSchedule(**whole))
    return {name: getattr(checked, name) for name in fields}


def check_schedule_name(name: str) -> None:
    check_name("name", name)


def definition(schedule: Schedule) -> dict[str, Any]:
    """What a NewSchedule of the same would say."""
    return {name: getattr(schedule, name) for name in NewSchedule.__struct_fields__}


def next_times(spec: str, tz: str, after: datetime, count: int) -> list[datetime]:
    """In UTC; fewer when it fires no more."""
    times = cron.parse(spec, tz)
    found: list[datetime] = []
    tick = times.after(after)
    while tick is not None and len(found) < count:
        found.append(tick)
        tick = times.after(tick)
    return found


def in_zone(moment: datetime, tz: str) -> datetime:
    """As the clocks of the schedule's zone show it; in UTC where this machine does not know the zone."""
    try:
        return moment.astimezone(cron.parse_zone(tz))
    except InvalidInput:
        return moment.astimezone(UTC)


def _tolerance(value: float | str | None) -> float | None:
    if value is None:
        return None
    seconds = parse_duration(value, field="tolerance")
    if seconds > MAX_SECONDS:
        raise InvalidInput(f"tolerance must be 0 to at most 366 days, not {value}", field="tolerance")
    return seconds


def _check_types(given: NewSchedule) -> NewSchedule:
    """A struct takes whatever it is made of; what is read from JSON has been through this already."""
    for name, kind in (("catchup", Catchup), ("overlap", Overlap)):
        value: object = getattr(given, name)
        if value is not None and value not in (choices := get_args(kind)):
            raise InvalidInput(
                f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {shown(value)}", field=name
            )
    try:
        return msgspec.convert(msgspec.structs.asdict(given), NewSchedule)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        field = found["field"] if found else None
        reason = _AT.sub("", str(error))
        raise InvalidInput(
            f"{field or 'a schedule'} is of a wrong type: {reason[:1].lower()}{reason[1:]}", field=field
        ) from error
