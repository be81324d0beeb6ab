"""What people do to jobs: retry, run_now, reschedule, delete; and to queues: pause, resume."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

PLACES = """select (select count(*) from dtsched.results where job_id = %(job)s)
    + (select count(*) from dtsched.attempts where job_id = %(job)s)
    + (select count(*) from dtsched.unsuccessful where job_id = %(job)s)"""


def submit(session: Session, **options: Any) -> int:
    named = "".join(f", {name} => %({name})s" for name in options)
    statement: Any = f"select dtsched.submit('echo'{named})"
    row = session.connection.execute(statement, options).fetchone()
    assert row is not None
    return row[0]


def fail(worker: Worker, *jobs: int) -> None:
    assert set(worker.claim()) >= set(jobs)
    worker.finish_as("fail", *jobs)


def test_a_retried_job_has_all_its_attempts_before_it_and_keeps_its_history(worker: Worker):
    job = submit(worker, max_attempts=2)
    for _ in range(2):
        worker.claim()
        worker.finish_as("retry", job, delay=0)
    assert worker.state(job) == "failed"
    assert worker.value("select dtsched.retry(%s)", job) == "retried"
    assert worker.rows("select state, attempt, crash_count, finished_at from dtsched.jobs") == [("ready", 0, 0, None)]
    assert worker.claim() == [job]
    worker.finish(job)
    assert worker.state(job) == "completed"
    assert worker.column("select outcome from dtsched.attempts order by lease_id") == ["retry", "fail"]


def test_only_what_failed_or_was_cancelled_is_retried(worker: Worker):
    waiting, running, done = submit(worker, delay="1 hour"), *worker.insert(2)
    worker.claim()
    worker.finish(done)
    cancelled = submit(worker)
    worker.run("select dtsched.cancel(%s)", cancelled)
    ids = [waiting, running, done, cancelled, 999]
    assert dict(worker.rows("select * from dtsched.retry(%s)", ids)) == {
        waiting: "unfinished", running: "unfinished", done: "finished", cancelled: "retried", 999: "missing",
    }  # fmt: skip


def test_a_cancelled_job_whose_time_lies_ahead_is_scheduled_again(session: Session):
    session.take_over_the_clock()
    job = submit(session, delay="1 hour")
    session.run("select dtsched.cancel(%s)", job)
    assert session.value("select dtsched.retry(%s)", job) == "retried"
    assert session.state(job) == "scheduled"
    session.travel("59 min")
    session.run("select dtsched.promote()")
    assert session.state(job) == "scheduled"
    session.travel("1 min")
    session.run("select dtsched.promote()")
    assert session.state(job) == "ready"


def test_a_job_that_failed_before_its_time_is_scheduled_again(session: Session):
    session.take_over_the_clock()
    job = submit(session, delay="1 hour", expires_in="10 min")
    session.travel("10 min")
    session.run("select dtsched.expire(null)")
    assert session.state(job) == "failed"
    assert session.value("""select dtsched.edit(%s, '{"deadline": null}')""", job) == "edited"
    assert session.value("select dtsched.retry(%s)", job) == "retried"
    assert session.state(job) == "scheduled"


def test_a_retried_job_takes_its_key_again(worker: Worker):
    job = submit(worker, key="k")
    fail(worker, job)
    worker.run("select dtsched.retry(%s)", job)
    assert submit(worker, key="k") == job


def test_a_job_whose_key_is_held_by_now_is_not_retried(worker: Worker):
    job = submit(worker, key="k")
    fail(worker, job)
    holder = submit(worker, key="k")
    assert worker.value("select dtsched.retry(%s)", job) == "key_held"
    assert worker.rows("select key, job_id from dtsched.keys") == [("k", holder)]


def test_of_two_failed_jobs_with_one_key_one_is_retried(worker: Worker):
    first = submit(worker, key="k")
    fail(worker, first)
    second = submit(worker, key="k")
    fail(worker, second)
    outcomes = dict(worker.rows("select * from dtsched.retry(%s)", [first, second]))
    assert outcomes == {first: "retried", second: "key_held"}


def test_a_key_taken_for_a_job_that_somebody_holds_is_given_back(worker: Worker, open_session: OpenSession):
    job = submit(worker, key="k")
    fail(worker, job)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", job)
    assert worker.value("select dtsched.retry(%s)", job) == "busy"
    holder.run("commit")
    assert worker.rows("select * from dtsched.keys") == []
    assert worker.value("select dtsched.retry(%s)", job) == "retried"


def test_a_child_is_retried_with_the_parent_that_failed_and_waits_for_it_again(worker: Worker):
    parent = submit(worker)
    child = submit(worker, depends_on=[parent])
    grandchild = submit(worker, depends_on=[child])
    fail(worker, parent)
    assert worker.states() == {"failed": 1, "cancelled": 2}
    assert worker.value("select dtsched.retry(%s)", child) == "parents"
    outcomes = dict(worker.rows("select * from dtsched.retry(%s)", [grandchild, child, parent]))
    assert set(outcomes.values()) == {"retried"}
    assert [worker.state(job) for job in (parent, child, grandchild)] == ["ready", "blocked", "blocked"]
    for job in (parent, child, grandchild):
        assert worker.claim() == [job]
        worker.finish(job)
    assert worker.states() == {"completed": 3}


def test_a_child_is_not_retried_without_all_of_its_failed_parents(worker: Worker):
    one, two = submit(worker), submit(worker)
    child = submit(worker, depends_on=[one, two])
    grandchild = submit(worker, depends_on=[child])
    fail(worker, one, two)
    outcomes = dict(worker.rows("select * from dtsched.retry(%s)", [one, child, grandchild]))
    assert outcomes == {one: "retried", child: "parents", grandchild: "parents"}


def test_a_parent_that_completed_or_was_deleted_does_not_keep_a_child_from_being_retried(worker: Worker):
    done, gone = submit(worker), submit(worker)
    worker.claim()
    worker.finish(done, gone)
    child = submit(worker, depends_on=[done, gone])
    fail(worker, child)
    worker.run("select dtsched.delete(%s)", gone)
    assert worker.value("select dtsched.retry(%s)", child) == "retried"
    assert worker.claim() == [child]


def test_a_parent_that_somebody_holds_makes_the_child_busy(worker: Worker, open_session: OpenSession):
    parent = submit(worker)
    worker.claim()
    worker.finish(parent)
    child = submit(worker, depends_on=[parent])
    fail(worker, child)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", parent)
    assert worker.value("select dtsched.retry(%s)", child) == "busy"


def test_retrying_waits_for_a_submitter_of_the_key_and_does_not_deadlock(worker: Worker, open_session: OpenSession):
    """The submitter's new job depends on the failed one, whose row its commit will want to lock; it is cancelled by
    that, and lets the key go."""
    parent = submit(worker, key="k")
    worker.claim()
    worker.finish_as("fail", parent)
    submitter = open_session()
    submitter.run("begin")
    submit(submitter, key="k", depends_on=[parent])
    outcomes: list[str] = []
    retrying = Started(lambda: outcomes.append(worker.value("select dtsched.retry(%s)", parent)))
    wait_until_blocked(open_session(), worker)
    submitter.run("commit")
    retrying.join()
    assert outcomes == ["retried"]


def test_of_two_retries_at_once_one_retries_and_the_key_stays_with_the_job(worker: Worker, open_session: OpenSession):
    first, second = open_session(), open_session()
    job = submit(worker, key="k")
    fail(worker, job)
    first.run("begin")
    first.run("select dtsched.retry(%s)", job)
    outcomes: list[str] = []
    retrying = Started(lambda: outcomes.append(second.value("select dtsched.retry(%s)", job)))
    wait_until_blocked(open_session(), second)
    first.run("commit")
    retrying.join()
    assert outcomes == ["unfinished"]
    assert worker.rows("select key, job_id from dtsched.keys") == [("k", job)]


def test_a_job_that_fails_while_a_retry_waits_for_another_key_is_not_retried_without_its_own(
    worker: Worker, open_session: OpenSession
):
    submitter, retrier = open_session(), open_session()
    running, failed = submit(worker, key="a"), submit(worker, key="b")
    worker.claim()
    worker.finish_as("fail", failed)
    submitter.run("begin")
    submit(submitter, key="b")
    outcomes: dict[int, str] = {}
    retrying = Started(lambda: outcomes.update(retrier.rows("select * from dtsched.retry(%s)", [running, failed])))
    wait_until_blocked(open_session(), retrier)
    worker.finish_as("fail", running)
    submitter.run("rollback")
    retrying.join()
    assert outcomes == {running: "busy", failed: "retried"}


def test_a_child_that_was_cancelled_is_retried_while_its_parents_are_open(worker: Worker):
    one, two = submit(worker), submit(worker)
    child = submit(worker, depends_on=[one, two])
    worker.run("select dtsched.cancel(%s)", child)
    assert worker.value("select dtsched.retry(%s)", child) == "retried"
    for parent in (one, two):
        assert worker.state(child) == "blocked"
        worker.claim(1)
        worker.finish(parent)
    assert worker.state(child) == "ready"


@pytest.mark.parametrize(
    "actions",
    [("retry", "cancel", "retry"), ("retry", "reschedule", "run_now"), ("retry", "reschedule", "cancel", "retry")],
)
def test_one_transaction_may_do_several_things_to_a_job(worker: Worker, actions: tuple[str, ...]):
    statements: dict[str, LiteralString] = {
        "retry": "select dtsched.retry(%s)",
        "cancel": "select dtsched.cancel(%s)",
        "reschedule": "select dtsched.reschedule(%s, dtsched.now() + interval '1 hour')",
        "run_now": "select dtsched.run_now(%s)",
    }
    job = submit(worker)
    fail(worker, job)
    worker.run("begin")
    for action in actions:
        worker.run(statements[action], job)
    worker.run("select dtsched.run_now(%s)", job)
    worker.run("commit")
    assert worker.drain() == [job]
    worker.finish(job)


def test_a_retried_job_has_waited_only_since_then(worker: Worker):
    worker.take_over_the_clock()
    job = submit(worker)
    fail(worker, job)
    worker.travel("30 min")
    worker.run("select dtsched.retry(%s)", job)
    assert worker.value("select oldest_ready_seconds from dtsched.list_queues()") < 5


def test_run_now_makes_scheduled_jobs_ready_and_leaves_others_alone(worker: Worker):
    running, done = worker.insert(2)
    worker.claim()
    worker.finish(done)
    later, ready, blocked = submit(worker, delay="1 hour"), submit(worker), submit(worker, depends_on=[running])
    ids = [running, done, later, ready, blocked, 999]
    assert dict(worker.rows("select * from dtsched.run_now(%s)", ids)) == {
        running: "running", done: "finished", later: "ready", ready: "ready", blocked: "blocked", 999: "missing",
    }  # fmt: skip
    assert sorted(worker.drain()) == [later, ready]


def test_a_blocked_job_told_to_run_now_does_not_wait_for_its_time_any_more(worker: Worker):
    (parent,) = worker.insert()
    child = submit(worker, depends_on=[parent], delay="1 hour")
    worker.run("select dtsched.run_now(%s)", child)
    worker.claim()
    worker.finish(parent)
    assert worker.state(child) == "ready"


def test_run_now_twice_runs_the_job_once(worker: Worker):
    job = submit(worker, delay="1 hour")
    worker.run("select dtsched.run_now(%s)", job)
    worker.run("select dtsched.run_now(%s)", job)
    assert worker.drain() == [job]


def test_a_job_can_be_moved_back_and_forth_and_runs_when_it_was_told_last(open_worker: OpenWorker):
    worker = open_worker(lease="1 day")
    worker.take_over_the_clock()
    job = submit(worker, delay="1 hour")
    (first,) = worker.column("select run_at from dtsched.jobs")
    worker.run("select dtsched.reschedule(%s, %s + interval '1 hour')", job, first)
    worker.run("select dtsched.run_now(%s)", job)
    assert worker.value("select dtsched.reschedule(%s, %s)", job, first) == "scheduled"
    assert worker.claim() == []
    worker.travel("61 min")
    assert worker.value("select promoted from dtsched.promote()") == 1
    assert worker.claim() == [job]
    worker.finish(job)
    worker.travel("2 hours")
    worker.run("select dtsched.promote()")
    assert worker.drain() == []


def test_rescheduling_into_the_past_makes_ready(worker: Worker):
    job = submit(worker, delay="1 hour")
    assert worker.value("select dtsched.reschedule(%s, dtsched.now() - interval '1 s')", job) == "ready"
    assert worker.claim() == [job]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "1969-12-31 23:59:59Z", "10000-01-01 00:00Z", None])
def test_a_time_that_no_job_may_have_is_refused(session: Session, moment: str | None):
    job = submit(session, delay="1 hour")
    with pytest.raises(psycopg.Error) as refused:
        session.run("select dtsched.reschedule(%s, %s::timestamptz)", job, moment)
    assert refused.value.sqlstate == "JQ001"


@pytest.mark.parametrize("action", ["run_now", "delete"])
def test_rows_that_somebody_holds_are_busy_and_nobody_waits_for_them(
    session: Session, open_session: OpenSession, action: str
):
    job, other = submit(session, delay="1 hour"), submit(session, delay="1 hour")
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", job)
    session.run("set statement_timeout = '2s'")
    statement: LiteralString = (
        "select * from dtsched.delete(%s)" if action == "delete" else "select * from dtsched.run_now(%s)"
    )
    outcomes = dict(session.rows(statement, [job, other]))
    assert outcomes == {job: "busy", other: "deleted" if action == "delete" else "ready"}


def test_a_deleted_job_leaves_nothing_behind(worker: Worker):
    job = submit(worker, key="k")
    worker.claim()
    worker.finish_as("retry", job, delay=0)
    worker.claim()
    worker.run("select dtsched.finish(%s, %s, jsonb_build_array(repeat('x', 1000)))", worker.id, [worker.leases[job]])
    assert worker.connection.execute(PLACES, {"job": job}).fetchone() == (2,)
    assert worker.value("select dtsched.delete(%s)", job) == "deleted"
    assert worker.connection.execute(PLACES, {"job": job}).fetchone() == (0,)
    assert worker.states() == {}
    assert worker.value("select dtsched.delete(%s)", job) == "missing"


def test_a_waiting_job_is_cancelled_with_its_descendants_and_deleted_alone(worker: Worker):
    job = submit(worker)
    child = submit(worker, depends_on=[job])
    assert worker.value("select dtsched.delete(%s)", job) == "deleted"
    assert worker.rows("select id, state from dtsched.jobs") == [(child, "cancelled")]
    assert worker.drain() == []


def test_a_running_job_is_not_deleted(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    assert worker.value("select dtsched.delete(%s)", job) == "running"
    assert worker.finish(job) == [worker.leases[job]]


def test_deleting_beside_a_claim_loses_neither(worker: Worker, open_worker: OpenWorker):
    """Whoever has the row first: the job is deleted and not claimed, or claimed and not deleted."""
    jobs = worker.insert(200)
    other = open_worker()
    claimed: list[int] = []
    deleted: list[int] = []

    def delete_all() -> None:
        for job in reversed(jobs):
            if worker.value("select outcome from dtsched.delete(%s)", [job]) == "deleted":
                deleted.append(job)

    in_parallel(delete_all, lambda: claimed.extend(other.drain(limit=3)))
    assert claimed
    assert deleted
    assert sorted(deleted + claimed) == jobs


def test_a_paused_queue_gives_nothing_until_it_is_resumed(worker: Worker):
    (job,) = worker.insert()
    assert worker.value("select dtsched.pause('default')") is True
    assert worker.value("select dtsched.pause('default')") is False
    assert worker.claim() == []
    assert worker.value("select dtsched.resume('default')") is True
    assert worker.value("select dtsched.resume('default')") is False
    assert worker.claim() == [job]


def test_a_queue_may_be_paused_before_anybody_has_used_it(worker: Worker):
    worker.run("select dtsched.pause('mail')")
    worker.insert(queue="mail")
    assert worker.claim(queue="mail") == []


def test_resuming_wakes_workers(session: Session, open_session: OpenSession):
    listener = open_session()
    listener.run("listen dtsched_wake")
    session.run("select dtsched.pause('mail')")
    session.run("select dtsched.resume('mail')")
    assert [notify.payload for notify in listener.connection.notifies(timeout=5, stop_after=1)] == ["mail"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, None])
def test_what_is_no_name_cannot_be_paused(session: Session, name: str | None):
    with pytest.raises(psycopg.Error) as refused:
        session.run("select dtsched.pause(%s)", name)
    assert refused.value.sqlstate == "JQ001"
