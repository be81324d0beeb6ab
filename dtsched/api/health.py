"""Whether this process lives, and whether it can do anything for anybody."""

from typing import Literal

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.database import Database
from dtsched.api.documentation import documented


class Health(Struct, frozen=True):
    status: Literal["alive", "ready"]


@get(
    "/livez", summary="Whether the process answers", opt=documented("server", None, {200: Health}), sync_to_thread=False
)
def livez() -> Health:
    """Never touches the database: restarting this process would not bring that back."""
    return Health("alive")


@get(
    "/readyz",
    summary="Whether the database is there, with the schema this program needs",
    opt=documented("server", None, {200: Health}),
)
async def readyz(database: NamedDependency[Database]) -> Response[Health]:
    await database.ask(database.client.require_contract())
    return Response(Health("ready"))
