"""Batches whose jobs differ by their args alone: said in fewer words, and with nothing else different."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import psycopg
import pytest

from dtsched import App, InvalidInput, NewJob, Retry, correlated
from dtsched.alike import Alike
from dtsched.app import OptionValues
from dtsched.checks import MAX_ARGS_BYTES, check_json, encoded_flat
from dtsched.jobs import check
from dtsched.tasks import TaskDefinition
from tests.conftest import Connect
from tests.support.rest import serving

MANY: list[dict[str, Any]] = [{"to": "a"}, {"to": 'ü"\\'}, {"to": "c", "parts": [{"deep": [1, None, 1e-300]}]}]
OPTIONS: list[OptionValues] = [
    {},
    {"priority": 9, "queue": "slow", "tags": ["a"], "timeout": "2m", "max_attempts": 3, "correlation_id": "c"},
    {"at": datetime(2100, 1, 31, 9, tzinfo=UTC), "deadline": datetime(2101, 1, 31, 9, tzinfo=UTC), "limit_key": "l"},
    {"backoff": {"kind": "fixed", "base": 1}},
]


class Part(msgspec.Struct):
    deep: list[Any]


def plain(a: int, b: str) -> None: ...
def defaults(a: int, b: str = "b", *, c: float | None = None) -> None: ...
def extra(a: int, **others: int) -> None: ...
def parts(to: str, parts: list[Part] = []) -> None: ...  # noqa: B006
def nothing() -> None: ...
def choice(a: Literal["x", "y"]) -> None: ...
def dated(at: datetime) -> None: ...


NAMED: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": 1, "b": "b"},
    {"a": 1, "b": None},
    {"a": "1", "b": "b"},
    {"a": True, "b": "b"},
    {"a": 1, "b": 2},
    {"a": 1, "c": 1.5},
    {"a": 1, "b": "b", "d": 1},
    {"a": "x"},
    {"a": "z"},
    {"a": 10**30, "b": "a\0"},
    {"a": {"$parent": 1}, "b": "b"},
    {"a": {"$parent": 1, "b": 1}, "b": "b"},
    {"to": "a", "parts": [{"deep": []}]},
    {"to": "a", "parts": [{"depth": []}]},
    {"at": "2030-01-31T09:00:00Z"},
    {"at": datetime(2030, 1, 31, tzinfo=UTC)},
    {"at": "never"},
    {"self": 1},
]


@pytest.mark.parametrize("named", NAMED, ids=str)
@pytest.mark.parametrize("function", [plain, defaults, extra, parts, nothing, choice, dated])
def test_args_are_encoded_as_those_of_one_job(function: Callable[..., None], named: Mapping[str, Any]) -> None:
    definition = TaskDefinition(function)

    def bound(args: Mapping[str, Any]) -> bytes:
        given = definition.bind(**args)
        definition.require_no_references(given)
        return check_json(given, field="args")

    assert _answer(definition.encode, named) == _answer(bound, named)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_batch_writes_what_its_jobs_alone_write(database: str, connect: Connect, options: OptionValues) -> None:
    async with App(database) as app:

        @app.task(queue="mail", priority=3, retry=Retry(4))
        async def send(to: str, parts: list[Any] | None = None) -> None: ...

        task = send.options(**options)
        with correlated("one"):
            many = await task.submit_many(MANY)
            alone = [await task.submit(**args) for args in MANY]

    rows = [_row(connect(), handle.id) for handle in many]
    assert rows == [_row(connect(), handle.id) for handle in alone]
    assert [row["args"] for row in rows] == MANY
    assert [(handle.created, handle.outcome) for handle in many] == [(True, "created")] * len(MANY)


async def test_a_key_that_the_args_make_is_each_jobs_own(database: str) -> None:
    async with App(database) as app:

        @app.task(unique="args")
        async def send(to: str) -> None: ...

        many = await send.submit_many([{"to": "a"}, {"to": "b"}, {"to": "a"}])

    assert [handle.created for handle in many] == [True, True, False]


async def test_one_that_needs_a_longer_look_keeps_its_place_among_hundreds(database: str, connect: Connect) -> None:
    given: list[dict[str, Any]] = [{"to": str(number)} for number in range(350)]
    given[149] = {"to": "\x7f", "parts": [1.5, {"deep": None}]}
    async with App(database) as app:

        @app.task
        async def send(to: str, parts: list[Any] | None = None) -> None: ...

        many = await send.submit_many(given)
        with pytest.raises(InvalidInput, match=r"^job 250: task send: .*\(refused too: job 251\)$"):
            await send.submit_many([*given[:249], {"to": 5}, {}, *given])

    rows = connect().execute("select id, args from dtsched.jobs order by id").fetchall()
    assert rows == [(handle.id, args) for handle, args in zip(many, given, strict=True)]


@pytest.mark.parametrize("letters", [2**19 - 20, 2**19, 2**20 - 20, 2**20 - 18, 2**20])
@pytest.mark.parametrize("letter", ["a", "ü", "\t", '"'])
def test_at_one_look_args_are_as_long_as_the_database_writes_them(connect: Connect, letter: str, letters: int) -> None:
    args = {"to": letter * (letters // len(json.dumps(letter, ensure_ascii=False)[1:-1].encode())), "of": 1}
    raw = encoded_flat(args)
    (written,) = connect().execute("select octet_length((%s::jsonb)::text)", [json.dumps(args)]).fetchone() or (0,)
    assert raw is None or written <= min(2 * len(raw), MAX_ARGS_BYTES)
    try:
        check_json(args, field="args")
    except InvalidInput:
        assert written > MAX_ARGS_BYTES
    else:
        assert written <= MAX_ARGS_BYTES


async def test_the_wrong_ones_are_named(database: str, connect: Connect) -> None:
    async with App(database) as app:

        @app.task
        async def send(to: str) -> None: ...

        with pytest.raises(InvalidInput, match=r"^job 2: task send: .*\(refused too: job 4\)$"):
            await send.submit_many([{"to": "a"}, {"to": 5}, {"to": "b"}, {}])
        with pytest.raises(InvalidInput, match=r"^job 1: priority must be 1 to 10, not 11"):
            await send.options(priority=11).submit_many([{"to": "a"}, {"to": "b"}])

    assert connect().execute("select from dtsched.jobs").rowcount == 0


def test_in_the_callers_own_transaction(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    def send(to: str) -> None: ...

    with psycopg.connect(database) as mine:
        send.on(mine).submit_many_sync([{"to": "a"}, {"to": "b"}])
        mine.rollback()
        kept = send.on(mine).submit_many_sync([{"to": "c"}, {"to": "d"}])

    rows = connect().execute("select id, args ->> 'to' from dtsched.jobs order by id").fetchall()
    assert rows == [(kept[0].id, "c"), (kept[1].id, "d")]


async def test_over_rest_too(database: str, connect: Connect) -> None:
    with serving(database) as url:
        app = App(url)

        @app.task(queue="mail")
        async def send(to: str, parts: list[Any] | None = None) -> None: ...

        async with app:
            many = await send.submit_many(MANY)
        more = send.submit_many_sync(MANY)

    rows = connect().execute("select id, args, queue from dtsched.jobs order by id").fetchall()
    assert rows == [(handle.id, args, "mail") for handle, args in zip([*many, *more], [*MANY, *MANY], strict=True)]


def test_one_of_them_is_a_job_like_any_other() -> None:
    job = check(NewJob(task="send", priority=3))
    alike = Alike(job, [msgspec.json.encode(MANY[:2]), msgspec.json.encode(MANY[2:])], len(MANY))

    assert list(alike) == [NewJob(task="send", priority=3, args=args) for args in MANY]
    assert list(alike[1:]) == list(alike)[1:]
    assert alike[-1].args == MANY[-1]


def _row(connection: psycopg.Connection, job_id: int) -> dict[str, Any]:
    found = connection.execute(
        "select to_jsonb(job) - '{id,created_at}'::text[] from dtsched.jobs job where id = %s", [job_id]
    ).fetchone()
    assert found is not None
    return found[0]


def _answer(encode: Callable[[Mapping[str, Any]], bytes], named: Mapping[str, Any]) -> object:
    try:
        return encode(named)
    except InvalidInput as error:
        return str(error), error.field
