"""The routes of /v1/jobs: each reads its request, asks the client one thing and shows the job that came of it."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import replace

from dtsched.api.database import Database
from dtsched.api.problems import BUSY, Refused
from dtsched.api.requests import ApiRequest, Parents, job_id_of, page_of, submission_of
from dtsched.connections import is_outage, is_transient
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.jobs import ENDED, Job, JobState


class Jobs(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none."""

    jobs: list[Job]
    next: str | None


class Result(Struct, frozen=True):
    """`result` is what the handler returned, `error` why there is nothing; both null while the job is unfinished."""

    state: JobState
    result: Any
    error: str | None


class Accepted(Struct, frozen=True):
    """A job that was submitted, but could not be read back any more."""

    id: int


@post("/v1/jobs", summary="Submit a job")
async def submit_job(request: ApiRequest, database: NamedDependency[Database]) -> Response[Job | Accepted]:
    job, parents = await submission_of(request)
    if parents is not None:
        job = replace(job, depends_on=await _ids_of(parents, database))
    (submitted,) = await database.ask(database.client.submit_many([job]))
    try:
        shown: Job | Accepted = await database.ask(database.client.get(submitted.id))
    except Exception as error:
        if not is_outage(error) and not is_transient(error):
            raise
        shown = Accepted(submitted.id)  # it is committed: a 503 would have it submitted again
    return Response(
        shown,
        status_code=201 if submitted.created else 200,
        headers={"location": f"/v1/jobs/{submitted.id}"},
    )


@get("/v1/jobs", summary="List jobs, newest first")
async def list_jobs(request: ApiRequest, database: NamedDependency[Database]) -> Jobs:
    page = page_of(request)
    jobs = await database.ask(
        database.client.list_jobs(
            state=page.state, queue=page.queue, task=page.task, before=page.after, limit=page.limit
        )
    )
    return Jobs(jobs, next=str(jobs[-1].id) if len(jobs) == page.limit else None)


@get("/v1/jobs/{job_id:str}", summary="Get a job")
async def get_job(job_id: FromPath[str], database: NamedDependency[Database]) -> Job:
    return await database.ask(database.client.get(job_id_of(job_id)))


@get("/v1/jobs/{job_id:str}/result", summary="Get what came of a job")
async def get_result(job_id: FromPath[str], database: NamedDependency[Database]) -> Response[Result]:
    job = await database.ask(database.client.get(job_id_of(job_id)))
    ended = job.state in ENDED
    return Response(
        Result(job.state, job.result, job.error) if ended else Result(job.state, None, None),
        status_code=200 if ended else 202,
        headers={} if ended else {"retry-after": "1"},
    )


@post("/v1/jobs/{job_id:str}/cancel", summary="Cancel a job")
async def cancel_job(job_id: FromPath[str], database: NamedDependency[Database]) -> Response[Job]:
    wanted = job_id_of(job_id)
    outcome = (await database.ask(database.client.cancel([wanted])))[wanted]
    if outcome == "missing":
        raise NotFound(f"there is no job {wanted}")
    if outcome == "finished":
        raise Conflict(f"job {wanted} has ended already")
    if outcome == "busy":
        raise Refused(BUSY, f"job {wanted} is being changed by somebody else at this moment")
    job = await database.ask(database.client.get(wanted))
    return Response(job, status_code=200 if outcome == "cancelled" else 202)


async def _ids_of(parents: Parents, database: Database) -> list[int]:
    """Keys become the ids of the jobs that hold them."""
    keys = [parent for parent in parents if isinstance(parent, str)]
    holders = await database.ask(database.client.jobs_of_keys(keys)) if keys else {}
    unheld = next((key for key in keys if key not in holders), None)
    if unheld is not None:
        raise InvalidInput(
            f"depends_on names the key {unheld[:60]!r}, which no unfinished job has: give the job's id",
            field="depends_on",
        )
    return [parent if isinstance(parent, int) else holders[parent] for parent in parents]
