"""What jobs remember, and the events that they wait for."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct

from dtsched.api.database import Database
from dtsched.api.documentation import JSON, documented
from dtsched.api.requests import ApiRequest, convert, job_id_of, object_of
from dtsched.api.shapes import Key
from dtsched.checks import check_event
from dtsched.errors import NotFound
from dtsched.overview import StepRecord
from dtsched.store import Store

_SHAPES = {"name": "a string", "payload": "any JSON"}


class NewEvent(Struct, forbid_unknown_fields=True):
    """What has happened, once and for all."""

    name: Annotated[Key, Meta(description="Jobs wait for it by this name.", examples=["paid:42"])]
    payload: Annotated[
        Any, Meta(description="What those who wait are told: at most 1 MiB of JSON.", examples=[{"amount": 5}])
    ] = None


class Event(Struct, frozen=True):
    """`created` is false where the event had been emitted before, and that counts; `woken` jobs went on at once."""

    name: str
    created: bool
    woken: int


class JobSteps(Struct, frozen=True):
    """In the order in which they began, at most 1,000."""

    steps: list[StepRecord]


class _Given(Struct, forbid_unknown_fields=True):
    name: str
    payload: Any = None


@post(
    "/v1/events",
    summary="Emit an event",
    opt=documented("events", "submit", {201: Event, 200: Event}, body={JSON: NewEvent}),
)
async def emit_event(request: ApiRequest, database: NamedDependency[Database]) -> Response[Event]:
    """201 when it is new: jobs that wait for it go on, and jobs that ask for it later are told. 200 when it had been
    emitted before: nothing changes."""
    given = convert(await object_of(request), _Given, _SHAPES)
    check_event(given.name, given.payload)
    emitted = await database.ask(database.client.emit(given.name, given.payload))
    return Response(Event(given.name, emitted.created, emitted.woken), status_code=201 if emitted.created else 200)


@get(
    "/v1/jobs/{job_id:str}/steps",
    summary="List what a job remembers",
    opt=documented("jobs", "read-args", {200: JobSteps}),
)
async def get_steps(job_id: FromPath[str], database: NamedDependency[Database]) -> JobSteps:
    """Its steps, sleeps and waits for events, in the order in which they began."""
    wanted = job_id_of(job_id)

    async def read(store: Store) -> JobSteps:
        if await store.job(wanted) is None:
            raise NotFound(f"there is no job {wanted}")
        return JobSteps(await store.steps(wanted))

    return await database.store(read)
