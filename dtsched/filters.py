"""The filter language of CLI, REST and dashboard: `state:failed queue:mail args.user.id:42 error:Timeout since:1h`.

Terms stand apart by blanks and must all fit; the values of one term stand apart by commas, and one must fit. A value
with blanks, commas or quotes in it is put in double quotes, where \\" and \\\\ stand for themselves.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID

from dtsched.checks import check_name, shown
from dtsched.errors import InvalidInput
from dtsched.jobs import JobState
from dtsched.settings import parse_duration

Filter: TypeAlias = dict[str, Any]
"""What dtsched.list_jobs() takes."""

FIELDS = (
    "state", "queue", "task", "key", "limit_key", "tag", "priority", "worker", "correlation_id", "id", "error", "since",
    "until", "workflow", "fingerprint",
)  # fmt: skip
STATES = (*get_args(JobState), "pending")

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = r'(?P<name>[A-Za-z_]+(?:\.[^\s:"]+)?)'
_TERM = re.compile(rf'\s*{_NAME}:(?P<values>(?:{_QUOTED}|[^\s"])+)(?=\s|$)', re.DOTALL | re.ASCII)
_ARGUMENT = re.compile(rf'{_NAME}:(?P<value>[^"]+)', re.DOTALL | re.ASCII)
_COMMA = re.compile(rf"({_QUOTED})|,", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._:+-]+")
_PRIORITY = re.compile("0?[1-9]|10")
_ID = re.compile("[1-9][0-9]{0,18}")
_FINGERPRINT = re.compile("[0-9a-f]{16}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LONGEST = 4000
_MOST_VALUES = 100
_LARGEST_ID = 2**63 - 1
_LONGEST_AGO = 1000 * 366 * 86400.0


def parse_filter(text: str | Sequence[str]) -> Filter:
    """From one text, or from the arguments of a command line, whose shell has taken the quotes: there, error:a b is one
    term. `since` and `until` take a time, or how long ago by the database's clock. Raises InvalidInput with the term
    that is wrong."""
    terms = [text] if isinstance(text, str) else list(text)
    if sum(map(len, terms)) > _LONGEST:
        raise InvalidInput(f"a filter must be at most {_LONGEST} characters", field="filter")
    if _UNSTORABLE.search("".join(terms)):
        raise InvalidInput("a filter must not hold NUL or a lone surrogate", field="filter")
    wanted: Filter = {}
    for name, values in (term for part in terms for term in _terms(part, is_argument=not isinstance(text, str))):
        if name.startswith("args."):
            _add_argument(wanted, name, values)
        elif name in wanted:
            raise InvalidInput(
                f"{name} is there twice in the filter: alternatives stand apart by commas, {name}:A,B", field="filter"
            )
        elif name in ("since", "until"):
            wanted[name] = moment(name, values)
        else:
            wanted[name] = _checked(name, values)
    return wanted


def as_text(wanted: Filter) -> str:
    """What parse_filter() reads as the same filter."""
    terms: list[str] = []
    for name, value in wanted.items():
        if name == "args":
            terms += [f"args.{'.'.join(each['path'])}:{_quoted(each['value'])}" for each in value]
        elif isinstance(value, dict):
            terms.append(f"{name}:{cast('dict[str, float]', value)['seconds_ago']:f}s")
        else:
            values = [value] if isinstance(value, str) else cast("list[str]", value)
            terms.append(f"{name}:{','.join(map(_quoted, values))}")
    return " ".join(terms)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _terms(text: str, *, is_argument: bool) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None and is_argument and (match := _ARGUMENT.fullmatch(text)):
            return [(_known(match["name"]), [match["value"]])]
        if match is None:
            rest = text[position:].strip()
            raise InvalidInput(
                f"a filter is made of terms like state:failed, queue:mail or args.user.id:42, not {shown(rest)}",
                field="filter",
            )
        name = _known(match["name"])
        found.append((name, _values(name, match["values"])))
        position = match.end()
    return found


def _known(name: str) -> str:
    if name not in FIELDS and not name.startswith("args."):
        raise InvalidInput(
            f"there is no filter {shown(name)}; there are {', '.join(FIELDS)} and args.PATH", field="filter"
        )
    return name


def _values(name: str, text: str) -> list[str]:
    # no text has a NUL of its own
    values = [_unquoted(value) for value in _COMMA.sub(lambda found: found[1] or "\0", text).split("\0")]
    if "" in values or len(values) > _MOST_VALUES:
        raise InvalidInput(
            f"{name} takes 1 to {_MOST_VALUES} values that stand apart by commas, not {shown(text)}", field="filter"
        )
    return values


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value


def _add_argument(wanted: Filter, name: str, values: list[str]) -> None:
    if len(values) != 1:
        raise InvalidInput(f"{name} takes one value; one with a comma stands in double quotes", field="filter")
    path = name.split(".")[1:]
    if "" in path:
        raise InvalidInput(f"a path into args is like args.user.id, not {shown(name)}", field="filter")
    wanted.setdefault("args", []).append({"path": path, "value": values[0]})


def _checked(name: str, values: list[str]) -> list[str]:
    match name:
        case "state":
            unknown = next((value for value in values if value not in STATES), None)
            if unknown is not None:
                raise InvalidInput(f"state must be one of {', '.join(STATES)}, not {shown(unknown)}", field="filter")
        case "queue" | "task":
            for value in values:
                check_name(name, value, blamed="filter")
        case "priority":
            _require(name, values, "1 to 10", _PRIORITY)
            return [str(int(value)) for value in values]
        case "id":
            _require(name, values, "an id of a job", _ID)
        case "workflow":
            _require(name, values, "an id of a workflow", _ID)
        case "fingerprint":
            if wrong := next((value for value in values if not _FINGERPRINT.fullmatch(value)), None):
                raise InvalidInput(
                    f"fingerprint must be 16 of 0-9 a-f, as of a group of errors, not {shown(wrong)}", field="filter"
                )
        case "worker":
            return [_worker(value) for value in values]
        case _:
            pass
    return values


def _require(name: str, values: list[str], what: str, pattern: re.Pattern[str]) -> None:
    for value in values:
        if not pattern.fullmatch(value) or int(value) > _LARGEST_ID:
            raise InvalidInput(f"{name} must be {what}, not {shown(value)}", field="filter")


def _worker(value: str) -> str:
    """A name, or an id in any spelling."""
    try:
        return str(UUID(value))
    except ValueError:
        return value


def moment(name: str, values: list[str]) -> str | dict[str, float]:
    """A time as list_jobs() takes it, or how long ago."""
    if len(values) == 1:
        with suppress(InvalidInput):
            return {"seconds_ago": min(parse_duration(values[0], field=name), _LONGEST_AGO)}
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(values[0])
            return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).isoformat()
    raise InvalidInput(
        f"{name} must be a time like 2030-01-31T09:00:00Z, or how long ago like 90s, 1h, 7d, "
        f"not {shown(','.join(values))}",
        field="filter",
    )
