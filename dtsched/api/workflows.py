"""The workflows in figures, cancelled and retried."""

from collections import Counter
from collections.abc import Awaitable, Callable

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from dtsched.api.database import Database
from dtsched.api.documentation import JSON, documented
from dtsched.api.problems import INVALID
from dtsched.api.requests import ApiRequest, WorkflowPage, convert, object_of, workflow_id_of, workflow_page_of
from dtsched.api.shapes import WorkflowBody
from dtsched.errors import NotFound
from dtsched.overview import WorkflowRecord
from dtsched.store import Store


class Workflows(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none."""

    workflows: list[WorkflowRecord]
    next: str | None


class Acted(Struct, frozen=True):
    """The workflow now, and how many of its jobs met with each outcome, as of the same action on a job."""

    workflow: WorkflowRecord
    outcomes: dict[str, int]


class _Given(Struct, forbid_unknown_fields=True):
    name: str


@post(
    "/v1/workflows",
    summary="Create a workflow",
    opt=documented("workflows", "submit", {201: WorkflowRecord}, body={JSON: WorkflowBody}),
)
async def create_workflow(request: ApiRequest, database: NamedDependency[Database]) -> Response[WorkflowRecord]:
    """Without jobs: they are submitted with its id as `workflow`."""
    given = convert(await object_of(request), _Given, {"name": "a string"})

    async def create(store: Store) -> WorkflowRecord:
        return await _workflow(store, await store.create_workflow(given.name))

    return Response(await database.store(create), status_code=201)


@get(
    "/v1/workflows",
    summary="List workflows, newest first",
    opt=documented("workflows", "read", {200: Workflows}, query=WorkflowPage, problems=[INVALID]),
)
async def list_workflows(request: ApiRequest, database: NamedDependency[Database]) -> Workflows:
    """Go on with `after` until `next` is null."""
    page = workflow_page_of(request)
    found = await database.store(lambda store: store.list_workflows(before=page.after, limit=page.limit))
    return Workflows(found, str(found[-1].id) if len(found) == page.limit else None)


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
    return await database.store(lambda store: _acted(store, wanted, Store.cancel_workflow))


@post(
    "/v1/workflows/{workflow_id:str}/retry",
    summary="Retry a workflow",
    status_code=200,
    opt=documented("workflows", "operate", {200: Acted}),
)
async def retry_workflow(workflow_id: FromPath[str], database: NamedDependency[Database]) -> Acted:
    """Every job of it that failed or was cancelled runs again; skipped ones do not."""
    wanted = workflow_id_of(workflow_id)
    return await database.store(lambda store: _acted(store, wanted, Store.retry_workflow))


async def _acted(store: Store, workflow_id: int, act: Callable[[Store, int], Awaitable[dict[int, str]]]) -> Acted:
    outcomes = Counter((await act(store, workflow_id)).values())
    return Acted(await _workflow(store, workflow_id), dict(outcomes))


async def _workflow(store: Store, workflow_id: int) -> WorkflowRecord:
    found = await store.workflow(workflow_id)
    if found is None:
        raise NotFound(f"there is no workflow {workflow_id}")
    return found
