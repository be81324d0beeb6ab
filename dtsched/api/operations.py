"""Operations: an action over all jobs that fit a filter, begun, looked at and cancelled. The database does the work, in
steps that every worker and every server takes."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, structs

from dtsched.api.actions import CHANGES, GivenChanges
from dtsched.api.callers import Caller, caller_of
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented, own
from dtsched.api.preferences import PreferOver, applied, disconnected, wait_of
from dtsched.api.problems import (
    OPERATION_OVER,
    QUEUE_FORBIDDEN,
    SCOPE_MISSING,
    Refused,
)
from dtsched.api.requests import ApiRequest, convert, object_of, operation_id_of, query_of
from dtsched.api.shapes import ChangesBody, Duration, Instant, Seconds
from dtsched.checks import shown
from dtsched.maintenance.chores import Nudge
from dtsched.operations import OVER, Action, NewOperation, OperationRecord, checked_operation
from dtsched.store import LARGEST_ID, Store

_SHAPES = {
    "action": "cancel, retry, delete, edit, run-now or reschedule",
    "filter": "a filter like state:failed queue:mail",
    "changes": "an object of what is to be changed",
    "run_at": "a time like 2030-01-31T09:00:00Z",
    "delay": 'a number of seconds, or a string like "10m"',
    "dry_run": "true or false",
}
_PAGE_SHAPES = {"limit": "1 to 200", "after": "the `next` of the page before"}
_GIVEN = {"not": {"type": "null"}}


class OperationRequest(Struct, forbid_unknown_fields=True):
    """What to do to all jobs that fit a filter. `changes` go with edit alone, as of PATCH /v1/jobs/{job_id}; one of
    `run_at` and `delay` with reschedule alone."""

    action: Action
    filter: Annotated[
        str,
        Meta(
            min_length=1,
            description="As of GET /v1/jobs: terms that must all fit. At least one.",
            examples=["state:failed queue:mail error:Timeout"],
        ),
    ]
    changes: ChangesBody | None = None
    run_at: Annotated[Instant | None, Meta(description="Not before this time.")] = None
    delay: Annotated[
        Seconds | Duration | None, Meta(description="Not before this much time has passed since the request.")
    ] = None
    dry_run: Annotated[bool, Meta(description="Count and show what fits, and change nothing.")] = False


def _goes_with(action: str, field: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"action": {"const": action}}}, "then": field, "else": {"not": field}}


_TIME: dict[str, Any] = {"anyOf": [{"properties": {name: _GIVEN}, "required": [name]} for name in ("run_at", "delay")]}
OperationBody = Annotated[
    OperationRequest,
    Meta(
        extra_json_schema={
            "allOf": [
                _goes_with("edit", {"properties": {"changes": _GIVEN}, "required": ["changes"]}),
                _goes_with("reschedule", _TIME),
                {"not": {"properties": {"run_at": _GIVEN, "delay": _GIVEN}, "required": ["run_at", "delay"]}},
            ],
            "examples": [{"action": "retry", "filter": "state:failed queue:mail error:Timeout", "dry_run": True}],
        }
    ),
]


class Operations(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none."""

    operations: list[OperationRecord]
    next: str | None


class OperationPage(Struct, frozen=True, forbid_unknown_fields=True):
    """Which operations to list, newest first; `after` is the `next` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None


class _Given(Struct, forbid_unknown_fields=True):
    action: str
    filter: str
    changes: dict[str, Any] | None = None
    run_at: datetime | None = None
    delay: float | str | None = None
    dry_run: bool = False


@post(
    "/v1/operations",
    summary="Do something to all jobs that fit a filter",
    opt=documented(
        "operations",
        own("operate"),
        {201: Answer(OperationRecord, ["Location", "Preference-Applied"])},
        body={JSON: OperationBody},
        headers={"Prefer": PreferOver},
        problems=[SCOPE_MISSING, QUEUE_FORBIDDEN],
    ),
)
async def create_operation(
    request: ApiRequest, database: NamedDependency[Database], nudge: NamedDependency[Nudge]
) -> Response[OperationRecord]:
    """Try it with `dry_run` first. It goes on by itself, at once and in small steps, and GET on its address says how
    far it is; `Prefer: wait=30` answers when it is over. Jobs that are submitted after this request are not met."""
    caller, seconds = caller_of(request), wait_of(request)
    new = _checked(convert(await object_of(request), _Given, _SHAPES))
    _require_allowed(caller, new)

    async def create(store: Store) -> OperationRecord:
        begun = await store.create_operation(new, queues=caller.queues, by=caller.name)
        database.note(target=begun, action=new.action, dry_run=new.dry_run)
        return await store.operation(begun, queues=caller.queues)

    operation = await database.change(create)
    nudge("operations")
    if seconds:
        operation = await database.until(
            lambda store: store.operation(operation.id, queues=caller.queues),
            lambda seen: seen.state in OVER,
            seconds,
            unless=partial(disconnected, request),
        )
    return Response(
        _visible(caller, operation),
        status_code=201,
        headers={"location": f"/v1/operations/{operation.id}", **applied(seconds)},
    )


@get(
    "/v1/operations",
    summary="List operations, newest first",
    opt=documented("operations", own("read"), {200: Answer(Operations, ["Link"])}, query=OperationPage),
)
async def list_operations(request: ApiRequest, database: NamedDependency[Database]) -> Response[Operations]:
    """Those of the last 30 days. Go on with `after` until `next` is null."""
    caller = caller_of(request)
    page = query_of(request, OperationPage, _PAGE_SHAPES, numbers=("limit", "after"))
    found = await database.store(
        lambda store: store.operations(before=page.after, limit=page.limit, queues=caller.queues)
    )
    following = str(found[-1].id) if len(found) == page.limit else None
    query = urlencode({"limit": page.limit, "after": following or ""})
    link = {} if following is None else {"link": f'</v1/operations?{query}>; rel="next"'}
    return Response(Operations([_visible(caller, each) for each in found], following), headers=link)


@get(
    "/v1/operations/{operation_id:str}",
    summary="Get an operation",
    opt=documented(
        "operations",
        own("read"),
        {200: Answer(OperationRecord, ["Preference-Applied"])},
        headers={"Prefer": PreferOver},
    ),
)
async def get_operation(
    request: ApiRequest, operation_id: FromPath[str], database: NamedDependency[Database]
) -> Response[OperationRecord]:
    """How far it is, and what came of the jobs that it has met; `Prefer: wait=30` answers when it is over."""
    caller, wanted, seconds = caller_of(request), operation_id_of(operation_id), wait_of(request)
    operation = await database.until(
        lambda store: store.operation(wanted, queues=caller.queues),
        lambda seen: seen.state in OVER,
        seconds or 0,
        unless=partial(disconnected, request),
    )
    return Response(_visible(caller, operation), headers=applied(seconds))


@post(
    "/v1/operations/{operation_id:str}/cancel",
    summary="Cancel an operation",
    status_code=200,
    opt=documented("operations", own("operate"), {200: OperationRecord}, problems=[OPERATION_OVER]),
)
async def cancel_operation(
    request: ApiRequest, operation_id: FromPath[str], database: NamedDependency[Database]
) -> OperationRecord:
    """It does nothing more; what it has done stays. 409 when it is over."""
    caller, wanted = caller_of(request), operation_id_of(operation_id)

    async def cancel(store: Store) -> OperationRecord:
        outcome = await store.cancel_operation(wanted, queues=caller.queues)
        operation = await store.operation(wanted, queues=caller.queues)
        if outcome != "cancelled":
            raise Refused(OPERATION_OVER, f"operation {wanted} is over: it is {operation.state}")
        return operation

    return _visible(caller, await database.change(cancel))


def _checked(given: _Given) -> NewOperation:
    changes = None
    if given.changes is not None:
        named = structs.asdict(convert(given.changes, GivenChanges, CHANGES))
        changes = {name: value for name, value in named.items() if value is not UNSET}
    return checked_operation(
        given.action,
        given.filter,
        changes=changes,
        run_at=given.run_at,
        delay=given.delay,
        dry_run=given.dry_run,
    )


def _require_allowed(caller: Caller, new: NewOperation) -> None:
    if "args" in new.wanted and not caller.may("read-args"):
        raise Refused(SCOPE_MISSING, "the key needs the scope read-args to filter by args", field="filter")
    queue = (new.changes or {}).get("queue")
    if queue is not None and caller.queues is not None and queue not in caller.queues:
        raise Refused(QUEUE_FORBIDDEN, f"this key is not for the queue {shown(queue)}", field="changes")


def _visible(caller: Caller, operation: OperationRecord) -> OperationRecord:
    """Without read-args, nothing of args: neither values that they are to have nor values that were searched for."""
    if caller.may("read-args"):
        return operation
    changes = operation.changes and {
        name: None if name in ("args", "merge_args") else value for name, value in operation.changes.items()
    }
    said = None if "args." in (operation.filter or "") else operation.filter
    return structs.replace(operation, filter=said, changes=changes)
