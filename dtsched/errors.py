"""The errors of dtsched. Each message is one sentence for a person: what was wrong, with what value, what to do."""

from collections.abc import Mapping
from datetime import datetime


class DtschedError(Exception):
    """What all errors of dtsched are."""


class InvalidInput(DtschedError, ValueError):
    """Something given cannot be accepted; nothing was written. `field` names it where there is one. `problems` says
    what is wrong with each job of a batch, by its number, where several are wrong: the first 20."""

    def __init__(self, message: str, *, field: str | None = None, problems: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.problems = problems or {}


class UnknownTask(InvalidInput):
    """Nobody knows a task of that name."""


class QueueForbidden(InvalidInput):
    """A job is for a queue that its submitter may not submit to."""


class NotFound(DtschedError):
    """There is no such job."""


class Conflict(DtschedError):
    """The job is in a state, or a key is held, that does not allow this. `problems` as of InvalidInput."""

    def __init__(self, message: str, *, problems: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or {}


class RequestUnderWay(DtschedError):
    """A request with this Idempotency-Key is under way: repeated in a moment, this one gets its answer."""


class AnotherRequest(DtschedError):
    """This Idempotency-Key was sent with another request before."""


class WorkerLost(DtschedError):
    """The worker is unknown to the database, or its lease has run out: renew, and register anew if that is refused. Or
    its lease on a job is gone: that attempt is not its own any more."""


class LeaseLost(DtschedError):
    """The job that a handler works on has been given to another worker, or has ended: nothing more is remembered."""


class EventTimeout(DtschedError, TimeoutError):
    """An event did not come in time. Remembered: a later attempt is told the same."""


class SchemaMissing(DtschedError):
    """The database does not have the schema dtsched."""


class SchemaMismatch(SchemaMissing):
    """The schema in the database is older or newer than this program."""


class SchemaInUse(DtschedError):
    """The schema could not be changed because transactions that were open all the while use its tables."""


class DatabaseUnreachable(DtschedError):
    """The database does not answer, or does not let this user in. `reason` may be told to anybody: it names no host, no
    user and no path."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


def closed_while_waiting() -> DatabaseUnreachable:
    """For whoever waits for the end of a job, and can learn of it no more."""
    return DatabaseUnreachable("the client was closed while a job was waited for")


class NotAllowed(DatabaseUnreachable):
    """Over REST: there is no API key, or it is not for that."""


class AllConnectionsTaken(DatabaseUnreachable):
    """The database may be well, but none of the connections that this program may have to it came free in time."""


class ResultExpired(NotFound):
    """An awaited job has completed, and its result is not kept any more; `at` is when it expired."""

    def __init__(self, message: str, *, at: datetime) -> None:
        super().__init__(message)
        self.at = at


class JobFailed(DtschedError):
    """An awaited job ended failed or cancelled; `state` says which."""

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


BY_SQLSTATE: dict[str, type[DtschedError]] = {
    "JQ001": InvalidInput,
    "JQ002": UnknownTask,
    "JQ003": Conflict,
    "JQ004": NotFound,
    "JQ005": WorkerLost,
    "JQ006": LeaseLost,
    "JQ007": QueueForbidden,
    "JQ010": RequestUnderWay,
    "JQ011": AnotherRequest,
    "23505": Conflict,  # a key that is held, met by a plain INSERT
}
"""The SQLSTATEs of the schema's functions, and the error each becomes."""
