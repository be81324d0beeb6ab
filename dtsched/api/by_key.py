"""/v1/jobs/by-key/{key}: a job under the name that its submitter gave it."""

from urllib.parse import unquote

from litestar import get
from litestar.di import NamedDependency

from dtsched.api.callers import caller_of, visible
from dtsched.api.database import Database
from dtsched.api.documentation import documented, own
from dtsched.api.requests import ApiRequest
from dtsched.checks import check_key, shown
from dtsched.errors import InvalidInput, NotFound
from dtsched.jobs import Job

_PREFIX = b"/v1/jobs/by-key/"


@get("/v1/jobs/by-key/{job_key:path}", summary="Get the job of a key", opt=documented("jobs", own("read"), {200: Job}))
async def get_job_by_key(request: ApiRequest, database: NamedDependency[Database]) -> Job:
    """The one that holds the key: an unfinished job, or one that has ended and was submitted with a `key_for` that is
    not over. A job that has let its key go is found by its id alone."""
    key, caller = _key_of(request), caller_of(request)
    job_id = await database.store(lambda store: store.job_of_key(key, caller.queues))
    if job_id is None:
        raise NotFound(
            f"no job holds the key {shown(key)}: a job lets it go when it ends, unless key_for says otherwise"
        )
    return visible(caller, await database.ask(database.client.get(job_id)))


def _key_of(request: ApiRequest) -> str:
    """What stands in the address to its end, slashes and all, of which the framework keeps less. NotFound for what
    cannot be a key."""
    raw = request.scope["raw_path"].partition(b"?")[0]
    try:
        key = unquote(raw.removeprefix(_PREFIX), errors="strict")
        check_key("key", key)
    except (InvalidInput, UnicodeDecodeError) as error:
        raise NotFound("there is no such key: it has 1 to 255 characters without control characters") from error
    return key
