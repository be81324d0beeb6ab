"""Completing in the caller's own transaction: what it has written and the completion commit together or not at all."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker


@pytest.fixture
def handler(session: Session, worker: Worker) -> Session:
    """In a transaction in which it has written its effect; the worker has claimed job 1."""
    session.run("create table public.effects (job bigint)")
    worker.insert()
    worker.claim()
    session.run("begin")
    session.run("insert into public.effects values (1)")
    return session


def complete(handler: Session, worker: Worker, result: object = None) -> None:
    (lease,) = worker.leases.values()
    handler.run("select dtsched.complete(%s, %s, %s)", worker.id, lease, Jsonb(result))


def effects(session: Session) -> int:
    return session.value("select count(*) from public.effects")


def test_effects_and_completion_commit_together(handler: Session, worker: Worker):
    (child,) = worker.column("select dtsched.submit('child', depends_on => '{1}')")
    complete(handler, worker, {"sum": 3})
    assert [worker.state(1), effects(worker)] == ["running", 0]
    handler.run("commit")
    assert [worker.state(1), effects(worker), worker.state(child)] == ["completed", 1, "ready"]
    assert worker.value("select result from dtsched.job(1)") == {"sum": 3}
    assert worker.finish(1) == []


def test_what_is_rolled_back_is_not_completed(handler: Session, worker: Worker):
    complete(handler, worker)
    handler.run("rollback")
    assert [worker.state(1), effects(worker)] == ["running", 0]
    assert worker.finish_as("retry", 1, delay=0)
    assert worker.state(1) == "ready"


def test_an_attempt_that_was_taken_away_cannot_be_completed(handler: Session, worker: Worker):
    worker.release(started=[1])
    with pytest.raises(psycopg.Error, match="lease 1 is gone: its attempt has ended or was taken away") as refusal:
        complete(handler, worker)
    assert refusal.value.sqlstate == "JQ005"
    handler.run("rollback")
    assert effects(worker) == 0


def test_a_job_that_was_cancelled_while_it_ran_cannot_be_completed(handler: Session, worker: Worker):
    worker.run("select dtsched.cancel(1)")
    with pytest.raises(psycopg.Error, match="was cancelled while it ran, and cannot be completed") as refusal:
        complete(handler, worker)
    assert refusal.value.sqlstate == "JQ003"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_transaction_that_would_not_see_new_children_is_refused(session: Session, worker: Worker, level: str):
    worker.insert()
    worker.claim()
    session.run("select set_config('default_transaction_isolation', %s, false)", level)
    session.run("begin")
    with pytest.raises(psycopg.Error, match=f"READ COMMITTED, not {level.upper()}") as refusal:
        complete(session, worker)
    assert refusal.value.sqlstate == "JQ001"


def test_whoever_would_end_it_meanwhile_waits_or_leaves_it_alone(
    handler: Session, worker: Worker, open_session: OpenSession
):
    complete(handler, worker)
    assert worker.value("select dtsched.cancel(1)") == "busy"
    assert worker.release(started=[1]) == []
    assert worker.column("select dtsched.reconcile(%s, '{}', 100)", worker.id) == []
    accepted: list[object] = []
    finishing = Started(lambda: accepted.extend(worker.finish_as("retry", 1)))
    wait_until_blocked(open_session(), worker)
    handler.run("commit")
    finishing.join()
    assert accepted == []
    assert worker.state(1) == "completed"


def test_it_completes_as_finish_does_with_a_large_result_and_a_key(session: Session, worker: Worker):
    job = session.value("select dtsched.submit('echo', key => 'k')")
    worker.claim()
    session.run("begin")
    session.run("select dtsched.complete(%s, %s, %s)", worker.id, worker.leases[job], Jsonb("7" * 5000))
    session.run("commit")
    assert len(worker.value("select result from dtsched.job(%s)", job)) == 5000
    assert worker.value("select count(*) from dtsched.keys") == 0
