"""PATCH /v1/jobs/{job_id}: changes to jobs that wait, have failed or were cancelled."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def test_a_failed_job_is_changed_and_sent_back(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    changes = {"merge_args": {"to": "right@x.org"}, "queue": "mail", "timeout": "5m", "deadline": None}
    answer = await api.patch(f"/v1/jobs/{job}", json=changes)
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["state"], changed["args"], changed["queue"], changed["timeout"]) == (
        "failed", {"to": "right@x.org"}, "mail", 300,
    )  # fmt: skip
    assert (await api.post(f"/v1/jobs/{job}/retry")).json()["state"] == "ready"


async def test_what_runs_or_has_completed_is_a_conflict(api: Api, worker: Worker) -> None:
    running, done = worker.insert(2)
    worker.claim()
    worker.finish(done)
    said = [problem(await api.patch(f"/v1/jobs/{job}", json={"priority": 9}), 409)["detail"] for job in (running, done)]
    assert said == [
        f"job {running} is running: its worker has what it was",
        f"job {done} has completed: submit it anew to have it run with other args",
    ]
    problem(await api.patch("/v1/jobs/999", json={"priority": 9}), 404)


BAD: tuple[tuple[object, int, str], ...] = (
    ({}, 422, "say what to change"),
    ({"task": "x"}, 400, 'there is no field "task" here'),
    ({"priority": 11}, 422, "priority must be 1 to 10, not 11"),
    ({"priority": None}, 400, "priority must be 1 to 10, not null"),
    ({"args": {}, "merge_args": {}}, 422, "args and merge_args exclude each other"),
    ({"merge_args": []}, 400, "merge_args must be an object of named arguments, not []"),
    ({"tags": [""]}, 422, "tags must be"),
)


@pytest.mark.parametrize(("body", "status", "said"), BAD)
async def test_what_no_job_may_have_is_refused(api: Api, worker: Worker, body: object, status: int, said: str) -> None:
    (job,) = worker.insert()
    assert said in problem(await api.patch(f"/v1/jobs/{job}", json=body), status)["detail"]


async def test_args_that_would_grow_too_large_are_refused(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    assert (await api.patch(f"/v1/jobs/{job}", json={"args": {"x": "a" * 900_000}})).status_code == 200
    answer = await api.patch(f"/v1/jobs/{job}", json={"merge_args": {"y": "b" * 300_000}})
    assert "would be over 1 MiB" in problem(answer, 422)["detail"]
