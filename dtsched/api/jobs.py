"""What can be read of one job: itself, its result, its attempts, and why it is where it is."""

from datetime import datetime
from functools import partial
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType

from dtsched.api.callers import caller_of, visible
from dtsched.api.database import Database
from dtsched.api.documentation import Answer, documented
from dtsched.api.etags import IfNoneMatch, etag, is_known
from dtsched.api.preferences import Prefer, applied, disconnected, wait_of
from dtsched.api.requests import ApiRequest, job_id_of
from dtsched.errors import NotFound
from dtsched.jobs import ENDED, Job, JobState
from dtsched.overview import AttemptRecord, Reason
from dtsched.store import Store


class Result(Struct, frozen=True):
    """`result` is what the handler returned, `error` why there is nothing; both null while the job is unfinished. From
    `expired_at` on the result of a completed job is not kept any more."""

    state: JobState
    result: Any
    error: str | None
    expired_at: datetime | UnsetType = UNSET


class Attempts(Struct, frozen=True):
    """Those that did not simply succeed, newest first, at most 200."""

    attempts: list[AttemptRecord]


class Why(Struct, frozen=True):
    """Why a job is where it is: the decisive reason first."""

    state: JobState
    reasons: list[Reason]


@get(
    "/v1/jobs/{job_id:str}",
    summary="Get a job",
    opt=documented(
        "jobs",
        "read",
        {200: Answer(Job, ["ETag"]), 304: Answer(None, ["ETag"])},
        headers={"If-None-Match": IfNoneMatch},
    ),
)
async def get_job(
    request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]
) -> Response[Job] | Response[None]:
    """Its args, result and progress are null for a key without the scope read-args. Its ETag changes whenever anything
    of it does. 304 where If-None-Match brings the one that it has."""
    job, version = await database.store(partial(versioned, job_id=job_id_of(job_id)))
    if is_known(request, version):
        return Response(None, status_code=304, headers=etag(version))
    return Response(visible(caller_of(request), job), headers=etag(version))


@get(
    "/v1/jobs/{job_id:str}/result",
    summary="Get what came of a job",
    opt=documented(
        "jobs",
        "read-args",
        {200: Answer(Result, ["Preference-Applied"]), 202: Answer(Result, ["Preference-Applied", "Retry-After"])},
        headers={"Prefer": Prefer},
    ),
)
async def get_result(
    request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database]
) -> Response[Result]:
    """200 when the job has ended, whether well or not, else 202; `Prefer: wait=30` waits for the end before."""
    wanted, seconds = job_id_of(job_id), wait_of(request)
    job = await database.wait(wanted, seconds or 0, unless=partial(disconnected, request))
    ended = job.state in ENDED
    return Response(
        Result(job.state, job.result, job.error, job.result_expired_at or UNSET)
        if ended
        else Result(job.state, None, None),
        status_code=200 if ended else 202,
        headers={**applied(seconds), **({} if ended else {"retry-after": "1"})},
    )


@get(
    "/v1/jobs/{job_id:str}/attempts",
    summary="List what went wrong with a job",
    opt=documented("jobs", "read", {200: Attempts}),
)
async def get_attempts(job_id: FromPath[str], database: NamedDependency[Database]) -> Attempts:
    """Its attempts that did not simply succeed, newest first, at most 200."""
    wanted = job_id_of(job_id)

    async def read(store: Store) -> Attempts:
        await _job(store, wanted)
        return Attempts(await store.attempts(wanted))

    return await database.store(read)


@get("/v1/jobs/{job_id:str}/why", summary="Say why a job is where it is", opt=documented("jobs", "read", {200: Why}))
async def get_why(job_id: FromPath[str], database: NamedDependency[Database]) -> Why:
    """The state, and the reasons for it, the decisive one first."""
    wanted = job_id_of(job_id)

    async def read(store: Store) -> Why:
        job = await _job(store, wanted)
        return Why(job.state, await store.why(wanted))

    return await database.store(read)


async def versioned(store: Store, *, job_id: int) -> tuple[Job, str]:
    found = await store.versioned_job(job_id)
    if found is None:
        raise NotFound(f"there is no job {job_id}")
    return found


async def _job(store: Store, job_id: int) -> Job:
    job = await store.job(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job
