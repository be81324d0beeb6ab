"""From the bytes of a request's body to plain JSON data of bounded depth and size, or a sentence that says why not.

Duplicate members are legal JSON: the last one counts. Fractions are read as 64-bit floats, integers exactly.
"""

import re
from itertools import accumulate
from typing import cast

import msgspec

MAX_BODY_BYTES = 1024 * 1024 + 64 * 1024
"""What args may take, and room for the rest."""

MAX_BATCH_BODY_BYTES = 16 * 1024 * 1024
MAX_BATCH_JOBS = 10_000

MAX_HEAD_BYTES = 32 * 1024
"""Of the address and all headers."""

MAX_HEADERS = 100

MAX_VALUES = 1_000_000
"""Members count twice, as name and value, and arrays and objects beside what is in them. Each takes some 100 bytes of
memory, and three of a body's: 16 MiB of brackets would take 400."""

MAX_DEPTH = 64
MAX_DIGITS = 309  # as many as the largest float has
MAX_EXPONENT = 308

DEPTH_OF_JOBS = 2  # {"jobs": […]}

_MOST_QUOTES = 100_000
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # matches without its end too: else quadratic in open quotes
_EXPONENT = re.compile(rb"[eE][+-]?0*([0-9]+)")
_LONG_NUMBER = re.compile(rb"[0-9.]{%d,}" % (MAX_DIGITS + 1))
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_NUMBER_TOO_LARGE = f"the body holds a number of over {MAX_DIGITS} digits or with an exponent over {MAX_EXPONENT}"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class MalformedBody(Exception):
    """The message is one sentence that names what is wrong."""


def parse(raw: bytes, *, deepest: int = MAX_DEPTH) -> dict[str, object]:
    value = _read(raw, deepest)
    if not isinstance(value, dict):
        raise MalformedBody('the body must be one JSON object, like {"task": "echo", "args": {"value": 1}}')
    return cast("dict[str, object]", value)


def parse_batch(raw: bytes) -> tuple[list[object], bool]:
    """The elements of {"jobs": […]}, or of a bare array, and whether {"partial": true} is there; each element may be as
    deep as alone."""
    value = _read(raw, MAX_DEPTH + DEPTH_OF_JOBS)
    partial: object = False
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        if members.keys() <= {"jobs", "partial"}:
            value, partial = members.get("jobs"), members.get("partial", False)
    if not isinstance(value, list):
        raise MalformedBody('the body must be one JSON object of an array of jobs, like {"jobs": [{"task": "echo"}]}')
    if not isinstance(partial, bool):
        raise MalformedBody("partial must be true or false")
    return cast("list[object]", value), partial


def _read(raw: bytes, deepest: int) -> object:
    _refuse_what_expands(raw, deepest)
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError:
        raise MalformedBody("the body is not valid UTF-8") from None
    except RecursionError:  # the depth was checked, but only as far as the brackets of malformed JSON can be trusted
        raise MalformedBody(f"the body is nested more than {deepest} deep") from None
    except msgspec.MsgspecError as error:
        raise MalformedBody(_said_plainly(raw, str(error))) from None


def _refuse_what_expands(raw: bytes, deepest: int) -> None:
    """Values, depth and numbers: jsonb writes 1e131071 out as 131,072 digits, and a deep document exhausts its
    stack."""
    outside_strings = _outside_strings(raw)
    if sum(map(outside_strings.count, (b",", b":", b"[", b"{"))) > MAX_VALUES:
        raise MalformedBody(f"the body holds more than {MAX_VALUES} names and values: send less at a time")
    if _is_deeper(outside_strings, deepest):
        raise MalformedBody(f"the body is nested more than {deepest} deep")
    if _LONG_NUMBER.search(outside_strings) or any(
        len(digits) > 3 or int(digits) > MAX_EXPONENT
        for digits in cast("list[bytes]", _EXPONENT.findall(outside_strings))
    ):
        raise MalformedBody(_NUMBER_TOO_LARGE)


def _outside_strings(raw: bytes) -> bytes:
    """With a quote in place of each string. What is malformed is read up to where it is so."""
    if raw.count(b'"') > _MOST_QUOTES:  # the parts would take several times the memory of the body
        return _STRING.sub(b'"', raw)
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b'"'.join(raw.split(b'"')[::2])


def _is_deeper(outside_strings: bytes, deepest: int) -> bool:
    brackets = outside_strings.translate(None, _NOT_BRACKETS)
    if brackets.count(b"[") + brackets.count(b"{") <= deepest:
        return False
    return deepest + 1 in accumulate(map(_STEP.__getitem__, brackets))


def _said_plainly(raw: bytes, reason: str) -> str:
    if not raw.strip():
        return "the body is empty: send one JSON object"
    if raw.startswith(b"\xef\xbb\xbf"):
        return "the body begins with a byte order mark: send UTF-8 without it"
    if _SURROGATE.search(raw):
        return "the body is not valid JSON, or a string in it holds half of a surrogate pair"
    if "out of range" in reason:
        return _NUMBER_TOO_LARGE
    return f"the body is not valid JSON: {reason.removeprefix('JSON is malformed: ')}"
