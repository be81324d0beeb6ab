"""Requests to the REST API of a dtsched server: sent, repeated where that is safe, and refused in the errors that the
database would answer with. The key is in no message, no repr and no address.
"""

import asyncio
import os
import re
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from dtsched.errors import (
    Conflict,
    DatabaseUnreachable,
    DtschedError,
    InvalidInput,
    NotAllowed,
    NotFound,
    SchemaMismatch,
    SchemaMissing,
    UnknownTask,
)
from dtsched.settings import NO_URL, is_url

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0  # the server answers in 5; a large batch takes its time to arrive
MOST_TRIES = 4
LONGEST_PAUSE_SECONDS = 5.0

_IDLE_SECONDS = 2.0  # before the server or a proxy lets go of a connection, or a request meets the closing
_CONNECTIONS = 50
_KEY = re.compile(r"[\x21-\x7e]{1,1000}")
_OF_BATCH = re.compile(r"jobs\[([0-9]+)\](?:\.(.+))?")
_JOB = re.compile(r"job [0-9]+: ")
_RETRY_AFTER = re.compile("[0-9]{1,6}")
_NO_ADDRESS = "there is no such address"


class Call(NamedTuple):
    """A request. With a `once` key the server does it once however often it is sent; a `wait` is for Prefer."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str | int] = {}
    once: str | None = None
    wait: int | None = None

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or self.once is not None


class Reply(NamedTuple):
    status: int
    body: bytes


class Server:
    """Where an API is, and the key to it."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = _checked_url(url)
        if key is not None and not _KEY.fullmatch(key):
            raise InvalidInput(
                "the API key (DTSCHED_KEY) must be as `dtsched key create` printed it: it holds characters that no key "
                "has",
                field="key",
            )
        self._key = key

    def __repr__(self) -> str:
        return f"Server({self.url!r}, key={'set' if self._key else None})"

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def options(self) -> dict[str, Any]:
        """What every client of httpx is made with."""
        import httpx  # takes 0.1 s: not for a command that sends nothing

        secure = self.url.startswith("https:")
        return {
            "headers": {"authorization": f"Bearer {self._key}"} if self._key else {},
            "verify": ssl.create_default_context() if secure else False,
            "trust_env": not self._is_local(),  # no proxy is on the way to this machine itself
            "limits": httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS),
        }

    def request(self, call: Call) -> dict[str, Any]:
        import httpx

        given = {
            "content-type": "application/json" if call.body is not None else None,
            "idempotency-key": call.once,
            "prefer": None if call.wait is None else f"wait={call.wait}",
        }
        return {
            "method": call.method,
            "url": f"{self.url}{call.path}",
            "params": dict(call.query) or None,
            "content": call.body,
            "headers": {name: value for name, value in given.items() if value is not None},
            "timeout": httpx.Timeout(ANSWER_SECONDS + (call.wait or 0), connect=CONNECT_SECONDS),
        }

    def _is_local(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Rest:
    """For any number of tasks of one event loop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ask(self, call: Call) -> Reply:
        """What was answered with a status of success. Raises what the database would, and NotAllowed."""
        import httpx

        tries = _Tries(self.server, call)
        while True:
            if self._client is None:
                self._client = httpx.AsyncClient(**self.server.options())
            try:
                response = await self._client.request(**self.server.request(call))
            except httpx.TransportError as error:
                pause = tries.broken(error)
            else:
                pause = tries.answered(response)
                if pause is None:
                    return Reply(response.status_code, response.content)
            await asyncio.sleep(pause)


class SyncRest:
    """For any number of threads."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client: httpx.Client | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def ask(self, call: Call) -> Reply:
        """As of Rest."""
        import httpx

        tries = _Tries(self.server, call)
        while True:
            try:
                response = self._shared().request(**self.server.request(call))
            except httpx.TransportError as error:
                pause = tries.broken(error)
            else:
                pause = tries.answered(response)
                if pause is None:
                    return Reply(response.status_code, response.content)
            time.sleep(pause)

    def _shared(self) -> "httpx.Client":
        import httpx

        with self._lock:
            if self._pid != os.getpid():  # forked: those connections are the parent's
                self._pid, self._client = os.getpid(), None
            if self._client is None:
                self._client = httpx.Client(**self.server.options())
                weakref.finalize(self, self._client.close)
            return self._client


class _Tries:
    """Of one call: what becomes of it after each, in seconds to wait before the next, or as an error."""

    def __init__(self, server: Server, call: Call) -> None:
        self._server = server
        self._call = call
        self._left = MOST_TRIES - 1
        self._broke = False

    def broken(self, error: "httpx.TransportError") -> float:
        """A lost answer is asked for once more, if that does nothing twice."""
        import httpx

        never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError))
        if never_sent or isinstance(error, httpx.UnsupportedProtocol):
            reason = str(error) or type(error).__name__
            raise DatabaseUnreachable(
                f"the server at {self._server.url} cannot be reached: start it, or check DTSCHED_URL: {reason}"
            ) from error
        if self._broke or not self._call.repeatable:
            unsure = "" if self._call.method == "GET" else "; what was asked for may be done all the same"
            raise DatabaseUnreachable(
                f"the server at {self._server.url} did not answer ({type(error).__name__}){unsure}"
            ) from error
        self._broke = True
        return 0.0

    def answered(self, response: "httpx.Response") -> float | None:
        """None: with success."""
        if response.is_success:
            if response.content and not response.headers.get("content-type", "").startswith("application/json"):
                raise _not_ours(self._server, response.status_code)  # a page to log in to the network, say
            return None
        error = refusal(self._server, response.status_code, response.content)
        given = response.headers.get("retry-after", "")
        again = response.status_code == 429 or (response.status_code in (409, 503) and self._call.repeatable)
        if not again or isinstance(error, SchemaMissing) or not _RETRY_AFTER.fullmatch(given):
            raise error
        self._left -= 1
        if self._left < 0 or int(given) > LONGEST_PAUSE_SECONDS:
            raise error
        return float(given)


class _FieldError(msgspec.Struct):
    field: str = ""
    detail: str = ""


class _Problem(msgspec.Struct):
    type: str
    detail: str
    errors: list[_FieldError] = []


def refusal(server: Server, status: int, body: bytes) -> DtschedError:
    """What a problem document says, as the error that the database would have led to."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _not_ours(server, status)
    name = re.split("[:/]", problem.type)[-1]
    if name == "not-found" and problem.detail == _NO_ADDRESS:
        return _not_ours(server, status)
    match status:
        case 401 | 403:
            return NotAllowed(_not_allowed(server, status, problem.detail))
        case 404:
            return NotFound(problem.detail)
        case 409 | 412 | 428 if name != "request-under-way":
            return Conflict(problem.detail, problems=_problems(problem))
        case 400 | 413 | 422:
            kind = UnknownTask if name == "unknown-task" else InvalidInput
            return kind(problem.detail, field=_field(problem), problems=_problems(problem))
        case 503 if name in ("schema-missing", "schema-mismatch"):
            return (SchemaMissing if name == "schema-missing" else SchemaMismatch)(problem.detail)
        case 408 | 409 | 429 | 502 | 503 | 504:
            return DatabaseUnreachable(f"the server at {server.url} could not do it now: {problem.detail}")
        case _:
            return DtschedError(f"the server at {server.url} answered {status}: {problem.detail}")


def _not_ours(server: Server, status: int) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        f"{server.url} answered {status}, and not as the API of a dtsched of this version does: check DTSCHED_URL"
    )


def _not_allowed(server: Server, status: int, detail: str) -> str:
    if status == 401 and not server.has_key:
        return f"the server at {server.url} wants an API key: set DTSCHED_KEY to one that `dtsched key create` made"
    if status == 401:
        refused = "refuses the key in DTSCHED_KEY: it is unknown, or was revoked, or its time is over"
        return f"the server at {server.url} {refused}"
    given = "is set" if server.has_key else "is not set"
    return f"the server at {server.url} does not allow that (DTSCHED_KEY {given}): {detail}"


def _field(problem: _Problem) -> str | None:
    if not problem.errors:
        return None
    field = problem.errors[0].field
    found = _OF_BATCH.fullmatch(field)
    return found[2] if found else field or None


def _problems(problem: _Problem) -> dict[int, str]:
    """Of each job of a batch, where several are wrong."""
    if len(problem.errors) < 2:
        return {}
    found = [(_OF_BATCH.fullmatch(error.field), error.detail) for error in problem.errors]
    return {int(match[1]): _JOB.sub("", detail, count=1) for match, detail in found if match}


def _checked_url(url: str) -> str:
    """Without its last slash. What is wrong is said without showing it: it may hold a password."""
    try:
        parts = urlsplit(url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if not is_url(url) or not parts.hostname or not port_is_one or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise InvalidInput(NO_URL, field="url")
    if "@" in parts.netloc:
        raise InvalidInput(
            "the URL of the API (DTSCHED_URL) must hold no user and no password: the key goes into DTSCHED_KEY",
            field="url",
        )
    if parts.query or parts.fragment:
        raise InvalidInput("the URL of the API (DTSCHED_URL) must end before its ? and its #", field="url")
    return url.rstrip("/")
