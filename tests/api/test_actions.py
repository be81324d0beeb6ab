"""What can be done to a job over REST, and each sentence that says why it was not done."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect
from tests.sql.sessions import Worker

BODY = {"delay": 60}


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def submit(api: Api, **fields: object) -> int:
    answer = await api.post("/v1/jobs", json={"task": "echo", **fields})
    assert answer.status_code == 201
    return answer.json()["id"]


async def conflict(api: Api, method: str, path: str, body: object = None) -> str:
    answer = await api.request(method, path, json=body)
    document = problem(answer, 409)
    assert document["type"] == "/problems/conflict"
    return document["detail"]


async def test_a_failed_job_is_retried_and_only_once(api: Api, worker: Worker) -> None:
    job = await submit(api)
    worker.claim()
    worker.finish_as("fail", job)
    answer = await api.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["attempt"]) == (200, "ready", 0)
    assert await conflict(api, "POST", f"/v1/jobs/{job}/retry") == (
        f"job {job} has not ended yet: there is nothing to retry"
    )


async def test_what_cannot_be_retried_says_why(api: Api, worker: Worker) -> None:
    done, parent = await submit(api), await submit(api)
    child = await submit(api, depends_on=[parent])
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", parent)
    held = await submit(api, key="k")
    await api.post(f"/v1/jobs/{held}/cancel")
    await submit(api, key="k")
    assert await conflict(api, "POST", f"/v1/jobs/{done}/retry") == (
        f"job {done} has completed: submit it anew to have it run once more"
    )
    assert await conflict(api, "POST", f"/v1/jobs/{held}/retry") == (
        f"another unfinished job has the key of job {held} by now"
    )
    assert await conflict(api, "POST", f"/v1/jobs/{child}/retry") == (
        f"a job that job {child} depends on failed or was cancelled: retry that one first"
    )


async def test_a_scheduled_job_runs_now(api: Api) -> None:
    job = await submit(api, delay=3600)
    first, again = await api.post(f"/v1/jobs/{job}/run-now"), await api.post(f"/v1/jobs/{job}/run-now")
    assert [(answer.status_code, answer.json()["state"]) for answer in (first, again)] == [(200, "ready")] * 2


async def test_what_cannot_run_now_says_why(api: Api, worker: Worker) -> None:
    running = await submit(api)
    worker.claim()
    ended = await submit(api)
    await api.post(f"/v1/jobs/{ended}/cancel")
    assert await conflict(api, "POST", f"/v1/jobs/{running}/run-now") == f"job {running} is running"
    assert await conflict(api, "POST", f"/v1/jobs/{ended}/run-now") == f"job {ended} has ended already"


async def test_a_job_that_waits_for_others_told_to_run_now_waits_for_no_time_any_more(api: Api) -> None:
    parent = await submit(api)
    child = await submit(api, depends_on=[parent], delay=3600)
    answer = await api.post(f"/v1/jobs/{child}/run-now")
    assert (answer.status_code, answer.json()["state"]) == (200, "blocked")
    assert datetime.fromisoformat(answer.json()["run_at"]) < datetime.now(UTC) + timedelta(minutes=1)


async def test_a_waiting_job_is_rescheduled_to_a_time_and_by_a_delay(api: Api) -> None:
    job = await submit(api)
    later = await api.post(f"/v1/jobs/{job}/reschedule", json={"run_at": "2030-01-31T09:00:00+01:00"})
    assert (later.status_code, later.json()["state"]) == (200, "scheduled")
    assert datetime.fromisoformat(later.json()["run_at"]) == datetime(2030, 1, 31, 8, tzinfo=UTC)
    soon = await api.post(f"/v1/jobs/{job}/reschedule", json={"delay": "10m"})
    run_in = datetime.fromisoformat(soon.json()["run_at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < run_in < timedelta(minutes=11)
    now = await api.post(f"/v1/jobs/{job}/reschedule", json={"delay": 0})
    assert now.json()["state"] == "ready"


async def test_a_job_that_waits_for_others_may_be_rescheduled(api: Api, worker: Worker) -> None:
    child = await submit(api, depends_on=[await submit(api)])
    answer = await api.post(f"/v1/jobs/{child}/reschedule", json=BODY)
    assert (answer.status_code, answer.json()["state"]) == (200, "blocked")


async def test_what_runs_or_has_ended_is_not_rescheduled(api: Api, worker: Worker) -> None:
    job = await submit(api)
    worker.claim()
    assert await conflict(api, "POST", f"/v1/jobs/{job}/reschedule", BODY) == f"job {job} is running"
    worker.finish(job)
    assert await conflict(api, "POST", f"/v1/jobs/{job}/reschedule", BODY) == f"job {job} has ended already"


@pytest.mark.parametrize(
    ("body", "status", "field", "says"),
    [
        ({}, 422, "run_at", "say when: give run_at or delay"),
        ({"run_at": None}, 422, "run_at", "say when: give run_at or delay"),
        ({"run_at": "2030-01-31T09:00:00Z", "delay": 1}, 422, "delay", "exclude each other"),
        ({"run_at": "2030-01-31T09:00:00"}, 422, "run_at", "time zone"),
        ({"run_at": "1969-12-31T23:59:59Z"}, 422, "run_at", "1970"),
        ({"run_at": "soon"}, 400, "run_at", 'run_at must be a time like 2030-01-31T09:00:00Z, not "soon"'),
        ({"delay": -1}, 422, "delay", "delay"),
        ({"delay": "367d"}, 422, "delay", "366 days"),
        ({"delay": [1]}, 400, "delay", "delay must be a number of seconds"),
        ({"delay": True}, 400, "delay", "delay must be a number of seconds"),
        ({"at": 1}, 400, "at", "there is no field"),
        ([], 400, None, "one JSON object"),
    ],
)
async def test_a_new_time_that_makes_no_sense_is_refused(
    api: Api, connect: Connect, body: Any, status: int, field: str | None, says: str
) -> None:
    job = await submit(api)
    document = problem(await api.post(f"/v1/jobs/{job}/reschedule", json=body), status)
    assert says in document["detail"]
    assert [error["field"] for error in document.get("errors", [])] == ([field] if field else [])
    assert connect().execute("select state, run_at from dtsched.jobs").fetchall() == [("ready", None)]


async def test_a_job_is_deleted_once(api: Api, connect: Connect) -> None:
    job = await submit(api)
    first = await api.delete(f"/v1/jobs/{job}")
    assert (first.status_code, first.content) == (204, b"")
    problem(await api.delete(f"/v1/jobs/{job}"), 404)
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (0,)


async def test_a_running_job_is_not_deleted(api: Api, worker: Worker) -> None:
    job = await submit(api)
    worker.claim()
    assert await conflict(api, "DELETE", f"/v1/jobs/{job}") == f"job {job} is running: cancel it first"


async def test_a_job_that_somebody_else_holds_is_busy_for_every_action(api: Api, connect: Connect) -> None:
    waiting, failed = await submit(api), await submit(api)
    await api.post(f"/v1/jobs/{failed}/cancel")
    holder = connect()
    with holder.transaction():
        holder.execute("select from dtsched.jobs for update")
        answers = [
            await api.delete(f"/v1/jobs/{waiting}"),
            await api.post(f"/v1/jobs/{waiting}/run-now"),
            await api.post(f"/v1/jobs/{waiting}/reschedule", json=BODY),
            await api.post(f"/v1/jobs/{failed}/retry"),
        ]
    for answer in answers:
        assert problem(answer, 503)["type"] == "/problems/busy"
        assert answer.headers["retry-after"] == "1"


async def test_attempts_that_went_wrong_are_listed_newest_first(api: Api, worker: Worker) -> None:
    job = await submit(api)
    assert (await api.get(f"/v1/jobs/{job}/attempts")).json() == {"attempts": []}
    for outcome in ("retry", "fail"):
        worker.claim()
        worker.finish_as(outcome, job, delay=0 if outcome == "retry" else None)
    attempts = (await api.get(f"/v1/jobs/{job}/attempts")).json()["attempts"]
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in attempts] == [(2, "fail"), (1, "retry")]


async def test_why_says_the_state_and_the_reasons(api: Api) -> None:
    job = await submit(api, delay=3600)
    why = (await api.get(f"/v1/jobs/{job}/why")).json()
    assert (why["state"], [reason["code"] for reason in why["reasons"]]) == ("scheduled", ["later"])
    assert why["reasons"][0]["reason"]


@pytest.mark.parametrize("job_id", ["1", "0", "-1", "9223372036854775808", "x", "%00"])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [("DELETE", ""), ("POST", "/retry"), ("POST", "/run-now"), ("POST", "/reschedule"), ("GET", "/attempts"),
     ("GET", "/why")],
)  # fmt: skip
async def test_a_job_that_is_not_there_is_not_found(empty_api: Api, job_id: str, method: str, suffix: str) -> None:
    body = BODY if suffix == "/reschedule" else None
    problem(await empty_api.request(method, f"/v1/jobs/{job_id}{suffix}", json=body), 404)
