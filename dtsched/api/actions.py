"""What can be done to a job: cancel, retry, run now, reschedule, delete. Each answers the job, or says why not."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from litestar import Response, delete, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType, structs

from dtsched.api.callers import caller_of, require_queues, visible
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented
from dtsched.api.etags import IfMatch, etag, expected
from dtsched.api.jobs import versioned
from dtsched.api.problems import BUSY, CONFLICT, INVALID, PRECONDITION, Refused
from dtsched.api.requests import ApiRequest, convert, job_id_of, object_of
from dtsched.api.shapes import ChangesBody, NewTimeBody
from dtsched.edits import checked_changes
from dtsched.errors import Conflict, NotFound
from dtsched.jobs import Job, NewJob, check
from dtsched.store import Store

_ENDED = "job {} has ended already"
_RUNNING = "job {} is running"
_CANCEL = {"finished": _ENDED}
_DELETE = {"running": "job {} is running: cancel it first"}
_RETRY = {
    "unfinished": "job {} has not ended yet: there is nothing to retry",
    "finished": "job {} has completed: submit it anew to have it run once more",
    "key_held": "another unfinished job has the key of job {} by now",
    "deadline": "the deadline of job {} has passed: submit it anew",
    "parents": "a job that job {} depends on failed or was cancelled: retry that one first",
}
_MOVE = {"running": _RUNNING, "finished": _ENDED}
_EDIT = {
    "running": "job {} is running: its worker has what it was",
    "finished": "job {} has completed: submit it anew to have it run with other args",
}
_SHAPES = {"run_at": "a time like 2030-01-31T09:00:00Z", "delay": 'a number of seconds, or a string like "10m"'}

Act = Callable[[Store, Sequence[int]], Awaitable[dict[int, str]]]


class _Given(Struct, forbid_unknown_fields=True):
    run_at: datetime | None = None
    delay: float | str | None = None


class GivenChanges(Struct, forbid_unknown_fields=True):
    """What is to be changed of a job; null takes away what may be missing."""

    args: dict[str, Any] | UnsetType = UNSET
    merge_args: dict[str, Any] | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    max_attempts: int | UnsetType = UNSET
    timeout: float | str | UnsetType | None = UNSET
    tags: list[str] | UnsetType = UNSET
    limit_key: str | UnsetType | None = UNSET
    deadline: datetime | UnsetType | None = UNSET


CHANGES = {
    "args": "an object of named arguments",
    "merge_args": "an object of named arguments",
    "queue": "1 to 128 characters out of A-Z a-z 0-9 . _ : -",
    "priority": "1 to 10",
    "max_attempts": "1 to 1000",
    "timeout": 'a number of seconds, a string like "10m", or null',
    "tags": "a list of strings",
    "limit_key": "1 to 255 characters, or null",
    "deadline": "a time like 2030-01-31T09:00:00Z, or null",
}


@post(
    "/v1/jobs/{job_id:str}/cancel",
    summary="Cancel a job",
    opt=documented("jobs", "operate", {200: Job, 202: Job}, problems=[CONFLICT]),
)
async def cancel_job(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Response[Job]:
    """200 when it was waiting and is cancelled now, 202 when it runs: its worker is told, and it ends cancelled."""
    wanted = job_id_of(job_id)
    outcome = await _act(database, wanted, Store.cancel, _CANCEL)
    job = await _seen(request, database, wanted)
    return Response(job, status_code=200 if outcome == "cancelled" else 202)


@post(
    "/v1/jobs/{job_id:str}/retry",
    summary="Retry a job",
    status_code=200,
    opt=documented("jobs", "operate", {200: Job}, problems=[CONFLICT]),
)
async def retry_job(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Job:
    """A failed or cancelled job runs again, with all its attempts before it."""
    wanted = job_id_of(job_id)
    await _act(database, wanted, Store.retry, _RETRY)
    return await _seen(request, database, wanted)


@post(
    "/v1/jobs/{job_id:str}/run-now",
    summary="Run a scheduled job now",
    status_code=200,
    opt=documented("jobs", "operate", {200: Job}, problems=[CONFLICT]),
)
async def run_job_now(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Job:
    """It is ready at once. One that waits for other jobs goes on waiting for them, and for no time any more."""
    wanted = job_id_of(job_id)
    await _act(database, wanted, Store.run_now, _MOVE)
    return await _seen(request, database, wanted)


@post(
    "/v1/jobs/{job_id:str}/reschedule",
    summary="Run a waiting job at another time",
    status_code=200,
    opt=documented("jobs", "operate", {200: Job}, body={JSON: NewTimeBody}, problems=[CONFLICT]),
)
async def reschedule_job(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Job:
    """`run_at`, or `delay` from now. A job that waits for others waits for that time too."""
    wanted = job_id_of(job_id)
    given = convert(await object_of(request), _Given, _SHAPES)
    if given.run_at is None and given.delay is None:
        raise Refused(INVALID, "say when: give run_at or delay", field="run_at")
    new = check(NewJob(task="any", run_at=given.run_at, delay=given.delay))

    async def reschedule(store: Store, ids: Sequence[int]) -> dict[int, str]:
        run_at = new.run_at or await store.now() + timedelta(seconds=float(new.delay or 0))
        database.note(run_at=run_at)
        return await store.reschedule(ids, run_at)

    await _act(database, wanted, reschedule, _MOVE)
    return await _seen(request, database, wanted)


@patch(
    "/v1/jobs/{job_id:str}",
    summary="Change a job",
    opt=documented(
        "jobs",
        "operate",
        {200: Answer(Job, ["ETag"])},
        body={JSON: ChangesBody},
        headers={"If-Match": IfMatch},
        problems=[CONFLICT, PRECONDITION],
    ),
)
async def edit_job(request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]) -> Response[Job]:
    """Of a job that waits, has failed or was cancelled. What is left out stays as it is, and null takes a timeout, a
    limit key or a deadline away. An ended job stays as it ended: retry has it run again. With If-Match it is changed
    only if it still is the version that was read, else 412."""
    wanted = job_id_of(job_id)
    given = structs.asdict(convert(await object_of(request), GivenChanges, CHANGES))
    changes = checked_changes({name: value for name, value in given.items() if value is not UNSET})
    if "queue" in changes:
        require_queues(caller_of(request), [changes["queue"]])
    versions = expected(request)

    async def edit(store: Store, ids: Sequence[int]) -> dict[int, str]:
        if versions is None:
            outcomes = await store.edit(ids, changes)
        else:
            outcomes = {wanted: await store.edit_expecting(wanted, changes, versions)}
        if outcomes[wanted] == "changed":
            raise Refused(PRECONDITION, f"job {wanted} is not what If-Match says any more")
        if outcomes[wanted] == "too_large":
            raise Refused(INVALID, f"the args of job {wanted} would be over 1 MiB (1048576 bytes)", field="merge_args")
        return outcomes

    database.note(changed=sorted(changes))
    await _act(database, wanted, edit, _EDIT)
    job, version = await database.store(partial(versioned, job_id=wanted))
    return Response(visible(caller_of(request), job), headers=etag(version))


@delete(
    "/v1/jobs/{job_id:str}", summary="Delete a job", opt=documented("jobs", "operate", {204: None}, problems=[CONFLICT])
)
async def delete_job(job_id: FromPath[str], database: NamedDependency[Database]) -> None:
    """With its result and its attempts. A job that waits is cancelled first, with those that depend on it."""
    await _act(database, job_id_of(job_id), Store.delete, _DELETE)


async def _seen(request: ApiRequest, database: Database, job_id: int) -> Job:
    return visible(caller_of(request), await database.ask(database.client.get(job_id)))


async def _act(database: Database, job_id: int, act: Act, refusals: Mapping[str, str]) -> str:
    """The outcome; NotFound, or a sentence of `refusals`, when it is none that was wanted."""

    async def meet(store: Store) -> str:
        outcome = (await act(store, [job_id]))[job_id]
        if outcome == "missing":
            raise NotFound(f"there is no job {job_id}")
        if outcome == "busy":
            raise Refused(BUSY, f"job {job_id} is being changed by somebody else at this moment")
        if outcome in refusals:
            raise Conflict(refusals[outcome].format(job_id))
        database.note(outcome=outcome)
        return outcome

    return await database.change(meet)
