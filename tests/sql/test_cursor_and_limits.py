"""The lane cursor against limits, lanes, foreign entries and whatever happens to its session and its table.

The workers here never sweep (see `Worker`), so what they claim they have found through the cursor alone.
"""

from __future__ import annotations

import random

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker


def test_the_highest_priority_goes_first_and_the_oldest_within_one(session: Session, worker: Worker):
    jobs = {priority: session.insert(2, priority=priority) for priority in (5, 1, 10, 9)}
    assert worker.claim(3) == [*jobs[10], jobs[9][0]]
    assert worker.claim() == [jobs[9][1], *jobs[5], *jobs[1]]


@pytest.mark.parametrize("limit", [0, -1, None])
def test_a_claim_of_no_jobs_takes_none(worker: Worker, limit: int | None):
    jobs = worker.insert(2)
    assert worker.column("select job_id from dtsched.claim(%s, 'default', %s)", worker.id, limit) == []
    assert worker.claim() == jobs


def test_late_jobs_in_greater_number_than_the_limit_are_all_claimed(open_session: OpenSession, worker: Worker):
    submitters = [open_session() for _ in range(3)]
    for submitter in submitters:
        submitter.run("begin")
        submitter.insert(10)
    worker.pass_transactions(1)
    assert worker.drain() == []
    worker.insert(5)
    claimed: list[int] = []
    for submitter in submitters:
        submitter.run("commit")
        claimed += worker.claim(1)
    claimed += worker.drain(1)
    assert len(claimed) == len(set(claimed)) == 35


def test_late_jobs_of_every_lane_are_claimed_though_higher_lanes_use_up_the_limit(
    open_session: OpenSession, worker: Worker
):
    submitters = {priority: open_session() for priority in range(1, 11)}
    for priority, submitter in submitters.items():
        submitter.run("begin")
        submitter.insert(7, priority=priority)
    worker.pass_transactions(1)
    claimed = worker.drain()
    for priority in submitters:
        worker.insert(4, priority=priority)
    for submitter in reversed(submitters.values()):
        claimed += worker.claim(3)
        submitter.run("commit")
        claimed += worker.claim(2)
    claimed += worker.drain(1)
    assert len(claimed) == len(set(claimed)) == 110


@pytest.mark.parametrize("seed", range(3))
def test_changing_limits_beside_open_transactions_lose_and_double_nothing(
    open_session: OpenSession, worker: Worker, seed: int
):
    choose = random.Random(seed)
    submitters = [open_session() for _ in range(5)]
    submitted: list[int] = []
    claimed: list[int] = []
    for _ in range(40):
        for submitter in submitters:
            if submitter.connection.info.transaction_status == TransactionStatus.IDLE:
                submitter.run("begin")
            submitted += submitter.insert(choose.choice([1, 2, 30]), priority=choose.choice([1, 5, 9]))
            if choose.random() < 0.5:
                submitter.run("commit")
            claimed += worker.claim(choose.choice([0, 1, 2, 7, 100, -1]))
        if choose.random() < 0.2:
            worker.pass_transactions(3)
    for submitter in submitters:
        if submitter.connection.info.transaction_status == TransactionStatus.INTRANS:
            submitter.run("commit")
    claimed += worker.drain()
    assert sorted(claimed) == sorted(submitted)


def test_queues_have_cursors_of_their_own(worker: Worker, open_session: OpenSession):
    late = open_session()
    late.run("begin")
    late_job = late.insert(queue="mail")
    jobs = worker.insert(2)
    assert worker.claim(1) == jobs[:1]
    assert worker.claim(queue="mail") == []
    assert worker.claim() == jobs[1:]
    late.run("commit")
    assert worker.claim(queue="mail") == late_job


def test_a_job_that_comes_back_to_ready_is_claimed_though_its_id_is_small(worker: Worker):
    jobs = worker.insert(50)
    assert worker.drain() == jobs
    assert worker.finish_as("retry", jobs[3], delay=0) == [worker.leases[jobs[3]]]
    assert worker.drain() == [jobs[3]]


def test_a_session_reset_by_a_pooler_starts_afresh(worker: Worker):
    jobs = worker.insert(5)
    assert worker.claim(2) == jobs[:2]
    worker.run("discard all")
    assert worker.claim(1) == jobs[2:3]
    worker.run("begin")
    worker.run("reset all")
    assert worker.claim(1) == jobs[3:4]
    worker.run("rollback")
    assert worker.drain() == jobs[3:]


@pytest.mark.parametrize(
    "nonsense", ["", "x", ";;;", "default;1;1,2", "default;1;;" + ";".join(["99999999999999:0:0"] * 10)]
)
def test_a_cursor_that_somebody_else_wrote_is_thrown_away(worker: Worker, nonsense: str):
    jobs = worker.insert(3)
    worker.run("select set_config('dtsched.cursor_' || md5('default'), %s, false)", nonsense)
    assert worker.drain() == jobs


def test_a_cursor_of_another_queue_is_thrown_away(worker: Worker):
    worker.insert(3)
    worker.drain()
    jobs = worker.insert(2, queue="mail")
    worker.run("""
        select set_config('dtsched.cursor_' || md5('mail'), current_setting('dtsched.cursor_' || md5('default')), false)
        """)
    assert worker.claim(queue="mail") == jobs


def set_timeout(session: Session, milliseconds: int) -> None:
    """Sets the statement timeout, as often as it takes: the one before may cut off this very statement."""
    while True:
        try:
            session.run("select set_config('statement_timeout', %s, false)", f"{milliseconds}ms")
            return
        except psycopg.errors.QueryCanceled:
            continue


def test_a_claim_cut_off_by_a_timeout_takes_nothing_and_forgets_nothing(worker: Worker):
    jobs = worker.insert(10_000)
    claimed: list[int] = []
    cut_off = 0
    for milliseconds in [1, 2, 3, 5, 8, 12, 18, 25, 40, 60] * 2:
        set_timeout(worker, milliseconds)
        try:
            claimed += worker.claim(700)
        except psycopg.errors.QueryCanceled:
            cut_off += 1
    set_timeout(worker, 0)
    claimed += worker.drain(5000)
    assert cut_off > 0
    assert sorted(claimed) == jobs


def test_rewriting_the_table_beneath_the_cursor_loses_nothing(
    session: Session, open_session: OpenSession, worker: Worker
):
    jobs = session.insert(500)
    claimed = worker.claim(100)
    late = open_session()
    late.run("begin")
    jobs += late.insert(5)
    session.pass_transactions(1)
    claimed += worker.claim(100)
    late.run("commit")
    session.run("vacuum full dtsched.ready")
    claimed += worker.claim(50)
    session.run("reindex table dtsched.ready")
    session.run("alter table dtsched.ready add column surplus int default 7")
    claimed += worker.claim(50)
    session.run("cluster dtsched.ready using ready_pkey")
    session.run("alter table dtsched.ready drop column surplus")
    claimed += worker.drain()
    assert sorted(claimed) == jobs


def restore_entries(session: Session, jobs: list[int], xid: int) -> None:
    """Makes entries look as a dump of another cluster brings them."""
    session.run("update dtsched.ready entry set xid = %s::text::xid8 where entry.job_id = any (%s)", str(xid), jobs)


def test_entries_with_xids_ahead_of_this_cluster_hide_none_of_its_own(session: Session, worker: Worker):
    foreign = session.insert(5)
    restore_entries(
        session, foreign, session.value("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint") + 10**6
    )
    assert worker.claim(2) == foreign[:2]
    own = session.insert()
    assert sorted(worker.drain()) == foreign[2:] + own


def test_entries_with_xids_long_past_are_found_by_the_sweep_of_a_session_that_was_there_before(
    session: Session, worker: Worker
):
    session.insert(3)
    worker.drain()
    restored = session.insert()
    restore_entries(session, restored, 5)
    assert worker.drain() == []
    assert worker.sweep() == restored


def test_a_stale_or_doubled_entry_gives_nobody_a_job_twice(session: Session, worker: Worker):
    cancelled, doubled, plain = session.insert(3)
    assert session.value("select dtsched.cancel(%s)", cancelled) == "cancelled"
    session.run("insert into dtsched.ready (queue, priority, job_id) values ('default', 5, %s)", doubled)
    assert worker.drain() == [doubled, plain]
    assert session.column("select job_id from dtsched.leases order by 1") == [doubled, plain]
    assert session.value("select count(*) from dtsched.ready") == 0


def test_a_job_row_that_somebody_holds_delays_that_job_only(open_session: OpenSession, worker: Worker):
    jobs = worker.insert(10)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", jobs[0])
    worker.run("set lock_timeout = '1ms'")
    assert worker.claim(5) == jobs[1:6]
    assert worker.claim(5) == jobs[6:]
    holder.run("rollback")
    assert worker.drain() == jobs[:1]


@pytest.mark.parametrize("unclaimable", ["cancelled", "unknown"])
def test_a_claim_reads_on_past_entries_that_give_it_nothing(session: Session, worker: Worker, unclaimable: str):
    """A worker whose claim comes back empty goes to sleep: jobs behind must not wait for its polls. It reads on for a
    second at most, in which a busy machine does little: so there are few of them."""
    if unclaimable == "cancelled":
        session.run("select dtsched.cancel(array_agg(id)) from unnest(%s::bigint[]) id", session.insert(50))
    else:
        worker.tasks = ["echo"]
        session.insert(50, task="nobody_knows")
    jobs = session.insert(12)
    assert worker.claim(10) == jobs[:10]
    assert worker.claim(10) == jobs[10:]
