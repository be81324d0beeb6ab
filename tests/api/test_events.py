"""Events and what jobs remember, over REST."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Worker
from tests.sql.test_steps import claimed, record, waiting


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def test_an_event_wakes_who_waits_for_it_and_the_first_emit_wins(api: Api, worker: Worker) -> None:
    job = waiting(worker, "paid:42")
    answer = await api.post("/v1/events", json={"name": "paid:42", "payload": {"amount": 5}})
    assert (answer.status_code, answer.json()) == (201, {"name": "paid:42", "created": True, "woken": 1})
    assert worker.state(job) == "ready"
    answer = await api.post("/v1/events", json={"name": "paid:42", "payload": {"amount": 6}})
    assert (answer.status_code, answer.json()) == (200, {"name": "paid:42", "created": False, "woken": 0})
    assert worker.rows("select payload from dtsched.events") == [({"amount": 5},)]


async def test_the_steps_of_a_job_are_listed(api: Api, worker: Worker) -> None:
    job = claimed(worker)
    record(worker, job, "charge", {"id": 7})
    (step,) = (await api.get(f"/v1/jobs/{job}/steps")).json()["steps"]
    begun_at, ended_at = step.pop("begun_at"), step.pop("ended_at")
    assert begun_at == ended_at
    assert step == {
        "name": "charge",
        "kind": "step",
        "state": "done",
        "result": {"id": 7},
        "result_bytes": 9,
        "event": None,
        "until": None,
        "attempt": 1,
        "worker_id": str(worker.id),
    }
    assert (await api.get("/v1/jobs/0/steps")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"name": ""}, 422, "name must be 1 to 255 characters without control characters, not "),
        ({"name": "a\n"}, 422, "name must be 1 to 255 characters without control characters, not 'a\\n'"),
        ({"name": 5}, 400, "name must be a string, not 5"),
        ({"payload": 5}, 400, "name is missing"),
        ({"name": "a", "paylod": 5}, 400, 'there is no field "paylod" here; there are name, payload'),
        ({"name": "a", "payload": "x" * 1024 * 1024}, 422, "payload must be at most 1 MiB (1048576 bytes) of JSON,"),
    ],
)
async def test_an_event_that_cannot_be_one_is_refused(
    empty_api: Api, refusing_database: str, body: dict[str, Any], status: int, detail: str
) -> None:
    answer = await empty_api.post("/v1/events", json=body)
    document = problem(answer, status)
    assert document["detail"].startswith(detail)
