"""GET /v1/errors: failed jobs by the kind of their error, each group with the filter that selects its jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import datetime
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Session, Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


def fail(worker: Worker, message: str, *, kind: str = "ValueError", task: str = "echo", queue: str = "default") -> int:
    (job,) = worker.insert(task=task, queue=queue)
    worker.claim(queue=queue)
    error = {"type": kind, "message": message}
    worker.run(
        "select dtsched.finish(%s, '{}', null, %s)",
        worker.id,
        Jsonb([{"lease": worker.leases[job], "outcome": "fail", "error": error}]),
    )
    return job


async def errors(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/errors{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["errors"]


@pytest.mark.parametrize(
    ("error", "shape"),
    [
        ("ValueError: 17 of 20 failed", "ValueError: <n> of <n> failed"),
        ("timeout: it ran longer than 1.5 s", "timeout: it ran longer than <n> s"),
        ("Http404Error: no user 'ann' on \"db-1\"", "Http404Error: no user <text> on <text>"),
        ("KeyError: it wasn't there and can't be", "KeyError: it wasn't there and can't be"),
        ("E: row 6ba7b810-9dad-11d1-80b4-00c04fd430c8 gone", "E: row <uuid> gone"),
        ("E: at 0x7f3A of commit deadbeef01, not of facade", "E: at <hex> of commit <hex>, not of facade"),
        ("E: first line\nsecond line 2", "E: first line"),
        ("no colon 7", "no colon <n>"),
        ("10.0.0.1:5432: refused", "<n>: refused"),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_not_in_the_shape(database: str, error: str, shape: str) -> None:
    with contextlib.closing(Session(database)) as session:
        assert session.value("select dtsched.error_shape(%s)", error) == shape


async def test_errors_are_grouped_and_the_most_frequent_come_first(api: Api, worker: Worker) -> None:
    fail(worker, "no such user 1", kind="KeyError")
    jobs = [fail(worker, f"no such user {number}") for number in range(1, 8)]
    fail(worker, "no such user 9", task="mail", queue="mail")
    groups = await errors(api)
    assert [(group["error"], group["task"], group["count"]) for group in groups] == [
        ("ValueError: no such user <n>", "echo", 7),
        ("ValueError: no such user <n>", "mail", 1),
        ("KeyError: no such user <n>", "echo", 1),
    ]
    first, second, _ = groups
    assert (first["jobs"], first["queues"]) == (jobs[:1:-1], ["default"])
    assert first["fingerprint"] == second["fingerprint"]
    assert first["filter"] == f"state:failed task:echo fingerprint:{first['fingerprint']}"
    times = worker.rows("select min(finished_at), max(finished_at) from dtsched.jobs where id = any (%s)", jobs)
    assert [tuple(datetime.fromisoformat(first[name]) for name in ("first_at", "last_at"))] == times


async def test_the_filter_of_a_group_selects_its_jobs_and_an_operation_retries_them(api: Api, worker: Worker) -> None:
    jobs = [fail(worker, f"no such user {number}") for number in range(3)]
    other = fail(worker, "something else")
    wanted = (await errors(api))[0]["filter"]
    found = (await api.get("/v1/jobs", params={"filter": wanted})).json()
    assert [job["id"] for job in found["jobs"]] == jobs[::-1]
    body = {"action": "retry", "filter": wanted}
    operation = (await api.post("/v1/operations", json=body, headers={"prefer": "wait=30"})).json()
    assert operation["outcomes"] == {"retried": 3}
    assert worker.state(other) == "failed"


async def test_they_are_of_a_window_a_queue_and_a_task(api: Api, worker: Worker) -> None:
    fail(worker, "a")
    fail(worker, "b", queue="mail")
    fail(worker, "c", task="mail")
    worker.run("update dtsched.jobs set finished_at = finished_at - interval '25 hours' where error like '%a'")
    assert [group["error"] for group in await errors(api)] == ["ValueError: c", "ValueError: b"]
    assert [group["error"] for group in await errors(api, "?since=26h&limit=1")] == ["ValueError: c"]
    assert len(await errors(api, "?since=26h")) == 3
    (of_mail,) = await errors(api, "?queue=mail")
    assert of_mail["filter"] == f"state:failed queue:mail task:echo fingerprint:{of_mail['fingerprint']}"
    assert [group["task"] for group in await errors(api, "?task=mail")] == ["mail"]
    assert await errors(api, "?since=2100-01-01T00:00:00Z") == []


async def test_it_says_how_many_jobs_it_has_looked_at_and_whether_they_were_all(api: Api, worker: Worker) -> None:
    for number in range(3):
        fail(worker, f"n {number}")
    answer = (await api.get("/v1/errors")).json()
    assert (answer["looked_at"], answer["complete"]) == (3, True)
    few = worker.value("select dtsched.list_errors('-infinity', p_scan => 2)")
    assert (few["groups"][0]["count"], few["looked_at"], few["complete"]) == (2, 2, False)


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("?since=soon", 422, "since must be a time like 2030-01-31T09:00:00Z, or how long ago like 90s, 1h, 7d"),
        ("?limit=201", 400, "limit must be 1 to 200"),
        ("?queue=a%20b", 400, "queue must be 1 to 128 characters"),
        ("?nothing=1", 400, 'there is no field "nothing" here'),
    ],
)
async def test_what_makes_no_sense_is_refused(empty_api: Api, query: str, status: int, says: str) -> None:
    assert problem(await empty_api.get(f"/v1/errors{query}"), status)["detail"].startswith(says)


async def test_a_fingerprint_that_is_none_is_refused(empty_api: Api) -> None:
    answer = await empty_api.get("/v1/jobs", params={"filter": "fingerprint:xyz"})
    assert problem(answer, 422)["detail"].startswith("fingerprint must be 16 of 0-9 a-f")
