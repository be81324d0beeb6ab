"""What a route says of itself beside its handler, for /openapi.json and /docs.

    @post(
        "/v1/jobs/{job_id:str}/retry",
        summary="Retry a job",
        opt=documented("jobs", "operate", {200: Job}, problems=[CONFLICT]),
    )
    async def retry_job(job_id: FromPath[str], database: NamedDependency[Database]) -> Job:
        \"\"\"The docstring is the description.\"\"\"

`access` is the scope that a key needs (None: everybody may), of the job or queue that the address names; an address
that names neither wants a key for all queues, unless the handler looks to that itself: own("read").

`answers` maps each status of success to the type of its body (None: it has none), or to an Answer with headers or
another media type. `body`, like {JSON: JobBody}, is the type of what is sent, by media type, exact: a struct that
forbids unknown fields, with the limits in Meta (dtsched.api.shapes). `query` is a struct whose fields are the
parameters, `headers` the type of each request header that is looked at. Meta(description=…, examples=[…]) goes into the
document. Parameters in addresses, tags and headers of answers have their words in dtsched.api.openapi.

`problems` names only what the route adds. Understood by themselves are: what the front door refuses and faults (all
routes), 404 (an address with a parameter), what can be wrong with a query or a body (routes that take one), and 503
(handlers with a `database`). A test fails for a route without documentation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from dtsched.api.problems import BUSY, SCHEMA_MISMATCH, SCHEMA_MISSING, UNREACHABLE, Kind
from dtsched.api_keys import Scope

JSON = "application/json"
OF_THE_DATABASE = (BUSY, UNREACHABLE, SCHEMA_MISSING, SCHEMA_MISMATCH)
"""What every question to the database may come to."""

_KEY = "operation"


class Answer(NamedTuple):
    """`headers` are names out of dtsched.api.openapi.HEADERS; `also` are other media types, each with the body it has
    for those who ask for it."""

    body: Any
    headers: Sequence[str] = ()
    media_type: str = JSON
    also: Sequence[tuple[str, Any]] = ()


class Access(NamedTuple):
    """`reach` "named": what the address names, else everything; "own": the handler leaves out what the caller's key is
    not for."""

    scope: Scope | None
    reach: Literal["named", "own"] = "named"


def own(scope: Scope) -> Access:
    return Access(scope, "own")


class Operation(NamedTuple):
    tag: str
    access: Access
    answers: Mapping[int, Answer]
    body: Mapping[str, Any]
    query: type[Struct] | None
    headers: Mapping[str, Any]
    problems: Sequence[Kind]


def documented(
    tag: str,
    access: Access | Scope | None,
    answers: Mapping[int, Any],
    *,
    body: Mapping[str, Any] | None = None,
    query: type[Struct] | None = None,
    headers: Mapping[str, Any] | None = None,
    problems: Sequence[Kind] = (),
) -> dict[str, Any]:
    """For a handler's `opt`. The headers of a request by their names, each with the type of its value."""
    told = {status: answer if isinstance(answer, Answer) else Answer(answer) for status, answer in answers.items()}
    needed = access if isinstance(access, Access) else Access(access)
    return {_KEY: Operation(tag, needed, told, body or {}, query, headers or {}, problems)}


def operation_of(opt: Mapping[str, Any]) -> Operation | None:
    return opt.get(_KEY)
