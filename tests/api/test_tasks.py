"""The routes of tasks, and of jobs whose time is limited."""

from __future__ import annotations

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect
from tests.runtime.workers import until_ended
from tests.sql.test_task_settings import declare


async def test_tasks_are_listed_and_their_jobs_take_over_what_they_declare(api: Api, connect: Connect) -> None:
    with connect() as connection:
        declare(connection, send={"queue": "mail", "max_attempts": 4})
    tasks = (await api.get("/v1/tasks")).json()["tasks"]
    assert "send" in [task["name"] for task in tasks]
    task = (await api.get("/v1/tasks/send")).json()
    assert (task["settings"], task["args_schema"]) == ({"queue": "mail", "max_attempts": 4}, {"type": "object"})
    job = (await api.post("/v1/jobs", json={"task": "send"})).json()
    assert (job["queue"], job["max_attempts"]) == ("mail", 4)
    own = (await api.post("/v1/jobs", json={"task": "send", "queue": "other", "max_attempts": None})).json()
    assert (own["queue"], own["max_attempts"]) == ("other", 4)


async def test_a_task_that_nobody_has_declared_is_not_found(api: Api) -> None:
    for name in ("nosuch", "a%20b", "%00"):
        problem(await api.get(f"/v1/tasks/{name}"), 404)


async def test_a_job_whose_deadline_has_passed_is_not_retried(api: Api, connect: Connect) -> None:
    job = (await api.post("/v1/jobs", json={"task": "echo", "deadline": "2020-01-31T09:00:00Z"})).json()
    await until_ended(connect(), job["id"])  # by the server's own round
    assert (await api.get(f"/v1/jobs/{job['id']}")).json()["state"] == "failed"
    refused = await api.post(f"/v1/jobs/{job['id']}/retry")
    assert "has passed: submit it anew" in problem(refused, 409)["detail"]
