"""Operations over REST: begun, waited for, looked at and cancelled; the server that took the request begins at once."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import Api, Serve
from tests.api.problems import problem
from tests.runtime.workers import until
from tests.sql.sessions import Worker

WAIT = {"prefer": "wait=30"}


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


def failed(worker: Worker, count: int) -> list[int]:
    jobs = worker.insert(count)
    worker.claim(limit=count)
    worker.finish_as("fail", *jobs)
    return jobs


async def done(api: Api, action: str, wanted: str, **more: object) -> dict[str, Any]:
    body = {"action": action, "filter": wanted, **more}
    answer = await api.post("/v1/operations", json=body, headers=WAIT)
    assert answer.status_code == 201, answer.text
    operation = answer.json()
    assert answer.headers["location"] == f"/v1/operations/{operation['id']}"
    assert (answer.headers["preference-applied"], operation["state"]) == ("wait=30", "completed")
    return operation


async def test_what_failed_is_changed_and_sent_back(api: Api, worker: Worker) -> None:
    jobs = failed(worker, 3)
    other = worker.insert(queue="mail")
    wanted = "state:failed queue:default"
    dry = await done(api, "retry", wanted, dry_run=True)
    assert (dry["matched"], dry["outcomes"], dry["progress"], dry["dry_run"]) == (3, {}, 1, True)
    assert [(job["id"], job["state"]) for job in dry["sample"]] == [(job, "failed") for job in reversed(jobs)]
    changes = {"merge_args": {"to": "b"}, "timeout": "5m", "deadline": None}
    edited = await done(api, "edit", wanted, changes=changes)
    assert (edited["outcomes"], edited["changes"]) == ({"edited": 3}, {**changes, "timeout": 300})
    assert (await done(api, "retry", wanted))["outcomes"] == {"retried": 3}
    assert (
        worker.column("select id from dtsched.jobs where args ->> 'to' = 'b' and state = 'ready' order by id") == jobs
    )
    assert (await done(api, "reschedule", "queue:default", delay="1h"))["outcomes"] == {"scheduled": 3}
    assert (await done(api, "run-now", "state:scheduled"))["outcomes"] == {"ready": 3}
    assert (await done(api, "cancel", "state:pending queue:default"))["outcomes"] == {"cancelled": 3}
    assert (await done(api, "delete", "state:cancelled"))["outcomes"] == {"deleted": 3}
    assert worker.column("select id from dtsched.jobs") == other


async def test_a_delay_is_from_the_moment_at_which_it_begins(api: Api, worker: Worker) -> None:
    worker.insert()
    operation = await done(api, "reschedule", "queue:default", delay="1h")
    (run_at,) = worker.column("select run_at from dtsched.jobs")
    assert datetime.fromisoformat(operation["run_at"]) == run_at
    assert abs(run_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


async def test_operations_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [(await done(api, "cancel", f"queue:q{number}"))["id"] for number in range(3)]
    page = await api.get("/v1/operations?limit=2")
    assert [one["id"] for one in page.json()["operations"]] == ids[:0:-1]
    assert page.headers["link"] == f'</v1/operations?limit=2&after={ids[1]}>; rel="next"'
    rest = (await api.get(f"/v1/operations?limit=2&after={page.json()['next']}")).json()
    assert ([one["filter"] for one in rest["operations"]], rest["next"]) == (["queue:q0"], None)
    assert (await api.get(f"/v1/operations/{ids[0]}")).json() == rest["operations"][0]
    problem(await api.get("/v1/operations/999"), 404)
    problem(await api.get("/v1/operations/x"), 404)


async def test_one_that_is_over_cannot_be_cancelled_and_one_that_goes_on_can(api: Api, worker: Worker) -> None:
    over = (await done(api, "cancel", "queue:none"))["id"]
    refused = problem(await api.post(f"/v1/operations/{over}/cancel"), 409)
    assert refused["detail"] == f"operation {over} is over: it is completed"
    worker.run("begin")
    waiting = worker.value("select dtsched.create_operation('cancel', '{\"queue\": \"none\"}')")
    worker.run("update dtsched.operations set next_at = 'infinity' where id = %s", waiting)
    worker.run("commit")
    answer = await api.post(f"/v1/operations/{waiting}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    problem(await api.post("/v1/operations/999/cancel"), 404)


async def test_a_server_goes_on_with_what_another_one_that_was_killed_began(
    serve_api: Serve, database: str, worker: Worker
) -> None:
    worker.insert(2000)
    begun = worker.value("""select dtsched.create_operation('cancel', '{"state": "ready"}')""")
    first = serve_api(database)
    worker.run("select from dtsched.step_operation(10)")
    first.process.kill()
    first.process.wait()
    serve_api(database)
    seen = "select state, outcomes from dtsched.list_operations(%s)"
    await until(lambda: worker.rows(seen, begun) == [("completed", {"cancelled": 2000})])


BAD: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"filter": "state:failed"}, 400, "action is missing"),
    ({"action": "cancel"}, 400, "filter is missing"),
    ({"action": "stop", "filter": "state:failed"}, 422, "action must be cancel, retry, delete, edit, run-now, resched"),
    ({"action": "cancel", "filter": " "}, 422, "filter is empty, which would mean every job: say which ones"),
    ({"action": "cancel", "filter": "stat:failed"}, 422, "there is no filter 'stat'; there are state, queue"),
    ({"action": "cancel", "filter": "queue:a", "limit": 5}, 400, 'there is no field "limit" here; there are action'),
    ({"action": "cancel", "filter": "queue:a", "dry_run": 1}, 400, "dry_run must be true or false, not 1"),
    ({"action": "edit", "filter": "queue:a"}, 422, "say what to change: give changes"),
    ({"action": "edit", "filter": "queue:a", "changes": {}}, 422, "say what to change"),
    ({"action": "edit", "filter": "queue:a", "changes": {"priority": 11}}, 422, "priority must be 1 to 10, not 11"),
    ({"action": "edit", "filter": "queue:a", "changes": {"argz": 1}}, 400, 'there is no field "argz" here'),
    ({"action": "cancel", "filter": "queue:a", "changes": {"priority": 1}}, 422, "changes go with the action edit"),
    ({"action": "reschedule", "filter": "queue:a"}, 422, "say when: give run_at or delay"),
    ({"action": "reschedule", "filter": "queue:a", "delay": -1}, 422, "delay must be"),
    ({"action": "retry", "filter": "queue:a", "delay": 1}, 422, "run_at and delay go with the action reschedule alone"),
)


@pytest.mark.parametrize(("body", "status", "says"), BAD)
async def test_what_makes_no_sense_is_refused_and_nothing_is_begun(
    empty_api: Api, body: dict[str, Any], status: int, says: str
) -> None:
    answer = await empty_api.post("/v1/operations", json=body)
    assert problem(answer, status)["detail"].startswith(says)
    assert (await empty_api.get("/v1/operations")).json() == {"operations": [], "next": None}
