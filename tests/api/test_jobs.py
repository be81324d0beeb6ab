"""The routes of /v1/jobs, each against the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect

COLUMNS = {
    "id", "queue", "task", "args", "state", "priority", "run_at", "attempt", "max_attempts", "timeout", "key",
    "limit_key", "depends_on", "tags", "result", "error", "progress", "worker_id", "created_at", "started_at",
    "finished_at",
}  # fmt: skip


async def test_a_submitted_job_is_answered_with_its_names_and_is_in_the_table(api: Api, connect: Connect) -> None:
    before = datetime.now(UTC)
    answer = await api.post(
        "/v1/jobs",
        json={
            "task": "send", "args": {"to": "ä"}, "queue": "mail", "priority": 9, "delay": "10m", "max_attempts": 3,
            "timeout": 90.5, "key": "order-42", "limit_key": "smtp", "tags": ["a", "b"],
        },
    )  # fmt: skip
    job = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert set(job) >= COLUMNS
    assert job["args"] == {"to": "ä"}
    assert (job["state"], job["timeout"], job["attempt"], job["tags"]) == ("scheduled", 90.5, 0, ["a", "b"])
    assert timedelta(minutes=9) < datetime.fromisoformat(job["run_at"]) - before < timedelta(minutes=11)
    row = connect().execute("select queue, task, priority, max_attempts, key, limit_key from dtsched.jobs").fetchall()
    assert row == [("mail", "send", 9, 3, "order-42", "smtp")]


async def test_only_a_task_is_needed(api: Api) -> None:
    job = (await api.post("/v1/jobs", json={"task": "echo"})).json()
    assert (job["queue"], job["args"], job["priority"], job["state"]) == ("default", {}, 5, "ready")
    assert (job["run_at"], job["timeout"], job["key"], job["depends_on"]) == (None, None, None, None)


async def test_a_key_that_is_held_keeps_and_shows_the_existing_job(api: Api, connect: Connect) -> None:
    first = await api.post("/v1/jobs", json={"task": "echo", "key": "k", "args": {"value": 1}})
    second = await api.post("/v1/jobs", json={"task": "echo", "key": "k", "args": {"value": 2}})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (1,)


async def test_a_job_may_depend_on_ids_and_on_keys(api: Api) -> None:
    one = (await api.post("/v1/jobs", json={"task": "a"})).json()["id"]
    two = (await api.post("/v1/jobs", json={"task": "a", "key": "load"})).json()["id"]
    child = await api.post("/v1/jobs", json={"task": "b", "depends_on": [one, "load"]})

    assert child.status_code == 201
    assert (child.json()["state"], child.json()["depends_on"]) == ("blocked", [one, two])


@pytest.mark.parametrize("parent", ["nobody", 999_999, 2**63 - 1])
async def test_a_job_that_depends_on_nothing_known_is_refused(api: Api, connect: Connect, parent: object) -> None:
    answer = await api.post("/v1/jobs", json={"task": "b", "depends_on": [parent]})
    assert problem(answer, 422)["type"] == "/problems/invalid-input"
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (0,)


async def test_a_task_that_no_worker_ever_declared_is_refused(api: Api, connect: Connect) -> None:
    connect().execute("insert into dtsched.tasks (name) values ('echo')")
    answer = await api.post("/v1/jobs", json={"task": "ehco"})
    assert problem(answer, 422)["type"] == "/problems/unknown-task"
    assert "ehco" in answer.json()["detail"]


async def test_a_committed_job_is_acknowledged_even_if_it_cannot_be_read_back(api: Api, connect: Connect) -> None:
    """A 503 would make the client submit it once more."""
    admin = connect()
    with admin.transaction():
        admin.execute("lock table dtsched.results")  # which a submission leaves alone, and a reader needs
        answer = await api.post("/v1/jobs", json={"task": "echo"}, headers={"prefer": "wait=1"})
    ((job_id,),) = connect().execute("select id from dtsched.jobs").fetchall()
    assert (answer.status_code, answer.json()) == (201, {"id": job_id})


async def test_a_job_is_found_by_its_id(api: Api) -> None:
    job = (await api.post("/v1/jobs", json={"task": "echo", "args": {"value": [1, {"a": None}]}})).json()
    assert (await api.get(f"/v1/jobs/{job['id']}")).json() == job


@pytest.mark.parametrize(
    "job_id", ["1", "0", "-1", "9223372036854775807", "9223372036854775808", "1" * 5000, "x", "1.0", "%00", "\u0661"]
)
@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("GET", "/result"), ("POST", "/cancel")])
async def test_an_id_that_is_not_there_is_not_found(empty_api: Api, job_id: str, method: str, suffix: str) -> None:
    problem(await empty_api.request(method, f"/v1/jobs/{job_id}{suffix}"), 404)


async def test_a_waiting_job_is_cancelled_at_once_and_only_once(api: Api, connect: Connect) -> None:
    job_id = (await api.post("/v1/jobs", json={"task": "echo"})).json()["id"]
    answer = await api.post(f"/v1/jobs/{job_id}/cancel")
    again = await api.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert problem(again, 409)["type"] == "/problems/conflict"
    assert connect().execute("select state from dtsched.jobs").fetchall() == [("cancelled",)]


async def test_a_running_job_is_asked_to_stop(api: Api, connect: Connect) -> None:
    job_id = (await api.post("/v1/jobs", json={"task": "echo"})).json()["id"]
    claim(connect())
    answer = await api.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert connect().execute("select cancel_requested_at is not null from dtsched.leases").fetchall() == [(True,)]


async def test_a_job_that_somebody_else_holds_is_busy_not_lost(api: Api, connect: Connect) -> None:
    job_id = (await api.post("/v1/jobs", json={"task": "echo"})).json()["id"]
    holder = connect()
    with holder.transaction():
        holder.execute("select from dtsched.jobs for update")
        answer = await api.post(f"/v1/jobs/{job_id}/cancel")
    assert problem(answer, 503)["type"] == "/problems/busy"
    assert answer.headers["retry-after"] == "1"


async def test_the_result_is_202_until_there_is_one(api: Api, connect: Connect) -> None:
    job_id = (await api.post("/v1/jobs", json={"task": "echo"})).json()["id"]
    waiting = await api.get(f"/v1/jobs/{job_id}/result")
    worker, lease = claim(connect())
    running = await api.get(f"/v1/jobs/{job_id}/result")
    connect().execute("select dtsched.finish(%s, %s, '[{\"n\": 250}]')", (worker, [lease]))
    done = await api.get(f"/v1/jobs/{job_id}/result")

    assert (waiting.status_code, waiting.json()) == (202, {"state": "ready", "result": None, "error": None})
    assert (running.status_code, running.json()["state"]) == (202, "running")
    assert (done.status_code, done.json()) == (200, {"state": "completed", "result": {"n": 250}, "error": None})


async def test_the_result_of_a_cancelled_job_says_why_there_is_none(api: Api) -> None:
    job_id = (await api.post("/v1/jobs", json={"task": "echo"})).json()["id"]
    await api.post(f"/v1/jobs/{job_id}/cancel")
    answer = await api.get(f"/v1/jobs/{job_id}/result")
    assert (answer.status_code, answer.json()["state"], answer.json()["result"]) == (200, "cancelled", None)
    assert answer.json()["error"]


async def test_a_list_is_newest_first_and_walked_page_by_page(api: Api) -> None:
    ids = [(await api.post("/v1/jobs", json={"task": "echo"})).json()["id"] for _ in range(5)]
    seen: list[int] = []
    after = ""
    for expected in (2, 2, 1):
        page = (await api.get(f"/v1/jobs?limit=2{after}")).json()
        assert len(page["jobs"]) == expected
        seen += [job["id"] for job in page["jobs"]]
        after = f"&after={page['next']}"
    assert page["next"] is None
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("query", "tasks"),
    [
        ("state=cancelled", ["a"]),
        ("state=pending", ["c", "b"]),
        ("queue=mail", ["b"]),
        ("task=c&state=ready", ["c"]),
        ("queue=null", []),
    ],
)
async def test_a_list_is_filtered(api: Api, query: str, tasks: list[str]) -> None:
    cancelled = (await api.post("/v1/jobs", json={"task": "a"})).json()["id"]
    await api.post("/v1/jobs", json={"task": "b", "queue": "mail", "delay": 60})
    await api.post("/v1/jobs", json={"task": "c"})
    await api.post(f"/v1/jobs/{cancelled}/cancel")
    assert [job["task"] for job in (await api.get(f"/v1/jobs?{query}")).json()["jobs"]] == tasks


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1e2", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("after=0", "after"),
        ("after=9223372036854775808", "after"),
        ("state=done", "state"),
        ("queue=a%20b", "queue"),
        ("task=", "task"),
        ("task=%00", "task"),
        ("task=" + "a" * 129, "task"),
        ("sort=id", "sort"),
        ("limit=1&limit=2", "limit"),
        ("queue=';drop%20schema%20dtsched--", "queue"),
    ],
)
async def test_a_list_with_a_parameter_that_makes_no_sense_is_refused(empty_api: Api, query: str, field: str) -> None:
    assert problem(await empty_api.get(f"/v1/jobs?{query}"), 400)["errors"][0]["field"] == field


async def test_a_number_that_no_float_holds_does_not_hide_the_job_or_its_neighbours(api: Api, connect: Connect) -> None:
    """Such a row comes from a plain INSERT; the API itself refuses it."""
    connect().execute(
        """insert into dtsched.jobs (task, args) values ('a', '{"value": 1e5000}'), ('b', %s), ('c', '{}')""",
        [f'{{"value": {"[" * 3000}{"]" * 3000}}}'],
    )
    page = await api.get("/v1/jobs")
    assert page.status_code == 200
    assert [page.text.count(f'"task":"{task}"') for task in "abc"] == [1, 1, 1]
    assert "1" + "0" * 5000 in page.text


def claim(connection: psycopg.Connection) -> tuple[object, int]:
    """A worker and the lease of the one job that is ready."""
    worker = uuid4()
    connection.execute("select dtsched.register_worker(%s, 'w', '{default}', '{echo}', 1, '1 h')", (worker,))
    rows: list[Any] = connection.execute(
        "select lease_id from dtsched.claim(%s, 'default', 1, '{echo}')", (worker,)
    ).fetchall()
    return worker, rows[0][0]
