"""Who sends a request, and what that one may see."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeAlias, TypeVar

from litestar.connection import ASGIConnection
from msgspec import Struct, structs

from dtsched.api.problems import QUEUE_FORBIDDEN, SCOPE_MISSING, UNAUTHORIZED, Refused
from dtsched.api.requests import ApiRequest
from dtsched.api_keys import SCOPES, Scope
from dtsched.checks import shown
from dtsched.errors import NotFound
from dtsched.filters import Filter
from dtsched.jobs import Job
from dtsched.schedules import Schedule

S = TypeVar("S", bound=Schedule)


class Caller(Struct, frozen=True):
    """`name` is that of the key, None without one. `queues` are those it is for, None: all."""

    name: str | None
    scopes: frozenset[Scope]
    queues: tuple[str, ...] | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def sees(self, queue: str) -> bool:
        return self.queues is None or queue in self.queues


ANYBODY = Caller(None, frozenset(SCOPES), None)
"""Where there are no keys."""

NOBODY = Caller(None, frozenset(), ())
"""Of whom nothing is known, because the route did not ask."""

AnyConnection: TypeAlias = ASGIConnection[Any, Any, Any, Any]

_CALLER = "caller"
_AGAIN = "admitted_again"


def caller_of(request: ApiRequest) -> Caller:
    return request.scope["state"].get(_CALLER, NOBODY)


def set_caller(connection: ASGIConnection[Any, Any, Any, Any], caller: Caller) -> None:
    connection.scope["state"][_CALLER] = caller


def set_admission(connection: AnyConnection, again: Callable[[AnyConnection], Awaitable[Caller]]) -> None:
    """`again` must not know the connection, which would make a circle: all of a request would be garbage that only the
    collector finds, who stops everybody for it."""
    connection.scope["state"][_AGAIN] = again


async def still_admitted(request: ApiRequest) -> Caller:
    """For an answer that goes on, as a stream: raises Refused or NotFound when its key does not let it in any more."""
    again: Callable[[AnyConnection], Awaitable[Caller]] | None = request.scope["state"].get(_AGAIN)
    return NOBODY if again is None else await again(request)


async def is_still_admitted(request: ApiRequest) -> bool:
    """False only where that is certain: raises what the database does, and is true when too many guess from there."""
    try:
        await still_admitted(request)
    except NotFound:
        return False
    except Refused as error:
        return error.kind not in (UNAUTHORIZED, SCOPE_MISSING, QUEUE_FORBIDDEN)
    return True


def visible(caller: Caller, job: Job) -> Job:
    """As the caller may see it: without read-args there are no args, no result and no progress in it."""
    return job if caller.may("read-args") else structs.replace(job, args=None, result=None, progress=None)


def visible_schedule(caller: Caller, schedule: S) -> S:
    return schedule if caller.may("read-args") else structs.replace(schedule, args=None)


def narrowed(caller: Caller, wanted: Filter) -> Filter:
    """The filter, of the caller's queues alone. Refused where it asks about args that the caller may not see: whether a
    job fits would tell what is in them."""
    if "args" in wanted and not caller.may("read-args"):
        raise scope_missing("read-args", "to filter by args")
    if caller.queues is None:
        return wanted
    among: Sequence[str] = wanted.get("queue", caller.queues)
    return {**wanted, "queue": [queue for queue in among if queue in caller.queues]}


def require_queues(caller: Caller, queues: Collection[str | None]) -> None:
    """Refused where one is not the caller's; None is whatever the task declares, which may be any."""
    for queue in queues:
        if queue is None and caller.queues is not None:
            raise Refused(
                QUEUE_FORBIDDEN,
                f"this key is for the queues {', '.join(caller.queues)} alone: name one of them as queue",
                field="queue",
            )
        if queue is not None and not caller.sees(queue):
            raise queue_forbidden(queue)


def queue_forbidden(queue: str) -> Refused:
    return Refused(QUEUE_FORBIDDEN, f"this key is not for the queue {shown(queue)}")


def scope_missing(scope: Scope, why: str = "for this") -> Refused:
    return Refused(SCOPE_MISSING, f"the key needs the scope {scope} {why}")
