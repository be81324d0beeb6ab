"""A job as SQL says it: as a plain INSERT, or as a call of dtsched.submit()."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, LiteralString, NamedTuple

import msgspec

from dtsched.jobs import NewJob


class Statement(NamedTuple):
    text: LiteralString
    values: list[Any]


class _Field(NamedTuple):
    """`value` is what stands for its parameter in SQL."""

    name: LiteralString
    given: Any
    value: LiteralString = "%s"


def encoded(value: object) -> str:
    """In ASCII, so that NUL and lone surrogates reach whoever has to refuse them."""
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


def insert(job: NewJob) -> Statement:
    """What it leaves out has the defaults of the table: no word of a task or a queue counts."""
    fields = [field for field in (*_common(job), *_inserted(job)) if field.given is not None]
    columns: LiteralString = ", ".join([field.name for field in fields])
    values: LiteralString = ", ".join([field.value for field in fields])
    text: LiteralString = f"insert into dtsched.jobs ({columns}) values ({values}) returning id"
    return Statement(text, [field.given for field in fields])


def function(job: NewJob) -> Statement:
    fields = [field for field in (*_common(job), *_called(job)) if field.given is not None]
    arguments: LiteralString = ", ".join([f"{field.name} => {field.value}" for field in fields])
    return Statement(f"select dtsched.submit({arguments})", [field.given for field in fields])


def _common(job: NewJob) -> Iterator[_Field]:
    yield _Field("task", job.task)
    yield _Field("args", encoded(job.args), "%s::jsonb")
    yield _Field("queue", job.queue)
    yield _Field("priority", job.priority)
    yield _Field("max_attempts", job.max_attempts)
    yield _Field("key", job.key)
    yield _Field("limit_key", job.limit_key)
    yield _Field("timeout", _interval(job.timeout), "%s::interval")


def _inserted(job: NewJob) -> Iterator[_Field]:
    yield _Field("run_at", job.run_at)
    yield _Field("run_at", _interval(job.delay), "clock_timestamp() + %s::interval")


def _called(job: NewJob) -> Iterator[_Field]:
    yield _Field("run_at", job.run_at)
    yield _Field("delay", _interval(job.delay), "%s::interval")
    yield _Field("key_for", job.key_for)
    yield _Field("on_conflict", job.on_conflict)


def _interval(seconds: float | str | None) -> timedelta | None:
    return timedelta(seconds=seconds) if isinstance(seconds, (int, float)) else None
