"""The audit: a line for each change over REST, in the transaction of the change."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any
from unittest.mock import ANY

import psycopg
import pytest
from litestar.handlers import HTTPRouteHandler

from dtsched.api.application import HANDLERS
from dtsched.api.documentation import operation_of
from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Worker
from tests.support.bad_input import declare


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        declare(worker.connection)
        yield worker


async def audit(api: Api, **wanted: object) -> list[dict[str, Any]]:
    answer = await api.get("/v1/audit", params={name: str(value) for name, value in wanted.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()["audit"]


def changing(handler: HTTPRouteHandler) -> bool:
    told = operation_of(handler.opt or {})
    return told is not None and told.access.scope in ("operate", "admin") and not handler.http_methods <= {"GET"}


# The name of each operation that changes something, with a request that does and what its line says.
CHANGES: dict[str, tuple[str, str, object, str, str | None, dict[str, Any]]] = {
    "cancel_job": ("POST", "/v1/jobs/1/cancel", None, "job", "1", {"outcome": "cancelled"}),
    "retry_job": ("POST", "/v1/jobs/1/retry", None, "job", "1", {"outcome": "retried"}),
    "run_job_now": ("POST", "/v1/jobs/1/run-now", None, "job", "1", {"outcome": "ready"}),
    "reschedule_job": (
        *("POST", "/v1/jobs/1/reschedule", {"run_at": "2100-01-01T00:00:00Z"}, "job", "1"),
        {"outcome": "scheduled", "run_at": "2100-01-01T00:00:00Z"},
    ),
    "edit_job": (
        *("PATCH", "/v1/jobs/1", {"priority": 9, "args": {"pin": "canary"}}, "job", "1"),
        {"outcome": "edited", "changed": ["args", "priority"]},
    ),
    "delete_job": ("DELETE", "/v1/jobs/1", None, "job", "1", {"outcome": "deleted"}),
    "act_on_jobs": (
        *("POST", "/v1/jobs/actions", {"action": "cancel", "ids": [1, 99]}, "job", None),
        {"action": "cancel", "jobs": [1, 99], "outcomes": {"missing": 2}},
    ),
    "create_operation": (
        *("POST", "/v1/operations", {"action": "cancel", "filter": "args.pin:canary"}, "operation", "1"),
        {"action": "cancel", "dry_run": False},
    ),
    "cancel_operation": ("POST", "/v1/operations/2/cancel", None, "operation", "2", {}),
    "pause_queue": ("POST", "/v1/queues/mail/pause", None, "queue", "mail", {}),
    "resume_queue": ("POST", "/v1/queues/mail/resume", None, "queue", "mail", {}),
    "drain_queue": ("POST", "/v1/queues/mail/drain", None, "queue", "mail", {}),
    "set_queue": ("PATCH", "/v1/queues/mail", {"limit": 3}, "queue", "mail", {"settings": {"limit": 3}}),
    "set_limit": (
        *("PUT", "/v1/limits/a%2F/b", {"concurrency": 3}, "limit", "a//b"),
        {"concurrency": 3, "rate": None, "burst": None},
    ),
    "delete_limit": ("DELETE", "/v1/limits/a%2F/b", None, "limit", "a//b", {}),
    "set_retention": ("PATCH", "/v1/retention", {"failed": "7d"}, "retention", None, {"retention": {"failed": 604800}}),
    # where a tenth of a second was over before all was looked at, there may be more
    "prune": ("POST", "/v1/prune", None, "prune", None, {"jobs": 0, "results": 0, "more": ANY}),
    "put_schedule": (
        *("PUT", "/v1/schedules/nightly", {"spec": "@daily", "task": "echo"}, "schedule", "nightly"),
        {"created": True},
    ),
    "patch_schedule": (
        *("PATCH", "/v1/schedules/nightly", {"args": {"pin": "canary"}}, "schedule", "nightly"),
        {"changed": ["args"]},
    ),
    "run_schedule": ("POST", "/v1/schedules/nightly/run", None, "schedule", "nightly", {"job": 2, "created": True}),
    "pause_schedule": ("POST", "/v1/schedules/nightly/pause", None, "schedule", "nightly", {}),
    "resume_schedule": ("POST", "/v1/schedules/nightly/resume", None, "schedule", "nightly", {}),
    "delete_schedule": ("DELETE", "/v1/schedules/nightly", None, "schedule", "nightly", {}),
    "cancel_workflow": ("POST", "/v1/workflows/1/cancel", None, "workflow", "1", {"outcomes": {}}),
    "retry_workflow": ("POST", "/v1/workflows/1/retry", None, "workflow", "1", {"outcomes": {}}),
}


def test_each_route_that_changes_something_has_its_case() -> None:
    assert {handler.fn.__name__ for handler in HANDLERS if changing(handler)} == set(CHANGES)


async def test_each_change_leaves_one_line_and_a_refused_one_none(api: Api, worker: Worker) -> None:
    worker.run("select dtsched.create_workflow('etl')")
    worker.value("select dtsched.submit('echo')")
    for action, (method, address, body, kind, target, detail) in CHANGES.items():
        if action == "cancel_operation":
            with worker.connection.transaction():
                worker.run("select dtsched.create_operation('cancel', '{\"queue\": \"none\"}')")
                worker.run("update dtsched.operations set next_at = 'infinity' where id = 2")
        answer = await api.request(method, address, json=body, headers={"x-request-id": f"r-{action}"})
        assert answer.is_success, (action, answer.text)
        lines = await audit(api, action=action)
        del lines[0]["at"], lines[0]["id"]
        assert lines == [
            {"actor": None, "action": action, "kind": kind, "target": target, "detail": detail,
             "request_id": f"r-{action}"}
        ]  # fmt: skip
    count = "select count(*) from dtsched.audit"
    before = worker.value(count)
    assert before == len(CHANGES)
    for method, address, body in (
        ("POST", "/v1/jobs/1/cancel", None),
        ("PATCH", "/v1/jobs/2", {"priority": 11}),
        ("POST", "/v1/jobs/2/retry", None),
        ("POST", "/v1/operations/2/cancel", None),
        ("DELETE", "/v1/schedules/none", None),
        ("PATCH", "/v1/queues/mail", {"limit": -1}),
        ("POST", "/v1/workflows/9/cancel", None),
        ("POST", "/v1/operations", {"action": "edit", "filter": "queue:a"}),
    ):
        answer = await api.request(method, address, json=body)
        assert answer.is_client_error, (address, answer.text)
    await api.post("/v1/jobs", json={"task": "echo"})
    await api.post("/v1/workflows", json={"name": "etl"})
    assert worker.value(count) == before
    assert worker.value("select count(*) from dtsched.audit line where line::text like '%canary%'") == 0


async def test_a_change_whose_line_cannot_be_written_is_not_made(api: Api, worker: Worker) -> None:
    job = worker.value("select dtsched.submit('echo')")
    worker.run("alter table dtsched.audit add constraint full_disk check (false) not valid")
    answer = await api.post(f"/v1/jobs/{job}/cancel")
    assert not answer.is_success
    assert worker.state(job) == "ready"


async def test_lines_are_listed_newest_first_page_by_page_and_by_what_they_say(api: Api, worker: Worker) -> None:
    for name in ("a", "b", "a"):
        await api.post(f"/v1/queues/{name}/pause")
    page = await api.get("/v1/audit?limit=2&kind=queue")
    assert [line["target"] for line in page.json()["audit"]] == ["a", "b"]
    assert page.headers["link"] == f'</v1/audit?kind=queue&limit=2&after={page.json()["next"]}>; rel="next"'
    rest = (await api.get(f"/v1/audit?limit=2&kind=queue&after={page.json()['next']}")).json()
    assert (len(rest["audit"]), rest["next"]) == (1, None)
    assert len(await audit(api, target="a")) == 2
    assert await audit(api, target="a", kind="job") == []
    assert await audit(api, actor="somebody") == []
    worker.run("update dtsched.audit set at = at - interval '1 hour' where target = 'b'")
    since = worker.value("select dtsched.now() - interval '1 minute'").isoformat()
    assert [line["target"] for line in await audit(api, since=since)] == ["a", "a"]
    assert len(await audit(api, since="1m")) == 2
    problem(await api.get("/v1/audit?since=yesterday"), 422)


def test_nobody_but_the_owner_changes_a_line(worker: Worker) -> None:
    worker.run("select dtsched.note_audit('ann', 'pause_queue', 'queue', 'mail')")
    worker.run("set role dtsched_operator")
    for statement in ("delete from dtsched.audit", "update dtsched.audit set actor = 'bob'", "truncate dtsched.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.connection.execute(statement.encode())
    worker.run("reset role")


def test_lines_are_forgotten_after_90_days_and_operations_30_days_after_they_ended(worker: Worker) -> None:
    worker.run("select dtsched.note_audit('ann', 'pause_queue', 'queue', 'mail')")
    over, going_on = (worker.value("select dtsched.create_operation('cancel', '{\"queue\": \"a\"}')") for _ in "ab")
    worker.run("select dtsched.cancel_operation(%s)", over)
    worker.take_over_the_clock()
    worker.travel("30 days")
    assert worker.value("select dtsched.prune_records()") == 1
    assert worker.column("select id from dtsched.operations") == [going_on]
    worker.travel("59 days 23:59")
    assert worker.value("select dtsched.prune_records()") == 0
    worker.travel("1 minute")
    assert worker.value("select dtsched.prune_records()") == 1
    assert worker.value("select count(*) from dtsched.audit") == 0
