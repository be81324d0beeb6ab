"""What can be done to all jobs that fit a filter, so many at a call: cancel, retry, delete, edit."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from litestar import post
from litestar.di import NamedDependency
from msgspec import UNSET, Meta, Struct, structs

from dtsched.api.actions import CHANGES, GivenChanges
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, documented
from dtsched.api.problems import INVALID, Refused
from dtsched.api.requests import ApiRequest, convert, object_of
from dtsched.api.shapes import ChangesBody
from dtsched.edits import checked_changes
from dtsched.filters import parse_filter
from dtsched.store import Store

Act = Callable[[Store, Sequence[int]], Awaitable[dict[int, str]]]
FilterText = Annotated[
    str,
    Meta(
        min_length=1,
        description="As of GET /v1/jobs. Terms that must all fit.",
        examples=["state:failed queue:mail error:Timeout"],
    ),
]
After = Annotated[str, Meta(pattern="^[1-9][0-9]{0,17}$", description="The `next` of the answer before.")]
Count = Annotated[int, Meta(ge=1, le=1000, description="How many jobs at most.")]

_SHAPES = {
    "filter": "a filter like state:failed queue:mail",
    "after": "the `next` of the answer before",
    "limit": "1 to 1000",
}


class JobsWanted(Struct, forbid_unknown_fields=True):
    """Which jobs, newest first."""

    filter: FilterText
    after: After | None = None
    limit: Count = 500


class ChangesWanted(Struct, forbid_unknown_fields=True):
    """Which jobs, newest first, and what is to be changed of each."""

    filter: FilterText
    changes: ChangesBody
    after: After | None = None
    limit: Count = 500


class _ChangesWanted(Struct, forbid_unknown_fields=True):
    filter: FilterText
    changes: dict[str, Any]
    after: After | None = None
    limit: Count = 500


class ActedOn(Struct, frozen=True):
    """How many jobs met with each outcome. `next` is the `after` of the call that goes on, null when nothing is left:
    a call may meet few jobs, or none, and not be the last one."""

    outcomes: dict[str, int]
    next: str | None


@post(
    "/v1/jobs/cancel",
    summary="Cancel jobs by a filter",
    status_code=200,
    opt=documented("jobs", "operate", {200: ActedOn}, body={JSON: JobsWanted}),
)
async def cancel_jobs(request: ApiRequest, database: NamedDependency[Database]) -> ActedOn:
    """cancelled, requested (it runs, and is told), finished, or busy (somebody is changing it: send it again)."""
    return await _act(database, convert(await object_of(request), JobsWanted, _SHAPES), Store.cancel)


@post(
    "/v1/jobs/retry",
    summary="Retry jobs by a filter",
    status_code=200,
    opt=documented("jobs", "operate", {200: ActedOn}, body={JSON: JobsWanted}),
)
async def retry_jobs(request: ApiRequest, database: NamedDependency[Database]) -> ActedOn:
    """retried, or why not: unfinished, finished (it has completed), key_held, deadline, busy, or parents (of a job
    that it depends on, and whose turn may come in a later call: begin anew then)."""
    return await _act(database, convert(await object_of(request), JobsWanted, _SHAPES), Store.retry)


@post(
    "/v1/jobs/delete",
    summary="Delete jobs by a filter",
    status_code=200,
    opt=documented("jobs", "operate", {200: ActedOn}, body={JSON: JobsWanted}),
)
async def delete_jobs(request: ApiRequest, database: NamedDependency[Database]) -> ActedOn:
    """With results and attempts. deleted, running (cancel it first) or busy."""
    return await _act(database, convert(await object_of(request), JobsWanted, _SHAPES), Store.delete)


@post(
    "/v1/jobs/edit",
    summary="Change jobs by a filter",
    status_code=200,
    opt=documented("jobs", "operate", {200: ActedOn}, body={JSON: ChangesWanted}),
)
async def edit_jobs(request: ApiRequest, database: NamedDependency[Database]) -> ActedOn:
    """`changes` are as of PATCH /v1/jobs/{job_id}. edited, running, finished (it has completed), too_large or busy."""
    shapes = {**_SHAPES, "changes": "an object of what is to be changed"}
    given = convert(await object_of(request), _ChangesWanted, shapes)
    named = structs.asdict(convert(given.changes, GivenChanges, CHANGES))
    changes = checked_changes({name: value for name, value in named.items() if value is not UNSET})
    return await _act(database, given, lambda store, ids: store.edit(ids, changes))


async def _act(database: Database, given: JobsWanted | _ChangesWanted, act: Act) -> ActedOn:
    wanted = parse_filter(given.filter)
    if not wanted:
        raise Refused(
            INVALID, "filter is empty, which would mean every job: say which ones, as in state:failed", field="filter"
        )
    before = None if given.after is None else int(given.after)

    async def meet(store: Store) -> ActedOn:
        page = await store.find_jobs(wanted, before=before, limit=given.limit)
        outcomes = await act(store, page.ids)
        return ActedOn(dict(Counter(outcomes.values())), None if page.next is None else str(page.next))

    return await database.store(meet)
