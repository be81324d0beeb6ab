"""Workers delete what is past its retention by themselves, while they work."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from dtsched import App
from tests.runtime.workers import running_worker, submit, until

Connect = Callable[[], psycopg.Connection]


async def test_a_worker_deletes_what_is_past_its_retention(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def nothing() -> None: ...

    connection = connect()
    connection.execute("""select dtsched.set_retention('{"cancelled": 0}')""")
    gone = [submit(connection, "nothing") for _ in range(3)]
    connection.execute("select dtsched.cancel(%s)", [gone])
    kept = submit(connection, "nothing")
    async with running_worker(app, database):
        await until(
            lambda: connection.execute("select id, state from dtsched.jobs").fetchall() == [(kept, "completed")]
        )
