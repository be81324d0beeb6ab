"""The lane cursor against every way a transaction can begin, overlap and end: no commit is missed, however late.

The workers here never sweep (see `Worker`), so what they claim they have found through the cursor alone.
"""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker


def test_a_job_that_commits_after_younger_ones_were_claimed_is_claimed(
    session: Session, open_session: OpenSession, worker: Worker
):
    late = open_session()
    late.run("begin")
    (late_job,) = late.insert()
    (young_job,) = session.insert()
    assert worker.drain() == [young_job]
    late.run("commit")
    assert worker.drain() == [late_job]


def test_what_a_submitter_keeps_of_its_savepoints_is_claimed(
    session: Session, open_session: OpenSession, worker: Worker
):
    submitter = open_session()
    worker.claim()
    submitter.run("begin")
    submitter.run("savepoint undone")
    submitter.insert(2)
    submitter.run("rollback to undone")
    submitter.run("savepoint kept")
    kept = submitter.insert(3)
    submitter.run("release kept")
    session.pass_transactions(3)
    assert worker.claim() == []
    submitter.run("savepoint open")
    kept += submitter.insert(2)
    assert worker.claim() == []
    submitter.run("commit")
    assert worker.drain() == kept


def test_more_subtransactions_than_a_snapshot_can_hold_hide_nothing(
    session: Session, open_session: OpenSession, worker: Worker
):
    submitter = open_session()
    worker.claim()
    submitter.run("begin")
    kept: list[int] = []
    for n in range(150):
        submitter.run("savepoint step")
        inserted = submitter.insert()
        if n % 3 == 0:
            submitter.run("rollback to step")
        else:
            kept += inserted
        if n == 100:
            session.pass_transactions(2)
            assert worker.claim() == []
    session.pass_transactions(2)
    assert worker.claim() == []
    submitter.run("commit")
    assert worker.drain() == kept


def test_an_old_xid_may_submit_long_after_younger_jobs_are_gone(
    session: Session, open_session: OpenSession, worker: Worker
):
    old = open_session()
    old.begin_transaction_with_an_xid()
    session.pass_transactions(5)
    young = session.insert(3)
    assert worker.drain() == young
    session.pass_transactions(5)
    jobs = old.insert(2)
    assert worker.claim() == []
    old.run("commit")
    assert worker.drain() == jobs


def test_a_prepared_submission_is_claimed_once_it_is_committed(
    session: Session, open_session: OpenSession, worker: Worker
):
    submitter = open_session()
    worker.claim()
    submitter.run("begin")
    jobs = submitter.insert(2)
    session.pass_transactions(2)
    assert worker.claim() == []
    submitter.run("prepare transaction 'submission'")
    submitter.close()
    session.pass_transactions(1)
    assert worker.claim() == []
    session.run("commit prepared 'submission'")
    assert worker.drain() == jobs


def test_a_claim_rolled_back_is_forgotten_by_the_cursor_too(worker: Worker):
    jobs = worker.insert(5)
    worker.run("begin")
    assert worker.claim() == jobs
    worker.run("rollback")
    assert worker.drain() == jobs


def test_a_claim_rolled_back_to_a_savepoint_is_forgotten_by_the_cursor_too(worker: Worker):
    jobs = worker.insert(5)
    worker.run("begin")
    worker.run("savepoint before")
    assert worker.claim() == jobs
    worker.run("rollback to before")
    worker.run("commit")
    assert worker.drain() == jobs


def test_a_claim_kept_by_its_savepoint_is_undone_with_its_transaction(worker: Worker):
    jobs = worker.insert(5)
    worker.run("begin")
    worker.run("savepoint kept")
    assert worker.claim(3) == jobs[:3]
    worker.run("release kept")
    assert worker.claim(1) == jobs[3:4]
    worker.run("rollback")
    assert worker.drain() == jobs


def test_two_claims_of_one_transaction_are_undone_together(worker: Worker):
    jobs = worker.insert(9)
    worker.run("begin")
    assert [worker.claim(2), worker.claim(3)] == [jobs[:2], jobs[2:5]]
    worker.run("rollback")
    assert worker.drain() == jobs


def test_a_claim_undone_by_an_exception_block_can_be_made_again(worker: Worker):
    jobs = worker.insert(5)
    worker.run("""
        do $$ begin
            perform from dtsched.claim(current_setting('test.worker')::uuid, 'default', 100);
            raise 'on second thoughts';
        exception when others then null;
        end $$
        """)
    assert worker.drain() == jobs


def test_claims_committed_and_rolled_back_within_one_procedure_are_told_apart(worker: Worker):
    jobs = worker.insert(5)
    worker.run("""
        do $$ declare v_worker uuid := current_setting('test.worker'); begin
            perform from dtsched.claim(v_worker, 'default', 3);
            rollback;
            perform from dtsched.claim(v_worker, 'default', 2);
            commit;
            perform from dtsched.claim(v_worker, 'default', 1);
            rollback;
        end $$
        """)
    assert worker.drain() == jobs[2:]


def test_a_caller_with_settings_of_its_own_neither_loses_nor_keeps_the_cursor_wrongly(worker: Worker):
    worker.run("""
        create function public.claim_inside() returns bigint language plpgsql
        set search_path = pg_catalog set work_mem = '1MB'
        as $$ begin
            return (select count(*) from dtsched.claim(current_setting('test.worker')::uuid, 'default', 100));
        end $$
        """)
    jobs = worker.insert(5)
    worker.run("begin")
    assert worker.value("select public.claim_inside()") == 5
    worker.run("rollback")
    assert worker.drain() == jobs
    worker.insert(2)
    assert worker.value("select public.claim_inside()") == 2
    later = worker.insert(2)
    assert worker.drain() == later


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_claim_outside_of_read_committed_is_refused(worker: Worker, open_session: OpenSession, level: str):
    worker.run("select set_config('default_transaction_isolation', %s, false)", level)
    worker.run("begin")
    worker.run("select from dtsched.ready")
    jobs = open_session().insert(3)
    with pytest.raises(psycopg.errors.InvalidTransactionState, match=f"needs READ COMMITTED, .* is {level.upper()}"):
        worker.claim()
    worker.run("rollback")
    worker.run("reset default_transaction_isolation")
    assert worker.drain() == jobs


def test_a_refused_claim_beside_another_claimer_loses_nothing(worker: Worker, open_worker: OpenWorker):
    rival = open_worker()
    jobs = rival.insert(10)
    worker.run("begin isolation level repeatable read")
    worker.run("select from dtsched.ready")
    assert rival.claim(5) == jobs[:5]
    with pytest.raises(psycopg.errors.InvalidTransactionState):
        worker.claim()
    worker.run("rollback")
    assert worker.drain() == jobs[5:]


def test_jobs_submitted_after_a_claim_in_the_same_transaction_are_found(session: Session, worker: Worker):
    """Its own xid was drawn early: what it submits lies below the head that its own claim has moved."""
    worker.begin_transaction_with_an_xid()
    session.pass_transactions(3)
    assert worker.claim() == []
    jobs = worker.insert(2)
    worker.run("commit")
    assert worker.drain() == jobs


@pytest.mark.parametrize("claims", [1, 2])
def test_jobs_submitted_by_the_transaction_that_claims_are_found(session: Session, worker: Worker, claims: int):
    first = worker.insert(2)
    worker.run("begin")
    claimed = [job for _ in range(claims) for job in worker.claim(2 // claims)]
    assert claimed == first
    session.pass_transactions(3)
    jobs = worker.insert(2)
    worker.run("commit")
    assert worker.drain() == jobs


def test_a_smaller_id_of_an_older_open_transaction_is_not_passed_by_ones_own_job(
    open_session: OpenSession, worker: Worker
):
    older = open_session()
    worker.claim()
    older.run("begin")
    (old_job,) = older.insert()
    worker.run("begin")
    (own_job,) = worker.insert()
    assert worker.claim(1) == [own_job]
    worker.run("commit")
    older.run("commit")
    assert worker.drain() == [old_job]


def test_a_job_put_back_and_claimed_again_in_one_call_does_not_hide_an_older_one(
    open_session: OpenSession, worker: Worker
):
    """work() retries a job without delay and claims it again at once, with its limit reached."""
    older = open_session()
    (retried,) = worker.insert()
    assert worker.claim() == [retried]
    older.run("begin")
    (old_job,) = older.insert()
    claimed = worker.column(
        """
        select job_id
        from dtsched.work(%s, '{}', null, jsonb_build_array(jsonb_build_object(
            'lease', %s::bigint, 'outcome', 'retry', 'delay', 0)), 'default', 1)
        """,
        worker.id,
        worker.leases[retried],
    )
    assert claimed == [retried]
    older.run("commit")
    assert worker.drain() == [old_job]


def test_two_claims_in_one_query_take_different_jobs(worker: Worker):
    jobs = worker.insert(6)
    claimed = worker.column("""
        select job_id from dtsched.claim(current_setting('test.worker')::uuid, 'default', 2)
        union all
        select job_id from dtsched.claim(current_setting('test.worker')::uuid, 'default', 3)
        """)
    assert claimed == jobs[:5]
    assert worker.drain() == jobs[5:]
