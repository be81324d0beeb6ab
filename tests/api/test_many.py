"""What can be done over REST to all jobs that fit a filter."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def done(api: Api, verb: str, wanted: str, **more: object) -> dict[str, Any]:
    answer = await api.post(f"/v1/jobs/{verb}", json={"filter": wanted, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def failed(worker: Worker, count: int) -> list[int]:
    jobs = worker.insert(count)
    worker.claim(limit=count)
    for job in jobs:
        worker.finish_as("fail", job)
    return jobs


async def test_what_failed_is_changed_and_sent_back(api: Api, worker: Worker) -> None:
    jobs = failed(worker, 3)
    other = worker.insert(queue="mail")
    wanted = "state:failed queue:default"
    changes = {"merge_args": {"to": "b"}, "timeout": "5m"}
    assert await done(api, "edit", wanted, changes=changes) == {"outcomes": {"edited": 3}, "next": None}
    assert await done(api, "retry", wanted) == {"outcomes": {"retried": 3}, "next": None}
    assert (
        worker.column("select id from dtsched.jobs where args ->> 'to' = 'b' and state = 'ready' order by id") == jobs
    )
    assert await done(api, "cancel", "state:pending queue:default") == {"outcomes": {"cancelled": 3}, "next": None}
    assert await done(api, "delete", "state:cancelled") == {"outcomes": {"deleted": 3}, "next": None}
    assert worker.column("select id from dtsched.jobs") == other


async def test_a_call_meets_so_many_and_says_where_the_next_one_goes_on(api: Api, worker: Worker) -> None:
    jobs = failed(worker, 3)
    first = await done(api, "delete", "state:failed", limit=2)
    assert first == {"outcomes": {"deleted": 2}, "next": str(jobs[1])}
    assert await done(api, "delete", "state:failed", after=first["next"]) == {"outcomes": {"deleted": 1}, "next": None}
    assert await done(api, "delete", "state:failed") == {"outcomes": {}, "next": None}


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete", "edit"])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "filter is missing"),
        ({"filter": "  "}, 422, "filter is empty, which would mean every job: say which ones, as in state:failed"),
        ({"filter": "stat:failed"}, 422, "there is no filter 'stat'; there are state, queue"),
        ({"filter": "state:failed", "limit": 1001}, 400, "limit must be 1 to 1000, not 1001"),
        ({"filter": "state:failed", "after": 17}, 400, "after must be the `next` of the answer before, not 17"),
        (
            {"filter": "state:failed", "state": "x"},
            400,
            'there is no field "state" here; there are filter',
        ),
    ],
)
async def test_what_makes_no_sense_is_refused(
    empty_api: Api, verb: str, body: dict[str, Any], status: int, says: str
) -> None:
    given = {**body, "changes": {"priority": 9}} if verb == "edit" else body
    answer = await empty_api.post(f"/v1/jobs/{verb}", json=given)
    assert problem(answer, status)["detail"].startswith(says)


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"priority": 11}, 422, "priority must be 1 to 10, not 11"),
        ({}, 422, "say what to change"),
        ({"argz": 1}, 400, 'there is no field "argz" here; there are args, merge_args'),
        ("all", 400, 'changes must be an object of what is to be changed, not "all"'),
    ],
)
async def test_changes_are_checked_first(empty_api: Api, changes: object, status: int, says: str) -> None:
    answer = await empty_api.post("/v1/jobs/edit", json={"filter": "state:failed", "changes": changes})
    assert problem(answer, status)["detail"].startswith(says)
