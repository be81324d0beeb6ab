"""Times that pass: no attempt begins after a job's deadline, what waits past it fails, and an attempt that its living
worker does not end in time is taken away."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Row, Session, Worker

TOO_LATE = "deadline: it had not ended by its deadline"


@pytest.fixture
def witness(worker: Worker) -> Worker:
    """A worker that has renewed for longer than its lease, on a clock that the test owns: its grace is 12 s."""
    worker.take_over_the_clock()
    worker.run("update dtsched.workers set lease = '60 s', unbroken_since = unbroken_since - interval '61 s'")
    worker.run("set dtsched.sweep = '0'")
    return worker


def submit(session: Session, *, task: str = "echo", **fields: object) -> int:
    return session.value("select id from dtsched.submit_many(%s, false)", Jsonb([{"task": task, **fields}]))


def expire(session: Session, *, by: Worker | None = None) -> list[Row]:
    return session.rows("select job_id, state from dtsched.expire(%s)", by and by.id)


def outcome(session: Session, job: int) -> Row:
    return session.rows("select state, error from dtsched.jobs where id = %s", job)[0]


def attempts(session: Session, job: int) -> list[Row]:
    return session.rows(
        "select attempt, outcome, error_type, message from dtsched.attempts where job_id = %s order by lease_id", job
    )


def test_a_job_that_waits_past_its_deadline_fails_in_whatever_state_it_waits(witness: Worker):
    (parent,) = witness.insert(queue="other")
    ready = submit(witness, expires_in=60)
    later = submit(witness, expires_in=60, delay=3600)
    blocked = submit(witness, expires_in=60, depends_on=[parent])
    child = submit(witness, depends_on=[ready])
    keyed = submit(witness, expires_in=60, key="k")
    assert expire(witness) == []
    witness.travel("61 s")
    assert expire(witness) == [(job, "failed") for job in (ready, later, blocked, keyed)]
    assert [outcome(witness, job) for job in (ready, later, blocked, keyed)] == [("failed", TOO_LATE)] * 4
    assert witness.state(child) == "cancelled"
    assert witness.value("select count(*) from dtsched.keys") == 0
    assert witness.value("select count(*) from dtsched.deadlines") == 0
    assert expire(witness) == []


def test_no_attempt_begins_at_the_deadline_or_after_it(session: Session, worker: Worker):
    session.run("""create or replace function dtsched.now() returns timestamptz language sql volatile
        as $$ select '2030-01-01 00:00Z'::timestamptz $$""")
    worker.run("update dtsched.workers set expires_at = 'infinity'")
    early = submit(session, deadline="2030-01-01T00:00:00.000001Z")
    just = submit(session, deadline="2030-01-01T00:00:00Z")
    assert worker.drain() == [early]
    assert session.state(just) == "ready"
    assert session.rows("select * from dtsched.check()") == []
    assert expire(session) == [(just, "failed")]


def test_a_claim_leaves_a_backlog_of_late_jobs_behind_in_one_go(witness: Worker, open_worker: OpenWorker):
    for _ in range(30):
        submit(witness, task="unknown", expires_in=1)
    (last,) = witness.insert()
    witness.travel("2 s")
    worker = open_worker(tasks=["echo"])
    assert worker.claim(5) == [last]
    assert witness.value("select count(*) from dtsched.parked") == 0
    assert len(expire(witness)) == 30


def test_a_retry_that_would_come_after_the_deadline_fails_with_the_error_it_had(witness: Worker):
    in_time, late = submit(witness, expires_in=60), submit(witness, expires_in=60)
    witness.claim()
    witness.finish_as("retry", in_time, delay=59)
    witness.finish_as("retry", late, delay=61)
    assert outcome(witness, in_time)[0] == "scheduled"
    assert outcome(witness, late) == (
        "failed",
        "ValueError: told to (no time for another attempt before its deadline)",
    )
    assert attempts(witness, late) == [(1, "fail", "ValueError", "told to")]


def test_a_snoozed_job_and_one_handed_back_fail_at_the_deadline(witness: Worker):
    witness.run("set dtsched.sweep = '86400'")  # the mark itself must not pass what is left
    snoozed, back = submit(witness, expires_in=60), submit(witness, expires_in=60)
    witness.claim()
    witness.finish_as("snooze", snoozed, delay=3600)
    witness.travel("61 s")
    assert expire(witness) == [(snoozed, "failed")]
    assert witness.state(back) == "running"
    witness.release(started=[back])
    assert witness.state(back) == "ready"
    assert expire(witness) == [(back, "failed")]


def test_what_completes_late_has_completed(witness: Worker):
    job = submit(witness, expires_in=60)
    witness.claim()
    witness.travel("61 s")
    assert expire(witness, by=witness) == []
    assert witness.finish(job)
    assert witness.state(job) == "completed"
    assert expire(witness) == []
    assert witness.value("select count(*) from dtsched.deadlines") == 0


def test_a_job_whose_row_somebody_holds_fails_when_it_is_free_and_keeps_nobody_waiting(
    witness: Worker, open_session: OpenSession
):
    witness.run("set dtsched.sweep = '86400'")
    held, free = submit(witness, expires_in=60), submit(witness, expires_in=60)
    witness.travel("61 s")
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    assert expire(witness) == [(free, "failed")]
    holder.run("rollback")
    assert expire(witness) == [(held, "failed")]


def test_a_job_with_a_child_that_somebody_holds_costs_the_others_nothing(witness: Worker, open_session: OpenSession):
    held, free = submit(witness, expires_in=60), submit(witness, expires_in=60)
    child = submit(witness, depends_on=[held])
    witness.travel("61 s")
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.blocked where job_id = %s for update", child)
    assert expire(witness) == [(free, "failed")]
    holder.run("rollback")
    assert expire(witness) == [(held, "failed")]
    assert witness.state(child) == "cancelled"


def test_two_that_expire_at_once_fail_each_job_once(witness: Worker, open_session: OpenSession):
    jobs = [submit(witness, expires_in=60) for _ in range(20)]
    witness.travel("61 s")
    one, other = open_session(), open_session()
    one.run("begin")
    first = one.rows("select job_id from dtsched.expire(null, 10)")
    second = other.rows("select job_id from dtsched.expire(null, 100)")
    one.run("commit")
    assert sorted(job for (job,) in first + second) == jobs
    assert witness.value("select sum(jobs) from dtsched.tallies where event = 'fail'") == 20


def test_a_late_commit_below_the_mark_is_found_by_the_sweep(witness: Worker, open_session: OpenSession):
    late = open_session()
    late.run("begin")
    job = submit(late, expires_in=10)
    witness.travel("20 s")
    witness.run("set dtsched.sweep = '86400'")
    assert expire(witness) == []
    late.run("commit")
    assert expire(witness) == []
    witness.run("set dtsched.sweep = '0'")
    assert expire(witness) == [(job, "failed")]


def test_more_late_jobs_than_one_call_may_take_go_in_several(witness: Worker):
    jobs = [submit(witness, expires_in=60) for _ in range(5)]
    witness.travel("61 s")
    witness.run("set dtsched.sweep = '86400'")
    taken = [witness.column("select job_id from dtsched.expire(null, 2)") for _ in range(4)]
    assert taken == [jobs[:2], jobs[2:4], jobs[4:], []]


def drained(witness: Worker, *, by: Worker | None = None) -> list[int]:
    """What a few calls bring, of which each may take four."""
    return [job for _ in range(6) for job in witness.column("select job_id from dtsched.expire(%s, 4)", by and by.id)]


@pytest.mark.parametrize("sweep", ["0", "86400"])
def test_late_jobs_that_somebody_holds_hide_none_behind_them(witness: Worker, open_session: OpenSession, sweep: str):
    held, free = ([submit(witness, expires_in=seconds) for _ in range(10)] for seconds in (60, 61))
    witness.travel("62 s")
    witness.run("select set_config('dtsched.sweep', %s, false)", sweep)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = any (%s) for update", held)
    assert drained(witness) == free
    holder.run("rollback")
    assert drained(witness) == held


@pytest.mark.parametrize("sweep", ["0", "86400"])
def test_late_jobs_that_run_hide_none_that_wait(witness: Worker, sweep: str):
    running = [submit(witness, expires_in=60) for _ in range(10)]
    assert witness.claim() == running
    waiting = [submit(witness, expires_in=61) for _ in range(10)]
    witness.travel("62 s")
    witness.run("select set_config('dtsched.sweep', %s, false)", sweep)
    assert drained(witness) == waiting
    witness.release(started=running)
    assert drained(witness) == running


def test_a_retried_job_keeps_its_deadline_and_one_whose_deadline_has_passed_is_refused(witness: Worker):
    in_time, late = submit(witness, expires_in=60), submit(witness, expires_in=30)
    witness.run("select dtsched.cancel(%s)", [in_time, late])
    witness.travel("31 s")
    expire(witness)
    assert dict(witness.rows("select * from dtsched.retry(%s)", [in_time, late])) == {
        in_time: "retried",
        late: "deadline",
    }
    witness.travel("30 s")
    assert expire(witness) == [(in_time, "failed")]


def test_a_retry_under_way_keeps_the_entry_of_its_job(witness: Worker, open_session: OpenSession):
    job = submit(witness, expires_in=60)
    witness.run("select dtsched.cancel(%s)", job)
    retrying = open_session()
    retrying.run("begin")
    assert retrying.value("select dtsched.retry(%s)", job) == "retried"
    witness.travel("61 s")
    assert expire(witness) == []
    retrying.run("commit")
    assert expire(witness) == [(job, "failed")]


# Attempts


def claim_with_timeout(worker: Worker, seconds: float = 10, *, max_attempts: int = 5) -> int:
    job = submit(worker, timeout=seconds, max_attempts=max_attempts)
    assert worker.claim() == [job]
    return job


def renew(worker: Worker) -> None:
    assert worker.renew()


@pytest.mark.parametrize(("lease", "grace"), [("60 s", 12), ("5 s", 5)])
def test_an_attempt_is_taken_away_a_grace_after_its_timeout(witness: Worker, lease: str, grace: float):
    witness.run("update dtsched.workers set lease = %s, expires_at = dtsched.now() + '1 day'", lease)
    job = claim_with_timeout(witness)
    (lease_id,) = witness.leases.values()
    witness.travel(f"{10 + grace - 1} s")
    assert expire(witness, by=witness) == []
    witness.travel("2 s")
    assert expire(witness, by=witness) == [(job, "scheduled")]
    assert attempts(witness, job) == [
        (
            1,
            "retry",
            "timeout",
            "still running after 10 s, its timeout; its worker did not end it, and it was taken away",
        )
    ]
    assert witness.column("select dtsched.taken_away(%s, %s)", witness.id, [lease_id]) == [lease_id]
    assert witness.finish(job) == []


def test_only_a_witness_judges_attempts(witness: Worker, open_worker: OpenWorker):
    claim_with_timeout(witness)
    witness.travel("30 s")
    renew(witness)
    newcomer = open_worker(lease="60 s")
    assert expire(newcomer, by=newcomer) == []
    assert expire(newcomer) == []
    assert len(expire(newcomer, by=witness)) == 1


def test_what_a_lost_worker_holds_is_left_to_rescue(witness: Worker, open_worker: OpenWorker):
    silent = open_worker(lease="20 s")
    job = claim_with_timeout(silent)
    witness.travel("30 s")
    assert expire(witness, by=witness) == []
    assert witness.rescue() == [job]


def test_a_worker_that_is_silent_for_a_moment_loses_its_attempt_when_it_is_back(
    witness: Worker, open_worker: OpenWorker
):
    silent = open_worker(lease="20 s")
    job = claim_with_timeout(silent)
    witness.travel("30 s")
    assert expire(witness, by=witness) == []  # and the mark does not pass it
    renew(silent)
    assert expire(witness, by=witness) == [(job, "scheduled")]


def test_a_timeout_fails_the_job_when_its_attempts_are_used_up(witness: Worker):
    job = claim_with_timeout(witness, max_attempts=1)
    witness.travel("23 s")
    assert expire(witness, by=witness) == [(job, "failed")]
    assert outcome(witness, job)[1].startswith("timeout: still running after 10 s")


def test_a_stuck_attempt_whose_job_was_cancelled_ends_cancelled(witness: Worker):
    job = claim_with_timeout(witness)
    witness.run("select dtsched.cancel(%s)", job)
    witness.travel("23 s")
    assert expire(witness, by=witness) == [(job, "cancelled")]


def test_an_attempt_that_is_stuck_at_the_deadline_fails_with_an_error_of_type_deadline(witness: Worker):
    job = submit(witness, expires_in=10)
    assert witness.claim() == [job]
    witness.travel("23 s")
    assert expire(witness, by=witness) == [(job, "failed")]
    assert outcome(witness, job) == ("failed", "deadline: still running at its deadline")
    assert attempts(witness, job) == [(1, "fail", "deadline", "still running at its deadline")]


def test_the_worker_is_told_that_a_lease_is_gone(witness: Worker, session: Session):
    session.run("listen dtsched_cancel")
    claim_with_timeout(witness)
    witness.travel("23 s")
    expire(witness, by=witness)
    assert [told.payload for told in session.connection.notifies(timeout=1, stop_after=1)] == [str(witness.id)]


def test_an_outcome_that_is_on_its_way_wins(witness: Worker, open_session: OpenSession):
    job = claim_with_timeout(witness)
    witness.travel("23 s")
    other = open_session()
    witness.run("begin")
    witness.finish(job)
    assert expire(other, by=witness) == []
    witness.run("commit")
    assert witness.state(job) == "completed"


def test_an_outcome_that_comes_while_the_attempt_is_taken_away_is_refused(witness: Worker, open_session: OpenSession):
    job = claim_with_timeout(witness)
    witness.travel("23 s")
    other = open_session()
    other.run("begin")
    assert expire(other, by=witness) == [(job, "scheduled")]
    accepted: list[int] = [0]
    finishing = Started(lambda: accepted.__setitem__(slice(None), witness.finish(job)))
    wait_until_blocked(other, witness)
    other.run("commit")
    finishing.join()
    assert accepted == []


@pytest.mark.parametrize("of", ["leases", "jobs", "limits"])
def test_attempts_that_somebody_holds_hide_none_behind_them(witness: Worker, open_session: OpenSession, of: str):
    """All of one deadline, as those of one claim have it."""
    witness.run("select dtsched.set_limit('held', 10)")
    jobs = [submit(witness, timeout=10, limit_key="held" if n < 10 else None) for n in range(20)]
    assert sorted(witness.claim()) == jobs
    held, free = jobs[:10], jobs[10:]
    witness.run("update dtsched.leases set deadline = (select min(deadline) from dtsched.leases)")
    witness.travel("30 s")
    renew(witness)
    holder = open_session()
    holder.run("begin")
    match of:
        case "leases":
            holder.run("select from dtsched.leases where job_id = any (%s) for update", held)
        case "jobs":
            holder.run("select from dtsched.jobs where id = any (%s) for update", held)
        case _:
            holder.run("select from dtsched.limits for update")
    assert sorted(drained(witness, by=witness)) == free
    holder.run("rollback")
    assert sorted(drained(witness, by=witness)) == held


def test_overdue_attempts_of_a_lost_worker_hide_none_of_a_living_one(witness: Worker, open_worker: OpenWorker):
    silent = open_worker(lease="20 s")
    theirs = [submit(silent, timeout=10) for _ in range(10)]
    assert silent.claim() == theirs
    ours = [submit(witness, timeout=10) for _ in range(10)]
    assert witness.claim() == ours
    witness.travel("30 s")
    renew(witness)
    assert sorted(drained(witness, by=witness)) == ours
    assert sorted(witness.rescue()) == theirs


def test_the_time_an_attempt_may_take_is_the_jobs_else_the_tasks_else_the_queues(witness: Worker):
    witness.run(
        "insert into dtsched.tasks (name, settings) values ('slow', '{\"timeout\": 30}') on conflict do nothing"
    )
    witness.run("update dtsched.queues set settings = '{\"timeout\": 20.5}' where name = 'default'")
    own, of_task, of_queue = submit(witness, task="slow", timeout=7), submit(witness, task="slow"), submit(witness)
    plain = witness.value("insert into dtsched.jobs (task) values ('slow') returning id")
    capped = submit(witness, task="slow", expires_in=10)
    allowed = dict(witness.rows("select job_id, timeout_seconds from dtsched.claim(%s, 'default', 9)", witness.id))
    assert {job: allowed[job] for job in (own, of_task, of_queue, plain)} == {
        own: 7,
        of_task: 30,
        of_queue: 20.5,
        plain: 30,
    }
    assert 9 < allowed[capped] <= 10
    granted = dict(
        witness.rows("""
            select lease.job_id, extract(epoch from lease.deadline - job.started_at)::float8
            from dtsched.leases lease join dtsched.jobs job on job.id = lease.job_id
            """)
    )
    assert granted == allowed


def test_nothing_is_said_of_time_where_nobody_limits_it(worker: Worker):
    submit(worker)
    assert worker.rows("select timeout_seconds from dtsched.claim(%s, 'default', 9)", worker.id) == [(None,)]
    assert worker.column("select deadline from dtsched.leases") == [None]


def test_a_deadline_and_an_expiry_exclude_each_other(session: Session):
    with pytest.raises(psycopg.Error, match="expires_in and deadline exclude each other: give one") as refusal:
        submit(session, expires_in=1, deadline="2090-01-01T00:00:00Z")
    assert refusal.value.sqlstate == "JQ001"
