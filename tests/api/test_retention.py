"""The routes of retention: what is kept how long, and what goes now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import psycopg
import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect

DAY = 86400.0


def end(connect: Connect, jobs: int, *, days_ago: int) -> None:
    connect().execute(
        """
        insert into dtsched.jobs (task, state, finished_at)
        select 'echo', 'completed', dtsched.now() - make_interval(days => %s) from generate_series(1, %s)
        """,
        [days_ago, jobs],
    )


def unlock_when_somebody_waits(connection: psycopg.Connection[Any]) -> None:
    """The request does; the server's own rounds only try the lock."""
    waiting = "select exists (select from pg_locks where locktype = 'advisory' and objid = 17 and not granted)"
    while connection.execute(waiting).fetchone() != (True,):
        sleep(0.01)
    connection.execute("select pg_advisory_unlock(dtsched.chores_gate(), 17)")


async def test_retention_is_set_for_all_queues_and_shown_with_that_of_each(api: Api) -> None:
    await api.patch("/v1/queues/mail", json={"retention": {"failed": "forever"}})
    answer = await api.patch("/v1/retention", json={"completed": "2d", "results": 3600})
    rules = {rule["queue"]: rule for rule in answer.json()["retention"]}
    assert rules[None] == {
        "queue": None, "completed": 2 * DAY, "failed": 30 * DAY, "cancelled": 30 * DAY, "results": 3600
    }  # fmt: skip
    assert (rules["mail"]["completed"], rules["mail"]["failed"]) == (2 * DAY, None)
    assert (await api.get("/v1/retention")).json() == answer.json()
    back = await api.patch("/v1/retention", json={"completed": None})
    assert back.json()["retention"][-1]["completed"] == 7 * DAY


@pytest.mark.parametrize("body", [{"completed": "soon"}, {"done": 1}, {"failed": -1}])
async def test_what_is_no_retention_is_refused_and_changes_nothing(api: Api, body: dict[str, object]) -> None:
    before = (await api.get("/v1/retention")).json()
    says = "retention must be an object of completed, failed, cancelled and results"
    assert problem(await api.patch("/v1/retention", json=body), 422)["detail"].startswith(says)
    assert (await api.get("/v1/retention")).json() == before


async def test_what_is_past_its_retention_is_counted_and_deleted(api: Api, connect: Connect) -> None:
    connection = connect()
    connection.execute("select pg_advisory_lock(dtsched.chores_gate(), 17)")  # the server prunes by itself too
    end(connect, 3, days_ago=8)
    end(connect, 2, days_ago=6)
    assert (await api.get("/v1/prune")).json() == {"would_go": [{"queue": "default", "state": "completed", "jobs": 3}]}
    with ThreadPoolExecutor() as beside:  # a request in this process keeps its event loop
        released = beside.submit(unlock_when_somebody_waits, connection)
        answer = await api.post("/v1/prune")
        released.result()
    assert (answer.status_code, answer.json()) == (200, {"jobs": 3, "results": 0, "partitions": 0, "more": False})
    assert connection.execute("select count(*) from dtsched.jobs").fetchone() == (2,)
    assert (await api.get("/v1/prune")).json() == {"would_go": []}


async def test_a_result_that_has_expired_is_answered_as_such(api: Api, connect: Connect) -> None:
    end(connect, 1, days_ago=1)
    connect().execute("update dtsched.jobs set result = '7', deadline = '2090-01-01 00:00Z'")
    assert (await api.get("/v1/jobs/1/result")).json() == {"state": "completed", "result": 7, "error": None}
    await api.patch("/v1/retention", json={"results": "1h"})
    answer, job = (await api.get("/v1/jobs/1/result")).json(), (await api.get("/v1/jobs/1")).json()
    assert (answer["state"], answer["result"]) == ("completed", None)
    assert answer["expired_at"] == job["result_expired_at"] is not None
    assert (job["state"], job["result"], job["deadline"]) == ("completed", None, "2090-01-01T00:00:00Z")
    await api.post("/v1/prune")
    assert connect().execute("select result from dtsched.jobs").fetchone() == (None,)
    assert (await api.get("/v1/jobs/1/result")).json() == answer
