"""What the code of a task declares is visible, and its jobs take it over where they say nothing themselves."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Row, Session, Worker


def declare(
    connection: Session | psycopg.Connection[Any], *, queues: tuple[str, ...] = ("default",), **tasks: object
) -> None:
    """Registers a worker whose code declares these."""
    declared = {name: {"settings": settings, "args": {"type": "object"}} for name, settings in tasks.items()}
    driver = connection.connection if isinstance(connection, Session) else connection
    driver.execute(
        "select dtsched.register_worker(%s, 'test', %s, %s, 1, '60 s', '{}', %s)",
        [uuid4(), list(queues), list(tasks), Jsonb(declared)],
    )


def submitted(session: Session, **fields: object) -> Row:
    job = session.value("select id from dtsched.submit_many(%s)", Jsonb([fields]))
    return session.rows("select queue, priority, max_attempts, backoff, timeout from dtsched.jobs where id = %s", job)[
        0
    ]


def test_a_job_takes_what_it_does_not_say_from_its_task_then_its_queue_then_the_defaults(session: Session):
    backoff = {"kind": "fixed", "base": 1}
    declare(
        session, bare={}, full={"queue": "mail", "priority": 8, "max_attempts": 7, "timeout": 9, "backoff": backoff}
    )
    assert submitted(session, task="bare") == ("default", 5, 5, None, None)
    assert submitted(session, task="full") == ("mail", 8, 7, backoff, None)
    session.run("""insert into dtsched.queues (name, settings)
        values ('default', '{"max_attempts": 3}'), ('mail', '{"max_attempts": 3}')
        on conflict (name) do update set settings = excluded.settings""")
    assert submitted(session, task="bare") == ("default", 5, 3, None, None)
    assert submitted(session, task="bare", queue="mail", max_attempts=None) == ("mail", 5, 3, None, None)
    assert submitted(session, task="full") == ("mail", 8, 7, backoff, None)
    own = {"queue": "default", "priority": 1, "max_attempts": 2, "backoff": {"kind": "linear"}}
    assert submitted(session, task="full", **own) == ("default", 1, 2, {"kind": "linear"}, None)


def test_a_plain_insert_keeps_the_defaults_of_the_columns(session: Session):
    declare(session, full={"queue": "mail", "max_attempts": 7})
    session.insert(task="full")
    assert session.rows("select queue, max_attempts from dtsched.jobs") == [("default", 5)]


def test_the_tasks_are_listed_with_what_they_declare_and_the_workers_that_run_them_now(session: Session):
    declare(session, echo={"timeout": 30, "executor": "thread", "queue": None}, resize={})
    declare(session, echo={"timeout": 30, "executor": "thread"})
    assert session.rows("select name, settings, args_schema, workers from dtsched.list_tasks()") == [
        ("echo", {"timeout": 30, "executor": "thread"}, {"type": "object"}, 2),
        ("resize", {}, {"type": "object"}, 1),
    ]
    session.run("update dtsched.workers set expires_at = dtsched.now()")
    assert session.column("select workers from dtsched.list_tasks('echo')") == [0]


def test_what_was_declared_last_counts_and_an_equal_declaration_writes_nothing(session: Session):
    declare(session, echo={"max_attempts": 2})
    before = session.rows("select xmin::text, settings from dtsched.tasks")
    declare(session, echo={"max_attempts": 2})
    assert session.rows("select xmin::text, settings from dtsched.tasks") == before
    declare(session, echo={"max_attempts": 4})
    assert session.column("select settings from dtsched.tasks") == [{"max_attempts": 4}]
    assert session.value("select changed_at > declared_at from dtsched.tasks")


def test_a_worker_that_declares_nothing_leaves_what_was_declared(session: Session, open_worker: OpenWorker):
    declare(session, echo={"max_attempts": 2})
    open_worker(tasks=["echo", "resize"])
    assert session.rows("select name, settings from dtsched.tasks order by name") == [
        ("echo", {"max_attempts": 2}),
        ("resize", {}),
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"timeout": 0}, "task echo: timeout must be over 0"),
        ({"timeout": "soon"}, "task echo: timeout must be over 0"),
        ({"priority": 11}, "task echo: priority must be 1 to 10, not 11"),
        ({"max_attempts": 0}, "task echo: max_attempts must be 1 to 1000, not 0"),
        ({"max_crashes": 0}, "task echo: max_crashes must be 1 to 1000, not 0"),
        ({"max_crashes": "3"}, "task echo: max_crashes must be 1 to 1000"),
        ({"queue": "a b"}, "task echo: queue must be 1 to 128"),
        ({"backoff": {"kind": "wild"}}, "task echo: backoff must be"),
        ([], "task echo: the settings of a task must be an object, not array"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_the_worker_is_not_registered(
    session: Session, settings: object, says: str
):
    with pytest.raises(psycopg.Error, match=says) as refusal:
        declare(session, echo=settings)
    assert refusal.value.sqlstate == "JQ001"
    assert session.value("select count(*) from dtsched.workers") == 0


def crash(worker: Worker, job: int) -> str:
    assert worker.claim() == [job]
    worker.release(started=[job])
    return worker.state(job)


def test_a_job_fails_at_its_third_crash_though_it_has_attempts_left(worker: Worker):
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1000) returning id")
    assert [crash(worker, job) for _ in range(3)] == ["ready", "ready", "failed"]


@pytest.mark.parametrize("allowed", [1, 5])
def test_a_task_may_allow_more_crashes_or_fewer(worker: Worker, allowed: int):
    declare(worker, echo={"max_crashes": allowed})
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1000) returning id")
    assert [crash(worker, job) for _ in range(allowed)] == ["ready"] * (allowed - 1) + ["failed"]


def test_a_crash_is_an_attempt(worker: Worker):
    declare(worker, echo={"max_crashes": 1000})
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 2) returning id")
    assert [crash(worker, job) for _ in range(2)] == ["ready", "failed"]
    assert worker.rows("select attempt, outcome from dtsched.attempts order by 1") == [(1, "crash"), (2, "crash")]


def test_a_process_that_dies_under_its_handler_counts_as_a_crash_too(worker: Worker):
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1000) returning id")
    seen: list[Row] = []
    for _ in range(3):
        assert worker.claim() == [job]
        died = {"type": "ProcessDied", "message": "its process was killed by signal 11 (SIGSEGV)"}
        others = [{"lease": worker.leases[job], "outcome": "retry", "delay": 0, "error": died}]
        worker.rows("select dtsched.finish(%s, '{}', null, %s)", worker.id, Jsonb(others))
        seen += worker.rows("select state, crash_count from dtsched.jobs")
    assert seen == [("ready", 1), ("ready", 2), ("failed", 3)]
    assert worker.value("select error from dtsched.jobs").endswith("(SIGSEGV) (3 crashes, no more are allowed)")


def test_a_failure_a_snooze_and_a_return_unstarted_are_no_crashes(worker: Worker):
    (job,) = worker.insert()
    for outcome in ("retry", "snooze"):
        worker.claim()
        worker.finish_as(outcome, job, delay=0)
    worker.claim()
    worker.release(never_started=[job])
    assert worker.rows("select crash_count, attempt from dtsched.jobs") == [(0, 1)]
