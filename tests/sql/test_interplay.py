"""Where two features meet: what one of them drops, moves or locks, the other must not lose."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker
from tests.sql.test_steps import ask, emit, park, waiting


def set_limit(session: Session, key: str, concurrency: int | None = None, rate: float | None = None) -> None:
    session.run("select dtsched.set_limit(%s, %s, %s)", key, concurrency, rate)


def edit(session: Session, job: int, **changes: object) -> str:
    return session.value("select dtsched.edit(%s, %s)", job, Jsonb(changes))


def test_a_job_whose_limit_key_is_edited_while_a_claim_has_a_seat_for_it_gets_no_seat_of_the_new_key(
    session: Session, open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    set_limit(worker, "full", 0)
    job, next_in_line = worker.insert_limited("acme", 2)
    # the claim stops when it has taken the job out of parked, and has not locked its row yet
    session.run("""
        create function public.stop() returns trigger language plpgsql as $$
        begin
            perform pg_advisory_xact_lock(77) where current_setting('test.worker', true) <> '';
            return null;
        end $$
        """)
    session.run("create trigger stop after delete on dtsched.parked for each statement execute function public.stop()")
    editor, gate = open_session(), open_session()
    gate.run("select pg_advisory_lock(77)")
    editor.run("begin")
    claim = Started(worker.claim)
    wait_until_blocked(session, worker)
    assert edit(editor, job, limit_key="full") == "edited"
    editor.run("commit")
    gate.run("select pg_advisory_unlock(77)")
    claim.join()
    assert session.value("select count(*) from dtsched.leases where limit_key = 'full'") == 0
    assert session.state(job) == "ready"
    assert list(worker.leases) == []
    assert worker.claim() == [next_in_line]


def test_a_job_that_waits_for_events_without_end_can_be_sent_on_and_wait_again(worker: Worker):
    job = waiting(worker, "paid")
    assert worker.value("select dtsched.run_now(%s)", job) == "ready"
    assert worker.claim() == [job]
    assert ask(worker, job, "paid")[0] == "timeout"
    assert ask(worker, job, "shipped", step="second") == ("wait", None)
    assert park(worker, job, "second")
    assert emit(worker, "shipped") == (True, 1)
    assert worker.claim() == [job]


def test_a_job_that_was_cancelled_while_it_waited_for_an_event_waits_again_when_it_is_retried(worker: Worker):
    job = waiting(worker, "paid")
    assert worker.value("select dtsched.cancel(%s)", job) == "cancelled"
    assert worker.value("select dtsched.retry(%s)", job) == "retried"
    assert worker.claim() == [job]
    assert ask(worker, job, "paid") == ("wait", None)
    assert park(worker, job)


def late_and_met_by_a_claim(worker: Worker, **fields: object) -> int:
    worker.take_over_the_clock()
    fields = {"task": "echo", "expires_in": 60, **fields}
    job: int = worker.value("select id from dtsched.submit_many(%s, false)", Jsonb([fields]))
    worker.travel("61 s")
    assert worker.claim() == []
    return job


def test_a_late_job_that_a_claim_has_met_runs_when_it_is_given_more_time(worker: Worker):
    job = late_and_met_by_a_claim(worker)
    assert edit(worker, job, deadline=None) == "edited"
    assert worker.claim() == [job]


def test_a_late_job_that_a_claim_has_met_runs_when_it_is_replaced(worker: Worker):
    job = late_and_met_by_a_claim(worker, key="k")
    again = Jsonb([{"task": "echo", "key": "k", "on_conflict": "replace"}])
    assert worker.rows("select id, outcome from dtsched.submit_many(%s, false)", again) == [(job, "replaced")]
    assert worker.claim() == [job]


def test_a_job_that_comes_due_while_a_claim_reads_past_its_old_entry_is_not_lost(
    session: Session, open_session: OpenSession, worker: Worker
):
    promoter, gate = open_session(), open_session()
    (job,) = worker.insert_limited("acme")
    session.run("select dtsched.reschedule(%s, dtsched.now() + interval '1 hour')", job)
    session.take_over_the_clock()
    session.travel("61 min")
    worker.renew()
    # the claim stops when it has its snapshot of parked, and has not locked the entry yet
    session.run("alter table dtsched.parked rename to parked_rows")
    session.run("""
        create function public.go_on() returns boolean language plpgsql as $$
        begin
            perform pg_advisory_xact_lock(77) where current_setting('test.worker', true) <> '';
            return true;
        end $$
        """)
    session.run("create view dtsched.parked as select * from dtsched.parked_rows where public.go_on()")
    gate.run("select pg_advisory_lock(77)")
    promoter.run("begin")
    assert promoter.value("select promoted from dtsched.promote()") == 1
    claim = Started(worker.claim)
    wait_until_blocked(session, worker)
    promoter.run("commit")
    gate.run("select pg_advisory_unlock(77)")
    claim.join()
    assert worker.leases or worker.claim() == [job]


def test_a_claim_that_finds_all_jobs_of_a_key_in_somebody_elses_hands_wakes_nobody(
    open_session: OpenSession, worker: Worker
):
    editor, listener = open_session(), open_session()
    (job,) = worker.insert_limited("acme")
    listener.run("listen dtsched_wake")
    editor.run("begin")
    assert edit(editor, job, priority=6) == "edited"
    assert listener.value("select dtsched.hungry('{default}')")
    assert worker.claim() == []
    assert worker.claim() == []
    assert [notice.payload for notice in listener.connection.notifies(timeout=0.05)] == []
    editor.run("commit")
    assert worker.claim() == [job]


def test_a_bucket_fills_although_the_clock_was_set_back(worker: Worker):
    worker.take_over_the_clock()
    worker.stop_the_clock()
    worker.set_queue(rate=1, key_rate=1)
    worker.set_queue("mail", key_rate=1)
    jobs, limited = worker.insert(3), worker.insert_limited("acme", 3, queue="mail")
    assert (worker.claim(), worker.claim(queue="mail")) == (jobs[:1], limited[:1])
    worker.travel("-1 hour")
    worker.travel("2 s")
    worker.finish(*limited[:1])
    worker.run("select dtsched.promote()")
    assert (worker.claim(), worker.claim(queue="mail")) == (jobs[1:2], limited[1:2])
    worker.travel("2 s")
    worker.finish(*limited[1:2])
    worker.run("select dtsched.promote()")
    assert (worker.claim(), worker.claim(queue="mail")) == (jobs[2:], limited[2:])


def test_a_parent_can_be_finished_when_its_child_had_waited_for_the_same_time_before(session: Session, worker: Worker):
    (parent,) = worker.insert()
    child = session.value(
        "select dtsched.submit('echo', depends_on => %s, delay => '1 hour', on_parent_failure => 'run')", [parent]
    )
    worker.claim()
    worker.finish_as("fail", parent)
    assert session.state(child) == "scheduled"
    session.run("select dtsched.cancel(%s)", child)
    assert session.column("select outcome from dtsched.retry(%s)", [parent, child]) == ["retried", "retried"]
    assert worker.claim() == [parent]
    assert worker.finish(parent)
    assert session.state(child) == "scheduled"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize(
    "statement",
    [
        "select dtsched.finish(%(worker)s, array[%(lease)s]::bigint[])",
        """select dtsched.finish(%(worker)s, '{}', null,
               jsonb_build_array(jsonb_build_object('lease', %(lease)s::bigint, 'outcome', 'fail')))""",
        "select dtsched.release(%(worker)s, null, array[%(lease)s]::bigint[])",
        "select dtsched.cancel(%(waiting)s)",
        "select dtsched.delete(%(waiting)s)",
        "select dtsched.submit('echo', key => 'k', on_conflict => 'supersede')",
        "select dtsched.retry(%(failed)s)",
        "select dtsched.set_limit('acme', 2)",
        """select dtsched.set_queue('default', '{"key_limit": 2}')""",
    ],
)
def test_what_would_not_see_all_who_wait_is_refused(worker: Worker, statement: LiteralString, level: str):
    (failed,) = worker.insert_limited("acme")
    worker.claim()
    worker.finish_as("fail", failed)
    (running,) = worker.insert_limited("acme")
    worker.claim()
    waiting = worker.value("select dtsched.submit('echo', key => 'k', delay => '1 hour')")
    before = worker.states()
    worker.run("select set_config('default_transaction_isolation', %s, false)", level)
    values = {"worker": worker.id, "lease": worker.leases[running], "waiting": waiting, "failed": failed}
    with pytest.raises(psycopg.Error, match=f"READ COMMITTED, not {level.upper()}") as refusal:
        worker.connection.execute(statement, values)
    assert refusal.value.sqlstate == "JQ001"
    worker.run("reset default_transaction_isolation")
    assert worker.states() == before


def test_a_key_of_which_very_many_jobs_were_cancelled_is_read_past_in_several_short_claims(worker: Worker):
    worker.run("""
        insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
        select -n, 'limit', 'default', 5, 'echo', 'acme' from generate_series(1, 40000) n
        """)
    (job,) = worker.insert_limited("acme")
    assert worker.claim() == []
    assert worker.value("select count(*) between 2 and 39000 from dtsched.parked")
    assert worker.claim() == [job]
    assert worker.value("select count(*) from dtsched.parked") == 0


@pytest.mark.parametrize("overdue", ["a deadline", "an attempt"])
def test_what_is_long_overdue_is_told_of_every_few_seconds(overdue: str, worker: Worker):
    def told() -> list[str]:
        return worker.value("select chores from dtsched.promote()")

    worker.take_over_the_clock()
    if overdue == "a deadline":
        worker.run("select dtsched.submit('echo', queue => 'mail', expires_in => '30 s')")
    else:
        worker.run("select dtsched.submit('echo', timeout => '30 s')")
        worker.claim()
    assert told() == []
    worker.travel("36 s")
    assert told() == ["expire"]
    worker.travel("55 s")
    assert told() == []  # not for ever, in case that nothing can be done
    worker.travel("1 day")
    worker.run("set dtsched.sweep = '0'")
    assert told() == ["rescue", "expire"]  # nobody has renewed meanwhile


def test_a_worker_whose_lease_has_run_out_is_told_of_every_few_seconds(worker: Worker, open_session: OpenSession):
    def told(session: Session) -> list[str]:
        return session.value("select chores from dtsched.promote()")

    assert told(worker) == []
    worker.run("update dtsched.workers set expires_at = now() - interval '1 s'")
    worker.run("set dtsched.sweep = '86400'")
    assert told(worker) == []
    worker.run("set dtsched.sweep = '0'")
    assert told(worker) == ["rescue"]
    assert told(open_session()) == ["rescue"]
    worker.run("update dtsched.workers set lost_at = now()")
    assert told(worker) == ["rescue"]  # a claim of it may commit late, a lease of it be locked
    worker.run("update dtsched.workers set lost_at = now() - lease - interval '1 s'")
    assert told(worker) == []


@pytest.mark.parametrize("limit_key", [None, "other"])
def test_a_claim_does_not_wait_for_an_old_entry_that_another_claim_has_in_hand(
    open_session: OpenSession, open_worker: OpenWorker, limit_key: str | None
):
    other, worker = open_session(), open_worker(tasks=["echo"])
    (job,) = worker.insert_limited("acme")
    replacing = {"task": "unknown" if limit_key is None else "echo", "key": "k", "on_conflict": "replace"}
    worker.run("update dtsched.jobs set key = 'k' where id = %s", job)
    worker.run("insert into dtsched.keys (key, job_id) values ('k', %s)", job)
    worker.run("select dtsched.submit_many(%s, false)", Jsonb([replacing | {"limit_key": limit_key}]))
    other.run("begin")
    other.run("select from dtsched.parked where job_id = %s for update", job)  # as a claim that drops it for stale
    worker.run("set lock_timeout = '1 s'")
    assert worker.claim() == []
    other.run("delete from dtsched.parked where job_id = %s", job)
    assert worker.claim() == []
    other.run("commit")
    assert open_worker().claim() == [job]


def test_what_is_handed_back_does_not_wait_for_somebody_who_changes_a_queue_with_a_breaker(
    open_session: OpenSession, worker: Worker
):
    breaker = {"failures": 1, "within": 60, "cooldown": 60}
    worker.set_queue(breaker=breaker)
    worker.set_queue("mail", key_limit=3)
    worker.insert()
    worker.insert(queue="mail")
    jobs = worker.claim() + worker.claim(queue="mail")
    operator = open_session()
    operator.run("begin")
    operator.run("select dtsched.pause('default'), dtsched.pause('mail')")
    worker.run("set statement_timeout = '2 s'")
    assert sorted(worker.release(started=jobs)) == sorted(jobs)
    operator.run("rollback")
    assert worker.claim() == jobs[:1]


def test_a_failure_does_not_wait_for_somebody_who_changes_a_queue_without_a_breaker(
    open_session: OpenSession, worker: Worker
):
    worker.set_queue("mail", breaker={"failures": 1, "within": 60, "cooldown": 60})
    (job,) = worker.insert()
    worker.claim()
    operator = open_session()
    operator.run("begin")
    operator.run("select dtsched.pause('default')")
    worker.run("set statement_timeout = '1 s'")
    assert worker.finish_as("fail", job)
