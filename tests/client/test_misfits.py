"""Args that do not fit the handler: the typed client refuses them; what comes in by other doors fails at once when a
worker meets it, without a second attempt, and says which argument it was."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dtsched import App, Client, InvalidInput, NewJob, UnknownTask
from tests.conftest import Connect
from tests.support.bad_input import MISFIT, declare, written

app = App()  # of a program that submits what the built-in worker runs


@app.task
def fibonacci(n: int) -> int:
    raise NotImplementedError


ENDED = ("completed", "failed", "cancelled")


@contextlib.contextmanager
def worker(dsn: str) -> Generator[None]:
    command = [sys.executable, "-P", "-m", "dtsched", "worker", "-A", "dtsched.workers.builtin:app", "-q", "default:4"]
    process = subprocess.Popen(command, env={**os.environ, "DTSCHED_DSN": dsn}, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert "Traceback" not in log, "whose fault a misfit is, a traceback of ours would not show"


def ended(connection: psycopg.Connection, *jobs: int) -> dict[int, tuple[Any, ...]]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = connection.execute(
            "select id, state, attempt, error from dtsched.jobs where id = any(%s)", [list(jobs)]
        ).fetchall()
        if all(row[1] in ENDED for row in rows):
            return {row[0]: row[1:] for row in rows}
        time.sleep(0.05)
    raise AssertionError("the jobs have not ended")


def test_the_typed_client_refuses_what_does_not_fit(database: str, connect: Connect) -> None:
    connection = connect()
    before = written(connection)
    with pytest.raises(InvalidInput, match=MISFIT.says) as refused:
        fibonacci.on(connection).submit_sync(MISFIT.fields["args"]["n"])
    assert refused.value.field == "n"
    assert written(connection) == before


async def test_through_other_doors_a_misfit_fails_at_its_first_attempt(database: str, connect: Connect) -> None:
    connection = connect()
    task, args = MISFIT.fields["task"], MISFIT.fields["args"]
    declare(connection, task)
    jobs = [
        job
        for statement in (
            "insert into dtsched.jobs (task, args) values (%s, %s) returning id",
            "select dtsched.submit(%s, %s)",
        )
        for (job,) in connection.execute(statement, [task, Jsonb(args)]).fetchall()
    ]
    async with Client(database) as client:
        jobs.append((await client.submit(NewJob(task=task, args=args))).id)
        missing = (await client.submit(NewJob(task=task, args={}))).id
        surplus = (await client.submit(NewJob(task=task, args={"n": 3, "m": 4}))).id
        beyond = (await client.submit(NewJob(task=task, args={"n": -1}))).id
        good = (await client.submit(NewJob(task=task, args={"n": 10}))).id
    with worker(database):
        found = ended(connection, *jobs, missing, surplus, beyond, good)
    says = "InvalidInput: task fibonacci: n: Expected `int`, got `str`"
    assert {found[job][:2] for job in (*jobs, missing, surplus, beyond)} == {("failed", 1)}
    assert all(says in found[job][2] for job in jobs)
    assert "n: Object missing required field `n`" in found[missing][2]
    assert "m: Object contains unknown field `m`" in found[surplus][2]
    assert "n: Expected `int` >= 0" in found[beyond][2]
    assert found[good][0] == "completed"
    attempts = connection.execute("select job_id, outcome from dtsched.attempts order by job_id").fetchall()
    assert attempts == [(job, "fail") for job in sorted((*jobs, missing, surplus, beyond))]


async def test_once_a_worker_has_declared_its_tasks_others_are_refused(database: str, connect: Connect) -> None:
    connection = connect()
    async with Client(database) as client:
        assert (await client.submit(NewJob(task="nosuch"))).created
        with worker(database):
            ended(connection, (await client.submit(NewJob(task="echo", args={"value": 1}))).id)
        with pytest.raises(UnknownTask, match='no worker has declared a task "nosuch"; known are echo, fibonacci'):
            await client.submit(NewJob(task="nosuch"))

    @app.task
    def nosuch() -> None: ...

    # a program that has the handler may be started before any worker that has it
    assert nosuch.on(connection).submit_sync().created
