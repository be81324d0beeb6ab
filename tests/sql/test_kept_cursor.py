"""A session that begins to claim goes on from where another one was: nothing is read twice, and nothing is missed."""

from __future__ import annotations

import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker

KEPT = "select cursor from dtsched.cursors where queue = 'default'"
READ = """
    select coalesce(sum(idx_tup_read), 0)::integer from pg_stat_user_indexes
    where schemaname = 'dtsched' and indexrelname = 'ready_pkey'"""
FORGET = "select set_config('dtsched.cursor_' || md5('default'), '', false)"
LONG_AGO = "update dtsched.cursors set kept_at = kept_at - interval '1 minute'"


def begin_anew(session: Session) -> None:
    """As in a new session."""
    session.run(FORGET)


def test_a_session_that_begins_does_not_read_what_others_have_consumed(open_session: OpenSession, worker: Worker):
    holder = open_session()
    holder.run("begin")
    holder.value("select pg_current_xact_id()")
    jobs = worker.insert(3000)
    assert len(worker.claim(3000)) == 3000
    (last,) = worker.insert()
    worker.run(LONG_AGO)
    begin_anew(worker)
    assert worker.claim() == [last]  # from the first cursor that was kept, which is before the 3,000
    worker.insert()
    begin_anew(worker)
    worker.run("select pg_stat_force_next_flush()")
    before = worker.value(READ)
    assert len(worker.claim()) == 1
    worker.run("select pg_stat_force_next_flush()")
    assert worker.value(READ) - before < len(jobs) / 10
    holder.run("rollback")


def test_what_commits_late_is_found_by_who_goes_on(open_session: OpenSession, open_worker: OpenWorker):
    first, second, late = open_worker(), open_worker(), open_session()
    late.run("begin")
    (job,) = late.insert()
    (early,) = first.insert()
    assert first.claim() == [early]
    before = first.value(KEPT)
    (early,) = first.insert()
    first.run(LONG_AGO)
    first.run("set dtsched.sweep = '0'")
    assert first.claim() == [early]
    assert first.value(KEPT) != before  # the marks that a sweep begins at are above the late one now
    late.run("commit")
    assert second.claim() == [job]


def test_what_was_passed_because_somebody_had_it_in_hand_is_found_by_who_goes_on(open_worker: OpenWorker):
    first, second, third = open_worker(), open_worker(), open_worker()
    first.insert()
    first.claim()
    before = first.value(KEPT)
    jobs = first.insert(2)
    second.run("begin")
    assert second.claim(1) == jobs[:1]
    first.run(LONG_AGO)
    first.run("set dtsched.sweep = '0'")
    assert first.claim() == jobs[1:]
    second.run("rollback")
    assert first.value(KEPT) != before
    assert third.claim() == jobs[:1]


def test_a_claim_that_is_rolled_back_leaves_nothing_for_others(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    (job,) = first.insert()
    first.run("begin")
    assert first.claim() == [job]
    first.run("rollback")
    assert second.column(KEPT) == []
    assert second.claim() == [job]


@pytest.mark.parametrize(
    "cursor",
    [
        "default;0;;" + ",".join(["1"] * 10) + ";" + ",".join(["0"] * 10) + ";" + ",".join(["1"] * 10),
        "nonsense",
        "",
    ],
)
def test_of_another_run_of_the_server_nothing_is_believed(worker: Worker, cursor: str):
    (job,) = worker.insert()
    heads = cursor.replace("1", worker.value("select pg_snapshot_xmax(pg_current_snapshot())::text"))
    worker.run(
        "insert into dtsched.cursors (queue, cursor, server_started_at) values ('default', %s, '2000-01-01')", heads
    )
    assert worker.claim() == [job]
    assert worker.value("select server_started_at = pg_postmaster_start_time() from dtsched.cursors")


def test_what_is_no_cursor_is_not_believed_either(worker: Worker):
    (job,) = worker.insert()
    worker.run(
        "insert into dtsched.cursors (queue, cursor, server_started_at)"
        " values ('default', 'nonsense', pg_postmaster_start_time())"
    )
    assert worker.claim() == [job]


def test_whoever_keeps_one_waits_for_nobody(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    jobs = first.insert(2)
    first.run("begin")
    assert first.claim(1) == jobs[:1]
    second.run("set lock_timeout = '1s'")
    assert second.claim() == jobs[1:]
    first.run("commit")


def test_a_claim_that_finds_nothing_writes_nothing(worker: Worker):
    worker.run("begin")
    assert worker.claim() == []
    assert worker.value("select pg_current_xact_id_if_assigned()") is None
    worker.run("commit")
    assert worker.column(KEPT) == []
