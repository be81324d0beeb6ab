"""The feed: what happens to jobs while somebody watches, each in exactly one of consecutive reads."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker


def watch(session: Session) -> str:
    """The `upto` from which on all is told."""
    assert session.value("select dtsched.watch_feed()") is not None
    return here(session)


def here(session: Session) -> str:
    return session.value("select upto from dtsched.read_feed(null)")


def read(session: Session, since: str | None, limit: int = 20_000) -> tuple[str, list[tuple[int, str]]]:
    """The next `upto`, and what has happened to which job."""
    (upto, told, *_), *rows = session.rows("select * from dtsched.read_feed(%s, null, %s)", since, limit)
    assert told
    return upto, [(job_id, event) for _, _, event, job_id, *_ in rows]


def is_told(session: Session, since: str | None) -> bool:
    rows = session.rows("select told, event from dtsched.read_feed(%s)", since)
    assert rows[0][0] or len(rows) == 1
    return rows[0][0]


@pytest.fixture
def watcher(open_session: OpenSession) -> Session:
    return open_session()


def test_nothing_is_written_while_nobody_watches(worker: Worker, watcher: Session):
    watch(watcher)
    watcher.run("select dtsched.unwatch_feed()")
    worker.insert(3)
    worker.finish(*worker.claim())
    assert worker.value("select count(*) from dtsched.feed") == 0


def test_all_that_happens_to_a_job_is_told_in_its_order(worker: Worker, watcher: Session):
    since = watch(watcher)
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("snooze", job)
    worker.claim()
    worker.finish_as("retry", job, delay=0)
    worker.claim()
    worker.release(started=[job])
    worker.claim()
    worker.finish_as("fail", job)
    worker.run("select dtsched.retry(%s)", job)
    worker.run("select dtsched.cancel(%s)", job)
    worker.run("select dtsched.retry(%s)", job)
    worker.claim()
    worker.finish(job)
    assert read(watcher, since)[1] == [
        (job, event)
        for event in (
            *("submitted", "started", "snoozed", "started", "retrying", "started", "handed_back", "started", "failed"),
            *("retried", "cancelled", "retried", "started", "completed"),
        )
    ]


def test_a_job_that_is_stopped_while_it_runs_is_told_once_as_cancelled(worker: Worker, watcher: Session):
    done, stopped = worker.insert(2)
    worker.claim()
    since = watch(watcher)
    worker.run("select dtsched.cancel(%s)", stopped)
    worker.finish(done, stopped)
    assert sorted(read(watcher, since)[1]) == [(done, "completed"), (stopped, "cancelled")]


def test_those_that_are_cancelled_with_a_parent_are_told(session: Session, watcher: Session):
    parent = session.value("select dtsched.submit('echo')")
    child = session.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    since = watch(watcher)
    session.run("select dtsched.cancel(%s)", parent)
    assert sorted(read(watcher, since)[1]) == [(parent, "cancelled"), (child, "cancelled")]


def test_a_commit_that_is_late_is_in_the_next_read_and_in_no_other(
    open_session: OpenSession, watcher: Session, session: Session
):
    since = watch(watcher)
    late = open_session()
    late.run("begin")
    (first,) = late.insert()
    (second,) = session.insert()
    since, told = read(watcher, since)
    assert told == [(second, "submitted")]
    session.pass_transactions(3)
    since, told = read(watcher, since)
    assert told == []
    (third,) = session.insert()
    late.run("commit")
    since, told = read(watcher, since)
    assert told == [(first, "submitted"), (third, "submitted")]
    assert read(watcher, since)[1] == []


def test_what_is_rolled_back_has_not_happened(open_session: OpenSession, watcher: Session):
    since = watch(watcher)
    other = open_session()
    other.run("begin")
    other.insert()
    other.run("savepoint a")
    other.insert()
    other.run("rollback to a")
    since, _ = read(watcher, since)
    other.run("rollback")
    assert read(watcher, since)[1] == []


def test_a_savepoint_is_told_with_its_transaction(open_session: OpenSession, watcher: Session):
    since = watch(watcher)
    other = open_session()
    other.run("begin")
    other.run("savepoint a")
    (job,) = other.insert()
    other.run("release savepoint a")
    since, told = read(watcher, since)
    assert told == []
    other.run("commit")
    assert read(watcher, since)[1] == [(job, "submitted")]


def test_a_transaction_that_writes_again_after_a_read_is_told_whole(open_session: OpenSession, watcher: Session):
    since = watch(watcher)
    other = open_session()
    other.run("begin")
    (first,) = other.insert()
    since, _ = read(watcher, since)
    (second,) = other.insert()
    other.run("commit")
    assert read(watcher, since)[1] == [(first, "submitted"), (second, "submitted")]


def test_any_session_goes_on_from_where_another_was(open_session: OpenSession, watcher: Session, session: Session):
    since = watch(watcher)
    watch(session)
    watcher.close()
    other = open_session()
    (job,) = other.insert()
    assert read(session, since)[1] == [(job, "submitted")]


def test_a_read_is_narrowed_to_what_an_earlier_one_has_seen(watcher: Session, session: Session):
    since = watch(watcher)
    (first,) = session.insert()
    upto, _ = read(watcher, since)
    session.insert()
    rows = watcher.rows("select job_id from dtsched.read_feed(%s, %s) where event is not null", since, upto)
    assert rows == [(first,)]


def test_the_time_before_anybody_watched_is_not_vouched_for(watcher: Session, session: Session):
    before = here(session)
    watch(watcher)
    assert not is_told(session, before)
    assert not is_told(session, None)


def test_a_gap_between_two_watchers_is_told(open_session: OpenSession, watcher: Session):
    since = watch(watcher)
    watcher.run("select dtsched.unwatch_feed()")
    assert is_told(watcher, since)  # nobody has begun anew, and nothing can be known
    again = open_session()
    watch(again)
    assert not is_told(again, since)


def test_a_transaction_that_was_open_before_anybody_watched_is_told_as_a_gap_when_it_ends(
    open_session: OpenSession, watcher: Session
):
    early = open_session()
    early.run("begin")
    early.insert()
    since = watch(watcher)
    assert is_told(watcher, since)
    later, _ = read(watcher, since)
    early.run("commit")
    assert not is_told(watcher, since)
    assert not is_told(watcher, later)
    assert is_told(watcher, here(watcher))


def test_two_that_begin_at_once_do_not_take_each_other_for_earlier_ones(open_session: OpenSession, watcher: Session):
    """The second is told to try again until the first is through."""
    watcher.run("begin")
    assert watcher.value("select dtsched.watch_feed()") is not None
    other = open_session()
    assert other.value("select dtsched.watch_feed()") is None
    watcher.run("commit")
    epoch = watcher.value("select epoch from dtsched.feed_watch")
    assert other.value("select dtsched.watch_feed()") == epoch


def test_a_watcher_that_failed_to_begin_holds_no_lock(open_session: OpenSession, watcher: Session, session: Session):
    session.run("begin")
    session.run("select * from dtsched.feed_watch for update")
    watcher.run("set lock_timeout = '10ms'")
    with pytest.raises(Exception, match="lock timeout"):
        watcher.run("select dtsched.watch_feed()")
    session.run("rollback")
    locks = "select count(*) from pg_locks where locktype = 'advisory' and objid = dtsched.feed_gate()::bigint::oid"
    assert session.value(locks) == 0


@pytest.mark.parametrize(
    "since",
    [
        *("", "x", "~", "12345678~", "12345678~1:2:", "{epoch}~", "{epoch}~1", "{epoch}~2:1:", "{epoch}~1:5:3,2"),
        *("{epoch}~1:9223372036854775807:", "{epoch}~9999999999999999999:9999999999999999999:", "{epoch}~1:2:3:4"),
        *("{epoch}~1:2:x", "{epoch} ~1:2:", "{epoch}~-1:2:", "{epoch}~1:3:,", "'; drop table dtsched.feed; --"),
    ],
)
def test_what_is_no_place_in_the_feed_is_not_vouched_for(watcher: Session, since: str):
    watch(watcher)
    assert not is_told(watcher, since.replace("{epoch}", watcher.value("select epoch from dtsched.feed_watch")))


def test_more_than_the_limit_is_told_by_one_row_more(watcher: Session, session: Session):
    since = watch(watcher)
    session.insert(5)
    assert len(read(watcher, since, 5)[1]) == 5
    assert len(read(watcher, since, 4)[1]) == 5


def test_after_ten_minutes_it_is_pruned_and_who_would_need_it_is_told(
    open_worker: OpenWorker, watcher: Session, session: Session
):
    session.take_over_the_clock()
    session.stop_the_clock()
    since = watch(watcher)
    session.insert(3)
    marked, _ = read(watcher, since)
    assert session.value("select dtsched.prune_feed()") == 0
    (later,) = session.insert()
    session.travel("599 s")
    assert session.value("select dtsched.prune_feed()") == 0
    assert len(read(watcher, since)[1]) == 4
    session.travel("1 s")
    assert session.value("select dtsched.prune_feed(2)") == 2
    assert not is_told(watcher, since)  # as soon as one of them may be gone
    assert session.value("select dtsched.prune_feed(2)") == 1
    assert session.value("select dtsched.prune_feed(2)") == 0
    assert read(watcher, marked)[1] == [(later, "submitted")]


def test_pruning_does_not_disturb_who_has_read_it_under_a_transaction_that_stays_open(
    open_session: OpenSession, watcher: Session, session: Session
):
    session.take_over_the_clock()
    watch(watcher)
    pin = open_session()
    pin.begin_transaction_with_an_xid()
    session.insert()
    since = here(watcher)
    session.run("select dtsched.prune_feed()")
    session.travel("11 minutes")
    assert session.value("select dtsched.prune_feed()") == 1
    (job,) = session.insert()
    assert read(watcher, since)[1] == [(job, "submitted")]


def test_what_was_not_committed_when_a_mark_was_set_is_not_pruned_with_it(
    open_session: OpenSession, watcher: Session, session: Session
):
    session.take_over_the_clock()
    watch(watcher)
    late = open_session()
    late.run("begin")
    (job,) = late.insert()
    session.insert()
    since = here(watcher)
    session.run("select dtsched.prune_feed()")
    late.run("commit")
    session.travel("11 minutes")
    assert session.value("select dtsched.prune_feed()") == 1
    assert read(watcher, since)[1] == [(job, "submitted")]


def test_what_came_with_a_dump_is_not_taken_for_what_happens_here(watcher: Session, session: Session):
    session.run("""
        insert into dtsched.feed (xid, event, job_id, queue, task, state, attempt)
        select (pg_current_xact_id()::text::bigint + 10)::text::xid8, 'started', 7, 'q', 't', 'running', 1
        """)
    session.run("update dtsched.feed_watch set pruned = '9000:9000:', since = '9000', epoch = '12345678'")
    since = watch(watcher)
    session.pass_transactions(20)
    (job,) = session.insert()
    assert read(watcher, since)[1] == [(job, "submitted")]


def test_a_watched_job_is_told_when_it_has_changed(worker: Worker):
    known = "select watched, version, state from dtsched.watched_jobs(%s, %s)"
    job, other = worker.insert(2)
    rows = {row[0]: row for row in worker.rows(known, [job, other, 999], [None] * 3)}
    assert {(watched, row[2]) for watched, row in rows.items()} == {(job, "ready"), (other, "ready"), (999, None)}
    versions = [rows[job][1], rows[other][1]]
    assert worker.rows(known, [job, other], versions) == []
    worker.claim(1)
    ((watched, version, state),) = worker.rows(known, [job, other], versions)
    assert (watched, state) == (job, "running")
    reports = Jsonb([{"lease": worker.leases[job], "progress": {"percent": 5}}])
    worker.run("select dtsched.report(%s, %s)", worker.id, reports)
    assert len(worker.rows(known, [job, other], [version, versions[1]])) == 1
