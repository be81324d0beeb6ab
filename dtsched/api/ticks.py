"""GET /v1/schedules/{name}/ticks: what became of the times at which a schedule was to fire."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct

from dtsched.api.database import Database
from dtsched.api.documentation import documented
from dtsched.api.requests import ApiRequest, query_of
from dtsched.checks import shown
from dtsched.errors import InvalidInput, NotFound
from dtsched.schedules import Tick, check_schedule_name
from dtsched.store import Store


class TickQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=200, description="How many at most.")] = 20


class Ticks(Struct, frozen=True):
    """Newest first."""

    ticks: list[Tick]


@get(
    "/v1/schedules/{name:str}/ticks",
    summary="List what became of a schedule's times",
    opt=documented("schedules", "read", {200: Ticks}, query=TickQuery),
)
async def get_ticks(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> Ticks:
    """fired (with its job), skipped (because of its overlap) or missed (too late); the newest first."""
    limit = query_of(request, TickQuery, {"limit": "1 to 200"}).limit
    unknown = NotFound(f"there is no schedule {shown(name)}")
    try:
        check_schedule_name(name)
    except InvalidInput as error:
        raise unknown from error

    async def read(store: Store) -> Ticks:
        if not await store.schedules(name):
            raise unknown
        return Ticks(await store.ticks(name, limit))

    return await database.store(read)
