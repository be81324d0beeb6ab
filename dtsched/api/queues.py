"""The queues in figures, their settings, paused, resumed and drained; and the whole in figures."""

from functools import partial

from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import asdict

from dtsched.api.bodies import MAX_BODY_BYTES
from dtsched.api.callers import caller_of
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented, own
from dtsched.api.preferences import PreferDrained, applied, disconnected, wait_of
from dtsched.api.requests import ApiRequest, body_of, object_of
from dtsched.api.settings import QueueSettingsBody
from dtsched.checks import check_name, shown
from dtsched.errors import InvalidInput, NotFound
from dtsched.limits import checked_settings
from dtsched.overview import Queue, Stats
from dtsched.store import Store


class Queues(Struct, frozen=True):
    """By name."""

    queues: list[Queue]


class SwitchedQueue(Queue, frozen=True, kw_only=True):
    """`changed` is false where it was so before."""

    changed: bool


class Drained(Struct, frozen=True):
    """`drained`: it is paused, and none of its jobs runs, nor will."""

    drained: bool


@get("/v1/queues", summary="List queues", opt=documented("queues", own("read"), {200: Queues}))
async def list_queues(request: ApiRequest, database: NamedDependency[Database]) -> Queues:
    """Those in which jobs wait, that workers serve, or that were paused once."""
    among = caller_of(request).queues
    return Queues(await database.store(lambda store: store.queues(among=among)))


@get("/v1/queues/{name:str}", summary="Get a queue", opt=documented("queues", "read", {200: Queue}))
async def get_queue(name: FromPath[str], database: NamedDependency[Database]) -> Queue:
    wanted = queue_of(name)
    return await database.store(lambda store: _queue(store, wanted))


@post(
    "/v1/queues/{name:str}/pause",
    summary="Pause a queue",
    status_code=200,
    opt=documented("queues", "operate", {200: SwitchedQueue}),
)
async def pause_queue(name: FromPath[str], database: NamedDependency[Database]) -> SwitchedQueue:
    """No worker claims its jobs until it is resumed; what runs goes on. Called twice it changes nothing more. A queue
    that nobody has named yet comes to exist by this."""
    wanted = queue_of(name)

    async def pause(store: Store) -> SwitchedQueue:
        changed = await store.pause(wanted)
        return SwitchedQueue(**asdict(await _queue(store, wanted)), changed=changed)

    return await database.change(pause)


@post(
    "/v1/queues/{name:str}/resume",
    summary="Resume a queue",
    status_code=200,
    opt=documented("queues", "operate", {200: SwitchedQueue}),
)
async def resume_queue(name: FromPath[str], database: NamedDependency[Database]) -> SwitchedQueue:
    """Workers claim its jobs again, also where its circuit breaker was open. Called twice it changes nothing more."""
    wanted = queue_of(name)

    async def resume(store: Store) -> SwitchedQueue:
        changed = await store.resume(wanted)
        return SwitchedQueue(**asdict(await _queue(store, wanted)), changed=changed)

    return await database.change(resume)


@post(
    "/v1/queues/{name:str}/drain",
    summary="Pause a queue and see what still runs",
    status_code=200,
    opt=documented(
        "queues", "operate", {200: Answer(Queue, ["Preference-Applied"])}, headers={"Prefer": PreferDrained}
    ),
)
async def drain_queue(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> Response[Queue]:
    """Pauses it and answers it with its `running`; `Prefer: wait=30` waits before until that is 0. What runs goes on,
    and the queue stays paused until it is resumed."""
    wanted, seconds = queue_of(name), wait_of(request)
    await body_of(request, MAX_BODY_BYTES)
    await database.change(lambda store: store.pause(wanted))

    async def look(store: Store) -> tuple[bool, Queue]:
        drained = await store.drained(wanted)
        return drained, await _queue(store, wanted)

    _, queue = await database.until(
        look,
        lambda seen: seen[0] or seen[1].paused_at is None,
        seconds or 0,
        unless=partial(disconnected, request),
    )
    return Response(queue, headers=applied(seconds))


@get(
    "/v1/queues/{name:str}/drained",
    summary="Whether a queue is drained",
    opt=documented("queues", "read", {200: Drained}),
)
async def get_drained(name: FromPath[str], database: NamedDependency[Database]) -> Drained:
    """Changes nothing, unlike drain: false also for one that is not paused."""
    wanted = queue_of(name)
    return Drained(await database.store(lambda store: store.drained(wanted)))


@patch(
    "/v1/queues/{name:str}",
    summary="Change settings of a queue",
    opt=documented("queues", "operate", {200: Queue}, body={JSON: QueueSettingsBody}),
)
async def set_queue(request: ApiRequest, name: FromPath[str], database: NamedDependency[Database]) -> Queue:
    """Those that are named and no others; null takes one away. Workers heed it from their next claim on. A queue that
    nobody has named yet comes to exist by this."""
    wanted = queue_of(name)
    settings = checked_settings(await object_of(request))
    database.note(settings=settings)

    async def change(store: Store) -> Queue:
        await store.set_queue(wanted, settings)
        return await _queue(store, wanted)

    return await database.change(change)


@get("/v1/stats", summary="Get everything in figures", opt=documented("server", own("read"), {200: Stats}))
async def get_stats(request: ApiRequest, database: NamedDependency[Database]) -> Stats:
    """Jobs by state, queues, workers, rates and latency; of the queues that the key is for."""
    among = caller_of(request).queues
    return await database.store(lambda store: store.stats(among=among))


def queue_of(given: str) -> str:
    """NotFound for what cannot be a name, as for a queue that is not there."""
    try:
        check_name("queue", given)
    except InvalidInput as error:
        raise NotFound(f"there is no queue {shown(given)}") from error
    return given


async def _queue(store: Store, name: str) -> Queue:
    found = await store.queues(name)
    if not found:
        raise NotFound(f"there is no queue {shown(name)}")
    return found[0]
