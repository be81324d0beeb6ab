"""No ids left: everybody waits as in an outage, and goes on where they were. The number is the catalogue's."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from dtsched import App
from dtsched.errors import DatabaseUnreachable
from tests.runtime.workers import running_worker, submit, until, until_ended

Connect = Callable[[], psycopg.Connection]

LAST = 2**53 - 1


async def test_f40_a_worker_waits_for_ids_of_leases(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connection, app = connect(), App()

    @app.task
    async def note() -> None: ...

    connection.execute("select setval('dtsched.lease_id_seq', %s)", (LAST,))
    async with running_worker(app, database):
        job = submit(connection, "note")
        await until(lambda: "has given out its last id" in caplog.text)
        connection.execute("select setval('dtsched.lease_id_seq', 1)")
        await until_ended(connection, job)
    assert "Traceback" not in caplog.text


def test_f40_a_submitter_is_told_that_it_is_not_the_job(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    def note() -> None: ...

    connection = connect()
    connection.execute("select setval('dtsched.job_id_seq', %s)", (LAST,))
    with pytest.raises(DatabaseUnreachable, match="last id"):
        note.submit_sync()
