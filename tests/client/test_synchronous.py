"""Synchronous callers: they share connections, in any thread, and end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dtsched import App, DatabaseUnreachable
from tests.conftest import Connect
from tests.runtime.workers import until

OURS = (
    "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'dtsched client'"
)

PROGRAM = """
import sys
from dtsched import App
app = App(sys.argv[1])
@app.task
def note(n: int) -> None: ...
print([note.submit_sync(n).created for n in range(3)])
"""


FORKING_PROGRAM = """
import os, sys
from dtsched import App
app = App(sys.argv[1])
@app.task
def note(n: int) -> None: ...
mine = [note.submit_sync(n).id for n in range(3)]
child = os.fork()
mine += [note.submit_sync(n).id for n in range(50)]
if child:
    status = os.waitpid(child, 0)[1]
    with app.sync_connection() as connection:
        count = connection.execute("select count(distinct id) from dtsched.jobs").fetchone()[0]
    print(status, len(set(mine)) == 53 and count == 103)
"""


@pytest.fixture
def app(database: str) -> Generator[App]:
    app = App(database)
    yield app
    asyncio.run(app.close())


def count(connection: psycopg.Connection, query: str) -> int:
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return found[0]


def test_submissions_share_connections(app: App, connect: Connect) -> None:
    @app.task
    def note(n: int) -> None: ...

    connection = connect()
    sessions = "select sessions from pg_stat_database where datname = current_database()"
    note.submit_sync(0)
    note.submit_sync(1)
    before = count(connection, sessions)
    for n in range(50):
        note.submit_sync(n)
    connection.execute("select pg_stat_clear_snapshot()")
    time.sleep(0.1)
    assert count(connection, sessions) == before
    assert count(connection, OURS) == 1
    with ThreadPoolExecutor(30) as threads:
        list(threads.map(note.submit_sync, range(300)))
    assert count(connection, OURS) <= 10
    assert count(connection, "select count(*) from dtsched.jobs") == 352


def test_a_connection_that_was_lost_is_replaced(app: App, connect: Connect) -> None:
    @app.task
    def note(n: int) -> None: ...

    connection = connect()
    for n in range(2):
        note.submit_sync(n)
    connection.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'dtsched client'"
    )
    note.submit_sync(2)
    assert count(connection, "select count(*) from dtsched.jobs") == 3


def test_a_caller_that_finds_all_connections_taken_is_told_so(app: App) -> None:
    with contextlib.ExitStack() as taken:
        for _ in range(2):
            with app.sync_connection():
                pass
        for _ in range(10):
            taken.enter_context(app.sync_connection())
        taken_all = pytest.raises(DatabaseUnreachable, match="all connections to the database are taken")
        with taken_all, app.sync_connection():
            pass
    with app.sync_connection() as connection:
        connection.execute("select 1")


async def test_closing_the_app_closes_its_connections(database: str, connect: Connect) -> None:
    before = set(threading.enumerate())
    async with App(database) as app:

        @app.task
        def note(n: int) -> None: ...

        for n in range(2):
            note.submit_sync(n)
    connection = connect()
    await until(lambda: count(connection, OURS) == 0)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("pool-")]


def test_a_forked_child_has_connections_of_its_own(database: str) -> None:
    command = [sys.executable, "-c", FORKING_PROGRAM, database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 True\n", "")


def test_a_program_that_closes_nothing_ends_by_itself(database: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True, True, True]\n", "")
