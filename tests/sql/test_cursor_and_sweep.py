"""The sweep: what a session saw locked and passed is found again once its locker has given it up in silence."""

from __future__ import annotations

import time

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker


def test_what_an_idle_claimer_rolled_back_is_swept_up_by_another(open_worker: OpenWorker, worker: Worker):
    silent = open_worker()
    jobs = worker.insert(5)
    silent.run("begin")
    assert silent.claim() == jobs
    assert worker.drain() == []
    silent.run("rollback")
    assert worker.claim() == []  # the cursor alone can't know
    assert worker.sweep() == jobs


def test_what_somebody_locked_without_claiming_is_swept_up(open_session: OpenSession, worker: Worker):
    jobs = worker.insert(5)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.ready for update")
    assert worker.drain() == []
    holder.run("rollback")
    assert worker.sweep() == jobs


def test_what_a_rolled_back_prepared_claim_held_is_swept_up(session: Session, worker: Worker):
    jobs = worker.insert(4)
    worker.run("begin")
    assert worker.claim() == jobs
    worker.run("prepare transaction 'claim'")
    assert worker.claim() == []
    session.run("rollback prepared 'claim'")
    assert worker.sweep() == jobs


def test_what_a_killed_claimer_held_is_swept_up(session: Session, open_worker: OpenWorker, worker: Worker):
    killed = open_worker()
    jobs = worker.insert(4)
    killed.run("begin")
    assert killed.claim() == jobs
    assert worker.drain() == []
    session.run("select pg_terminate_backend(%s, 60000)", killed.connection.info.backend_pid)
    assert worker.sweep() == jobs


def test_a_sweep_with_a_small_limit_goes_on_in_the_next_claims(open_worker: OpenWorker, worker: Worker):
    silent = open_worker()
    jobs = worker.insert(10)
    silent.run("begin")
    silent.claim()
    assert worker.drain() == []
    silent.run("rollback")
    worker.run("set dtsched.sweep = '0.3'")
    time.sleep(0.3)
    assert [worker.claim(2) for _ in range(5)] == [jobs[n : n + 2] for n in range(0, 10, 2)]


def test_an_entry_of_an_older_open_transaction_is_not_left_below_the_low_mark(
    session: Session, open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    """Sweeping while an older transaction is open and a younger entry is locked must not leave the older one behind."""
    older, silent = open_session(), open_worker()
    older.run("begin")
    (old_job,) = older.insert()
    (young_job,) = session.insert()
    silent.run("begin")
    assert silent.claim() == [young_job]
    assert worker.drain() == []
    assert worker.sweep() == []
    older.run("commit")
    assert worker.sweep() == [old_job]
    silent.run("rollback")
    assert worker.sweep() == [young_job]


def test_a_late_entry_that_was_locked_when_it_was_probed_is_swept_up(
    session: Session, open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    older, silent, other = open_session(), open_worker(), open_worker()
    older.run("begin")
    (old_job,) = older.insert()
    (young_job,) = session.insert()
    silent.run("begin")
    assert silent.claim() == [young_job]
    assert worker.drain() == []
    assert worker.sweep() == []
    older.run("commit")
    other.run("begin")
    assert other.claim() == [old_job]
    assert worker.drain() == []
    other.run("rollback")
    silent.run("rollback")
    assert sorted(worker.sweep() + worker.sweep()) == [old_job, young_job]


def test_an_unread_backlog_is_neither_moved_nor_locked_by_the_sweep(
    session: Session, open_session: OpenSession, worker: Worker
):
    session.run("insert into dtsched.jobs (task) select 'echo' from generate_series(1, 200000)")
    assert len(worker.claim()) == 100
    session.run("create temporary table before as select ctid as place, job_id from dtsched.ready")
    worker.run("begin")
    assert len(worker.sweep()) == 100
    moved_or_locked = session.value("""
        select count(*)
        from (select job_id from dtsched.ready for update skip locked) free
        full join (select before.job_id from before join dtsched.ready entry on entry.ctid = before.place
                   where entry.job_id = before.job_id) still on still.job_id = free.job_id
        where still.job_id is null or free.job_id is null
        """)
    worker.run("rollback")
    assert moved_or_locked == 100  # those it claimed from the head
