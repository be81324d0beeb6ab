"""Turns what a handler did into the outcome of its attempt. Pure; None means that the job is handed back instead."""

import asyncio
from typing import Protocol

from dtsched.errors import InvalidInput
from dtsched.jobs import Cancel, ErrorInfo, Outcome, Retry, Snooze
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.results import UnstorableResult, describe_error, encode_result, storable


class Limited(Protocol):
    """What says how many bytes of a result are stored: 0, none."""

    @property
    def max_result(self) -> int: ...


def of_value(attempt: Attempt, value: object, limited: Limited) -> Outcome | None:
    """Of a handler that returned. One that returns after its timeout has timed out all the same."""
    if attempt.stop_reason == "timeout":
        return of_stop(attempt)
    lease_id = attempt.claimed.lease_id
    if value is None:
        return Outcome(lease_id=lease_id, kind="complete")
    if isinstance(value, (Retry, Snooze, Cancel)):
        return _as_told(lease_id, value)
    if limited.max_result == 0:
        return Outcome(lease_id=lease_id, kind="complete")
    try:
        return Outcome(lease_id=lease_id, kind="complete", result=encode_result(value, limit=limited.max_result))
    except UnstorableResult as error:
        return failed(attempt, "UnstorableResult", str(error))


def of_error(attempt: Attempt, error: BaseException) -> Outcome | None:
    """Of a handler that raised. CancelledError is its own unless it had been told to stop."""
    lease_id = attempt.claimed.lease_id
    if isinstance(error, (Retry, Snooze, Cancel)):
        return _as_told(lease_id, error)
    if attempt.stop_reason is not None and (
        attempt.stop_reason != "cancelled" or isinstance(error, asyncio.CancelledError)
    ):
        return of_stop(attempt)
    # args that do not fit today will not fit tomorrow
    kind = "fail" if isinstance(error, InvalidInput) else "retry"
    return Outcome(lease_id=lease_id, kind=kind, error=describe_error(error))


def of_raised(attempt: Attempt, error: BaseException) -> Outcome | None:
    """of_error(), also of an exception of the handler's that is itself broken."""
    try:
        return of_error(attempt, error)
    except Exception as second:
        message = f"the error {type(error).__qualname__} cannot be described: {type(second).__qualname__}"
        return failed(attempt, "UnstorableError", message)


def of_stop(attempt: Attempt) -> Outcome | None:
    """Of a handler that was told to stop, and did or was given up on."""
    lease_id = attempt.claimed.lease_id
    if attempt.stop_reason == "timeout":
        seconds = attempt.timeout_seconds
        error = ErrorInfo(type="timeout", message=f"still running after {seconds:g} s, its timeout", traceback=None)
        return Outcome(lease_id=lease_id, kind="retry", error=error)
    if attempt.stop_reason == "cancelled":
        return Outcome(lease_id=lease_id, kind="cancel")
    return None


def of_death(attempt: Attempt, message: str) -> Outcome:
    """Of a handler whose process died under it, without being told to."""
    error = ErrorInfo(type="ProcessDied", message=message, traceback=None)
    return Outcome(lease_id=attempt.claimed.lease_id, kind="retry", error=error)


def failed(attempt: Attempt, kind: str, message: str) -> Outcome:
    """Of an attempt that no retry would help."""
    error = ErrorInfo(type=kind, message=storable(message), traceback=None)
    return Outcome(lease_id=attempt.claimed.lease_id, kind="fail", error=error)


def _as_told(lease_id: int, told: Retry | Snooze | Cancel) -> Outcome:
    match told:
        case Retry():
            return Outcome(lease_id=lease_id, kind="retry", delay=told.after, error=describe_error(told))
        case Snooze():
            return Outcome(lease_id=lease_id, kind="snooze", delay=told.delay)
        case Cancel():
            return Outcome(
                lease_id=lease_id,
                kind="cancel",
                error=ErrorInfo(type="Cancel", message=storable(told.reason), traceback=None),
            )
