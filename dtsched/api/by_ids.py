"""What can be done to jobs named by their ids, each with its own outcome; and the ids of those that fit a filter."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from litestar import get, post
from litestar.di import NamedDependency
from msgspec import Meta, Struct, UnsetType, structs

from dtsched.api.actions import CHANGES, GivenChanges
from dtsched.api.callers import caller_of, narrowed, require_queues
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, documented, own
from dtsched.api.problems import INVALID, Refused
from dtsched.api.requests import ApiRequest, convert, object_of, query_of
from dtsched.api.shapes import ChangesBody, Instant
from dtsched.edits import checked_changes
from dtsched.filters import parse_filter
from dtsched.jobs import NewJob, check
from dtsched.store import LARGEST_ID, Store

MOST_IDS = 1000

Action: TypeAlias = Literal["cancel", "retry", "run-now", "reschedule", "delete", "edit"]
Act: TypeAlias = Callable[[Store, Sequence[int]], Awaitable[dict[int, str]]]
JobId: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_ID)]

_SHAPES = {
    "action": "cancel, retry, run-now, reschedule, delete or edit",
    "ids": f"a list of 1 to {MOST_IDS} ids of jobs",
    "run_at": "a time like 2030-01-31T09:00:00Z",
    "changes": "an object of what is to be changed",
}
_ID_SHAPES = {
    "filter": "a filter like state:failed queue:mail",
    "limit": "1 to 10000",
    "after": "the `next` of the page before",
}
_ACTS: dict[Action, Act] = {
    "cancel": Store.cancel,
    "retry": Store.retry,
    "run-now": Store.run_now,
    "delete": Store.delete,
}


class JobAction(Struct, forbid_unknown_fields=True):
    """`run_at` goes with reschedule, and `changes` with edit."""

    action: Action
    ids: Annotated[list[JobId], Meta(min_length=1, max_length=MOST_IDS, examples=[[1, 2]])]
    run_at: Instant | None = None
    changes: ChangesBody | None = None


JobActionBody: TypeAlias = Annotated[
    JobAction,
    Meta(
        extra_json_schema={
            "allOf": [
                {
                    "if": {"properties": {"action": {"const": action}}},
                    "then": {"properties": {field: {"not": {"type": "null"}}}, "required": [field]},
                    "else": {"properties": {field: {"type": "null"}}},
                }
                for action, field in (("reschedule", "run_at"), ("edit", "changes"))
            ],
            "examples": [{"action": "cancel", "ids": [1, 2]}],
        }
    ),
]


class JobOutcome(Struct, frozen=True):
    """What came of one job."""

    id: int
    outcome: str


class JobOutcomes(Struct, frozen=True):
    """In the order in which the ids were sent."""

    jobs: list[JobOutcome]


class IdQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs, newest first; `after` is the `next` of the page before."""

    filter: Annotated[str, Meta(description="As of GET /v1/jobs.", examples=["state:failed queue:mail since:1h"])] = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    after: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None


class Ids(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none; a page may be short, or
    empty, and not the last one."""

    ids: list[int]
    next: str | None


class _Given(Struct, forbid_unknown_fields=True):
    action: Action
    ids: Annotated[list[JobId], Meta(min_length=1, max_length=MOST_IDS)]
    run_at: datetime | None = None
    changes: dict[str, Any] | None = None


@post(
    "/v1/jobs/actions",
    summary="Act on jobs by their ids",
    status_code=200,
    opt=documented("jobs", own("operate"), {200: JobOutcomes}, body={JSON: JobActionBody}),
)
async def act_on_jobs(request: ApiRequest, database: NamedDependency[Database]) -> JobOutcomes:
    """At most 1,000. Each job meets with an outcome of its own, as of the same action on all that fit a filter;
    reschedule: scheduled, ready, blocked, running or finished; run-now: ready, blocked, running or finished. One that
    is not there, or that the key is not for, is missing; busy is to be tried again."""
    given, caller = convert(await object_of(request), _Given, _SHAPES), caller_of(request)
    act = _act_of(given)
    if given.changes is not None and isinstance(queue := given.changes.get("queue"), str):
        require_queues(caller, [queue])
    queues = caller.queues

    async def meet(store: Store) -> JobOutcomes:
        allowed = given.ids if queues is None else await _of_queues(store, given.ids, queues)
        outcomes = await act(store, allowed) if allowed else {}
        database.note(action=given.action, jobs=allowed, outcomes=dict(Counter(outcomes.values())))
        return JobOutcomes([JobOutcome(one, outcomes.get(one, "missing")) for one in given.ids])

    return await database.change(meet)


@get(
    "/v1/jobs/ids",
    summary="List the ids of jobs, newest first",
    opt=documented("jobs", own("read"), {200: Ids}, query=IdQuery, problems=[INVALID]),
)
async def list_ids(request: ApiRequest, database: NamedDependency[Database]) -> Ids:
    """Up to 10,000 at once, for those who go through many. Go on with `after` until `next` is null."""
    query = query_of(request, IdQuery, _ID_SHAPES, numbers=("limit", "after"))
    wanted = narrowed(caller_of(request), parse_filter(query.filter))
    page = await database.store(lambda store: store.find_jobs(wanted, before=query.after, limit=query.limit))
    return Ids(page.ids, None if page.next is None else str(page.next))


def _act_of(given: _Given) -> Act:
    for field, action in (("run_at", "reschedule"), ("changes", "edit")):
        if (getattr(given, field) is None) == (given.action == action):
            verb = "needs" if given.action == action else "takes no"
            raise Refused(INVALID, f"the action {given.action} {verb} {field}", field=field)
    if given.run_at is not None:
        run_at = check(NewJob(task="any", run_at=given.run_at)).run_at or given.run_at
        return lambda store, ids: store.reschedule(ids, run_at)
    if given.changes is not None:
        named = structs.asdict(convert(given.changes, GivenChanges, CHANGES))
        changes = checked_changes({name: value for name, value in named.items() if not isinstance(value, UnsetType)})
        return lambda store, ids: store.edit(ids, changes)
    return _ACTS[given.action]


async def _of_queues(store: Store, ids: Sequence[int], queues: Sequence[str]) -> list[int]:
    """Those of the jobs that are in these queues."""
    wanted = {"id": [str(one) for one in ids], "queue": list(queues)}
    found: set[int] = set()
    before: int | None = None
    while True:
        page = await store.find_jobs(wanted, before=before, limit=MOST_IDS)
        found.update(page.ids)
        if (before := page.next) is None:
            return [one for one in ids if one in found]
