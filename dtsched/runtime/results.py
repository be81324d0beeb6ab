"""What a handler returned or raised, made fit for the database: JSON without NUL and lone surrogates, bounded in size.

PostgreSQL refuses NUL and lone surrogates, and one refused row would fail the whole batch it is finished with.
"""

import traceback

import msgspec

from dtsched.answers import ErrorInfo, class_name
from dtsched.checks import MAX_RESULT_BYTES, cleaned, storable

_MAX_MESSAGE = 4_000
_MAX_TRACEBACK = 32_000

LONGEST_LINE = 4_000
"""Of what a handler logs."""

_encode = msgspec.json.Encoder().encode


class UnstorableResult(Exception):
    """The message says what to return instead."""


def encode_result(value: object, *, limit: int = MAX_RESULT_BYTES) -> bytes:
    """JSON of the value; NUL and lone surrogates become U+FFFD. UnstorableResult when it is no JSON, or too large."""
    try:
        try:
            raw = _encode(value)
        except UnicodeEncodeError:
            raw = _encode(cleaned(msgspec.to_builtins(value, str_keys=True)))
        if b"\\u0000" in raw:
            raw = _encode(cleaned(msgspec.json.decode(raw)))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UnstorableResult(f"the result cannot be stored as JSON: {error}; return plain data") from error
    if len(raw) > limit:
        raise UnstorableResult(
            f"the result is {len(raw)} bytes of JSON, at most {limit} are stored; return a reference to it"
        )
    return raw


def describe_error(error: BaseException) -> ErrorInfo:
    """The traceback begins in the handler, not in what called it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("dtsched.runtime."):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace, limit=-50)
    return ErrorInfo(
        type=storable(class_name(type(error)))[:200],
        message=storable(_message(error))[:_MAX_MESSAGE],
        traceback=storable("".join(lines))[-_MAX_TRACEBACK:],
    )


def shortened(text: str) -> str:
    """Of something long its begin and its end: of a traceback, what was raised."""
    if len(text) <= LONGEST_LINE:
        return text
    return f"{text[:1000]}\n…\n{text[1003 - LONGEST_LINE :]}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # a handler may bring an exception class that is itself broken
        return f"(its message cannot be read: {type(second).__name__})"
