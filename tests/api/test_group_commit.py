"""Jobs that are submitted at the same time share a statement; each is answered after its commit, as if alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from dtsched.api.gathering import Gatherer
from dtsched.connections import is_outage
from dtsched.jobs import NewJob
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.conftest import Connect

ECHO = {"task": "echo"}
COUNTED = """
    create table public.statements (transaction xid8);
    grant insert on public.statements to public;
    create function public.count_statement() returns trigger language plpgsql
    as $$ begin insert into public.statements values (pg_current_xact_id()); return null; end $$;
    create trigger count_statement after insert on dtsched.jobs
    for each statement execute function public.count_statement()
    """
POISONED = """
    create function public.refuse_poison() returns trigger language plpgsql
    as $$ begin
        if new.task = 'poison' then raise exception 'poisoned' using errcode = '40P01'; end if;
        return new;
    end $$;
    create trigger refuse_poison before insert on dtsched.jobs for each row execute function public.refuse_poison()
    """


@pytest.fixture
async def gatherer(database: str) -> AsyncGenerator[Gatherer]:
    gatherer = Gatherer(database)
    await gatherer.open()
    yield gatherer
    await gatherer.close()


@pytest.fixture
async def api(database: str, serve_api: Serve) -> AsyncGenerator[httpx.AsyncClient]:
    """Of a process of its own: the client of the other tests sends one request after the other."""
    async with httpx.AsyncClient(base_url=serve_api(database).url, timeout=10) as api:
        yield api


async def submit_all(gatherer: Gatherer, jobs: Sequence[NewJob]) -> list[Any]:
    """What came of each, submitted at the same moment."""
    return await asyncio.gather(*(gatherer.submit(job, None) for job in jobs), return_exceptions=True)


def statements(connection: psycopg.Connection) -> int:
    (count,) = connection.execute("select count(distinct transaction) from public.statements").fetchone() or (0,)
    return count


async def test_jobs_that_come_together_go_together_and_each_gets_its_own_answer(
    gatherer: Gatherer, connect: Connect
) -> None:
    connection = connect()
    connection.execute(COUNTED)
    answers = await submit_all(gatherer, [NewJob(task="echo", args={"n": n}) for n in range(501)])
    assert [answer.job.args["n"] for answer in answers] == list(range(501))
    assert len({answer.id for answer in answers}) == 501
    assert statements(connection) == 2  # of 500, and one
    assert connection.execute("select count(*) from dtsched.jobs").fetchone() == (501,)


async def test_what_comes_while_a_statement_is_under_way_goes_together_afterwards(
    gatherer: Gatherer, connect: Connect
) -> None:
    connection, holder = connect(), connect()
    connection.execute(COUNTED)
    with holder.transaction():
        holder.execute("lock table dtsched.jobs")
        first = asyncio.create_task(gatherer.submit(NewJob(task="first"), None))
        await until_waiting(connection)
        others = [asyncio.create_task(gatherer.submit(NewJob(task="echo"), None)) for _ in range(50)]
        await asyncio.sleep(0)
        assert not first.done()
    answers = await asyncio.gather(first, *others)
    assert all(answer and answer.created for answer in answers)
    assert statements(connection) == 2


async def test_each_gets_the_problem_that_it_would_have_alone(api: httpx.AsyncClient, connect: Connect) -> None:
    connect().execute("insert into dtsched.tasks (name) values ('echo')")
    wrong: list[dict[str, Any]] = [{"task": "ehco"}, {**ECHO, "priority": 11}, {**ECHO, "args": {"a": "\0"}}]
    bodies = [ECHO, *wrong, ECHO]
    alone = [await api.post("/v1/jobs", json=body) for body in bodies]
    together = await asyncio.gather(*(api.post("/v1/jobs", json=body) for body in bodies))
    assert [answer.status_code for answer in together] == [201, 422, 422, 422, 201]
    for one, other in zip(alone[1:4], together[1:4], strict=True):
        assert {**problem(one, 422), "instance": ""} == {**problem(other, 422), "instance": ""}
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (4,)


async def test_each_keeps_the_id_of_its_own_request(api: httpx.AsyncClient, connect: Connect) -> None:
    headers = [{"x-request-id": f"request-{n}"} for n in range(20)]
    answers = await asyncio.gather(*(api.post("/v1/jobs", json=ECHO, headers=header) for header in headers))
    assert [answer.json()["correlation_id"] for answer in answers] == [header["x-request-id"] for header in headers]


async def test_one_that_fails_the_statement_fails_alone(gatherer: Gatherer, connect: Connect) -> None:
    connect().execute(POISONED)
    tasks = ["echo", "poison", "echo", "echo"]
    answers = await submit_all(gatherer, [NewJob(task=task) for task in tasks])
    assert [isinstance(answer, psycopg.errors.DeadlockDetected) for answer in answers] == [False, True, False, False]
    assert connect().execute("select task, count(*) from dtsched.jobs group by 1").fetchall() == [("echo", 3)]


async def test_whoever_waits_for_a_key_keeps_nobody_waiting(api: httpx.AsyncClient, connect: Connect) -> None:
    holder = connect()
    with holder.transaction():
        holder.execute("select dtsched.submit('echo', key => 'k')")
        keyed = asyncio.create_task(api.post("/v1/jobs", json={**ECHO, "key": "k"}))
        await until_waiting(connect())
        plain = await api.post("/v1/jobs", json=ECHO)
        assert (plain.status_code, keyed.done()) == (201, False)
    assert (await keyed).status_code == 200


async def test_one_that_is_given_up_before_it_is_sent_is_not_submitted(gatherer: Gatherer, connect: Connect) -> None:
    """One that was sent may be committed all the same."""
    connection, holder = connect(), connect()
    with holder.transaction():
        holder.execute("lock table dtsched.jobs")
        first = asyncio.create_task(gatherer.submit(NewJob(task="sent"), None))
        await until_waiting(connection)
        second = asyncio.create_task(gatherer.submit(NewJob(task="waits"), None))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
    assert (await submit_all(gatherer, [NewJob(task="later")]))[0].created
    assert connection.execute("select task from dtsched.jobs order by id").fetchall() == [("sent",), ("later",)]


async def test_when_the_connection_breaks_nobody_is_told_that_his_job_was_submitted_or_tries_it_again(
    gatherer: Gatherer, connect: Connect
) -> None:
    connection, holder = connect(), connect()
    with holder.transaction():
        holder.execute("lock table dtsched.jobs")
        submitting = asyncio.create_task(submit_all(gatherer, [NewJob(task="echo")] * 3))
        await until_waiting(connection)
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_locks where not granted")
    answers = await submitting
    assert all(is_outage(answer) for answer in answers)
    assert (await submit_all(gatherer, [NewJob(task="later")]))[0].created
    assert connection.execute("select task from dtsched.jobs").fetchall() == [("later",)]


async def test_what_was_taken_on_is_answered_when_the_server_stops(database: str, connect: Connect) -> None:
    gatherer = Gatherer(database)
    await gatherer.open()
    submitting = [asyncio.create_task(gatherer.submit(NewJob(task="echo"), None)) for _ in range(3)]
    await asyncio.sleep(0)
    await gatherer.close()
    assert all(answer and answer.created for answer in await asyncio.gather(*submitting))
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (3,)


@pytest.mark.parametrize(
    "job",
    [
        NewJob(task="echo", key="k"),
        NewJob(task="echo", depends_on=[1]),
        NewJob(task="echo", workflow=1),
        NewJob(task="echo", args={"a": "x" * 70_000}),
    ],
    ids=["key", "depends_on", "workflow", "large"],
)
async def test_what_may_delay_others_is_not_gathered(gatherer: Gatherer, job: NewJob) -> None:
    assert await gatherer.submit(job, None) is None


async def until_waiting(connection: psycopg.Connection) -> None:
    """Some session waits for a lock in the database of the test."""
    waiting = sql.SQL("select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
    while not connection.execute(waiting).fetchall():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
