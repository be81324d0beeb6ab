"""Limit keys: their limits, and what runs and waits under them."""

from typing import Annotated
from urllib.parse import unquote, urlencode

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from msgspec import Meta, Struct
from msgspec.structs import asdict

from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented
from dtsched.api.requests import ApiRequest, Name, convert, object_of, query_of
from dtsched.api.settings import KeyLimitsBody
from dtsched.errors import InvalidInput, NotFound
from dtsched.limits import checked_limit
from dtsched.overview import HeldLimits, LimitRecord, untouched
from dtsched.store import Store

_PREFIX = b"/v1/limits/"
_SHAPES = {"concurrency": "a whole number", "rate": "a number", "burst": "a whole number"}
_QUEUE_SHAPES = {"queue": "1 to 128 characters out of A-Z a-z 0-9 . _ : -"}
_PAGE_SHAPES = {"limit": "1 to 200", "after": "1 to 255 characters without control characters"}


class LimitPage(Struct, frozen=True, forbid_unknown_fields=True):
    """Which limit keys to list; `after` is the `next` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")] | None = None


class OfQueue(Struct, frozen=True, forbid_unknown_fields=True):
    """`queue`: whose defaults hold for a key that has no limits of its own."""

    queue: Name = "default"


class EffectiveLimit(LimitRecord, frozen=True, kw_only=True):
    """A limit key, and what holds for it among the jobs of one queue."""

    effective: HeldLimits


class Limits(Struct, frozen=True):
    """By key. `next` is the `after` of the page that follows, null when there is none."""

    limits: list[LimitRecord]
    next: str | None


class _Given(Struct, forbid_unknown_fields=True):
    concurrency: object = None
    rate: object = None
    burst: object = None


@get(
    "/v1/limits",
    summary="List limit keys",
    opt=documented("queues", "read", {200: Answer(Limits, ["Link"])}, query=LimitPage),
)
async def list_limits(request: ApiRequest, database: NamedDependency[Database]) -> Response[Limits]:
    """Those that have limits of their own, jobs that run, or jobs that wait, by key."""
    page = query_of(request, LimitPage, _PAGE_SHAPES)
    found = await database.store(lambda store: store.limits(after=page.after, limit=page.limit))
    following = found[-1].limit_key if len(found) == page.limit else None
    query = urlencode({"limit": page.limit, "after": following or ""})
    link = {} if following is None else {"link": f'</v1/limits?{query}>; rel="next"'}
    return Response(Limits(found, following), headers=link)


@get(
    "/v1/limits/{key:path}",
    summary="Get a limit key",
    opt=documented("queues", "read", {200: EffectiveLimit}, query=OfQueue),
)
async def get_limit(request: ApiRequest, database: NamedDependency[Database]) -> EffectiveLimit:
    """Also one that nobody has used yet; `effective` is what holds for it among the jobs of a queue."""
    wanted = _key_of(request)
    queue = query_of(request, OfQueue, _QUEUE_SHAPES).queue

    async def read(store: Store) -> EffectiveLimit:
        limit = await store.limit(wanted) or untouched(wanted)
        return EffectiveLimit(**asdict(limit), effective=await store.effective_limits(wanted, queue))

    return await database.store(read)


@put(
    "/v1/limits/{key:path}",
    summary="Set the limits of a limit key",
    opt=documented("queues", "operate", {200: LimitRecord}, body={JSON: KeyLimitsBody}),
)
async def set_limit(request: ApiRequest, database: NamedDependency[Database]) -> LimitRecord:
    """All three of them, whatever the queue; its bucket is filled and its breaker closed by this. Workers heed it from
    their next claim on."""
    wanted = _key_of(request)
    given = convert(await object_of(request), _Given, _SHAPES)
    limit = checked_limit(wanted, given.concurrency, given.rate, given.burst)
    database.note(target=wanted, concurrency=limit.concurrency, rate=limit.rate, burst=limit.burst)
    return await database.change(lambda store: store.set_limit(limit))


@delete(
    "/v1/limits/{key:path}",
    summary="Take the limits of a limit key away",
    opt=documented("queues", "operate", {204: None}),
)
async def delete_limit(request: ApiRequest, database: NamedDependency[Database]) -> None:
    """From now on it is as the queue of a job says, and one at a time where that says nothing."""
    limit = checked_limit(_key_of(request))
    database.note(target=limit.key)
    await database.change(lambda store: store.set_limit(limit))


def _key_of(request: ApiRequest) -> str:
    """What stands in the address to its end, slashes and all, of which the framework keeps less. NotFound for what
    cannot be a key."""
    raw = request.scope["raw_path"].partition(b"?")[0]
    try:
        key = unquote(raw.removeprefix(_PREFIX), errors="strict")
        checked_limit(key)
    except (InvalidInput, UnicodeDecodeError) as error:
        raise NotFound("there is no such limit key: it has 1 to 255 characters without control characters") from error
    return key
