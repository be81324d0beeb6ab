"""POST /v1/jobs and POST /v1/jobs/batch: bodies become jobs that are checked, or a problem that names the field."""

import asyncio
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

from litestar import Response, post
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.bodies import MAX_BATCH_BODY_BYTES, MAX_BATCH_JOBS, parse_batch
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented
from dtsched.api.preferences import Prefer, applied, disconnected, wait_of
from dtsched.api.problems import KEY_HELD, MALFORMED, UNKNOWN_TASK, Refused
from dtsched.api.requests import ApiRequest, body_of, convert, object_of, require_json
from dtsched.api.shapes import BatchBody, JobBody
from dtsched.connections import is_outage, is_transient
from dtsched.correlation import correlate
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.jobs import Job, NewJob, ParentEdge, Submitted, check, shown

_BATCH_SECONDS = 60.0  # for a body of 16 MiB to arrive

_TIME = "a time like 2030-01-31T09:00:00Z"
_SHAPES = {
    "task": "a string",
    "args": "an object of named arguments",
    "queue": "a string",
    "priority": "an integer from 1 to 10",
    "run_at": _TIME,
    "delay": 'a number of seconds, or a string like "10m"',
    "max_attempts": "an integer from 1 to 1000",
    "timeout": 'a number of seconds, or a string like "10m"',
    "key": "a string",
    "key_for": 'unfinished, kept, a number of seconds, or a string like "10m"',
    "on_conflict": "keep, replace, reject or supersede",
    "limit_key": "a string",
    "depends_on": 'a list of job ids, keys and objects like {"entry": 1, "on_failure": "run"}',
    "on_parent_failure": "cancel, run or skip",
    "workflow": "the id of a workflow",
    "tags": "a list of strings",
    "backoff": "an object",
    "deadline": _TIME,
    "expires_in": 'a number of seconds, or a string like "10m"',
    "correlation_id": "a string",
}
_NUMBER = re.compile(r"job ([0-9]+): ")
_MISSING_WORKFLOW = re.compile(r"there is no workflow ([0-9]+)")
_MISSING_PARENT = re.compile(r"depends_on names job ([0-9]+), which does not exist")


class Accepted(Struct, frozen=True):
    """A job that was submitted, but could not be read back any more."""

    id: int


class BatchAccepted(Struct, frozen=True):
    """In the order in which the jobs were sent."""

    jobs: list[Submitted]


@post(
    "/v1/jobs",
    summary="Submit a job",
    opt=documented(
        "jobs",
        {
            201: Answer(Job | Accepted, ["Location", "Preference-Applied"]),
            200: Answer(Job | Accepted, ["Location", "Preference-Applied"]),
        },
        body={JSON: JobBody},
        headers={"Prefer": Prefer},
        problems=[UNKNOWN_TASK, KEY_HELD],
    ),
)
async def submit_job(request: ApiRequest, database: NamedDependency[Database]) -> Response[Job | Accepted]:
    """201 with the new job, or 200 with the one that has its key, as it was or with the new values (`on_conflict`)."""
    seconds = wait_of(request)
    job = convert(await object_of(request), NewJob, _SHAPES)
    try:
        (submitted,) = await database.ask(database.client.submit_many([job]))
    except Conflict as error:
        raise Refused(KEY_HELD, str(error), field="key") from error
    try:
        answer: Job | Accepted = await database.wait(submitted.id, seconds or 0, unless=partial(disconnected, request))
    except Exception as error:
        if not isinstance(error, NotFound) and not is_outage(error) and not is_transient(error):
            raise
        answer = Accepted(submitted.id)  # it is committed: a 503 would have it submitted again
    return Response(
        answer,
        status_code=201 if submitted.created else 200,
        headers={"location": f"/v1/jobs/{submitted.id}", **applied(seconds)},
    )


@post(
    "/v1/jobs/batch",
    summary="Submit many jobs at once",
    opt=documented(
        "jobs", {201: BatchAccepted, 200: BatchAccepted}, body={JSON: BatchBody}, problems=[UNKNOWN_TASK, KEY_HELD]
    ),
)
async def submit_batch(request: ApiRequest, database: NamedDependency[Database]) -> Response[BatchAccepted]:
    """All or none, at most 10,000 jobs and 16 MiB; a bare array is taken too. 201 when a job was made, 200 when
    other jobs have all the keys already. A problem names the job by its number, from 1."""
    require_json(request)
    raw = await body_of(request, MAX_BATCH_BODY_BYTES, seconds=_BATCH_SECONDS)
    jobs = await asyncio.to_thread(_jobs_of, raw)
    try:
        submitted = await database.store(lambda store: store.submit_many(correlate(jobs)))
    except InvalidInput as error:
        raise _numbered(error, jobs) from error
    except Conflict as error:
        number = _NUMBER.match(str(error))
        raise Refused(KEY_HELD, str(error), field=_path(int(number[1]) if number else 1, "key")) from error
    return Response(BatchAccepted(submitted), status_code=201 if any(job.created for job in submitted) else 200)


def _jobs_of(raw: bytes) -> list[NewJob]:
    given = parse_batch(raw)
    if not 1 <= len(given) <= MAX_BATCH_JOBS:
        raise InvalidInput(f"a batch must be of 1 to {MAX_BATCH_JOBS} jobs, not {len(given)}", field="jobs")
    return [_job_of(element, number) for number, element in enumerate(given, start=1)]


def _job_of(given: object, number: int) -> NewJob:
    with _named_by_number(number):
        if not isinstance(given, dict):
            raise Refused(MALFORMED, f"a job must be an object, not {shown(given)}")
        return check(convert(cast("dict[str, object]", given), NewJob, _SHAPES))


@contextmanager
def _named_by_number(number: int) -> Generator[None]:
    try:
        yield
    except Refused as error:
        raise Refused(error.kind, f"job {number}: {error}", field=_path(number, error.field)) from error
    except InvalidInput as error:
        raise InvalidInput(f"job {number}: {error}", field=_path(number, error.field)) from error


def _numbered(error: InvalidInput, jobs: Sequence[NewJob]) -> InvalidInput:
    """What the database says of a batch: it knows the number of the job, but not where only the commit shows it."""
    if found := _NUMBER.match(str(error)):
        return type(error)(str(error), field=_path(int(found[1]), error.field))
    parent = _MISSING_PARENT.match(str(error))
    workflow = _MISSING_WORKFLOW.match(str(error))
    number = next(
        (
            n
            for n, job in enumerate(jobs, 1)
            if (parent and int(parent[1]) in map(_id_of, job.depends_on or ()))
            or (workflow and int(workflow[1]) == job.workflow)
        ),
        1,
    )
    return type(error)(f"job {number}: {error}", field=_path(number, error.field))


def _id_of(parent: int | str | ParentEdge) -> int | str | None:
    return parent.job if isinstance(parent, ParentEdge) else parent


def _path(number: int, field: str | None) -> str:
    return f"jobs[{number}].{field}" if field else f"jobs[{number}]"
