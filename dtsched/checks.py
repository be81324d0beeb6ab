"""What may be stored: limits, and the checks of one value each. What they refuse, they say in a sentence."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import methodcaller
from typing import cast

import msgspec

from dtsched.errors import InvalidInput
from dtsched.settings import Duration, parse_duration

MAX_ARGS_BYTES = 1024 * 1024
MAX_RESULT_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 128 * 1024 * 1024
MAX_DEPTH = 64
MAX_SECONDS = 366 * 86400.0

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_POWER = re.compile(rb"(-?)[0-9](?:\.([0-9]+))?[eE]([+-]?[0-9]+)")
_MOST_EXPANSION = 64  # of compact JSON as PostgreSQL renders it: 5e-324 and a comma, 7 bytes, become 328
_FLAT_EXPANSION = 2  # of what has no floats: a space behind each colon and comma
_FLAT = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})
_members = methodcaller("values")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def check_name(field: str, value: str, *, blamed: str | None = None) -> None:
    """Of a task or a queue. `blamed` is the field that the error carries, if another one holds it."""
    if not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{field} must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not {shown(value)}",
            field=blamed or field,
        )


def check_event(name: str, payload: object) -> bytes:
    """The payload as JSON, of an event whose name may be one."""
    check_key("name", name)
    return check_json(payload, field="payload")


def check_step(field: str, name: str) -> None:
    """Of a step, a sleep or an event."""
    check_key(field, name)


def check_correlation_id(value: str | None) -> None:
    check_text("correlation_id", value, 128)


def check_json(value: object, *, field: str, limit: int = MAX_ARGS_BYTES) -> bytes:
    """Encodes what is to be stored as JSON, or says what in it cannot be. `limit`: bytes, as PostgreSQL writes it."""
    if (flat := encoded_flat(value, limit)) is not None:
        return flat
    try:
        plain = msgspec.to_builtins(value, str_keys=True)  # or what a dataclass or a set holds would not be looked at
        _check_tree(plain, field, depth=1)
        raw = msgspec.json.encode(plain)
    except InvalidInput:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{field} cannot be stored as JSON: {error}", field=field) from error
    size = len(raw) if len(raw) <= limit // _MOST_EXPANSION else _rendered_bytes(raw)
    if size > limit:
        raise InvalidInput(
            f"{field} must be at most 1 MiB ({limit} bytes) of JSON, not {size} bytes: "
            "store the data elsewhere and pass a reference",
            field=field,
        )
    return raw


def encoded_flat(value: object, limit: int = MAX_ARGS_BYTES) -> bytes | None:
    """Of a small object of plain values, as most args are: one look at what comes of it tells that all is right.
    check_json() has to be asked about all others."""
    raw = encoded_flats([value], limit)
    return None if raw is None else raw[1:-1]


def encoded_flats(values: Sequence[object], limit: int = MAX_ARGS_BYTES) -> bytes | None:
    """encoded_flat() of several at one look, as a JSON array: None unless all are so, and small together."""
    if set(map(type, values)) != {dict}:
        return None
    objects = cast("Sequence[dict[object, object]]", values)
    if not (
        _NAMES.issuperset(map(type, chain.from_iterable(objects)))
        and _FLAT.issuperset(map(type, chain.from_iterable(map(_members, objects))))
    ):
        return None
    try:
        raw = msgspec.json.encode(objects)
    except ValueError:  # a lone surrogate, an integer of too many digits
        return None
    return raw if len(raw) - 2 <= limit // _FLAT_EXPANSION and rb"\u0000" not in raw else None


def shown(value: object) -> str:
    """A value as an error message shows it, cut to 60 characters."""
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to write out the longest
        return f"an integer of {value.bit_length()} bits"
    text = repr(value) if not isinstance(value, str) else ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def storable(text: str) -> str:
    """Without what PostgreSQL has no place for: NUL and lone surrogates become U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)


def cleaned(value: object) -> object:
    """storable(), of all the text in plain JSON data."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [cleaned(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {storable(str(key)): cleaned(item) for key, item in cast("dict[object, object]", value).items()}
    return value


def _check_tree(value: object, where: str, *, depth: int) -> None:
    """NUL, lone surrogates, NaN, infinities and deep nesting: what JSON in PostgreSQL has no place for."""
    if depth > MAX_DEPTH:
        raise InvalidInput(
            f"{where.split('.')[0]} must not be nested deeper than {MAX_DEPTH} levels", field=where.split(".")[0]
        )
    if isinstance(value, str):
        if UNSTORABLE.search(value):
            raise InvalidInput(
                f"{where} must not hold NUL or a lone surrogate, as {shown(value)} does", field=where.split(".")[0]
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{where} must be a finite number, not {value!r}", field=where.split(".")[0])
    elif isinstance(value, dict):
        for name, item in cast("dict[object, object]", value).items():
            if isinstance(name, str):
                _check_tree(name, where, depth=depth)
            _check_tree(item, f"{where}.{name}" if depth == 1 else where, depth=depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in cast("list[object]", value):
            _check_tree(item, where, depth=depth + 1)


def _rendered_bytes(raw: bytes) -> int:
    """The size of compact JSON as PostgreSQL renders it: a space after each comma and colon, no powers of ten."""
    rest = _STRING.sub(b"", raw)
    return len(raw) + rest.count(b",") + rest.count(b":") + sum(map(_written_out, _POWER.finditer(rest)))


def _written_out(number: re.Match[bytes]) -> int:
    """How many bytes longer a number becomes: 1.5e3 is 1500, 1.5e-3 is 0.0015."""
    sign, fraction, exponent = number.groups(default=b"")
    decimals = max(0, len(fraction) - int(exponent))
    return len(sign) + max(1, 1 + int(exponent)) + (decimals and 1 + decimals) - len(number[0])


def check_integer(field: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidInput(f"{field} must be {low} to {high}, not {shown(value)}", field=field)


def check_instant(field: str, value: datetime | None) -> datetime | None:
    """In UTC: 1969-12-31T23:00:00-05:00 is in 1970, which SQL does not see, and offsets may have seconds."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidInput(
            f"{field} must carry a time zone, as in 2030-01-31T09:00:00Z, not {value.isoformat()}", field=field
        )
    if not _EARLIEST <= value <= _LATEST:
        raise InvalidInput(f"{field} must be a finite time from 1970 to 9999, not {value.isoformat()}", field=field)
    return value.astimezone(UTC)


def check_seconds(field: str, value: Duration | None, *, positive: bool) -> float | None:
    if value is None:
        return None
    seconds = parse_duration(value, field=field)
    if seconds > MAX_SECONDS or (positive and round(seconds * 1_000_000) == 0):  # an interval counts microseconds
        raise InvalidInput(
            f"{field} must be {'over 0 and' if positive else '0 to'} at most 366 days, not {value}", field=field
        )
    return seconds


def check_text(field: str, value: str | None, longest: int) -> None:
    if value is not None and (not 1 <= len(value) <= longest or _CONTROL.search(value) or UNSTORABLE.search(value)):
        raise InvalidInput(
            f"{field} must be 1 to {longest} characters without control characters, not {shown(value)}", field=field
        )


def check_key(field: str, value: str | None) -> None:
    check_text(field, value, 255)
