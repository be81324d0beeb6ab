"""The tasks that workers have declared."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from dtsched.api.database import Database
from dtsched.api.documentation import documented, own
from dtsched.checks import check_name, shown
from dtsched.errors import InvalidInput, NotFound
from dtsched.overview import TaskRecord


class Tasks(Struct, frozen=True):
    """By name."""

    tasks: list[TaskRecord]


@get("/v1/tasks", summary="List tasks", opt=documented("workers", own("read"), {200: Tasks}))
async def list_tasks(database: NamedDependency[Database]) -> Tasks:
    """Those that some worker has declared, with what their code says of them and the arguments they take."""
    return Tasks(await database.store(lambda store: store.tasks()))


@get("/v1/tasks/{name:str}", summary="Get a task", opt=documented("workers", own("read"), {200: TaskRecord}))
async def get_task(name: FromPath[str], database: NamedDependency[Database]) -> TaskRecord:
    unknown = NotFound(f"no worker has declared a task {shown(name)}")
    try:
        check_name("task", name)
    except InvalidInput as error:
        raise unknown from error
    found = await database.store(lambda store: store.tasks(name))
    if not found:
        raise unknown
    return found[0]
