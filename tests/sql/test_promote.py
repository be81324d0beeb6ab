"""Promoting what has come due: once, in order, whoever else does it, and however late a submission commits."""

from __future__ import annotations

import pytest

from tests.sql.conftest import OpenSession
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker


@pytest.fixture
def promoter(open_session: OpenSession) -> Session:
    """Promotes without sweeping, on a clock that the test owns."""
    promoter = open_session()
    promoter.take_over_the_clock()
    promoter.run("set dtsched.sweep = '86400'")
    return promoter


def submit_later(session: Session, delay: str = "1 min") -> int:
    return session.value("select dtsched.submit('echo', delay => %s::interval)", delay)


def promote(promoter: Session, limit: int = 1000) -> int:
    return promoter.value("select promoted from dtsched.promote(%s)", limit)


def sweep(promoter: Session) -> int:
    promoter.run("set dtsched.sweep = '0'")
    try:
        return promote(promoter)
    finally:
        promoter.run("set dtsched.sweep = '86400'")


def test_a_job_is_promoted_when_it_is_due_and_not_before(promoter: Session, worker: Worker):
    job = submit_later(promoter)
    promoter.travel("59 s")
    assert promote(promoter) == 0
    promoter.travel("1 s")
    assert promote(promoter) == 1
    assert promoter.state(job) == "ready"
    assert promoter.value("select count(*) from dtsched.scheduled") == 0
    assert worker.drain() == [job]


def test_promote_says_when_the_next_job_is_due(promoter: Session):
    next_seconds = "select next_seconds from dtsched.promote(1)"
    assert promoter.value(next_seconds) is None
    submit_later(promoter, "1 min")
    submit_later(promoter, "2 min")
    assert 58 < promoter.value(next_seconds) <= 60
    promoter.travel("3 min")
    assert promoter.value(next_seconds) == 0
    assert promoter.value(next_seconds) == 0
    assert promoter.value(next_seconds) is None


def test_the_oldest_go_first_and_a_limit_leaves_the_rest_for_the_next_call(promoter: Session):
    jobs = [submit_later(promoter, f"{10 - n} s") for n in range(10)]
    promoter.travel("1 min")
    assert [promote(promoter, 4), promoter.column("select job_id from dtsched.ready order by 1")] == [4, jobs[6:]]
    assert [promote(promoter, 4), promote(promoter, 4), promote(promoter, 4)] == [4, 2, 0]


def test_a_job_that_commits_after_later_ones_were_promoted_is_promoted(open_session: OpenSession, promoter: Session):
    late = open_session()
    late.run("begin")
    job = submit_later(late, "1 s")
    submit_later(promoter, "10 s")
    promoter.travel("1 min")
    assert promote(promoter) == 1
    late.run("commit")
    assert promote(promoter) == 1
    assert promoter.state(job) == "ready"


def test_a_job_submitted_after_a_promotion_for_a_time_before_it_is_promoted(promoter: Session):
    """The retry of a job may come due before the mark up to which a promoter has been."""
    submit_later(promoter, "1 s")
    promoter.travel("1 min")
    assert promote(promoter) == 1
    promoter.travel("-30 s")
    job = submit_later(promoter, "1 s")
    promoter.travel("30 s")
    assert promote(promoter) == 1
    assert promoter.state(job) == "ready"


def test_a_job_scheduled_by_the_transaction_that_promotes_is_promoted_later(promoter: Session):
    submit_later(promoter)
    promoter.travel("2 min")
    promoter.run("begin")
    assert promote(promoter) == 1
    job = submit_later(promoter, "1 s")
    promoter.run("commit")
    promoter.travel("1 min")
    assert promote(promoter) == 1
    assert promoter.state(job) == "ready"


def test_a_promotion_rolled_back_is_forgotten_by_the_cursor_too(promoter: Session):
    submit_later(promoter)
    promoter.travel("2 min")
    promoter.run("begin")
    assert promote(promoter) == 1
    promoter.run("rollback")
    assert promote(promoter) == 1


def test_what_a_rival_locked_and_rolled_back_is_swept_up(open_session: OpenSession, promoter: Session):
    submit_later(promoter)
    promoter.travel("2 min")
    rival = open_session()
    rival.run("begin")
    assert promote(rival) == 1
    assert promote(promoter) == 0
    rival.run("rollback")
    assert promote(promoter) == 0
    assert sweep(promoter) == 1


def test_a_job_row_that_somebody_holds_stays_for_the_next_round(open_session: OpenSession, promoter: Session):
    held, free = submit_later(promoter), submit_later(promoter)
    promoter.travel("2 min")
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    promoter.run("set lock_timeout = '1ms'")
    assert promote(promoter) == 1
    assert promoter.state(free) == "ready"
    holder.run("rollback")
    assert promote(promoter) == 1


def test_more_jobs_held_than_the_limit_do_not_keep_the_others_from_being_promoted(
    open_session: OpenSession, promoter: Session
):
    """Neither those above the mark nor those that came late, below it."""
    late, holder = open_session(), open_session()
    late.run("begin")
    held = [submit_later(late, "1 s") for _ in range(5)]
    held += [submit_later(promoter, "2 s") for _ in range(5)]
    free = [submit_later(promoter, "3 s") for _ in range(3)]
    promoter.travel("1 min")
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = any (%s) for update", held[5:])
    assert sum(promote(promoter, 5) for _ in range(3)) == 3
    assert [promoter.state(job) for job in free] == ["ready"] * 3
    late.run("commit")
    holder.run("select from dtsched.jobs where id = any (%s) for update", held[:5])
    new = submit_later(promoter, "1 s")
    promoter.travel("1 min")
    assert sum(promote(promoter, 5) for _ in range(3)) == 1
    assert promoter.state(new) == "ready"
    holder.run("commit")
    assert sweep(promoter) == 10


def test_the_entry_of_a_cancelled_job_is_dropped(promoter: Session):
    job = submit_later(promoter)
    promoter.run("select dtsched.cancel(%s)", job)
    promoter.travel("2 min")
    assert promote(promoter) == 0
    assert promoter.value("select count(*) from dtsched.scheduled") == 0
    assert promoter.state(job) == "cancelled"


def test_an_entry_for_another_time_than_the_jobs_own_is_dropped(promoter: Session):
    job = submit_later(promoter, "1 hour")
    promoter.run("insert into dtsched.scheduled (run_at, job_id) values (dtsched.now(), %s)", job)
    assert promote(promoter) == 0
    assert promoter.state(job) == "scheduled"
    promoter.travel("1 hour")
    assert promote(promoter) == 1


def test_many_promoters_promote_each_job_once(open_session: OpenSession, promoter: Session):
    promoter.run("select dtsched.trace(true)")
    promoter.run("""
        insert into dtsched.jobs (task, run_at)
        select 'echo', now() + n * interval '1 ms' from generate_series(30001, 33000) n
        """)
    promoter.travel("1 hour")
    promoters = [open_session() for _ in range(4)]

    def promote_all(session: Session) -> None:
        while session.value("select next_seconds from dtsched.promote(50)") is not None:
            pass

    in_parallel(*(lambda session=session: promote_all(session) for session in promoters))
    assert sweep(promoter) == 0
    assert promoter.rows("""
        select from_state, to_state, count(*), count(distinct job_id)
        from dtsched.job_events
        group by 1, 2
        order by 3, 1
        """) == [
        ("scheduled", "ready", 3000, 3000),
        (None, "scheduled", 3000, 3000),
    ]
