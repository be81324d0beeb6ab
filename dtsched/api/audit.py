"""GET /v1/audit: who changed what."""

from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Meta, Struct, structs

from dtsched.api.database import Database
from dtsched.api.documentation import Answer, documented
from dtsched.api.problems import INVALID
from dtsched.api.requests import ApiRequest, query_of
from dtsched.api.shapes import Key
from dtsched.api.windows import since
from dtsched.overview import AuditLine
from dtsched.store import LARGEST_ID, Store

_TEXT = "1 to 255 characters without control characters"
_SHAPES = {
    "actor": _TEXT,
    "action": _TEXT,
    "kind": _TEXT,
    "target": _TEXT,
    "since": "a time like 2030-01-31T09:00:00Z, or how long ago like 1h",
    "limit": "1 to 200",
    "after": "the `next` of the page before",
}


class LinesWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines, newest first; `after` is the `next` of the page before."""

    actor: Annotated[Key | None, Meta(description="The name of a key.")] = None
    action: Annotated[Key | None, Meta(description="As in `operationId`.", examples=["cancel_job"])] = None
    kind: Annotated[Key | None, Meta(description="Of what was changed.", examples=["job"])] = None
    target: Annotated[Key | None, Meta(description="The id or name of what was changed.", examples=["42"])] = None
    since: Annotated[
        str | None, Meta(description="Since then: a time, or how long ago, like 90s, 1h, 7d.", examples=["7d"])
    ] = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None


class Audit(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none."""

    audit: list[AuditLine]
    next: str | None


@get(
    "/v1/audit",
    summary="List who changed what, newest first",
    opt=documented("server", "admin", {200: Answer(Audit, ["Link"])}, query=LinesWanted, problems=[INVALID]),
)
async def list_audit(request: ApiRequest, database: NamedDependency[Database]) -> Response[Audit]:
    """What was changed over REST, but submissions and what workers do, with the name of the key, in the last 90 days.
    What is called in the database itself is not in it."""
    wanted = query_of(request, LinesWanted, _SHAPES, numbers=("limit", "after"))
    terms = {name: getattr(wanted, name) for name in ("actor", "action", "kind", "target")}
    since_then = None if wanted.since is None else since(wanted.since)

    async def read(store: Store) -> list[AuditLine]:
        began = None if since_then is None else await since_then(store)
        return await store.audit(**terms, since=began, before=wanted.after, limit=wanted.limit)

    found = await database.store(read)
    following = str(found[-1].id) if len(found) == wanted.limit else None
    query = {name: value for name, value in {**structs.asdict(wanted), "after": following}.items() if value is not None}
    link = {} if following is None else {"link": f'</v1/audit?{urlencode(query)}>; rel="next"'}
    return Response(Audit(found, following), headers=link)
