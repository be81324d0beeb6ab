"""GET /v1/jobs/{id}/logs: what the handlers of a job have logged, from a line on."""

import asyncio
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct

from dtsched.api.database import Database
from dtsched.api.documentation import Answer, documented
from dtsched.api.preferences import Prefer, applied, disconnected, wait_of
from dtsched.api.requests import ApiRequest, job_id_of, query_of
from dtsched.jobs import ENDED, JobState
from dtsched.overview import LogLine

_LOOK_SECONDS = 0.5
_SHAPES = {
    "after": "the `next` of the answer before",
    "limit": "1 to 1000",
    "attempt": "the number of an attempt, from 1 on",
}


class LogQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines; `after` is the `next` of the answer before."""

    after: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class Logs(Struct, frozen=True):
    """In order. `next` is the `after` of the request that goes on from here; when the job has ended and there are no
    lines, there is nothing to go on for."""

    state: JobState
    lines: list[LogLine]
    next: str


@get(
    "/v1/jobs/{job_id:str}/logs",
    summary="Read what a job's handlers have logged",
    opt=documented(
        "jobs",
        "read-args",
        {200: Answer(Logs, ["Preference-Applied"])},
        query=LogQuery,
        headers={"Prefer": Prefer},
    ),
)
async def get_logs(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Response[Logs]:
    """From the line after `after` on. `Prefer: wait=30` waits until there is one, or the job has ended."""
    wanted, query, seconds = (
        job_id_of(job_id),
        query_of(request, LogQuery, _SHAPES, numbers=("limit", "after", "attempt")),
        wait_of(request),
    )
    deadline = asyncio.get_running_loop().time() + (seconds or 0)
    gone = asyncio.Event()

    async def until_gone() -> None:
        await disconnected(request)
        gone.set()

    while True:
        job = await database.ask(database.client.get(wanted))  # first: what has ended by then adds no line
        lines = await database.store(
            lambda store: store.logs(wanted, after=query.after, limit=query.limit, attempt=query.attempt)
        )
        left = deadline - asyncio.get_running_loop().time()
        if lines or job.state in ENDED or left <= 0 or gone.is_set() or database.stopping:
            following = str(lines[-1].line if lines else query.after)
            return Response(Logs(job.state, lines, following), headers=applied(seconds))
        await database.wait(wanted, min(left, _LOOK_SECONDS), unless=until_gone)
