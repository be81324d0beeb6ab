"""Submission inside the caller's own transaction: the job exists when, and only if, that commits."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.rows import dict_row

from dtsched import App, InvalidInput, Task
from tests.conftest import Connect
from tests.support.bad_input import written

app = App()


@app.task
def note(text: str) -> str:
    return text


async def open_async(dsn: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(dsn)


def jobs_seen_by(connection: psycopg.Connection) -> list[int]:
    return [row[0] for row in connection.execute("select id from dtsched.jobs order by id").fetchall()]


def test_a_job_is_seen_by_others_once_the_callers_transaction_has_committed(database: str, connect: Connect) -> None:
    others = connect()
    with psycopg.connect(database) as mine:
        mine.execute("create table orders (id int)")
        mine.execute("insert into orders values (1)")
        job = note.on(mine).submit_sync("thanks")
        assert mine.info.transaction_status is pq.TransactionStatus.INTRANS
        assert jobs_seen_by(others) == []
        mine.commit()
    assert jobs_seen_by(others) == [job.id]
    assert others.execute("select args from dtsched.jobs").fetchall() == [({"text": "thanks"},)]


def test_a_job_goes_with_the_transaction_that_is_rolled_back(database: str, connect: Connect) -> None:
    others = connect()
    before = written(others)
    with psycopg.connect(database) as mine:
        note.on(mine).options(key="order-1", delay="1h").submit_sync("thanks")
        mine.rollback()
    assert written(others) == before


async def test_an_async_connection_commits_and_rolls_back_alike(database: str, connect: Connect) -> None:
    others = connect()
    async with await open_async(database) as mine:
        await note.on(mine).submit("rolled back")
        await mine.rollback()
        assert jobs_seen_by(others) == []
        job = await note.on(mine).submit("committed")
        assert jobs_seen_by(others) == []
        await mine.commit()
    assert jobs_seen_by(others) == [job.id]


def test_a_savepoint_that_is_rolled_back_takes_its_jobs_with_it(database: str, connect: Connect) -> None:
    with psycopg.connect(database) as mine:
        kept = note.on(mine).submit_sync("kept")
        with mine.transaction(force_rollback=True):
            note.on(mine).submit_sync("gone")
    assert jobs_seen_by(connect()) == [kept.id]


def test_a_connection_in_autocommit_submits_at_once(database: str, connect: Connect) -> None:
    others = connect()
    with psycopg.connect(database, autocommit=True) as mine:
        job = note.on(mine).submit_sync("now")
        assert jobs_seen_by(others) == [job.id]


def test_many_jobs_are_one_call_in_the_callers_transaction(database: str, connect: Connect) -> None:
    with psycopg.connect(database) as mine:
        handles = note.on(mine).submit_many_sync([{"text": str(n)} for n in range(100)])
        mine.commit()
    assert jobs_seen_by(connect()) == [handle.id for handle in handles]


def test_a_job_may_depend_on_one_of_the_same_transaction(database: str, connect: Connect) -> None:
    with psycopg.connect(database) as mine:
        parent = note.on(mine).submit_sync("first")
        child = note.on(mine).options(depends_on=[parent]).submit_sync("second")
        mine.commit()
    states = dict(connect().execute("select id, state from dtsched.jobs").fetchall())
    assert states == {parent.id: "ready", child.id: "blocked"}


def test_the_callers_row_factory_and_json_loader_stay_as_they_were(database: str) -> None:
    mine: psycopg.Connection[Any]
    with psycopg.connect(database) as mine:
        mine.row_factory = dict_row
        assert note.on(mine).submit_sync("thanks").created
        rows = mine.execute("select args, priority from dtsched.jobs").fetchall()
    assert rows == [{"args": {"text": "thanks"}, "priority": 5}]


async def test_the_kind_of_connection_has_to_fit_the_kind_of_call(database: str) -> None:
    with psycopg.connect(database) as mine, pytest.raises(InvalidInput, match="use submit_sync"):
        await note.on(mine).submit("text")
    async with await open_async(database) as mine:
        with pytest.raises(InvalidInput, match="await submit"):
            note.on(mine).submit_sync("text")
        assert mine.info.transaction_status is pq.TransactionStatus.IDLE


def test_a_transaction_that_has_failed_already_says_so_itself(database: str) -> None:
    with psycopg.connect(database) as mine:
        with pytest.raises(psycopg.errors.DivisionByZero):
            mine.execute("select 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            note.on(mine).submit_sync("text")


def test_a_held_key_keeps_its_job_without_harm_to_the_transaction(database: str, connect: Connect) -> None:
    keyed: Task[[str], str] = note.options(key="order-1")
    with psycopg.connect(database) as mine:
        first = keyed.on(mine).submit_sync("first")
        second = keyed.on(mine).submit_sync("second")
        assert (first.created, second.created, second.id) == (True, False, first.id)
        third = note.on(mine).submit_sync("third")
        mine.commit()
    assert jobs_seen_by(connect()) == [first.id, third.id]
