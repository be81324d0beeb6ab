"""What requests ask for, read from bodies and addresses into values of exact types, or refused."""

import asyncio
import re
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from msgspec import Meta, Struct

from dtsched.api.bodies import MAX_BODY_BYTES, parse
from dtsched.api.problems import MALFORMED, MEDIA, TOO_LARGE, TOO_SLOW, Refused
from dtsched.errors import NotFound
from dtsched.jobs import JobState, NewJob

T = TypeVar("T")
ApiRequest: TypeAlias = Request[Any, Any, State]
Parents: TypeAlias = list[int | str]

# Closing a connection on what a client still sends loses the answer with it, so what is a little too much is read.
_DRAINED_BYTES = 16 * 1024 * 1024
_BODY_SECONDS = 10.0
_LARGE_BYTES = 64 * 1024
_LARGEST_ID = 2**63 - 1

_DIGITS = re.compile("[0-9]{1,19}")
_UNKNOWN = re.compile("unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile("missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at `\$\.(?P<field>\w+)")

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]{1,128}$")]

_NAME = "1 to 128 characters out of A-Z a-z 0-9 . _ : -"
_TIME = "a time like 2030-01-31T09:00:00Z"
_SHAPES = {
    "task": "a string",
    "args": "an object of named arguments",
    "queue": "a string",
    "priority": "an integer from 1 to 10",
    "run_at": _TIME,
    "delay": 'a number of seconds, or a string like "10m"',
    "max_attempts": "an integer from 1 to 1000",
    "timeout": 'a number of seconds, or a string like "10m"',
    "key": "a string",
    "limit_key": "a string",
    "depends_on": "a list of job ids and keys",
    "tags": "a list of strings",
    "backoff": "an object",
    "deadline": _TIME,
    "correlation_id": "a string",
}
_PAGE_SHAPES = {
    "state": "one of blocked, scheduled, ready, running, completed, failed, cancelled, pending",
    "queue": _NAME,
    "task": _NAME,
    "limit": "1 to 200",
    "after": "the `next` of the page before",
}


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs to list, newest first; `after` is the `next` of the page before."""

    state: JobState | Literal["pending"] | None = None
    queue: Name | None = None
    task: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[int, Meta(ge=1, le=_LARGEST_ID)] | None = None


class Submission(NamedTuple):
    """`parents` as they were given: ids, and keys of jobs."""

    job: NewJob
    parents: Parents | None


def job_id_of(given: str) -> int:
    """NotFound for what cannot be an id, as for an id that is not there."""
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= _LARGEST_ID:
        raise NotFound(f"there is no job {given[:40]!r}")
    return int(given)


def page_of(request: ApiRequest) -> Page:
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise Refused(MALFORMED, f"{name[:40]} was given twice", field=name[:40])
        given[name] = int(value) if name in ("limit", "after") and _DIGITS.fullmatch(value) else value
    return _convert(given, Page, _PAGE_SHAPES)


async def submission_of(request: ApiRequest) -> Submission:
    _require_json(request)
    raw = await _body(request)
    given = parse(raw) if len(raw) < _LARGE_BYTES else await asyncio.to_thread(parse, raw)
    parents = _convert({"depends_on": given.pop("depends_on", None)}, _Parents, _SHAPES).depends_on
    return Submission(_convert(given, NewJob, _SHAPES), parents)


class _Parents(Struct):
    depends_on: Parents | None


def _require_json(request: ApiRequest) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refused(MEDIA, f"the body must be application/json, not {media_type[:100]!r}")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Refused(MEDIA, f"the body must be sent as it is, not encoded as {encoding[:100]!r}")


async def _body(request: ApiRequest) -> bytes:
    announced = request.headers.get("content-length", "")
    if _DIGITS.fullmatch(announced) and int(announced) > MAX_BODY_BYTES and "expect" in request.headers:
        raise _too_large()  # the client waits to be told whether to send it at all
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await _received(request)
    except TimeoutError as error:
        raise Refused(TOO_SLOW, f"the body did not arrive within {_BODY_SECONDS:g} s") from error


async def _received(request: ApiRequest) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= _DRAINED_BYTES:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Refused(MALFORMED, "the body ended before it was complete")
        size += len(message["body"])
        if size <= MAX_BODY_BYTES:
            chunks.append(message["body"])
        more = message["more_body"]
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(chunks)


def _too_large() -> Refused:
    return Refused(TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes")


def _convert(given: dict[str, object], kind: type[T], shapes: dict[str, str]) -> T:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), given, shapes) from error


def _misfit(reason: str, given: dict[str, object], shapes: dict[str, str]) -> Refused:
    """msgspec speaks of its own types; whoever sent the request knows fields."""
    if found := _UNKNOWN.search(reason):
        field = found["field"][:40]
        return Refused(MALFORMED, f"there is no field {_shown(field)} here; there are {', '.join(shapes)}", field=field)
    if found := _MISSING.search(reason):
        return Refused(MALFORMED, f"{found['field']} is missing", field=found["field"])
    found = _AT.search(reason)
    if found is None or found["field"] not in shapes:
        return Refused(MALFORMED, "the request does not have the shape of what this address takes")
    field = found["field"]
    return Refused(MALFORMED, f"{field} must be {shapes[field]}, not {_shown(given.get(field))}", field=field)


def _shown(value: object) -> str:
    """As JSON, cut to 60 characters."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
