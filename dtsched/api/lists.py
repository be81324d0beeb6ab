"""GET /v1/jobs: jobs by a filter, newest first, page by page."""

from urllib.parse import urlencode

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.callers import caller_of, narrowed, visible
from dtsched.api.database import Database
from dtsched.api.documentation import Answer, documented, own
from dtsched.api.problems import INVALID
from dtsched.api.requests import ApiRequest, Page, page_of
from dtsched.errors import InvalidInput
from dtsched.filters import Filter, parse_filter
from dtsched.jobs import Job


class Jobs(Struct, frozen=True):
    """Newest first. `next` is the `after` of the page that follows, null when there is none: a page may be short, or
    empty, and not the last one, because a search looks at a bounded number of jobs at a time."""

    jobs: list[Job]
    next: str | None


@get(
    "/v1/jobs",
    summary="List jobs, newest first",
    opt=documented("jobs", own("read"), {200: Answer(Jobs, ["Link"])}, query=Page, problems=[INVALID]),
)
async def list_jobs(request: ApiRequest, database: NamedDependency[Database]) -> Response[Jobs]:
    """Go on with `after` until `next` is null; the Link header has the address of the next page."""
    page, caller = page_of(request), caller_of(request)
    wanted = narrowed(caller, _filter_of(page))
    found = await database.ask(database.client.list_jobs(wanted, before=page.after, limit=page.limit))
    following = None if found.next is None else str(found.next)
    return Response(Jobs([visible(caller, job) for job in found.jobs], following), headers=_link(page, following))


def _filter_of(page: Page) -> Filter:
    """The filter; `state`, `queue` and `task` are terms of it too."""
    wanted = parse_filter(page.filter or "")
    for name, value in (("state", page.state), ("queue", page.queue), ("task", page.task)):
        if value is not None and name in wanted:
            raise InvalidInput(f"{name} is in the filter and beside it: give one", field=name)
        if value is not None:
            wanted[name] = [value]
    return wanted


def _link(page: Page, following: str | None) -> dict[str, str]:
    if following is None:
        return {}
    given = {"filter": page.filter, "state": page.state, "queue": page.queue, "task": page.task, "limit": page.limit}
    query = {name: value for name, value in {**given, "after": following}.items() if value is not None}
    return {"link": f'</v1/jobs?{urlencode(query)}>; rel="next"'}
