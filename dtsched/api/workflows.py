"""The workflows in figures, cancelled and retried."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from dtsched.api.bodies import DEPTH_OF_JOBS, MAX_BATCH_BODY_BYTES, MAX_DEPTH, parse
from dtsched.api.by_ids import JobOutcome
from dtsched.api.callers import caller_of
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented, own
from dtsched.api.problems import INVALID, KEY_HELD, UNKNOWN_TASK
from dtsched.api.requests import (
    ApiRequest,
    WorkflowPage,
    body_of,
    convert,
    require_json,
    workflow_id_of,
    workflow_page_of,
)
from dtsched.api.shapes import WorkflowBody
from dtsched.api.submission import (
    BATCH_SECONDS,
    BatchEntry,
    HowToSubmit,
    batch_entry,
    batch_refusal,
    jobs_of,
    tasks_are_checked,
)
from dtsched.correlation import correlate
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.jobs import NewJob
from dtsched.overview import WorkflowRecord
from dtsched.store import Store

_SHAPES = {"name": "a string", "jobs": "a list of jobs"}


class Workflows(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none."""

    workflows: list[WorkflowRecord]
    next: str | None


class Acted(Struct, frozen=True):
    """The workflow now, how many of its jobs met with each outcome, as of the same action on a job, and which."""

    workflow: WorkflowRecord
    outcomes: dict[str, int]
    jobs: list[JobOutcome]


class MadeWorkflow(WorkflowRecord, frozen=True, kw_only=True):
    """`submitted` says what came of its jobs, in the order in which they were sent."""

    submitted: list[BatchEntry] | UnsetType = UNSET


class _Given(Struct, forbid_unknown_fields=True):
    name: str
    jobs: list[Any] | UnsetType = UNSET


@post(
    "/v1/workflows",
    summary="Create a workflow",
    opt=documented(
        "workflows",
        own("submit"),
        {201: MadeWorkflow},
        body={JSON: WorkflowBody},
        query=HowToSubmit,
        problems=[UNKNOWN_TASK, KEY_HELD],
    ),
)
async def create_workflow(request: ApiRequest, database: NamedDependency[Database]) -> Response[MadeWorkflow]:
    """Without `jobs` they are submitted later, with its id as `workflow`; else it and its jobs are made together, or
    nothing is: up to 10,000 jobs and 16 MiB, which depend on one another by key or by number."""
    check_tasks = tasks_are_checked(request)
    require_json(request)
    raw = await body_of(request, MAX_BATCH_BODY_BYTES, seconds=BATCH_SECONDS)
    given, jobs = await asyncio.to_thread(_read_new, raw)
    queues = caller_of(request).queues

    async def create(store: Store) -> MadeWorkflow:
        if not jobs:
            return MadeWorkflow(**asdict(await _workflow(store, await store.create_workflow(given.name))))
        workflow_id, submitted = await store.submit_workflow(given.name, jobs, check_tasks=check_tasks, queues=queues)
        made = await _workflow(store, workflow_id)
        return MadeWorkflow(**asdict(made), submitted=[batch_entry(one) for one in submitted])

    try:
        return Response(await database.store(create), status_code=201)
    except (InvalidInput, Conflict) as error:
        if not jobs:
            raise
        raise batch_refusal(error, jobs) from error


@get(
    "/v1/workflows",
    summary="List workflows, newest first",
    opt=documented("workflows", "read", {200: Answer(Workflows, ["Link"])}, query=WorkflowPage, problems=[INVALID]),
)
async def list_workflows(request: ApiRequest, database: NamedDependency[Database]) -> Response[Workflows]:
    """Go on with `after` until `next` is null; the Link header has the address of the next page."""
    page = workflow_page_of(request)
    found = await database.store(lambda store: store.list_workflows(before=page.after, limit=page.limit))
    following = str(found[-1].id) if len(found) == page.limit else None
    link = {} if following is None else {"link": f'</v1/workflows?limit={page.limit}&after={following}>; rel="next"'}
    return Response(Workflows(found, following), headers=link)


@get(
    "/v1/workflows/{workflow_id:str}",
    summary="Get a workflow",
    opt=documented("workflows", "read", {200: WorkflowRecord}),
)
async def get_workflow(workflow_id: FromPath[str], database: NamedDependency[Database]) -> WorkflowRecord:
    """Out of its jobs as they are now; GET /v1/jobs?filter=workflow:1 lists them."""
    wanted = workflow_id_of(workflow_id)
    return await database.store(lambda store: _workflow(store, wanted))


@post(
    "/v1/workflows/{workflow_id:str}/cancel",
    summary="Cancel a workflow",
    status_code=200,
    opt=documented("workflows", "operate", {200: Acted}),
)
async def cancel_workflow(workflow_id: FromPath[str], database: NamedDependency[Database]) -> Acted:
    """Every job of it that has not ended: what waits is cancelled, what runs is told and ends cancelled."""
    wanted = workflow_id_of(workflow_id)
    return await database.change(lambda store: _acted(database, store, wanted, Store.cancel_workflow))


@post(
    "/v1/workflows/{workflow_id:str}/retry",
    summary="Retry a workflow",
    status_code=200,
    opt=documented("workflows", "operate", {200: Acted}),
)
async def retry_workflow(workflow_id: FromPath[str], database: NamedDependency[Database]) -> Acted:
    """Every job of it that failed or was cancelled runs again; skipped ones do not."""
    wanted = workflow_id_of(workflow_id)
    return await database.change(lambda store: _acted(database, store, wanted, Store.retry_workflow))


async def _acted(
    database: Database, store: Store, workflow_id: int, act: Callable[[Store, int], Awaitable[dict[int, str]]]
) -> Acted:
    outcomes = await act(store, workflow_id)
    counts = dict(Counter(outcomes.values()))
    database.note(outcomes=counts)
    jobs = [JobOutcome(one, outcome) for one, outcome in outcomes.items()]
    return Acted(await _workflow(store, workflow_id), counts, jobs)


def _read_new(raw: bytes) -> tuple[_Given, Sequence[NewJob]]:
    given = convert(parse(raw, deepest=MAX_DEPTH + DEPTH_OF_JOBS), _Given, _SHAPES)
    if isinstance(given.jobs, UnsetType):
        return given, []
    return given, correlate(jobs_of(given.jobs))


async def _workflow(store: Store, workflow_id: int) -> WorkflowRecord:
    found = await store.workflow(workflow_id)
    if found is None:
        raise NotFound(f"there is no workflow {workflow_id}")
    return found
