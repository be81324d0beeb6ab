"""Cancelling a job in each of its states, and in the middle of its claim and its finish."""

from __future__ import annotations

import random

import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker

CANCEL = "select dtsched.cancel(%s)"


def test_a_ready_job_never_starts(session: Session, worker: Worker):
    (job,) = session.insert()
    assert session.value(CANCEL, job) == "cancelled"
    assert session.state(job) == "cancelled"
    assert worker.drain() == []
    assert session.value("select count(*) from dtsched.ready") == 0


def test_a_scheduled_job_never_starts(session: Session, worker: Worker):
    session.take_over_the_clock()
    job = session.value("select dtsched.submit('echo', delay => '1 min')")
    assert session.value(CANCEL, job) == "cancelled"
    session.travel("2 min")
    assert session.value("select promoted from dtsched.promote()") == 0
    assert worker.drain() == []
    assert session.value("select count(*) from dtsched.scheduled") == 0


def test_a_blocked_job_never_starts(session: Session, worker: Worker):
    (parent,) = session.insert()
    child = session.value("select dtsched.submit('child', depends_on => %s)", [parent])
    assert session.value(CANCEL, child) == "cancelled"
    worker.claim()
    worker.finish(parent)
    assert worker.drain() == []
    assert session.value("select count(*) from dtsched.blocked") == 0


def test_a_parked_job_never_starts(session: Session, open_worker: OpenWorker):
    (job,) = session.insert(task="later")
    assert open_worker(tasks=["echo"]).claim() == []
    assert session.value(CANCEL, job) == "cancelled"
    assert open_worker(tasks=["later"]).drain() == []
    assert session.value("select count(*) from dtsched.parked") == 0


def test_a_job_cancelled_in_the_transaction_that_submits_it_never_starts(session: Session, worker: Worker):
    (parent,) = session.insert()
    session.run("begin")
    jobs = [*session.insert(), session.value("select dtsched.submit('child', depends_on => %s)", [parent])]
    assert [session.value(CANCEL, job) for job in jobs] == ["cancelled", "cancelled"]
    session.run("commit")
    assert worker.drain() == [parent]


@pytest.mark.parametrize("outcome", ["complete", "retry", "fail", "snooze", "cancel"])
def test_a_running_job_ends_cancelled_whatever_comes_of_it(session: Session, worker: Worker, outcome: str):
    (job,) = session.insert()
    worker.claim()
    assert session.value(CANCEL, job) == "requested"
    assert session.state(job) == "running"
    accepted = worker.finish(job) if outcome == "complete" else worker.finish_as(outcome, job, delay=0)
    assert accepted == [worker.leases[job]]
    assert session.state(job) == "cancelled"


def test_a_running_job_that_is_handed_back_ends_cancelled(session: Session, worker: Worker):
    fresh, begun = session.insert(2)
    worker.claim()
    assert session.column("select outcome from dtsched.cancel(%s)", [fresh, begun]) == ["requested", "requested"]
    worker.release(never_started=[fresh], started=[begun])
    assert session.states() == {"cancelled": 2}


def test_what_has_ended_or_does_not_exist_is_said_to_be_so(session: Session, worker: Worker):
    (job,) = session.insert()
    worker.claim()
    worker.finish(job)
    assert session.rows("select job_id, outcome from dtsched.cancel(%s)", [job, 999]) == [
        (job, "finished"),
        (999, "missing"),
    ]
    assert session.state(job) == "completed"


def test_cancelling_twice_changes_nothing_more(session: Session, worker: Worker):
    waiting, running = session.insert(2)
    worker.claim(1)
    waiting, running = running, waiting
    assert session.value(CANCEL, waiting) == "cancelled"
    assert session.value(CANCEL, running) == "requested"
    before = session.rows("select id, state, finished_at from dtsched.jobs order by 1")
    assert session.value(CANCEL, waiting) == "finished"
    assert session.value(CANCEL, running) == "requested"
    assert session.rows("select id, state, finished_at from dtsched.jobs order by 1") == before


def test_a_job_whose_row_somebody_holds_is_reported_busy_and_not_waited_for(
    open_session: OpenSession, session: Session, worker: Worker
):
    held, free = session.insert(2)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    session.run("set lock_timeout = '1ms'")
    assert session.rows("select job_id, outcome from dtsched.cancel(%s)", [held, free]) == [
        (held, "busy"),
        (free, "cancelled"),
    ]
    holder.run("rollback")
    assert session.value(CANCEL, held) == "cancelled"


def test_cancelling_a_parent_takes_its_descendants_along(session: Session):
    (parent,) = session.insert()
    child = session.value("select dtsched.submit('child', depends_on => %s)", [parent])
    grandchild = session.value("select dtsched.submit('child', depends_on => %s)", [child])
    assert session.value(CANCEL, parent) == "cancelled"
    assert [session.state(job) for job in (child, grandchild)] == ["cancelled", "cancelled"]


def test_cancelling_parents_and_children_together_is_no_contradiction(session: Session):
    (parent,) = session.insert()
    child = session.value("select dtsched.submit('child', depends_on => %s)", [parent])
    outcomes = session.rows("select job_id, outcome from dtsched.cancel(%s)", [child, parent])
    assert outcomes == [(child, "cancelled"), (parent, "cancelled")]


def test_cancels_racing_claims_and_finishes_leave_every_job_with_one_ending(
    open_session: OpenSession, open_worker: OpenWorker
):
    """What was said to be cancelled before it started has never started; what was completed was completed once."""
    session, cancellers, workers = open_session(), [open_session() for _ in range(2)], [open_worker() for _ in range(3)]
    session.run("select dtsched.trace(true)")
    jobs = session.insert(1500)
    cancelled: list[int] = []

    def work(worker: Worker) -> None:
        while claimed := worker.claim(7):
            worker.finish(*claimed[:4])
            worker.finish_as("retry", *claimed[4:], delay=0)

    def cancel(canceller: Session, seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(150):
            chosen = choose.sample(jobs, 6)
            outcomes = canceller.rows("select job_id, outcome from dtsched.cancel(%s)", chosen)
            cancelled.extend(job for job, outcome in outcomes if outcome == "cancelled")

    in_parallel(
        *(lambda worker=worker: work(worker) for worker in workers),
        *(lambda seed=seed, canceller=canceller: cancel(canceller, seed) for seed, canceller in enumerate(cancellers)),
    )
    for worker in workers:
        work(worker)
    edges = dict(
        session.rows("""
            select from_state || ' ' || to_state, count(*)
            from dtsched.job_events
            where from_state is not null
            group by 1
            """)
    )
    legal = {"ready running", "ready cancelled", "running completed", "running cancelled", "running ready"}
    legal |= {"running failed"}  # five attempts used up
    assert set(edges) <= legal
    assert edges["ready cancelled"] == len(cancelled) == len(set(cancelled))
    ended = session.value(
        "select count(*) from dtsched.job_events where to_state in ('completed', 'failed', 'cancelled')"
    )
    assert ended == len(jobs)
