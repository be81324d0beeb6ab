"""How long ended jobs are kept: shown, set for all queues that say nothing themselves, and enforced now."""

import asyncio
from time import monotonic

from litestar import get, patch, post
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.bodies import MAX_BODY_BYTES
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, documented
from dtsched.api.requests import ApiRequest, body_of, object_of
from dtsched.api.settings import RetentionBody
from dtsched.limits import checked_settings
from dtsched.overview import PastRetention, Retention
from dtsched.store import Pruned, Store

_BUDGET_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


class Rules(Struct, frozen=True):
    """In seconds, null for ever; by queue, and last, without one, what holds for all that say nothing themselves."""

    retention: list[Retention]


class WouldGo(Struct, frozen=True):
    """Jobs that are past their retention, by queue and state."""

    would_go: list[PastRetention]


class Deleted(Struct):
    """What was deleted; `more`: another request may find more at once."""

    jobs: int = 0
    results: int = 0
    partitions: int = 0
    more: bool = True

    def add(self, pruned: Pruned) -> None:
        self.jobs += pruned.jobs
        self.results += pruned.results
        self.partitions += pruned.partitions
        self.more = pruned.more


@get("/v1/retention", summary="List how long ended jobs are kept", opt=documented("queues", "read", {200: Rules}))
async def get_retention(database: NamedDependency[Database]) -> Rules:
    return Rules(await database.store(Store.retention))


@patch(
    "/v1/retention",
    summary="Set how long ended jobs are kept",
    opt=documented("queues", "operate", {200: Rules}, body={JSON: RetentionBody}),
)
async def set_retention(request: ApiRequest, database: NamedDependency[Database]) -> Rules:
    """Of all queues that say nothing themselves; what is left out stays as it is, and null is the default again. PATCH
    /v1/queues/{name} sets that of a queue. It counts at once, for jobs that have ended before too."""
    members = checked_settings({"retention": await object_of(request)})["retention"]
    database.note(retention=members)

    async def change(store: Store) -> Rules:
        await store.set_retention(members)
        return Rules(await store.retention())

    return await database.change(change)


@get("/v1/prune", summary="Count what is past its retention", opt=documented("queues", "read", {200: WouldGo}))
async def get_past_retention(database: NamedDependency[Database]) -> WouldGo:
    """Reads all jobs: with very many of them it may be too much for one request (503)."""
    return WouldGo(await database.store(Store.past_retention))


@post(
    "/v1/prune",
    summary="Delete what is past its retention",
    status_code=200,
    opt=documented("queues", "operate", {200: Deleted}),
)
async def prune(request: ApiRequest, database: NamedDependency[Database]) -> Deleted:
    """Ended jobs with all that is kept of them, and results; for two seconds at most. Workers do the same by
    themselves, within a minute or two."""
    await body_of(request, MAX_BODY_BYTES)
    deleted, until = Deleted(), monotonic() + _BUDGET_SECONDS

    async def begin(store: Store) -> Pruned:
        pruned = await store.prune(everywhere=True)
        database.note(jobs=pruned.jobs, results=pruned.results, more=pruned.more)
        return pruned

    deleted.add(await database.change(begin))
    while deleted.more and monotonic() < until:
        pruned = await database.store(Store.prune)
        deleted.add(pruned)
        if not pruned.jobs:
            await asyncio.sleep(_PAUSE_SECONDS)  # somebody else is at it
    return deleted
