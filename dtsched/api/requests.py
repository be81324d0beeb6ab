"""What requests ask for, read from bodies and addresses into values of exact types, or refused."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from msgspec import Meta, Struct

from dtsched.api.bodies import MAX_BODY_BYTES, parse
from dtsched.api.front_door import BODY_IS_THERE, header
from dtsched.api.problems import MALFORMED, MEDIA, TOO_LARGE, TOO_SLOW, Refused
from dtsched.errors import NotFound
from dtsched.jobs import JobState

T = TypeVar("T")
ApiRequest: TypeAlias = Request[Any, Any, State]

# Closing a connection on what a client still sends loses the answer with it, so what is a little too much is read.
_DRAINED_BYTES = 16 * 1024 * 1024
PAUSE_SECONDS = 2.0
"""How long nothing of a body may come."""

_LARGE_BYTES = 64 * 1024
_LARGEST_ID = 2**63 - 1

_DIGITS = re.compile("[0-9]{1,19}")
_UNKNOWN = re.compile("unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile("missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at `\$\.(?P<field>\w+)")

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]{1,128}$")]

_NAME = "1 to 128 characters out of A-Z a-z 0-9 . _ : -"
_PAGE_SHAPES = {
    "filter": "a filter like state:failed queue:mail",
    "state": "one of blocked, scheduled, ready, running, completed, failed, cancelled, pending",
    "queue": _NAME,
    "task": _NAME,
    "limit": "1 to 200",
    "after": "the `next` of the page before",
}


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs to list, newest first; `after` is the `next` of the page before."""

    filter: Annotated[
        str | None,
        Meta(
            description="Terms that must all fit, like state:failed queue:mail args.user.id:42 error:Timeout since:1h.",
            examples=["state:failed queue:mail since:1h"],
        ),
    ] = None
    state: JobState | Literal["pending"] | None = None
    queue: Name | None = None
    task: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[int, Meta(ge=1, le=_LARGEST_ID)] | None = None


class WorkflowPage(Struct, frozen=True, forbid_unknown_fields=True):
    """Which workflows to list, newest first; `after` is the `next` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[int, Meta(ge=1, le=_LARGEST_ID)] | None = None


def job_id_of(given: str) -> int:
    """NotFound for what cannot be an id, as for an id that is not there."""
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= _LARGEST_ID:
        raise NotFound(f"there is no job {given[:40]!r}")
    return int(given)


def workflow_id_of(given: str) -> int:
    """As job_id_of()."""
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= _LARGEST_ID:
        raise NotFound(f"there is no workflow {given[:40]!r}")
    return int(given)


def worker_id_of(given: str) -> UUID:
    """As job_id_of()."""
    try:
        return UUID(given)
    except ValueError as error:
        raise NotFound(f"there is no worker {_shown(given)}") from error


def lease_id_of(given: str) -> int:
    """As job_id_of()."""
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= _LARGEST_ID:
        raise NotFound(f"there is no lease {given[:40]!r}")
    return int(given)


def operation_id_of(given: str) -> int:
    """As job_id_of()."""
    if not _DIGITS.fullmatch(given) or not 1 <= int(given) <= _LARGEST_ID:
        raise NotFound(f"there is no operation {given[:40]!r}")
    return int(given)


def page_of(request: ApiRequest) -> Page:
    return query_of(request, Page, _PAGE_SHAPES, numbers=("limit", "after"))


def workflow_page_of(request: ApiRequest) -> WorkflowPage:
    shapes = {name: _PAGE_SHAPES[name] for name in ("limit", "after")}
    return query_of(request, WorkflowPage, shapes, numbers=("limit", "after"))


def query_of(request: ApiRequest, kind: type[T], shapes: dict[str, str], *, numbers: Sequence[str] = ("limit",)) -> T:
    """`shapes` as in convert(); `numbers` are parameters that hold one."""
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise Refused(MALFORMED, f"{name[:40]} was given twice", field=name[:40])
        given[name] = int(value) if name in numbers and _DIGITS.fullmatch(value) else value
    return convert(given, kind, shapes)


async def object_of(request: ApiRequest) -> dict[str, object]:
    """The body, which has to be one JSON object."""
    return await parsed(await encoded_of(request))


async def encoded_of(request: ApiRequest) -> bytes:
    """The body as it came, which has to be JSON."""
    require_json(request)
    return await body_of(request, MAX_BODY_BYTES)


async def parsed(raw: bytes) -> dict[str, object]:
    return parse(raw) if len(raw) < _LARGE_BYTES else await asyncio.to_thread(parse, raw)


def require_json(request: ApiRequest) -> None:
    media_type = media_type_of(request)
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refused(MEDIA, f"the body must be application/json, not {media_type[:100]!r}")
    require_plain(request)


def media_type_of(request: ApiRequest) -> str:
    return header(request.scope, "content-type", "application/json").partition(";")[0].strip().lower()


def require_plain(request: ApiRequest) -> None:
    encoding = header(request.scope, "content-encoding", "identity").lower()
    if encoding != "identity":
        raise Refused(MEDIA, f"the body must be sent as it is, not encoded as {encoding[:100]!r}")


async def body_of(request: ApiRequest, limit: int, *, seconds: float = 10.0) -> bytes:
    """At most `limit` bytes, which have to arrive within `seconds`, and without a long pause."""
    if header(request.scope, "expect") and _announced(request) > limit:
        raise _too_large(limit)  # the client waits to be told whether to send it at all
    until = asyncio.get_running_loop().time() + seconds
    chunk, more = await next_chunk(request)
    if not more:  # as with most; a deadline for what has arrived would cost a tenth of a submission
        if len(chunk) > limit:
            raise _too_large(limit)
        return chunk
    try:
        async with asyncio.timeout_at(until):
            return await _received(request, limit, chunk)
    except TimeoutError as error:
        raise Refused(TOO_SLOW, f"the body did not arrive within {seconds:g} s") from error


def _announced(request: ApiRequest) -> int:
    length = header(request.scope, "content-length")
    return int(length) if _DIGITS.fullmatch(length) else 0


async def _received(request: ApiRequest, limit: int, first: bytes) -> bytes:
    chunks = [first]
    size = len(first)
    more = True
    while more and size <= limit + _DRAINED_BYTES:
        chunk, more = await next_chunk(request)
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


async def next_chunk(request: ApiRequest) -> tuple[bytes, bool]:
    """The bytes of the body that came since the last call, none where it ends, and whether there are more to come."""
    if BODY_IS_THERE in (request.scope["extensions"] or () if "extensions" in request.scope else ()):
        message = await request.receive()
    else:
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                message = await request.receive()
        except TimeoutError as error:
            raise Refused(TOO_SLOW, f"nothing of the body came for {PAUSE_SECONDS:g} s") from error
    if message["type"] != "http.request":
        raise Refused(MALFORMED, "the body ended before it was complete")
    return message["body"], message["more_body"]


def _too_large(limit: int) -> Refused:
    return Refused(TOO_LARGE, f"the body has more than {limit} bytes")


def convert(given: dict[str, object], kind: type[T], shapes: dict[str, str]) -> T:
    """`shapes` says for each field, to a person, what it must be."""
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
