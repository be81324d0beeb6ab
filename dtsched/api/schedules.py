"""Schedules: made, changed, looked at, paused, run now and removed."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct
from msgspec.structs import asdict

from dtsched.api.callers import caller_of, visible_schedule
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented
from dtsched.api.problems import DECLARED, INVALID, MALFORMED, UNKNOWN_TASK, Refused
from dtsched.api.requests import ApiRequest, convert, object_of
from dtsched.api.schedule_shapes import ScheduleChange, ScheduleRequest
from dtsched.checks import shown
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.jobs import Submitted
from dtsched.schedules import (
    NewSchedule,
    Schedule,
    check_schedule,
    check_schedule_name,
    definition,
    in_zone,
    next_times,
)
from dtsched.store import Store

_SHAPES = {
    "spec": "a string like 0 9 * * mon-fri",
    "task": "a string",
    "args": "an object of named arguments",
    "tz": "the name of a time zone like Europe/Berlin",
    "queue": "a string",
    "priority": "an integer from 1 to 10",
    "max_attempts": "an integer from 1 to 1000",
    "timeout": 'a number of seconds, or a string like "10m"',
    "limit_key": "a string",
    "tags": "a list of strings",
    "backoff": "an object",
    "catchup": "skip, latest or all",
    "catchup_limit": "an integer from 1 to 1000",
    "overlap": "allow, skip or cancel",
    "tolerance": 'a number of seconds, or a string like "10m"',
}
_MOST_TIMES = 100


class SchedulePage(Struct, frozen=True):
    """By name."""

    schedules: list[Schedule]


class SwitchedSchedule(Schedule, frozen=True, kw_only=True):
    """`changed` is false where it was so before."""

    changed: bool


class NextTimes(Struct, frozen=True):
    """When it fires next, as the clocks of its zone show it; fewer than asked for when it fires no more."""

    tz: str
    times: list[datetime]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """How many times."""

    count: Annotated[int, Meta(ge=1, le=_MOST_TIMES, description="How many.")] = 5


@get("/v1/schedules", summary="List schedules", opt=documented("schedules", "read", {200: SchedulePage}))
async def list_schedules(request: ApiRequest, database: NamedDependency[Database]) -> SchedulePage:
    """All there are. Their args are null for a key without the scope read-args."""
    caller = caller_of(request)
    return SchedulePage([visible_schedule(caller, found) for found in await database.store(Store.schedules)])


@get("/v1/schedules/{name:str}", summary="Get a schedule", opt=documented("schedules", "read", {200: Schedule}))
async def get_schedule(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> Schedule:
    wanted = _name_of(name)
    return visible_schedule(caller_of(request), await database.store(lambda store: _schedule(store, wanted)))


@put(
    "/v1/schedules/{name:str}",
    summary="Make or replace a schedule",
    opt=documented(
        "schedules", "operate", {201: Schedule, 200: Schedule}, body={JSON: ScheduleRequest}, problems=[UNKNOWN_TASK]
    ),
)
async def put_schedule(
    request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]
) -> Response[Schedule]:
    """201 when it is new. It fires from its next time on, which is computed within a second or two."""
    schedule = check_schedule(name, convert(await _fields_of(request), NewSchedule, _SHAPES))

    async def save(store: Store) -> tuple[bool, Schedule]:
        created = await store.save_schedule(name, schedule)
        database.note(created=created)
        return created, await _schedule(store, name)

    created, saved = await database.change(save)
    return Response(visible_schedule(caller_of(request), saved), status_code=201 if created else 200)


@patch(
    "/v1/schedules/{name:str}",
    summary="Change a schedule",
    opt=documented("schedules", "operate", {200: Schedule}, body={JSON: ScheduleChange}, problems=[UNKNOWN_TASK]),
)
async def patch_schedule(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> Schedule:
    """What is missing stays as it is; null is the default. A schedule that the code of workers declares stays changed
    until that code changes."""
    wanted = _name_of(name)
    given = await _fields_of(request)
    database.note(changed=sorted(given))
    for field in ("spec", "task"):
        if field in given and given[field] is None:
            raise Refused(INVALID, f"{field} has no default: give it, or leave it out", field=field)

    async def change(store: Store) -> Schedule:
        whole = convert({**definition(await _schedule(store, wanted)), **given}, NewSchedule, _SHAPES)
        checked = check_schedule(wanted, whole)
        fields = {field: getattr(checked, field) for field in given}
        await store.change_schedule(wanted, fields)
        return await _schedule(store, wanted)

    return visible_schedule(caller_of(request), await database.change(change))


@delete(
    "/v1/schedules/{name:str}",
    summary="Remove a schedule",
    opt=documented("schedules", "operate", {204: None}, problems=[DECLARED]),
)
async def delete_schedule(name: FromPath[str], database: NamedDependency[Database]) -> None:
    """What it has submitted goes on. 409 while the code of running workers declares it: pause it instead."""
    wanted = _name_of(name)
    try:
        await database.change(lambda store: store.unschedule(wanted))
    except Conflict as error:
        raise Refused(DECLARED, str(error)) from error


@post(
    "/v1/schedules/{name:str}/run",
    summary="Run a schedule now",
    opt=documented(
        "schedules", "operate", {201: Answer(Submitted, ["Location"]), 200: Answer(Submitted, ["Location"])}
    ),
)
async def run_schedule(name: FromPath[str], database: NamedDependency[Database]) -> Response[Submitted]:
    """Its job is submitted at once, also while it is paused. 200 with its unfinished job when its overlap is skip."""
    wanted = _name_of(name)

    async def run(store: Store) -> Submitted:
        submitted = await store.run_schedule(wanted)
        database.note(job=submitted.id, created=submitted.created)
        return submitted

    submitted = await database.change(run)
    return Response(
        submitted,
        status_code=201 if submitted.created else 200,
        headers={"location": f"/v1/jobs/{submitted.id}"},
    )


@post(
    "/v1/schedules/{name:str}/pause",
    summary="Pause a schedule",
    status_code=200,
    opt=documented("schedules", "operate", {200: SwitchedSchedule}),
)
async def pause_schedule(
    request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]
) -> SwitchedSchedule:
    """It does not fire until it is resumed. Called twice it changes nothing more."""
    return await _switch(request, database, name, Store.pause_schedule)


@post(
    "/v1/schedules/{name:str}/resume",
    summary="Resume a schedule",
    status_code=200,
    opt=documented("schedules", "operate", {200: SwitchedSchedule}),
)
async def resume_schedule(
    request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]
) -> SwitchedSchedule:
    """It fires again, from its next time on. Called twice it changes nothing more."""
    return await _switch(request, database, name, Store.resume_schedule)


@get(
    "/v1/schedules/{name:str}/next",
    summary="Get the next times of a schedule",
    opt=documented("schedules", "read", {200: NextTimes}, query=Wanted),
)
async def get_next_times(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> NextTimes:
    """Computed from its spec, also while it is paused."""
    wanted = _name_of(name)
    count = _count_of(request)

    async def read(store: Store) -> tuple[Schedule, datetime]:
        return await _schedule(store, wanted), await store.now()

    schedule, now = await database.store(read)
    times = next_times(schedule.spec, schedule.tz, now, count)
    return NextTimes(schedule.tz, [in_zone(time, schedule.tz) for time in times])


async def _switch(
    request: ApiRequest, database: Database, name: str, switch: Callable[[Store, str], Awaitable[bool]]
) -> SwitchedSchedule:
    wanted = _name_of(name)

    async def switched(store: Store) -> SwitchedSchedule:
        changed = await switch(store, wanted)
        return SwitchedSchedule(**asdict(await _schedule(store, wanted)), changed=changed)

    return visible_schedule(caller_of(request), await database.change(switched))


def _count_of(request: ApiRequest) -> int:
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise Refused(MALFORMED, f"{name[:40]} was given twice", field=name[:40])
        given[name] = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else value
    return convert(given, Wanted, {"count": f"1 to {_MOST_TIMES}"}).count


async def _fields_of(request: ApiRequest) -> dict[str, object]:
    given = await object_of(request)
    return {**given, "args": {}} if "args" in given and given["args"] is None else given


def _name_of(given: str) -> str:
    """NotFound for what cannot be a name, as for a schedule that is not there."""
    try:
        check_schedule_name(given)
    except InvalidInput as error:
        raise NotFound(f"there is no schedule {shown(given)}") from error
    return given


async def _schedule(store: Store, name: str) -> Schedule:
    found = await store.schedules(name)
    if not found:
        raise NotFound(f"there is no schedule {shown(name)}")
    return found[0]
