"""Workflows: a number of jobs under one name, whose state follows from theirs."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from tests.sql.graphs import submit_many
from tests.sql.sessions import Session, Worker

CHILD = {"depends_on": [{"entry": 1}]}


def create(session: Session, name: str = "etl") -> int:
    return session.value("select dtsched.create_workflow(%s)", name)


def figures(session: Session, workflow: int) -> tuple[str, float, dict[str, int]]:
    ((state, progress, jobs),) = session.rows("select state, progress, jobs from dtsched.workflow(%s)", workflow)
    return state, progress, {name: count for name, count in jobs.items() if count}


def submit(session: Session, workflow: int, *jobs: dict[str, Any]) -> list[int]:
    return submit_many(session, *({**job, "workflow": workflow} for job in jobs))


def test_a_workflow_runs_until_all_its_jobs_have_ended(worker: Worker) -> None:
    workflow = create(worker)
    assert figures(worker, workflow) == ("completed", 1.0, {})
    first, second = submit(worker, workflow, {}, CHILD)
    worker.insert()
    assert figures(worker, workflow) == ("running", 0.0, {"total": 2, "ready": 1, "blocked": 1})
    worker.claim(1)
    worker.finish(first)
    assert figures(worker, workflow) == ("running", 0.5, {"total": 2, "completed": 1, "ready": 1})
    assert worker.value("select finished_at from dtsched.workflow(%s)", workflow) is None
    worker.drain()
    worker.finish(second)
    assert figures(worker, workflow) == ("completed", 1.0, {"total": 2, "completed": 2})
    (times,) = worker.rows(
        "select started_at < finished_at, finished_at >= created_at from dtsched.workflow(%s)", workflow
    )
    assert times == (True, True)


def test_a_job_submitted_later_reopens_a_finished_workflow(worker: Worker) -> None:
    workflow = create(worker)
    (job,) = submit(worker, workflow, {})
    worker.claim()
    worker.finish(job)
    later = worker.value("insert into dtsched.jobs (task, workflow_id) values ('echo', %s) returning id", workflow)
    assert figures(worker, workflow)[:2] == ("running", 0.5)
    by_function = worker.value("select dtsched.submit('echo', workflow => %s)", workflow)
    listed = worker.column("select id from dtsched.list_jobs(jsonb_build_object('workflow', array[%s]))", workflow)
    assert listed == [by_function, later, job]


@pytest.mark.parametrize(("policy", "state"), [("cancel", "failed"), ("skip", "failed"), ("run", "failed")])
def test_a_workflow_with_a_failed_job_has_failed(worker: Worker, policy: str, state: str) -> None:
    workflow = create(worker)
    first, _ = submit(worker, workflow, {}, {**CHILD, "on_parent_failure": policy})
    worker.claim()
    worker.finish_as("fail", first)
    if policy == "run":
        worker.finish(*worker.drain())
    assert figures(worker, workflow)[0] == state


def test_a_skipped_job_does_not_keep_a_workflow_from_being_completed(worker: Worker) -> None:
    (outside,) = worker.insert()
    workflow = create(worker)
    submit(worker, workflow, {"depends_on": [outside], "on_parent_failure": "skip"})
    worker.run("select dtsched.cancel(%s)", outside)
    assert figures(worker, workflow) == ("completed", 1.0, {"total": 1, "skipped": 1})


def test_cancelling_a_workflow_cancels_what_waits_and_tells_what_runs(worker: Worker) -> None:
    workflow = create(worker)
    done, running, waiting, blocked = submit(worker, workflow, {}, {}, {}, {"depends_on": [{"entry": 2}]})
    (other,) = worker.insert()
    worker.claim(2)
    worker.finish(done)
    outcomes = dict(worker.rows("select * from dtsched.cancel_workflow(%s)", workflow))
    assert outcomes == {running: "requested", waiting: "cancelled", blocked: "cancelled"}
    assert figures(worker, workflow)[0] == "running"
    worker.finish(running)
    assert figures(worker, workflow)[0] == "cancelled"
    assert worker.state(other) == "ready"
    assert worker.value("select cancelled_at is not null from dtsched.workflow(%s)", workflow)
    assert worker.rows("select * from dtsched.cancel_workflow(%s)", workflow) == []


def test_retrying_a_workflow_runs_what_failed_and_was_cancelled(worker: Worker) -> None:
    workflow = create(worker)
    first, second, done = submit(worker, workflow, {}, CHILD, {})
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", first)
    worker.run("select dtsched.cancel_workflow(%s)", workflow)
    outcomes = dict(worker.rows("select * from dtsched.retry_workflow(%s)", workflow))
    assert outcomes == {first: "retried", second: "retried"}
    assert figures(worker, workflow) == ("running", 1 / 3, {"total": 3, "ready": 1, "blocked": 1, "completed": 1})


def test_workflows_are_listed_newest_first(session: Session) -> None:
    ids = [create(session, f"w{n}") for n in range(3)]
    assert session.column("select id from dtsched.list_workflows()") == ids[::-1]
    assert session.rows("select id, name from dtsched.list_workflows(%s, 1)", ids[2]) == [(ids[1], "w1")]
    assert session.rows("select * from dtsched.workflow(999)") == []


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", None])
def test_a_name_that_is_none_is_refused(session: Session, name: str | None) -> None:
    with pytest.raises(psycopg.Error, match="name must be 1 to 128 characters without control characters, not"):
        session.run("select dtsched.create_workflow(%s)", name)


@pytest.mark.parametrize("function", ["cancel_workflow", "retry_workflow"])
def test_a_workflow_that_does_not_exist_is_not_found(session: Session, function: LiteralString) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        session.run(f"select dtsched.{function}(999)")
    assert refusal.value.sqlstate == "JQ004"
