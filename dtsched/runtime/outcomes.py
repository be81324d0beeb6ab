"""Turns what a handler did into the outcome of its attempt. Pure; None means that the job is handed back instead."""

import asyncio
from typing import Protocol, cast

import msgspec

from dtsched.answers import Cancel, ErrorInfo, Fail, Outcome, Retry, RetryRules, Snooze, class_name, lineage_of
from dtsched.checks import storable
from dtsched.context import Suspended
from dtsched.errors import EventTimeout, InvalidInput
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.results import UnstorableResult, describe_error, encode_result


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
    if isinstance(value, (Retry, Snooze, Cancel, Fail)):
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
    if isinstance(error, (Retry, Snooze, Cancel, Fail)):
        return _as_told(lease_id, error)
    if (suspended := _suspended(error)) is not None:
        return Outcome(lease_id=lease_id, kind="snooze", wait=suspended.step)
    if attempt.stop_reason is not None and (
        attempt.stop_reason != "cancelled" or isinstance(error, asyncio.CancelledError)
    ):
        return of_stop(attempt)
    # args that do not fit today will not fit tomorrow, and the next attempt would be told of the same timeout
    kind = "fail" if isinstance(error, (InvalidInput, EventTimeout)) else "retry"
    return Outcome(lease_id=lease_id, kind=kind, error=describe_error(error), lineage=lineage_of(type(error)))


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
        return Outcome(lease_id=lease_id, kind="retry", error=error, lineage=lineage_of(TimeoutError))
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


def by_rules(outcome: Outcome, rules: RetryRules) -> Outcome:
    """As the task's policy has it for errors of that class. What the handler itself asked for stays."""
    if outcome.kind != "retry" or not outcome.lineage:
        return outcome
    if not rules.allow(outcome.lineage):
        return msgspec.structs.replace(outcome, kind="fail")
    return msgspec.structs.replace(outcome, delay=rules.delay(outcome.lineage))


def after_completion(outcome: Outcome | None) -> Outcome | None:
    """Of a handler that has completed its job in a transaction of its own. If that was committed its lease is gone, and
    whatever is told now is refused; if not, the attempt has not succeeded, even if the handler returned."""
    if outcome is None:
        return None
    if outcome.kind != "complete":
        return msgspec.structs.replace(outcome, completing=True)
    error = ErrorInfo(
        type="CompletionNotCommitted",
        message="the transaction in which its handler completed the job was not committed",
        traceback=None,
    )
    return Outcome(lease_id=outcome.lease_id, kind="retry", error=error, completing=True)


def _suspended(error: BaseException) -> Suspended | None:
    """Also of a task group in which nothing else went wrong. The first one decides what the job waits for; when it runs
    again it comes to the others."""
    if isinstance(error, BaseExceptionGroup):
        waits = [_suspended(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions]
        return waits[0] if None not in waits else None
    return error if isinstance(error, Suspended) else None


def _as_told(lease_id: int, told: Retry | Snooze | Cancel | Fail) -> Outcome:
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
        case Fail():
            return Outcome(
                lease_id=lease_id,
                kind="fail",
                error=msgspec.structs.replace(
                    describe_error(told), type="Fail" if type(told) is Fail else class_name(type(told))
                ),
            )
