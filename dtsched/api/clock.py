"""GET /v1/now: the clock by which everything is due."""

from datetime import datetime

from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.database import Database
from dtsched.api.documentation import documented, own
from dtsched.store import Store


class Now(Struct, frozen=True):
    """The database's clock."""

    now: datetime


@get("/v1/now", summary="Get the time", opt=documented("server", own("read"), {200: Now}))
async def get_now(database: NamedDependency[Database]) -> Now:
    """By the database's clock, which decides when a job is due."""
    return Now(await database.store(Store.now))
