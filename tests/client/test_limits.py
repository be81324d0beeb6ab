"""What Python's checks let through, the database takes: what it refused would abort the caller's own transaction."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import msgspec
import pytest

from dtsched import App, Client, InvalidInput, NewJob, Options
from dtsched.checks import MAX_ARGS_BYTES, MAX_BATCH_BYTES, check_json
from dtsched.connections import translated
from dtsched.inside import submit_in_sync
from dtsched.jobs import check, encode
from dtsched.tasks import TaskDefinition
from tests.conftest import Connect


def east(hours: float) -> timezone:
    return timezone(timedelta(hours=hours))


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@dataclass
class Note:
    text: str


LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

TAKEN: list[dict[str, Any]] = [
    {"queue": "q" * 128},
    {"priority": 1},
    {"priority": 10},
    {"max_attempts": 1000},
    {"run_at": datetime(1970, 1, 1, tzinfo=UTC)},
    {"run_at": LAST_INSTANT},
    {"run_at": datetime(1969, 12, 31, 23, tzinfo=east(-5))},
    {"run_at": datetime(2050, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=30)))},
    {"deadline": datetime(1969, 12, 31, 23, tzinfo=east(-5))},
    {"delay": 0},
    {"delay": 1e-20},
    {"delay": "366d"},
    {"timeout": 1e-6},
    {"timeout": "366d"},
    {"key": "\U0001f600" * 255},
    {"limit_key": "a\x85b"},
    {"correlation_id": "c" * 128},
    {"tags": ["\U0001f600" * 64] * 20},
    {"tags": []},
    {"depends_on": []},
    {"backoff": {"kind": "fixed", "base": 366 * 86400, "cap": 0, "jitter": 1}},
    {"args": {"a": nested(62)}},
    {"args": {"": {1: 2}}},
    {"args": {"a": 2**64, "b": -1e300, "c": 5e-324}},
    {"args": {"a": "x" * (MAX_ARGS_BYTES - len('{"a": ""}'))}},
    {"args": {"a": Note("plain"), "b": {1}, "c": b"\0"}},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"run_at": datetime(1970, 1, 1, tzinfo=east(14))}, "run_at"),
    ({"run_at": LAST_INSTANT.replace(tzinfo=east(-5))}, "run_at"),
    ({"run_at": datetime.min.replace(tzinfo=east(14))}, "run_at"),
    ({"run_at": datetime.max.replace(tzinfo=east(-14))}, "run_at"),
    ({"timeout": 1e-9}, "timeout"),
    ({"timeout": "0.0004ms"}, "timeout"),
    ({"delay": 10**400}, "delay"),
    ({"depends_on": [10**18]}, "depends_on"),
    ({"args": {"a": nested(64)}}, "args"),
    ({"args": {"a": [1e300] * 4000}}, "args"),
    ({"args": {"a": [5e-324] * 4000}}, "args"),
    ({"args": {"a": "x" * (MAX_ARGS_BYTES - len('{"a": ""}') + 1)}}, "args"),
    ({"args": {"a": Note("a\0b")}}, "args"),
    ({"args": {"a": {"a\0b"}}}, "args"),
    ({"args": {"a": Note("a\ud800b")}}, "args"),
    ({"args": {"a": msgspec.Raw(b'"a\\u0000b"')}}, "args"),
]


@pytest.mark.parametrize("fields", TAKEN, ids=lambda fields: repr(fields)[:60])
def test_what_is_at_the_limit_is_taken_by_python_and_by_the_database(fields: dict[str, Any], connect: Connect) -> None:
    (submitted,) = submit_in_sync(connect(), [check(NewJob(task="t", **fields))])
    assert submitted.created


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=[f"{n}-{field}" for n, (_, field) in enumerate(REFUSED)])
def test_what_is_past_the_limit_is_refused_before_it_is_sent(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(NewJob(task="t", **fields))
    assert refused.value.field == field
    assert "\n" not in str(refused.value)


def test_a_time_is_the_same_instant_in_the_database(connect: Connect) -> None:
    at = datetime(2050, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=1, seconds=30)))
    connection = connect()
    submit_in_sync(connection, [check(NewJob(task="t", run_at=at))])
    assert connection.execute("select run_at from dtsched.jobs").fetchone() == (at,)


def test_json_is_measured_as_postgresql_writes_it(connect: Connect) -> None:
    """To the byte, but for -0.0, which it writes as 0.0: that errs on the safe side."""
    connection = connect()
    seeded = random.Random(7)
    for _ in range(300):
        document = {"a": [_any_json(seeded, depth=0) for _ in range(20)]}
        row = connection.execute(
            "select octet_length(%s::jsonb::text)", [msgspec.json.encode(document).decode()]
        ).fetchone()
        assert row is not None
        check_json(document, field="args", limit=row[0])
        with pytest.raises(InvalidInput, match=f"not {row[0]} bytes"):
            check_json(document, field="args", limit=row[0] - 1)


def _any_json(seeded: random.Random, *, depth: int) -> object:
    kind = seeded.random()
    if depth > 3 or kind < 0.3:
        return seeded.choice([1, -5, 0.5, 1e16, 1e22, -1.5e300, 1e-7, 2.5e-310, True, None, 'x"\\\n\x01\x7f/é,:1e5'])
    if kind < 0.6:
        return seeded.uniform(-1, 1) * 10.0 ** seeded.randint(-300, 300)
    if kind < 0.8:
        return [_any_json(seeded, depth=depth + 1) for _ in range(seeded.randint(0, 4))]
    return {f'k{n}",:1e9': _any_json(seeded, depth=depth + 1) for n in range(seeded.randint(0, 4))}


async def test_the_bad_job_of_a_batch_is_named_by_its_number(database: str) -> None:
    async with Client(database) as client:
        with pytest.raises(InvalidInput, match=r"^job 3: priority must be 1 to 10, not 11$") as refused:
            await client.submit_many([NewJob(task="t"), NewJob(task="t"), NewJob(task="t", priority=11)])
        assert refused.value.field == "priority"
        with pytest.raises(InvalidInput, match=r"^priority must be 1 to 10, not 11$"):
            await client.submit_many([NewJob(task="t", priority=11)])


def test_a_typed_batch_names_the_job_whose_arguments_or_options_do_not_fit() -> None:
    @App().task
    def send(to: str) -> None: ...

    with pytest.raises(InvalidInput, match=r"^job 2: task send: to: Expected `str`, got `int`$"):
        send.submit_many_sync([{"to": "a"}, {"to": 5}])
    with pytest.raises(InvalidInput, match=r"^job 1: priority must be 1 to 10, not 0$"):
        send.submit_many_sync([({"to": "a"}, Options(priority=0)), {"to": "b"}])


def test_a_batch_that_is_too_large_for_one_statement_is_refused_before_it_is_sent() -> None:
    megabyte = {"a": "x" * 1_000_000}
    jobs = [NewJob(task="t", args=megabyte) for _ in range(MAX_BATCH_BYTES // 1_000_000 + 1)]
    with pytest.raises(InvalidInput, match=r"a batch must be at most 128 MiB .*: submit it in parts"):
        encode(jobs)


def test_what_only_the_database_can_tell_to_be_too_large_is_bad_input_and_no_outage(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(InvalidInput, match="stack depth limit exceeded"), translated():
        connection.execute("select repeat('[', 100000)::jsonb")


async def test_a_batch_of_an_app_has_more_time_than_a_request_to_the_api(database: str, connect: Connect) -> None:
    owner = connect()
    owner.execute("create table public.seen (statement_timeout text)")
    owner.execute(
        """create function public.look() returns trigger language plpgsql as $$ begin
            insert into public.seen values (current_setting('statement_timeout')); return null; end $$"""
    )
    owner.execute("create trigger look after insert on dtsched.jobs execute function public.look()")
    async with App(database) as app:
        await app.task(_no_op).submit_many([{}, {}])
    async with Client(database, role="api") as client:
        await client.submit(NewJob(task="t"))
    assert owner.execute("select statement_timeout from public.seen").fetchall() == [("1min",), ("4s",)]


def _no_op() -> None: ...


def generates() -> Iterator[int]:
    yield 1


async def generates_async() -> AsyncIterator[int]:
    yield 1


class Doubler:
    def __call__(self, a: int) -> int:
        return 2 * a


@pytest.mark.parametrize("function", [generates, generates_async], ids=["def", "async def"])
def test_a_generator_cannot_be_a_handler(function: Callable[..., object]) -> None:
    with pytest.raises(InvalidInput, match=r"a handler returns its result, it does not yield: return a list"):
        TaskDefinition(function)


@pytest.mark.parametrize("function", [partial(pow, 2), Doubler(), Doubler], ids=["partial", "object", "class"])
def test_only_a_function_can_be_a_handler(function: Callable[..., object]) -> None:
    with pytest.raises(InvalidInput, match="a handler must be a function, not ") as refused:
        TaskDefinition(function)
    assert refused.value.field == "function"
