"""GET /v1/errors: what fails, by the kind of error."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from msgspec import Meta, Struct, structs

from dtsched.api.callers import caller_of
from dtsched.api.database import Database
from dtsched.api.documentation import documented, own
from dtsched.api.problems import INVALID
from dtsched.api.requests import ApiRequest, Name, query_of
from dtsched.api.windows import since
from dtsched.overview import ErrorGroup
from dtsched.store import Store

_NAME = "1 to 128 characters out of A-Z a-z 0-9 . _ : -"
_SHAPES = {"since": "a string", "queue": _NAME, "task": _NAME, "limit": "1 to 200"}


class ErrorsWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which errors."""

    since: Annotated[
        str,
        Meta(
            description="Of jobs that failed since then: a time, or how long ago, like 90s, 1h, 7d.", examples=["24h"]
        ),
    ] = "24h"
    queue: Name | None = None
    task: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=200, description="How many groups at most.")] = 50


class GroupOfErrors(ErrorGroup, frozen=True, kw_only=True):
    """Failed jobs of one task with the same error, but for numbers, ids and what stands in quotes. `filter` selects
    them, and those that failed so before: for GET /v1/jobs and POST /v1/operations."""

    filter: str


class Errors(Struct, frozen=True):
    """The most frequent first. `looked_at` is how many failed jobs were looked at; `complete`: they were all there are,
    else the newest by id."""

    errors: list[GroupOfErrors]
    since: datetime
    looked_at: int
    complete: bool


@get(
    "/v1/errors",
    summary="List what fails, by the kind of error",
    opt=documented("jobs", own("read"), {200: Errors}, query=ErrorsWanted, problems=[INVALID]),
)
async def list_errors(request: ApiRequest, database: NamedDependency[Database]) -> Errors:
    """Errors of failed jobs; those of attempts that are tried again are not in it. POST /v1/operations with the
    `filter` of a group retries it."""
    wanted = query_of(request, ErrorsWanted, _SHAPES)
    since_then = since(wanted.since)
    mine = caller_of(request).queues
    queues = mine if wanted.queue is None else [one for one in [wanted.queue] if mine is None or one in mine]

    async def read(store: Store) -> Errors:
        began = await since_then(store)
        found = await store.errors(
            began, queues=queues, tasks=None if wanted.task is None else [wanted.task], limit=wanted.limit
        )
        groups = [_selected(group, wanted.queue) for group in found.groups]
        return Errors(groups, began, found.looked_at, found.complete)

    return await database.store(read)


def _selected(group: ErrorGroup, queue: str | None) -> GroupOfErrors:
    terms = ["state:failed", *([f"queue:{queue}"] if queue else []), f"task:{group.task}"]
    return GroupOfErrors(**structs.asdict(group), filter=" ".join([*terms, f"fingerprint:{group.fingerprint}"]))
