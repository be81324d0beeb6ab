"""The workers that there are, and were until a while ago."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from dtsched.api.callers import caller_of
from dtsched.api.database import Database
from dtsched.api.documentation import documented, own
from dtsched.api.requests import ApiRequest, worker_id_of
from dtsched.errors import NotFound
from dtsched.overview import WorkerRecord


class Workers(Struct, frozen=True):
    """In the order in which they came. Those that are lost are kept for a day."""

    workers: list[WorkerRecord]


@get("/v1/workers", summary="List workers", opt=documented("workers", own("read"), {200: Workers}))
async def list_workers(request: ApiRequest, database: NamedDependency[Database]) -> Workers:
    """With what they hold, and what they last said of themselves; those that serve queues which the key is for."""
    among = caller_of(request).queues
    return Workers(await database.store(lambda store: store.workers(among=among)))


@get("/v1/workers/{worker_id:str}", summary="Get a worker", opt=documented("workers", own("read"), {200: WorkerRecord}))
async def get_worker(
    request: ApiRequest, worker_id: FromPath[str], database: NamedDependency[Database]
) -> WorkerRecord:
    wanted, among = worker_id_of(worker_id), caller_of(request).queues
    found = await database.store(lambda store: store.workers(wanted, among=among))
    if not found:
        raise NotFound(f"there is no worker {wanted}")
    return found[0]
