"""The one table of bad input, as data: each case is run through every door that jobs come in by, and each door has to
refuse it in one sentence that names the field, before anything is written.

A test of a door declares the task TASK first (`declare`), takes its `cases(door)`, says them in its own words
(`json_body`, `command_line`, or `fields` as they are), and compares `written()` before and after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, LiteralString, NamedTuple, cast
from uuid import uuid4

import psycopg

Door = Literal["insert", "submit", "client", "cli", "rest"]

TASK = "echo"
"""A built-in task, known to the database in all cases but "unknown task"."""

MISSING_JOB = 987_654_321


@dataclass(frozen=True, kw_only=True)
class BadInput:
    """`fields` is what POST /v1/jobs takes. `says` is part of the refusal at every door but the plain INSERT, which
    answers with the name of a constraint, or in PostgreSQL's own words: `insert_says`. `not_at` are the doors that
    cannot express the case, or take it for something else; `because` says why."""

    name: str
    field: str
    fields: Mapping[str, Any]
    says: str
    insert_says: str = ""
    not_at: frozenset[Door] = frozenset()
    because: str = ""

    def __str__(self) -> str:
        return self.name


class CommandLine(NamedTuple):
    """What follows `dtsched submit`, and what it is fed."""

    arguments: list[str]
    stdin: str | None


def _case(
    name: str,
    field: str,
    value: object,
    says: str,
    *,
    insert_says: str = "",
    not_at: tuple[Door, ...] = (),
    because: str = "",
    **others: object,
) -> BadInput:
    fields = {"task": TASK, "args": {"value": 1}, field: value, **others}
    return BadInput(
        name=name,
        field=field,
        fields=fields,
        says=says,
        insert_says=insert_says,
        not_at=frozenset(not_at),
        because=because,
    )


_ANY_NAME = "name_must_be_1_to_128"
_ANY_TIME = "time_must_be_finite_from_1970_to_9999"
_NO_SUCH_DATETIME = "a datetime of Python cannot say it"
_NO_SUCH_COLUMN = "jobs has no such column"
_NO_SUCH_KEY_COLUMN = "jobs has no column of that name"

CASES: tuple[BadInput, ...] = (
    _case("unknown task", "task", "nosuch", "task", not_at=("insert",), because="it waits for who knows it"),
    _case("task name empty", "task", "", "task must be 1 to 128", insert_says=_ANY_NAME),
    _case("task name of 200 characters", "task", "t" * 200, "task must be 1 to 128", insert_says=_ANY_NAME),
    _case("task name with a space", "task", "send mail", "task must be 1 to 128", insert_says=_ANY_NAME),
    _case("queue name empty", "queue", "", "queue must be 1 to 128", insert_says=_ANY_NAME),
    _case("queue name with a quote", "queue", 'a"b', "queue must be 1 to 128", insert_says=_ANY_NAME),
    _case("priority 0", "priority", 0, "priority must be 1 to 10, not 0", insert_says="priority_must_be_1_to_10"),
    _case("priority 11", "priority", 11, "priority must be 1 to 10, not 11", insert_says="priority_must_be_1_to_10"),
    _case("args over 1 MiB", "args", {"value": "x" * (1024 * 1024)}, "1 MiB", insert_says="at_most_1_mib"),
    _case(
        "NUL in a string",
        "args",
        {"value": "a\0b"},
        "NUL",
        insert_says="unsupported Unicode escape sequence",
    ),
    _case(
        "a lone surrogate",
        "args",
        {"value": "a\ud800b"},
        "surrogate",
        insert_says="invalid input syntax for type json",
    ),
    _case(
        "run_at of infinity",
        "run_at",
        "infinity",
        "run_at must be a",
        insert_says=_ANY_TIME,
        not_at=("client",),
        because=_NO_SUCH_DATETIME,
    ),
    _case(
        "run_at in the year 10000",
        "run_at",
        "10000-01-01T00:00:00Z",
        "run_at must be a",
        insert_says=_ANY_TIME,
        not_at=("client",),
        because=_NO_SUCH_DATETIME,
    ),
    _case("run_at in 1969", "run_at", "1969-12-31T00:00:00Z", "run_at must be a", insert_says=_ANY_TIME),
    _case("a negative delay", "delay", -5, "delay must be", not_at=("insert",), because=_NO_SUCH_COLUMN),
    _case("a delay of 400 days", "delay", "400d", "delay must be", not_at=("insert",), because=_NO_SUCH_COLUMN),
    _case(
        "delay with run_at",
        "delay",
        60,
        "delay and run_at exclude each other",
        not_at=("insert",),
        because=_NO_SUCH_COLUMN,
        run_at="2090-01-01T00:00:00Z",
    ),
    _case("timeout 0", "timeout", 0, "timeout must be over 0", insert_says="timeout_must_be_over_0"),
    _case("timeout of 400 days", "timeout", "400d", "timeout must be", insert_says="timeout_must_be_over_0"),
    _case(
        "deadline of infinity",
        "deadline",
        "infinity",
        "deadline must be a",
        insert_says=_ANY_TIME,
        not_at=("client",),
        because=_NO_SUCH_DATETIME,
    ),
    _case("expires_in 0", "expires_in", 0, "expires_in must be over 0", not_at=("insert",), because=_NO_SUCH_COLUMN),
    _case(
        "expires_in of 400 days",
        "expires_in",
        "400d",
        "expires_in must be over 0",
        not_at=("insert",),
        because=_NO_SUCH_COLUMN,
    ),
    _case(
        "expires_in with deadline",
        "expires_in",
        60,
        "expires_in and deadline exclude each other",
        not_at=("insert",),
        because=_NO_SUCH_COLUMN,
        deadline="2090-01-01T00:00:00Z",
    ),
    _case("max_attempts 0", "max_attempts", 0, "max_attempts must be 1 to 1000", insert_says="max_attempts_must_be_1"),
    _case(
        "max_attempts 1001",
        "max_attempts",
        1001,
        "max_attempts must be 1 to 1000",
        insert_says="max_attempts_must_be_1",
    ),
    _case("key empty", "key", "", "key must be 1 to 255", insert_says="key_must_be_1_to_255"),
    _case("key of 300 characters", "key", "k" * 300, "key must be 1 to 255", insert_says="key_must_be_1_to_255"),
    _case("key with control characters", "key", "a\x01\x1b[2J", "key must be 1 to 255", insert_says="key_must_be_1"),
    _case(
        "key_for of 0",
        "key_for",
        0,
        "key_for must be unfinished, kept, or over 0",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
        key="k",
    ),
    _case(
        "key_for of an unknown word",
        "key_for",
        "forever",
        "key_for must be unfinished, kept, or",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
        key="k",
    ),
    _case(
        "key_for without a key",
        "key_for",
        "kept",
        "key_for needs a key",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
    ),
    _case(
        "an unknown on_conflict",
        "on_conflict",
        "merge",
        "on_conflict must be keep, replace, reject or supersede, not",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
        key="k",
    ),
    _case(
        "on_conflict without a key",
        "on_conflict",
        "replace",
        "on_conflict needs a key",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
    ),
    _case(
        "replace with depends_on",
        "on_conflict",
        "replace",
        "leave depends_on out",
        not_at=("insert",),
        because=_NO_SUCH_KEY_COLUMN,
        key="k",
        depends_on=[1],
    ),
    _case(
        "limit_key with a line break", "limit_key", "a\nb", "limit_key must be 1 to 255", insert_says="key_must_be_1"
    ),
    _case("too many tags", "tags", [f"t{n}" for n in range(21)], "tags must be", insert_says="tags_must_be_at_most_20"),
    _case("an empty tag", "tags", ["a", ""], "tags must be", insert_says="tags_must_be_at_most_20"),
    _case(
        "depends_on of a missing job",
        "depends_on",
        [MISSING_JOB],
        f"depends_on names job {MISSING_JOB}",
        insert_says=f"depends_on names job {MISSING_JOB}",
    ),
)

MISFIT = _case("args that do not fit the handler", "args", {"n": "many"}, "n: ", task="fibonacci")
"""No door but the typed client can know a handler's arguments: the others take the job, and it fails at once when a
worker runs it, without another attempt; its error names the argument."""


def cases(door: Door) -> list[BadInput]:
    return [case for case in CASES if door not in case.not_at]


def json_body(case: BadInput) -> bytes:
    """The body for POST /v1/jobs. A lone surrogate, which UTF-8 has no bytes for, is written as an escape."""
    return json.dumps(case.fields).encode()


def command_line(case: BadInput) -> CommandLine:
    """Args travel by stdin: one argument of a process may not have 1 MiB, nor NUL."""
    options = {"delay": "--in", "run_at": "--at", "tags": "--tag"}
    arguments = [str(case.fields["task"]), "--args", "-"]
    for field, value in case.fields.items():
        if field not in ("task", "args"):
            option = options.get(field, "--" + field.replace("_", "-"))
            values = cast("list[object]", value if isinstance(value, list) else [value])
            arguments += [f"{option}={one}" for one in values]
    return CommandLine(arguments, json.dumps(case.fields["args"]))


def declare(connection: psycopg.Connection[Any], *tasks: str) -> None:
    """A worker that knows TASK, and `tasks` besides, was here once."""
    worker = uuid4()
    connection.execute(
        "select dtsched.register_worker(%s, 'test', '{default}', %s, 1, interval '1 min')", [worker, [TASK, *tasks]]
    )
    connection.execute("select dtsched.deregister_worker(%s)", [worker])


def written(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many rows each table has that a submission writes to."""
    counts: LiteralString = """
        select 'jobs', count(*) from dtsched.jobs union all select 'ready', count(*) from dtsched.ready
        union all select 'scheduled', count(*) from dtsched.scheduled
        union all select 'blocked', count(*) from dtsched.blocked
        union all select 'dependencies', count(*) from dtsched.dependencies
        union all select 'keys', count(*) from dtsched.keys
        union all select 'deadlines', count(*) from dtsched.deadlines"""
    return dict(connection.execute(counts).fetchall())
