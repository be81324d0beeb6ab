"""Jobs that differ by their args alone: submit_alike() writes and refuses what submit_many() does."""

from __future__ import annotations

import json
import re
from typing import Any, LiteralString

import psycopg
import pytest

from tests.sql.sessions import Session, Worker

ARGS: list[dict[str, Any] | None] = [{}, None, {"a": 1}, {"text": 'ü"\\', "deep": [[{"a": None}]], "tiny": 1e-300}]
FULL = {
    "task": "mail",
    "queue": "slow",
    "priority": 9,
    "max_attempts": 7,
    "timeout": 1.5,
    "tags": ["a", "b"],
    "backoff": {"kind": "fixed", "base": 3},
    "expires_in": 60,
    "correlation_id": "c-1",
}
TEMPLATES: dict[str, dict[str, Any]] = {
    "a task alone": {"task": "echo"},
    "null is missing": {"task": "echo", "queue": None, "priority": None, "tags": None, "backoff": None, "delay": None},
    "what the task declares": {"task": "mail"},
    "what the queue's settings say": {"task": "echo", "queue": "slow"},
    "everything": FULL,
    "later": {"task": "echo", "delay": 60},
    "no delay": {"task": "echo", "delay": 0},
    "at a time that has passed": {"task": "echo", "run_at": "2001-01-31T09:00:00Z"},
    "at a time to come, with a deadline": {
        "task": "echo",
        "run_at": "2100-01-31T09:00:00+05:00",
        "deadline": "2101-01-31T09:00:00Z",
    },
    "limited": {"task": "echo", "limit_key": "l"},
    "of a workflow": {"task": "echo", "workflow": 1},
}
ROWS: dict[str, LiteralString] = {
    "jobs": "select to_jsonb(job) - 'id' from dtsched.jobs job where id = any (%s) order by id",
    "ready": "select queue, priority, limit_key from dtsched.ready where job_id = any (%s) order by job_id",
    "parked": "select to_jsonb(parked) - 'job_id' from dtsched.parked where job_id = any (%s) order by job_id",
    "scheduled": "select run_at, queue from dtsched.scheduled where job_id = any (%s) order by job_id",
    "deadlines": "select deadline from dtsched.deadlines where job_id = any (%s) order by job_id",
}
ALIKE = "select dtsched.submit_alike(%s::jsonb, %s::jsonb)"
MANY = "select array_agg(id) from dtsched.submit_many(%s::jsonb)"


def each(job: dict[str, Any], args: list[Any]) -> str:
    return json.dumps([{**job, "args": one} for one in args])


def declare(session: Session) -> None:
    settings = {"queue": "post", "priority": 8, "max_attempts": 2, "backoff": {"kind": "linear", "base": 4}}
    session.run("insert into dtsched.tasks (name, settings) values ('mail', %s), ('echo', '{}')", json.dumps(settings))
    session.set_queue("slow", max_attempts=9)


@pytest.mark.parametrize("job", TEMPLATES.values(), ids=TEMPLATES)
def test_it_writes_what_submit_many_writes(session: Session, job: dict[str, Any]) -> None:
    session.take_over_the_clock()
    session.stop_the_clock()
    declare(session)
    session.run("select dtsched.create_workflow('w')")

    alike = session.value(ALIKE, json.dumps(job), json.dumps(ARGS))
    written = {where: session.rows(rows, alike) for where, rows in ROWS.items()}
    many = session.value(MANY, each(job, ARGS))

    assert written == {where: session.rows(rows, many) for where, rows in ROWS.items()}
    assert alike == sorted({*alike})
    assert [row[0]["args"] for row in written["jobs"]] == [args or {} for args in ARGS]


def test_it_sets_all_that_submit_many_sets_but_what_each_job_has_for_itself(session: Session) -> None:
    def columns(function: str) -> set[str]:
        source = session.value("select prosrc from pg_proc where proname = %s", function)
        found = re.search(r"insert into dtsched\.jobs \(([^)]+)\)", source)
        assert found is not None
        return {column.strip() for column in found[1].split(",")}

    own = {"key", "key_until", "depends_on", "on_parent_failure", "parent_policies", "state"}
    assert columns("submit_alike") - {"created_at"} == columns("submit_many") - own


def test_a_limited_lane_has_its_entry(session: Session, worker: Worker) -> None:
    jobs = session.value(ALIKE, '{"task": "echo", "limit_key": "l"}', "[{}, {}, {}]")

    assert worker.drain() == jobs[:1]  # one at a time, unless the limit says otherwise


def test_no_args_are_no_job(session: Session) -> None:
    assert session.value(ALIKE, '{"task": "echo"}', "[]") == []
    assert session.states() == {}


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"task": "e cho"},
        {"task": "echo", "priority": 11},
        {"task": "echo", "queue": ""},
        {"task": "echo", "tags": [""]},
        {"task": "echo", "delay": 1, "run_at": "2100-01-31T09:00:00Z"},
        {"task": "echo", "workflow": 5},
        {"task": "echo", "tusk": 1},
        {"task": "unknown"},
    ],
)
def test_what_is_wrong_with_all_is_said_once(session: Session, job: dict[str, Any]) -> None:
    declare(session)
    with pytest.raises(psycopg.Error) as one:
        session.run(MANY, json.dumps([job]))

    with pytest.raises(psycopg.Error) as alike:
        session.run(ALIKE, json.dumps(job), json.dumps(ARGS))

    assert _said(alike.value) == _said(one.value)
    assert session.states() == {}


@pytest.mark.parametrize("wrong", [5, [], "x", {"a": "x" * 1_048_568}, {"many": [5e-324] * 4000}])
def test_args_that_are_wrong_are_named_by_number(session: Session, wrong: object) -> None:
    args = [{}, wrong, {"a": 1}]
    with pytest.raises(psycopg.Error) as alike:
        session.run(ALIKE, '{"task": "echo"}', json.dumps(args))

    assert alike.value.sqlstate == "JQ001"
    assert str(alike.value).startswith("job 2: args must be ")
    assert session.states() == {}


@pytest.mark.parametrize("field", ["args", "key", "key_for", "on_conflict", "depends_on", "on_parent_failure"])
def test_what_each_job_has_for_itself_is_refused(session: Session, field: str) -> None:
    with pytest.raises(psycopg.Error, match=f"^{field} differs from job to job: .* use submit_many") as refused:
        session.run(ALIKE, json.dumps({"task": "echo", field: None}), "[{}]")

    assert (refused.value.sqlstate, refused.value.diag.column_name) == ("JQ001", field)


@pytest.mark.parametrize(("job", "args"), [("[]", "[]"), ("null", "[]"), ("{}", "{}"), (None, "[]"), ("{}", None)])
def test_what_is_no_job_and_no_array_is_refused(session: Session, job: str | None, args: str | None) -> None:
    with pytest.raises(psycopg.Error, match="takes a job and an array of args, not ") as refused:
        session.run(ALIKE, job, args)

    assert refused.value.sqlstate == "JQ001"


def test_a_task_that_nobody_has_declared_passes_unless_it_is_asked_for(session: Session) -> None:
    declare(session)

    jobs = session.value("select dtsched.submit_alike('{\"task\": \"unknown\"}', '[{}, {}]', false)")

    assert len(jobs) == 2


def test_a_queue_that_is_not_the_submitters_is_refused(session: Session) -> None:
    statement = """select dtsched.submit_alike('{"task": "echo", "queue": "slow"}', '[{}]', false, %s)"""
    with pytest.raises(psycopg.Error) as refused:
        session.run(statement, ["fast"])

    assert refused.value.sqlstate == "JQ007"
    assert len(session.value(statement, ["fast", "slow"])) == 1


def test_it_is_durable_whatever_the_session_says(session: Session) -> None:
    session.run("set synchronous_commit = off")
    session.run("begin")
    session.run(ALIKE, '{"task": "echo"}', "[{}]")
    assert session.value("show synchronous_commit") == "on"
    session.run("commit")


def _said(error: psycopg.Error) -> tuple[str | None, str | None, str | None]:
    return error.sqlstate, error.diag.message_primary, error.diag.column_name
