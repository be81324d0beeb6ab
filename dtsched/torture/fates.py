"""What became of a submission, as far as its submitter can know: written, not written, or unknown.

The verdict on lost jobs stands on this, so "not written" is only said of what cannot have been:

* what never left this program: it did not pass its checks, it cannot be encoded, or no connection was to be had;
* a statement in autocommit, or a COMMIT, that the server has answered with an ERROR: the transaction is aborted. The
  answer comes before the commit or not at all, because neither a cancel request nor a timeout is heeded once the commit
  record is being written;
* a transaction whose COMMIT has never been sent;
* over HTTP, what was refused with a status of 400 to 499, or could not be sent for want of a connection.

A FATAL or PANIC, a connection that ends without a word, an answer that does not come, and any 5xx say nothing: what was
asked for may be done.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, TypeAlias

import httpx
import psycopg

from dtsched import connections
from dtsched.errors import AllConnectionsTaken, DtschedError, InvalidInput


class Written(NamedTuple):
    """Its id, or that of the job which has its key; `created` None where that is not told."""

    job: int
    created: bool | None = None
    outcome: str | None = None


class NotWritten(NamedTuple):
    reason: str


class Unknown(NamedTuple):
    reason: str


Fate: TypeAlias = Written | NotWritten | Unknown


def of_statement(error: BaseException) -> NotWritten | Unknown:
    """Of a statement in autocommit, or of the COMMIT of a transaction."""
    reason = told(error)
    return NotWritten(reason) if never_sent(error) or is_refused(error) else Unknown(reason)


def of_request(error: httpx.TransportError | httpx.InvalidURL) -> NotWritten | Unknown:
    connecting = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    return NotWritten(told(error)) if isinstance(error, connecting) else Unknown(told(error))


def of_status(status: int, problem: str) -> NotWritten | Unknown:
    """Of an answer that is no success. 409 is also what a repeated request meets whose first is still under way."""
    reason = f"{status} {problem}"
    under_way = status == 409 and problem == "request-under-way"
    return NotWritten(reason) if 400 <= status < 500 and not under_way else Unknown(reason)


def never_sent(error: BaseException) -> bool:
    """It was raised before the statement was: by a check, by the encoder, or while a connection was being opened."""
    if isinstance(error, (AllConnectionsTaken, UnicodeError)):
        return True
    server_said = [cause for cause in causes(error) if isinstance(cause, psycopg.Error)]
    if not server_said:
        return isinstance(error, InvalidInput)
    if any(isinstance(cause, psycopg.DataError) and cause.sqlstate is None for cause in server_said):
        return True  # the driver cannot send such a value
    return was_connecting(error)


def is_refused(error: BaseException) -> bool:
    """The server has answered, and goes on: it says ERROR, and its transaction is aborted."""
    return any(
        isinstance(cause, psycopg.Error) and cause.diag.severity_nonlocalized == "ERROR" for cause in causes(error)
    )


def was_connecting(error: BaseException) -> bool:
    return any(connections.connect.__code__ in codes(cause.__traceback__) for cause in causes(error))


def is_expected(error: BaseException) -> bool:
    """Of a database, a network or a check; anything else is a mistake of ours."""
    return isinstance(error, (DtschedError, psycopg.Error, OSError, TimeoutError, UnicodeError))


def told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return said.encode("ascii", "backslashreplace").decode()[:200]


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself, and what it was raised from."""
    while error:
        yield error
        if error.__cause__ is None:
            return
        error = error.__cause__


def codes(trace: TracebackType | None) -> Iterator[object]:
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next
