"""The queues in figures, paused and resumed; and the whole in figures."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from dtsched.api.database import Database
from dtsched.api.documentation import documented
from dtsched.errors import InvalidInput, NotFound
from dtsched.jobs import check_name, shown
from dtsched.overview import Queue, Stats
from dtsched.store import Store


class Queues(Struct, frozen=True):
    """By name."""

    queues: list[Queue]


@get("/v1/queues", summary="List queues", opt=documented("queues", {200: Queues}))
async def list_queues(database: NamedDependency[Database]) -> Queues:
    """Those in which jobs wait, that workers serve, or that were paused once."""
    return Queues(await database.store(Store.queues))


@get("/v1/queues/{name:str}", summary="Get a queue", opt=documented("queues", {200: Queue}))
async def get_queue(name: FromPath[str], database: NamedDependency[Database]) -> Queue:
    wanted = _queue_of(name)
    return await database.store(lambda store: _queue(store, wanted))


@post(
    "/v1/queues/{name:str}/pause",
    summary="Pause a queue",
    status_code=200,
    opt=documented("queues", {200: Queue}),
)
async def pause_queue(name: FromPath[str], database: NamedDependency[Database]) -> Queue:
    """No worker claims its jobs until it is resumed; what runs goes on. Called twice it changes nothing more. A queue
    that nobody has named yet comes to exist by this."""
    wanted = _queue_of(name)

    async def pause(store: Store) -> Queue:
        await store.pause(wanted)
        return await _queue(store, wanted)

    return await database.store(pause)


@post(
    "/v1/queues/{name:str}/resume",
    summary="Resume a queue",
    status_code=200,
    opt=documented("queues", {200: Queue}),
)
async def resume_queue(name: FromPath[str], database: NamedDependency[Database]) -> Queue:
    """Workers claim its jobs again. Called twice it changes nothing more."""
    wanted = _queue_of(name)

    async def resume(store: Store) -> Queue:
        await store.resume(wanted)
        return await _queue(store, wanted)

    return await database.store(resume)


@get("/v1/stats", summary="Get everything in figures", opt=documented("server", {200: Stats}))
async def get_stats(database: NamedDependency[Database]) -> Stats:
    """Jobs by state, queues, workers, rates and latency."""
    return await database.store(Store.stats)


def _queue_of(given: str) -> str:
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
