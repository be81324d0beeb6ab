"""What the hot functions read: no whole table, no dead head of a lane twice; and that jobs are updated in place."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker

HOT_TABLES = re.compile(r"Seq Scan on (jobs|ready|leases|scheduled|keys|blocked|dependencies|parked|job_logs)")


@contextlib.contextmanager
def plans(session: Session) -> Generator[list[str]]:
    """Collects the plan of every statement that runs meanwhile, those inside of functions and triggers included."""
    found: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if "Query Text" in (message := notice.message_primary or ""):
            found.append(message)

    session.run("load 'auto_explain'")
    session.run("set auto_explain.log_min_duration = 0")
    session.run("set auto_explain.log_nested_statements = on")
    session.run("set client_min_messages = log")
    session.connection.add_notice_handler(note)
    yield found
    session.connection.remove_notice_handler(note)
    session.run("set auto_explain.log_min_duration = -1")
    session.run("reset client_min_messages")


def sequential_scans(found: list[str]) -> list[str]:
    return [plan for plan in found if HOT_TABLES.search(plan)]


def insert_many(session: Session, count: int) -> None:
    session.run("insert into dtsched.jobs (task) select 'echo' from generate_series(1, %s)", count)


def buffers(session: Session, statement: str, *values: object) -> int:
    """How many pages a statement touches; it runs."""
    explain = f"explain (analyze, buffers, format json) {statement}".encode()
    (plan,) = session.connection.execute(explain, values).fetchone() or ([],)
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def buffers_of_a_claim(worker: Worker) -> int:
    return buffers(worker, "select from dtsched.claim(%s, 'default', 100)", worker.id)


def entries_read(session: Session, index: str, action: Callable[[], object]) -> int:
    """How many entries of an index an action of this session reads, dead ones included."""

    def read_so_far() -> int:
        session.run("select pg_stat_force_next_flush()")
        return session.value("select pg_stat_get_tuples_returned(%s::regclass)", index)

    before = read_so_far()
    action()
    return read_so_far() - before


@pytest.fixture
def pinned(open_session: OpenSession) -> None:
    """Somebody's old snapshot: nothing that dies from now on can be removed."""
    pin = open_session()
    pin.run("begin isolation level repeatable read")
    pin.run("select pg_current_xact_id()")


def call_every_function(worker: Worker) -> None:
    worker.run("select dtsched.submit('echo', key => 'k' || clock_timestamp(), depends_on => %s)", worker.insert())
    worker.run("select dtsched.submit('echo', delay => '1 ms')")
    jobs = worker.claim(10)
    said = {"lease": worker.leases[jobs[0]], "progress": {"percent": 1}, "lines": [{"message": "x"}]}
    worker.run("select dtsched.report(%s, %s)", worker.id, Jsonb([said]))
    worker.run("select dtsched.list_logs(%s)", jobs[0])
    worker.finish(*jobs[:2])
    worker.rows("select dtsched.finish(%s, %s, %s)", worker.id, [worker.leases[jobs[2]]], Jsonb([{"much": "x" * 1000}]))
    worker.finish_as("retry", *jobs[3:4], delay=0.001)
    worker.finish_as("fail", *jobs[4:5])
    worker.rows("select * from dtsched.work(%s, %s, null, null, 'default', 2)", worker.id, [worker.leases[jobs[5]]])
    worker.sweep(2)
    worker.run("select dtsched.cancel(%s)", jobs[6:8])
    worker.release(never_started=jobs[8:9], started=jobs[9:10])
    worker.run("select dtsched.promote()")
    worker.rescue()
    worker.run("select dtsched.reconcile(%s, '{}', 0)", worker.id)
    worker.renew()
    worker.run("select dtsched.job(%s)", jobs[0])


def test_no_hot_function_reads_a_whole_table_of_200_000_jobs(session: Session, open_worker: OpenWorker):
    """Nor does it where its plans were made on an empty database, on a full one or on an analysed one."""
    planned_on_an_empty_database = open_worker()
    session.insert(20)
    call_every_function(planned_on_an_empty_database)
    insert_many(session, 200_000)
    session.run("""
        insert into dtsched.jobs (task, key, run_at)
        select 'echo', 'key ' || n, now() + interval '1 day' from generate_series(1, 20000) n
        """)
    planned_on_a_full_one = open_worker()
    for worker in (planned_on_a_full_one, planned_on_an_empty_database):
        assert sequential_scans(plans_of_every_function(worker)) == []
    session.run("analyze")
    assert sequential_scans(plans_of_every_function(open_worker())) == []


def plans_of_every_function(worker: Worker) -> list[str]:
    with plans(worker) as found:
        call_every_function(worker)
    assert len(found) > 50
    return found


@pytest.mark.usefixtures("pinned")
def test_a_claim_does_not_walk_again_what_was_consumed_under_a_pinned_xmin(
    session: Session, open_worker: OpenWorker, worker: Worker
):
    insert_many(session, 50_000)
    session.run("analyze")
    while jobs := worker.claim(2000):
        worker.finish(*jobs)
    session.run("analyze")
    insert_many(session, 300)
    newcomer = open_worker()
    ready = "dtsched.ready_pkey"
    assert entries_read(newcomer, ready, newcomer.claim) > 50_000  # that is what the cursor spares
    assert entries_read(worker, ready, worker.claim) < 1_000
    assert entries_read(worker, ready, worker.claim) < 1_000
    with plans(worker) as found:
        insert_many(session, 10)
        assert len(worker.claim()) == 10
        worker.claim()
    assert sequential_scans(found) == []


@pytest.mark.usefixtures("pinned")
def test_a_promotion_does_not_walk_again_what_was_promoted_under_a_pinned_xmin(
    session: Session, open_session: OpenSession
):
    promoter, newcomer = open_session(), open_session()
    promoter.run("set dtsched.sweep = '86400'")
    session.take_over_the_clock()
    session.run("""
        insert into dtsched.jobs (task, run_at) select 'echo', now() + interval '1 min' from generate_series(1, 20000)
        """)
    session.travel("2 min")
    while promoter.value("select promoted from dtsched.promote(5000)"):
        pass
    session.run("analyze")
    session.run("""
        insert into dtsched.jobs (task, run_at)
        select 'echo', dtsched.now() + n * interval '1 s' from generate_series(1, 40) n
        """)
    scheduled = "dtsched.scheduled_pkey"
    session.travel("20 s")
    assert entries_read(promoter, scheduled, lambda: promoter.rows("select * from dtsched.promote()")) < 1_000
    session.travel("1 min")
    newcomers = entries_read(newcomer, scheduled, lambda: newcomer.rows("select * from dtsched.promote()"))
    assert newcomers > 20_000  # that is what the cursor spares


@pytest.mark.usefixtures("pinned")
def test_a_finish_and_a_rescue_do_not_walk_dead_leases(session: Session, worker: Worker):
    insert_many(session, 20_000)
    while jobs := worker.claim(2000):
        worker.finish(*jobs)
    insert_many(session, 100)
    jobs = worker.claim()
    session.run("update dtsched.workers set unbroken_since = now() - interval '1 day'")
    for index in ("dtsched.leases_pkey", "dtsched.leases_worker_idx"):
        assert entries_read(worker, index, worker.rescue) < 1_000
    assert entries_read(worker, "dtsched.leases_pkey", lambda: worker.finish(*jobs[:50])) < 1_000
    assert entries_read(worker, "dtsched.leases_worker_idx", lambda: worker.finish(*jobs[50:])) < 1_000


def test_no_finish_compares_each_of_its_leases_with_each(session: Session, worker: Worker):
    """Nor does one whose plans were made when there were few."""

    def finish(count: int) -> list[str]:
        insert_many(session, 2 * count)
        leases = [worker.leases[job] for job in worker.claim(2 * count)]
        results = Jsonb([{"n": n} for n in range(count)])
        failed = Jsonb([{"lease": lease, "outcome": "fail"} for lease in leases[count:]])
        with plans(worker) as found:
            worker.run("set auto_explain.log_analyze = on")
            worker.run("select dtsched.finish(%s, %s, %s)", worker.id, leases[:count], results)
            worker.run("select dtsched.finish(%s, '{}', null, %s)", worker.id, failed)
        return found

    finish(1)
    session.run("vacuum analyze dtsched.leases")
    compared = [re.findall(r"Rows Removed by Join Filter: (\d+)", plan) for plan in (finish(1), finish(200))[1]]
    assert sum(int(rows) for found in compared for rows in found) < 2_000
    assert session.value("select count(*) from dtsched.jobs where finished_at is not null") == 404


@pytest.mark.usefixtures("pinned")
def test_a_renewal_does_not_walk_dead_leases(session: Session, worker: Worker):
    insert_many(session, 20_000)
    while jobs := worker.claim(2000):
        worker.finish(*jobs)
    assert entries_read(worker, "dtsched.leases_worker_idx", worker.renew) < 1_000
    assert entries_read(worker, "dtsched.leases_cancel_idx", worker.renew) < 1_000


def test_a_sweep_does_not_walk_again_what_was_consumed_beside_an_open_transaction_that_writes(
    session: Session, open_session: OpenSession, worker: Worker
):
    session.run("alter table dtsched.ready set (autovacuum_enabled = off)")
    worker.claim()
    open_session().begin_transaction_with_an_xid()
    insert_many(session, 20_000)
    while worker.claim(2000):
        pass
    worker.sweep()
    assert entries_read(worker, "dtsched.ready_pkey", worker.sweep) < 1_000


def test_a_claim_of_parked_jobs_reads_about_as_many_as_it_takes(session: Session, open_worker: OpenWorker):
    session.run("insert into dtsched.jobs (task) select 'resize' from generate_series(1, 20000)")
    stranger = open_worker(tasks=["echo"])
    while session.value("select count(*) from dtsched.parked") < 20_000:
        stranger.claim(1000)
    session.run("analyze")
    for tasks in (["echo", "resize"], None):
        worker = open_worker(tasks=tasks)
        assert entries_read(worker, "dtsched.parked_task_idx", lambda worker=worker: worker.claim(10)) < 1_000


def test_open_transactions_and_those_that_have_just_ended_cost_a_claim_little(
    session: Session, open_session: OpenSession, worker: Worker
):
    """A thousand transactions that have ended since the last claim are probed once; those still open not at all."""
    insert_many(session, 20_000)
    while jobs := worker.claim(2000):
        worker.finish(*jobs)
    session.run("analyze")
    submitters = [open_session() for _ in range(30)]
    for submitter in submitters:
        submitter.begin_transaction_with_an_xid()
    session.pass_transactions(1000)
    worker.claim()
    assert buffers_of_a_claim(worker) < 500
    worker.run("""
        select set_config(
            name, regexp_replace(current_setting(name), '^([^;]*;[^;]*;)[^;]*', '\\1' || ended.xids), false)
        from (select 'dtsched.cursor_' || md5('default') as name) cursor,
            (select string_agg(xid::text, ',') as xids
             from generate_series(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000,
                                  pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1) xid) ended
        """)
    assert buffers_of_a_claim(worker) < 60 * 1000
    assert buffers_of_a_claim(worker) < 500


def test_checking_the_invariants_asks_for_the_retentions_once_and_not_for_each_job(session: Session, worker: Worker):
    insert_many(session, 300)
    worker.finish(*worker.claim(300))
    session.run("select dtsched.prune()")
    session.run("set track_functions = 'all'")
    assert session.rows("select * from dtsched.check()") == []
    session.run("select pg_stat_force_next_flush()")
    calls = (
        "select sum(calls) from pg_stat_user_functions where schemaname = 'dtsched' and funcname = 'retention_digest'"
    )
    assert session.value(calls) == 1


def test_at_least_80_percent_of_the_updates_of_jobs_are_hot(session: Session, worker: Worker):
    session.run("""
        insert into dtsched.jobs (task, args)
        select 'echo', jsonb_build_object('text', repeat('x', 188)) from generate_series(1, 20000)
        """)
    while jobs := worker.claim(200):
        worker.finish(*jobs)
    worker.run("select pg_stat_force_next_flush()")
    updated, hot = session.rows("""
        select sum(n_tup_upd), sum(n_tup_hot_upd)
        from pg_stat_user_tables
        where schemaname = 'dtsched' and relname like 'jobs\\_%'
        """)[0]
    assert updated == 40_000
    assert hot / updated >= 0.8


def test_a_claim_and_a_finish_open_the_partition_of_their_jobs_alone(session: Session, worker: Worker):
    insert_many(session, 20)
    worker.finish(*worker.claim(10))
    with plans(worker) as found:
        worker.finish(*worker.claim(10))
    updates = [plan for plan in found if "Update on jobs job" in plan]
    assert [set(re.findall(r"jobs_\w+_pkey", plan)) for plan in updates] == [{"jobs_0_pkey"}] * 2
