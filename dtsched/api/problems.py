"""Every answer that says no: problem documents of RFC 9457, with a hint. None shows SQL, a traceback or a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from litestar.exceptions import HTTPException
from msgspec import UNSET, Struct, UnsetType

from dtsched.api.bodies import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MalformedBody
from dtsched.connections import is_outage, is_transient
from dtsched.errors import (
    AllConnectionsTaken,
    AnotherRequest,
    Conflict,
    DatabaseUnreachable,
    InvalidInput,
    NotFound,
    QueueForbidden,
    RequestUnderWay,
    SchemaMismatch,
    SchemaMissing,
    UnknownTask,
    WorkerLost,
)

MEDIA_TYPE = "application/problem+json"


class FieldError(Struct, frozen=True):
    field: str
    detail: str


class Problem(Struct, frozen=True, kw_only=True):
    """`type` never changes and is what programs should look at: the address of a page of this API that explains it.
    `instance` is the id of the request, as in the log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str
    errors: list[FieldError] | UnsetType = UNSET


@dataclass(frozen=True)
class Kind:
    """What problems have in common; `name` becomes the type, which is fixed."""

    name: str
    status: HTTPStatus
    title: str
    hint: str
    retry_after_seconds: int | None = None

    @property
    def type(self) -> str:
        """Where its page is, on the API itself."""
        return f"/problems/{self.name}"


MALFORMED = Kind(
    "malformed-request",
    HTTPStatus.BAD_REQUEST,
    "The request cannot be read",
    "GET /openapi.json describes what each route takes.",
)
INVALID = Kind(
    "invalid-input",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "A value cannot be accepted",
    "Nothing was written: correct it and send it again.",
)
UNKNOWN_TASK = Kind(
    "unknown-task",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "No worker has ever declared this task",
    "Check the name, or start a worker that knows the task and send the request again.",
)
NOT_FOUND = Kind(
    "not-found",
    HTTPStatus.NOT_FOUND,
    "There is nothing here",
    "GET on the address without the id or name lists those there are; GET /openapi.json describes every address.",
)
METHOD = Kind(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "This address does not take this method",
    "The Allow header, and GET /openapi.json, say which it takes.",
)
CONFLICT = Kind(
    "conflict", HTTPStatus.CONFLICT, "The job's state does not allow this", "GET the job to see the state it is in."
)
KEY_HELD = Kind(
    "key-held",
    HTTPStatus.CONFLICT,
    "Another job holds the key",
    "Nothing was written: wait until the key is free, or send on_conflict keep, replace or supersede.",
)
UNDER_WAY = Kind(
    "request-under-way",
    HTTPStatus.CONFLICT,
    "The first request with this Idempotency-Key has not been answered yet",
    "Send the request again after the seconds in Retry-After: it will get the answer of the first.",
    retry_after_seconds=1,
)
ANOTHER_REQUEST = Kind(
    "idempotency-key-reused",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The Idempotency-Key belongs to another request",
    "Nothing was written: send exactly the first request again, or a new one under a new key.",
)
DECLARED = Kind(
    "schedule-declared",
    HTTPStatus.CONFLICT,
    "The code of running workers declares this schedule",
    "Take it out of their code and send the request again when they have ended, or pause it.",
)
WORKER_LOST = Kind(
    "worker-lost",
    HTTPStatus.CONFLICT,
    "The worker was not heard of for longer than its lease, and its jobs were given to others",
    "Drop what it runs, and register anew: POST /v1/workers.",
)
LEASE_GONE = Kind(
    "lease-gone",
    HTTPStatus.CONFLICT,
    "The lease is not held, or this is not its secret",
    "Drop the attempt: the job may be running elsewhere by now, and what this one tells of it counts for nothing.",
)
LEASE_FINISHED = Kind(
    "lease-finished",
    HTTPStatus.CONFLICT,
    "The lease was finished with another body before",
    "The first one counts. Repeat a finish whose answer was lost with the same body.",
)
OPERATION_OVER = Kind(
    "operation-over",
    HTTPStatus.CONFLICT,
    "The operation is over",
    "GET the operation to see how it ended; what it has done stays.",
)
PRECONDITION = Kind(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    "It has been changed since it was read",
    "Nothing was written: GET it again, and send the change with the ETag of that answer, if it is still wanted.",
)
FORBIDDEN = Kind(
    "forbidden",
    HTTPStatus.FORBIDDEN,
    "Requests from here are refused",
    "Call the API by the address it listens on, and from a program or a page that it served itself.",
)
UNAUTHORIZED = Kind(
    "unauthorized",
    HTTPStatus.UNAUTHORIZED,
    "An API key is needed",
    "Send one as Authorization: Bearer dts_…: `dtsched key create` makes one, `dtsched key list` shows those in force.",
)
SCOPE_MISSING = Kind(
    "scope-missing",
    HTTPStatus.FORBIDDEN,
    "The key may not do this",
    "Use a key that has the scope: `dtsched key create NAME --scope …` makes one.",
)
QUEUE_FORBIDDEN = Kind(
    "queue-forbidden",
    HTTPStatus.FORBIDDEN,
    "The key is not for this queue",
    "Use a key for the queue, or for all of them: `dtsched key create NAME --queue …` makes one.",
)
TOO_SLOW = Kind(
    "request-timeout", HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive", "Send the whole body at once."
)
TOO_LARGE = Kind(
    "body-too-large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    f"A job has at most {MAX_BODY_BYTES} bytes, its args 1048576, a batch {MAX_BATCH_BODY_BYTES}: send less at a "
    "time, or store the data elsewhere and pass a reference.",
)
HEAD_TOO_LARGE = Kind(
    "head-too-large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The head of the request is too large",
    f"Address and headers have at most {MAX_HEAD_BYTES} bytes, in at most {MAX_HEADERS} headers: send less.",
)
MEDIA = Kind(
    "unsupported-media-type",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "The body is of a kind that is not read here",
    "Send JSON as it is, with Content-Type: application/json and without Content-Encoding.",
)
RATE_LIMITED = Kind(
    "rate-limited",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "Send the request again after the seconds in Retry-After, and jobs many at a time.",
    retry_after_seconds=1,
)
CONNECTIONS = Kind(
    "too-many-connections",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server has no connection to spare",
    "Close connections that nobody needs, and send the request again after the seconds in Retry-After.",
    retry_after_seconds=1,
)
BUSY = Kind(
    "busy",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database could not do this in time",
    "Send the request again after the seconds in Retry-After.",
    retry_after_seconds=1,
)
UNREACHABLE = Kind(
    "database-unreachable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database cannot be reached",
    "Send the request again after the seconds in Retry-After. GET /readyz and the log of the server say more.",
    retry_after_seconds=1,
)
SCHEMA_MISSING = Kind(
    "schema-missing",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database has no dtsched schema",
    "Run `dtsched migrate up` on the database.",
    retry_after_seconds=5,
)
SCHEMA_MISMATCH = Kind(
    "schema-mismatch",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The schema in the database is not the one this server needs",
    "Run `dtsched migrate up` with the newest dtsched in use, and upgrade servers that are older than the schema.",
    retry_after_seconds=5,
)
INTERNAL = Kind(
    "internal-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The server failed",
    "This is a fault of dtsched. The log of the server has the details under the id in `instance`.",
)


def kinds() -> list[Kind]:
    """All there are, by name."""
    return sorted((value for value in globals().values() if isinstance(value, Kind)), key=lambda kind: kind.name)


class Refused(Exception):
    """Ends a request with a problem. The message is one sentence for whoever sent it."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        """`errors` where there is more to say than `detail` of `field`; `retry_after_seconds` where more is known than
        the kind says."""
        super().__init__(detail)
        self.kind = kind
        self.retry_after_seconds = kind.retry_after_seconds if retry_after_seconds is None else retry_after_seconds
        self.errors = list(errors) or ([FieldError(field, detail)] if field else [])
        self.field = field


def refusal(error: Exception) -> Refused:
    """What may be said of an error outside. INTERNAL for all that nobody foresaw."""
    match error:
        case Refused():
            return error
        case MalformedBody():
            return Refused(MALFORMED, str(error))
        case InvalidInput():
            return Refused(kind_of(error), str(error), field=error.field)
        case RequestUnderWay():
            return Refused(UNDER_WAY, str(error), field="idempotency-key")
        case AnotherRequest():
            return Refused(ANOTHER_REQUEST, str(error), field="idempotency-key")
        case NotFound():
            return Refused(NOT_FOUND, str(error))
        case WorkerLost():
            return Refused(WORKER_LOST, str(error))
        case Conflict():
            return Refused(CONFLICT, str(error))
        case SchemaMissing():
            return Refused(SCHEMA_MISMATCH if isinstance(error, SchemaMismatch) else SCHEMA_MISSING, str(error))
        case HTTPException() if error.status_code in _FRAMEWORK:
            kind, detail = _FRAMEWORK[error.status_code]
            return Refused(kind, detail)
        case AllConnectionsTaken():
            return Refused(BUSY, "all connections of this server to the database were taken")
        case _ if is_transient(error):
            return Refused(BUSY, "the database could not do this in time, or not beside what others were doing")
        case _ if is_outage(error):  # the message names hosts and users, and the path of a socket: it is for the log
            reason = error.reason if isinstance(error, DatabaseUnreachable) else None
            return Refused(UNREACHABLE, f"the database cannot be used: {reason or 'the connection to it was lost'}")
        case _:
            return Refused(INTERNAL, "something went wrong that was not foreseen")


def kind_of(error: InvalidInput) -> Kind:
    kinds: dict[type[InvalidInput], Kind] = {UnknownTask: UNKNOWN_TASK, QueueForbidden: QUEUE_FORBIDDEN}
    return kinds.get(type(error), INVALID)


def document(refused: Refused, request_id: str) -> Problem:
    kind, detail = refused.kind, str(refused)
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request_id,
        hint=kind.hint,
        errors=refused.errors or UNSET,
    )


def headers(refused: Refused) -> dict[str, str]:
    seconds = refused.retry_after_seconds
    challenge = {"www-authenticate": CHALLENGE} if refused.kind is UNAUTHORIZED else {}
    return challenge if seconds is None else {"retry-after": str(seconds)}


CHALLENGE = 'Bearer realm="dtsched"'

# What the web framework refuses by itself, in sentences of ours.
_FRAMEWORK: dict[int, tuple[Kind, str]] = {
    400: (MALFORMED, "the request is not what this address takes"),
    404: (NOT_FOUND, "there is no such address"),
    405: (METHOD, "this address does not take this method"),
    413: (TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes"),
    415: (MEDIA, "the body is of a kind that is not read here"),
}
