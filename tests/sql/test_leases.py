"""The lease row is the right to finish: who has it may end the attempt, once; nobody else may, however late."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker


def job_row(session: Session, job: int, columns: str = "state, attempt, crash_count, error") -> tuple[object, ...]:
    names = [name.strip() for name in columns.split(",")]
    row = session.value("select to_jsonb(job) from dtsched.jobs job where id = %s", job)
    return tuple(row[name] for name in names)


def test_a_claim_counts_the_attempt_and_leaves_one_lease(worker: Worker):
    (job,) = worker.insert()
    assert worker.claim() == [job]
    assert job_row(worker, job, "state, attempt, worker_id") == ("running", 1, str(worker.id))
    assert worker.rows("select id, job_id, worker_id from dtsched.leases") == [(worker.leases[job], job, worker.id)]


def test_a_finished_lease_cannot_be_finished_again(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    assert worker.finish(job) == [worker.leases[job]]
    ended = job_row(worker, job, "state, finished_at, attempt")
    assert worker.finish(job) == []
    assert worker.finish_as("fail", job) == []
    assert worker.finish_as("retry", job, delay=0) == []
    assert job_row(worker, job, "state, finished_at, attempt") == ended
    assert worker.drain() == []


def test_a_lease_of_another_worker_cannot_be_finished_or_handed_back(open_worker: OpenWorker, worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    thief = open_worker()
    thief.leases = dict(worker.leases)
    assert thief.finish(job) == []
    assert thief.finish_as("fail", job) == []
    assert set(thief.release(never_started=[job], started=[job])) == {job}  # over, as far as the thief is concerned
    assert worker.state(job) == "running"
    assert worker.finish(job) == [worker.leases[job]]


def test_the_earlier_lease_of_a_job_that_is_running_again_cannot_finish_it(open_worker: OpenWorker, worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.release(never_started=[job])
    second = open_worker()
    assert second.claim() == [job]
    assert worker.finish(job) == []
    assert second.finish(job) == [second.leases[job]]


def test_one_batch_is_accepted_as_far_as_its_leases_are_held(worker: Worker):
    jobs = worker.insert(3)
    worker.claim()
    worker.finish(jobs[1])
    assert worker.finish(*jobs) == [worker.leases[jobs[0]], worker.leases[jobs[2]]]


def test_work_names_the_leases_it_refused_and_claims_all_the_same(worker: Worker):
    first, second = worker.insert(2)
    worker.claim(1)
    worker.finish(first)
    rows = worker.rows(
        "select lease_id, job_id from dtsched.work(%s, %s, null, null, 'default', 10)",
        worker.id,
        [worker.leases[first]],
    )
    assert [job for _, job in rows] == [None, second]
    assert rows[0] == (worker.leases[first], None)


@pytest.mark.parametrize("size", [1, 299, 100_000])
def test_a_result_of_any_size_is_kept(worker: Worker, size: int):
    jobs = worker.insert(2)
    worker.claim()
    worker.rows(
        "select dtsched.finish(%s, %s, %s)",
        worker.id,
        [worker.leases[job] for job in jobs],
        Jsonb([{"digits": "7" * size}, None]),
    )
    assert worker.column("select result from dtsched.job(%s)", jobs[0]) == [{"digits": "7" * size}]
    assert worker.column("select result from dtsched.job(%s)", jobs[1]) == [None]


def test_results_that_do_not_match_the_leases_are_refused_before_anything_is_written(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    with pytest.raises(psycopg.Error, match="given 1 leases and 2 results") as refusal:
        worker.rows("select dtsched.finish(%s, %s, '[1, 2]')", worker.id, [worker.leases[job]])
    assert refusal.value.sqlstate == "JQ001"
    assert worker.state(job) == "running"


def test_each_job_gets_the_result_of_its_lease_in_whatever_order_they_come(worker: Worker):
    jobs = worker.insert(5)
    worker.claim()
    gone = jobs[2]
    worker.finish(gone)
    told = [jobs[4], jobs[0], gone, jobs[1], jobs[0], jobs[3]]
    accepted = worker.column(
        "select dtsched.finish(%s, %s, %s)",
        worker.id,
        [worker.leases[job] for job in told],
        Jsonb([{"of": job} for job in told]),
    )
    assert sorted(accepted) == sorted(worker.leases[job] for job in jobs if job != gone)
    kept = dict(worker.rows("select id, result from dtsched.jobs"))
    assert kept == {job: None if job == gone else {"of": job} for job in jobs}


def test_each_of_many_attempts_that_failed_keeps_what_was_told_of_it(worker: Worker):
    jobs = worker.insert(40)
    worker.claim()
    told = [
        {"lease": worker.leases[job], "outcome": "fail", "error": {"type": "Odd", "message": f"of {job}"}}
        for job in reversed(jobs)
    ]
    strange = {"lease": max(worker.leases.values()) + 1, "outcome": "fail"}
    accepted = worker.column("select dtsched.finish(%s, '{}', null, %s)", worker.id, Jsonb([strange, *told]))
    assert sorted(accepted) == sorted(worker.leases[job] for job in jobs)
    assert dict(worker.rows("select job_id, message from dtsched.attempts")) == {job: f"of {job}" for job in jobs}


@pytest.mark.parametrize(
    "others", ["[17]", '["retry"]', '[{"lease": 1, "outcome": "retry"}, null]', "[[]]", '[[{"lease": 1}]]']
)
def test_others_that_are_no_objects_are_refused_before_anything_is_written(worker: Worker, others: str):
    (job,) = worker.insert()
    worker.claim()
    with pytest.raises(psycopg.Error, match="takes objects as others") as refusal:
        worker.rows("select dtsched.finish(%s, %s, null, %s)", worker.id, [worker.leases[job]], others)
    assert refusal.value.sqlstate == "JQ001"
    assert worker.state(job) == "running"


def test_each_outcome_leads_to_its_state(worker: Worker):
    outcomes = {"retry": "scheduled", "fail": "failed", "snooze": "scheduled", "cancel": "cancelled"}
    jobs = dict(zip(outcomes, worker.insert(4), strict=True))
    worker.claim()
    for outcome, job in jobs.items():
        assert worker.finish_as(outcome, job, delay=60) == [worker.leases[job]]
    assert {outcome: worker.state(job) for outcome, job in jobs.items()} == outcomes
    assert worker.rows("select job_id, outcome, error_type, message from dtsched.attempts order by 1") == [
        (jobs[outcome], outcome, "ValueError", "told to") for outcome in ("retry", "fail", "cancel")
    ]


def test_one_call_may_complete_retry_and_fail(worker: Worker):
    done, failing = worker.insert(2)
    worker.claim()
    accepted = worker.column(
        "select dtsched.finish(%s, %s, '[42]', %s)",
        worker.id,
        [worker.leases[done]],
        Jsonb([{"lease": worker.leases[failing], "outcome": "fail"}]),
    )
    assert sorted(accepted) == sorted(worker.leases.values())
    assert [worker.state(done), worker.state(failing)] == ["completed", "failed"]


def test_a_retry_fails_when_the_attempts_are_used_up(worker: Worker):
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 2) returning id")
    worker.claim()
    worker.finish_as("retry", job, delay=0)
    assert worker.state(job) == "ready"
    worker.claim()
    worker.finish_as("retry", job, delay=0)
    assert job_row(worker, job, "state, attempt, error") == ("failed", 2, "ValueError: told to")


def test_a_snooze_gives_the_attempt_back(worker: Worker):
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1) returning id")
    for _ in range(3):
        assert worker.claim() == [job]
        worker.finish_as("snooze", job, delay=0)
    assert job_row(worker, job, "state, attempt") == ("ready", 0)


@pytest.mark.parametrize(
    ("backoff", "attempt", "lowest", "highest"),
    [
        (None, 1, 1.5, 2.5),
        (None, 5, 24, 40),
        (None, 1000, 2700, 4500),
        ({"kind": "fixed", "base": 7, "jitter": 0}, 3, 7, 7),
        ({"kind": "linear", "base": 7, "jitter": 0}, 3, 21, 21),
        ({"kind": "exponential", "base": 3, "cap": 10, "jitter": 0}, 2, 6, 6),
        ({"kind": "exponential", "base": 3, "cap": 10, "jitter": 0}, 3, 10, 10),
        ({"kind": "exponential", "base": 1e308, "cap": 1e308, "jitter": 0}, 1000, 0, 366 * 86400),
        ({"kind": "fixed", "base": "soon"}, 1, 1.5, 2.5),
    ],
)
def test_a_retry_waits_as_its_backoff_says(
    session: Session, backoff: dict[str, object] | None, attempt: int, lowest: float, highest: float
):
    """Whatever stands in jobs.backoff, it must not raise: finish() would fail with it, and the job run for ever."""
    delay = session.value("select dtsched.retry_delay(%s, %s)", backoff and Jsonb(backoff), attempt)
    assert lowest <= delay <= highest


def test_releasing_what_never_started_restores_the_attempt_and_what_started_counts_as_a_crash(worker: Worker):
    fresh, begun = worker.insert(2)
    worker.claim()
    assert worker.release(never_started=[fresh], started=[begun]) == [fresh, begun]
    assert job_row(worker, fresh) == ("ready", 0, 0, None)
    assert job_row(worker, begun)[:3] == ("ready", 1, 1)
    assert worker.drain() == [fresh, begun]


def test_release_takes_null_for_none(worker: Worker):
    fresh, begun = worker.insert(2)
    worker.claim()
    assert worker.column("select dtsched.release(%s, %s, null)", worker.id, [worker.leases[fresh]]) == [
        worker.leases[fresh]
    ]
    assert worker.column("select dtsched.release(%s, null, %s)", worker.id, [worker.leases[begun]]) == [
        worker.leases[begun]
    ]


def test_a_job_row_that_somebody_holds_is_not_handed_back_until_it_is_free(open_session: OpenSession, worker: Worker):
    jobs = worker.insert(4)
    worker.claim()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = any (%s) for update", jobs[::2])
    worker.run("set lock_timeout = '10 ms'")
    leases = [worker.leases[job] for job in jobs]
    assert worker.column("select dtsched.held(%s, %s)", worker.id, leases) == [leases[0], leases[2]]
    assert worker.release(never_started=jobs[:2], started=jobs[2:]) == [jobs[1], jobs[3]]
    assert worker.column("select dtsched.reconcile(%s, '{}', %s)", worker.id, max(leases)) == []
    holder.run("commit")
    assert worker.column("select dtsched.held(%s, %s)", worker.id, leases) == []
    assert worker.release(never_started=jobs[:1]) == [jobs[0]]
    assert worker.column("select dtsched.reconcile(%s, '{}', %s)", worker.id, max(leases)) == [leases[2]]
    assert worker.states() == {"ready": 4}


def test_a_worker_that_deregisters_waits_for_nobody(open_session: OpenSession, open_worker: OpenWorker, worker: Worker):
    held, free = worker.insert(2)
    worker.claim()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    worker.run("set lock_timeout = '10 ms'")
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 1
    holder.run("commit")
    witness = open_worker()
    witness.run("update dtsched.workers set unbroken_since = now() - interval '1 day'")
    assert witness.rescue() == [held]
    assert witness.drain() == [held, free]


def test_what_a_worker_that_stopped_could_not_hand_back_is_told_of_and_then_it_is_gone(
    open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    held, free = worker.insert(2)
    worker.claim()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 1
    assert worker.renew() is False
    witness = open_worker()
    witness.run("update dtsched.workers set unbroken_since = now() - interval '1 day'")
    witness.run("set dtsched.sweep = '0'")
    assert witness.value("select chores from dtsched.promote()") == ["rescue"]
    assert witness.rescue() == []
    assert witness.rows("select state, running from dtsched.list_workers(%s)", worker.id) == [("lost", 1)]
    holder.run("commit")
    assert witness.value("select chores from dtsched.promote()") == ["rescue"]
    assert witness.rescue() == [held]
    assert witness.rescue() == []
    assert witness.column("select id from dtsched.workers") == [witness.id]
    assert witness.value("select chores from dtsched.promote()") == []
    assert witness.drain() == [held, free]


def test_a_worker_that_stops_twice_is_gone_once_nothing_is_held(open_session: OpenSession, worker: Worker):
    (held,) = worker.insert()
    worker.claim()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 0
    holder.run("commit")
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 1
    assert worker.column("select id from dtsched.workers") == []


def test_releasing_answers_for_leases_that_are_gone_already(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.finish(job)
    assert worker.release(never_started=[job]) == [job]
    assert worker.state(job) == "completed"


def test_the_third_crash_fails_the_job(worker: Worker):
    (job,) = worker.insert()
    for crash in (1, 2, 3):
        assert worker.claim() == [job]
        worker.release(started=[job])
        assert job_row(worker, job)[2] == crash
    assert job_row(worker, job, "state, attempt") == ("failed", 3)
    assert worker.drain() == []


def test_a_crash_in_the_last_attempt_fails_the_job(worker: Worker):
    job = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1) returning id")
    worker.claim()
    worker.release(started=[job])
    assert job_row(worker, job, "state, crash_count") == ("failed", 1)


def test_a_worker_that_deregisters_hands_back_what_it_holds(open_worker: OpenWorker, worker: Worker):
    jobs = worker.insert(3)
    worker.claim()
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 3
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 0
    assert worker.renew() is False
    assert open_worker().claim() == jobs


def test_a_claim_of_an_unknown_expired_or_lost_worker_is_refused(open_worker: OpenWorker, open_session: OpenSession):
    session = open_session()
    jobs = session.insert()
    unknown, expired, lost = open_worker(), open_worker(), open_worker()
    unknown.id = uuid4()
    session.run("update dtsched.workers set expires_at = dtsched.now() where id = %s", expired.id)
    session.run("update dtsched.workers set lost_at = dtsched.now() where id = %s", lost.id)
    for worker in (unknown, expired, lost):
        with pytest.raises(psycopg.Error, match="is not registered or its lease has run out") as refusal:
            worker.claim()
        assert refusal.value.sqlstate == "JQ005"
    assert expired.renew()
    assert expired.claim() == jobs


def test_work_that_is_refused_finishes_nothing_and_finish_alone_still_may(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.run("update dtsched.workers set expires_at = dtsched.now()")
    with pytest.raises(psycopg.Error):
        worker.rows("select dtsched.work(%s, %s, null, null, 'default', 1)", worker.id, [worker.leases[job]])
    assert worker.state(job) == "running"
    assert worker.finish(job) == [worker.leases[job]]


def test_reconciling_hands_back_the_forgotten_and_nothing_that_may_be_in_flight(worker: Worker):
    held, forgotten, in_flight = worker.insert(3)
    worker.claim()
    below = worker.leases[forgotten]
    back = worker.column("select dtsched.reconcile(%s, %s, %s)", worker.id, [worker.leases[held]], below)
    assert back == [worker.leases[forgotten]]
    assert [worker.state(job) for job in (held, forgotten, in_flight)] == ["running", "ready", "running"]


def test_finishing_is_durable_though_the_session_would_not_have_it_so(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.run("set synchronous_commit = off")
    worker.run("begin")
    worker.finish(job)
    assert worker.value("show synchronous_commit") == "on"
    worker.run("commit")


def test_claiming_is_durable_though_the_session_would_not_have_it_so(worker: Worker):
    """What a crash forgets of the sequence of leases is given out again, also by a server that was not started anew."""
    worker.insert()
    worker.run("set synchronous_commit = off")
    worker.run("begin")
    worker.claim()
    assert worker.value("show synchronous_commit") == "on"
    worker.run("commit")


def test_submitting_is_durable_though_the_session_would_not_have_it_so(session: Session):
    session.run("set synchronous_commit = off")
    session.run("begin")
    session.value("select dtsched.submit('echo')")
    assert session.value("show synchronous_commit") == "on"
    session.run("commit")
