"""What workers over HTTP tell of a job, checked before anything is written, and made fit to be stored."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from dtsched.api.problems import INVALID, FieldError, Refused
from dtsched.api.worker_shapes import MOST_LINES, ErrorDetails, GivenFinish, GivenReport
from dtsched.checks import MAX_RESULT_BYTES, check_json, check_seconds, cleaned, storable

_LONGEST_TYPE = 200
_LONGEST_MESSAGE = 4_000
_LONGEST_TRACEBACK = 32_000
_LONGEST_LINE = 4_000


class Delivered(Struct, omit_defaults=True):
    """As dtsched.finish() reads it."""

    outcome: str
    result: Raw | None = None
    error: ErrorDetails | None = None
    delay: float | None = None


def outcome_of(given: GivenFinish) -> bytes:
    """Refused when what is given does not go together, or cannot be stored; text loses NUL, and is cut."""
    if given.outcome != "complete" and given.result is not None:
        raise Refused(INVALID, f"result goes with the outcome complete, not with {given.outcome}", field="result")
    if given.outcome == "complete" and given.error is not None:
        raise Refused(INVALID, "error goes with the other outcomes, not with complete", field="error")
    if given.outcome not in ("retry", "snooze") and given.delay is not None:
        raise Refused(INVALID, f"delay goes with retry and snooze, not with {given.outcome}", field="delay")
    if given.outcome == "snooze" and given.delay is None:
        raise Refused(
            INVALID, "snooze needs a delay: without one the job would be claimed again at once", field="delay"
        )
    delivered = Delivered(given.outcome, delay=check_seconds("delay", given.delay, positive=False))
    if given.result is not None:
        delivered.result = Raw(check_json(cleaned(given.result), field="result", limit=MAX_RESULT_BYTES))
    if given.error is not None:
        delivered.error = _error(given.error)
    return msgspec.json.encode(delivered)


def report_of(given: GivenReport) -> dict[str, Any]:
    """As one of dtsched.report()'s, without its lease."""
    if len(given.log) > MOST_LINES:
        detail = f"log must be at most {MOST_LINES} lines, not {len(given.log)}: send the others after them"
        raise Refused(INVALID, detail, errors=[FieldError("log", detail)])
    report: dict[str, Any] = {}
    match given.progress:
        case None:
            pass
        case str(message):
            report["progress"] = {"message": message}
        case float() | int():
            report["progress"] = {"percent": given.progress}
        case progress:
            report["progress"] = progress
    if given.log:
        report["lines"] = [{"message": line} if isinstance(line, str) else line for line in given.log]
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for line in plain.get("lines", ()):
        line["message"] = line["message"][: _LONGEST_LINE + 1]  # longer than that, SQL marks it as cut
    return {name: cleaned(value) for name, value in plain.items()}


def _error(given: str | ErrorDetails) -> ErrorDetails:
    error = ErrorDetails(message=given) if isinstance(given, str) else given
    return ErrorDetails(
        type=storable(error.type[:_LONGEST_TYPE]) or "Error",
        message=storable(error.message[:_LONGEST_MESSAGE]),
        traceback=None if error.traceback is None else storable(error.traceback[-_LONGEST_TRACEBACK:]),
    )
