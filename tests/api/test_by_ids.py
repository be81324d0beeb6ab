"""What programs without a connection of their own need besides: actions on named jobs, ids, the clock, workflows."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import datetime
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect
from tests.sql.sessions import Worker
from tests.support.bad_input import declare

MISSING = 987_654_321


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def outcomes(api: Api, action: str, *ids: int, **more: object) -> list[tuple[int, str]]:
    answer = await api.post("/v1/jobs/actions", json={"action": action, "ids": ids, **more})
    assert answer.status_code == 200, answer.text
    return [(job["id"], job["outcome"]) for job in answer.json()["jobs"]]


async def test_each_job_meets_with_an_outcome_of_its_own_in_the_order_asked(api: Api, worker: Worker) -> None:
    one, other = worker.insert(2)
    assert await outcomes(api, "cancel", other, MISSING, one) == [
        (other, "cancelled"),
        (MISSING, "missing"),
        (one, "cancelled"),
    ]
    assert await outcomes(api, "retry", one) == [(one, "retried")]
    assert await outcomes(api, "reschedule", one, run_at="2030-01-31T09:00:00Z") == [(one, "scheduled")]
    assert await outcomes(api, "run-now", one) == [(one, "ready")]
    assert await outcomes(api, "edit", one, changes={"priority": 9}) == [(one, "edited")]
    assert worker.value("select priority from dtsched.jobs where id = %s", one) == 9
    assert await outcomes(api, "delete", one, other) == [(one, "deleted"), (other, "deleted")]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"action": "reschedule", "ids": [1]}, 422, "the action reschedule needs run_at"),
        ({"action": "cancel", "ids": [1], "changes": {"priority": 1}}, 422, "the action cancel takes no changes"),
        ({"action": "edit", "ids": [1], "changes": {"priority": 11}}, 422, "priority must be"),
        ({"action": "burn", "ids": [1]}, 400, "action must be cancel, retry"),
        ({"action": "cancel", "ids": []}, 400, "ids must be a list of 1 to 1000 ids"),
        ({"action": "cancel", "ids": [0]}, 400, "ids must be a list of 1 to 1000 ids"),
    ],
)
async def test_what_cannot_be_done_is_said(empty_api: Api, body: dict[str, Any], status: int, says: str) -> None:
    assert says in problem(await empty_api.post("/v1/jobs/actions", json=body), status)["detail"]


async def test_ids_come_page_by_page_newest_first(api: Api, worker: Worker) -> None:
    first, second, third = worker.insert(3)
    page = (await api.get("/v1/jobs/ids?filter=state:ready&limit=2")).json()
    assert page == {"ids": [third, second], "next": str(second)}
    assert (await api.get(f"/v1/jobs/ids?after={page['next']}")).json() == {"ids": [first], "next": None}


async def test_the_clock_is_the_databases(api: Api, worker: Worker) -> None:
    before: datetime = worker.value("select dtsched.now()")
    told = datetime.fromisoformat((await api.get("/v1/now")).json()["now"])
    assert before <= told <= worker.value("select dtsched.now()")


async def test_a_queue_is_drained_once_it_is_paused_and_nothing_of_it_runs(api: Api, worker: Worker) -> None:
    worker.insert(1)
    assert (await api.get("/v1/queues/default/drained")).json() == {"drained": False}
    assert [(await api.post("/v1/queues/default/pause")).json()["changed"] for _ in range(2)] == [True, False]
    assert (await api.get("/v1/queues/default/drained")).json() == {"drained": True}
    assert [(await api.post("/v1/queues/default/resume")).json()["changed"] for _ in range(2)] == [True, False]


async def test_a_workflow_and_its_jobs_are_made_together_or_not_at_all(
    api: Api, worker: Worker, connect: Connect
) -> None:
    declare(connect())
    jobs = [{"task": "echo", "key": "a"}, {"task": "echo", "depends_on": [{"entry": 1}]}]
    made = (await api.post("/v1/workflows?check_tasks=false", json={"name": "etl", "jobs": jobs})).json()
    assert (made["jobs"]["total"], [one["outcome"] for one in made["submitted"]]) == (2, ["created", "created"])
    jobs = [{"task": "echo"}, {"task": "echo", "priority": 11}]
    refused = problem(await api.post("/v1/workflows?check_tasks=false", json={"name": "no", "jobs": jobs}), 422)
    assert refused["errors"] == [{"field": "jobs[2].priority", "detail": refused["detail"]}]
    refused = problem(await api.post("/v1/workflows", json={"name": "no", "jobs": [{"task": "nosuch"}]}), 422)
    assert refused["type"].endswith("unknown-task")
    assert worker.column("select name from dtsched.workflows") == ["etl"]
    cancelled = (await api.post(f"/v1/workflows/{made['id']}/cancel")).json()
    assert {(job["id"], job["outcome"]) for job in cancelled["jobs"]} == {
        (one["id"], "cancelled") for one in made["submitted"]
    }
