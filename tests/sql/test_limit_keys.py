"""Limit keys: never more at once than may be, in order, fair among keys, and no seat lost by whatever ends a lease."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker


def running(session: Session, key: str) -> int:
    return session.value("select count(*) from dtsched.leases where limit_key = %s", key)


def set_limit(session: Session, key: str, concurrency: int | None = None, rate: float | None = None) -> None:
    session.run("select dtsched.set_limit(%s, %s, %s)", key, concurrency, rate)


def test_jobs_of_a_key_run_one_at_a_time_and_in_order(worker: Worker):
    jobs = worker.insert_limited("acme", 3)
    for job in jobs:
        assert worker.claim() == [job]
        assert worker.claim() == []
        worker.finish(job)
    assert worker.claim() == []


def test_a_job_of_a_higher_priority_goes_first_within_its_key(worker: Worker):
    (low,) = worker.insert_limited("acme", priority=1)
    (high,) = worker.insert_limited("acme", priority=10)
    assert worker.claim() == [high]
    worker.finish(high)
    assert worker.claim() == [low]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_exactly_as_many_run_at_once_as_the_key_allows(limit: int, worker: Worker):
    set_limit(worker, "acme", limit)
    jobs = worker.insert_limited("acme", 10)
    assert worker.claim() == jobs[:limit]
    assert worker.claim() == []
    worker.finish(jobs[0])
    assert worker.claim() == [jobs[limit]]


def test_a_key_without_limits_of_its_own_has_those_of_its_queue(worker: Worker):
    worker.set_queue(key_limit=2)
    jobs = worker.insert_limited("acme", 3)
    assert worker.claim() == jobs[:2]
    set_limit(worker, "acme", 3)
    assert worker.claim() == jobs[2:]


def test_seats_are_counted_over_all_queues_and_workers(open_worker: OpenWorker, worker: Worker):
    other = open_worker(queues=["mail"])
    set_limit(worker, "acme", 2)
    (first,) = worker.insert_limited("acme")
    (second, third) = worker.insert_limited("acme", 2, queue="mail")
    assert worker.claim() == [first]
    assert other.claim(queue="mail") == [second]
    assert other.claim(queue="mail") == []
    worker.finish(first)
    assert other.claim(queue="mail") == [third]


def test_zero_at_once_holds_a_key(worker: Worker):
    set_limit(worker, "acme", 0)
    (job,) = worker.insert_limited("acme")
    assert worker.claim() == []
    set_limit(worker, "acme")
    assert worker.claim() == [job]


def test_a_limit_that_is_raised_or_lowered_holds_from_the_next_claim_on(worker: Worker):
    jobs = worker.insert_limited("acme", 6)
    assert worker.claim() == jobs[:1]
    worker.set_queue(key_limit=4)
    assert worker.claim() == jobs[1:4]
    worker.set_queue(key_limit=2)
    worker.finish(*jobs[:2])
    assert worker.claim() == []
    worker.finish(jobs[2])
    assert worker.claim() == [jobs[4]]


@pytest.mark.parametrize("outcome", ["retry", "fail", "snooze", "cancel"])
def test_every_outcome_frees_the_seat(outcome: str, worker: Worker):
    first, second = worker.insert_limited("acme", 2)
    assert worker.claim() == [first]
    worker.finish_as(outcome, first, delay=3600)
    assert worker.claim() == [second]


def test_a_job_that_is_tried_again_comes_before_those_after_it(worker: Worker):
    first, _ = worker.insert_limited("acme", 2)
    worker.claim()
    worker.finish_as("retry", first, delay=0)
    assert worker.claim() == [first]


def test_a_batch_of_outcomes_frees_all_its_seats(worker: Worker):
    jobs = [worker.insert_limited(key, 2) for key in ("a", "b", "c")]
    firsts = [job for job, _ in jobs]
    assert sorted(worker.claim()) == firsts
    leases = [worker.leases[job] for job in firsts]
    worker.run(
        "select dtsched.finish(%s, %s, null, jsonb_build_array(jsonb_build_object('lease', %s, 'outcome', 'fail')))",
        worker.id,
        leases[:2],
        leases[2],
    )
    assert sorted(worker.claim()) == [job for _, job in jobs]


def test_a_seat_comes_free_when_its_worker_is_lost(session: Session, open_worker: OpenWorker, worker: Worker):
    session.take_over_the_clock()
    lost = open_worker(lease="1 s")
    first, second = session.insert_limited("acme", 2)
    assert lost.claim() == [first]
    session.travel("2 s")
    assert worker.claim() == []
    session.run("update dtsched.workers set unbroken_since = '-infinity' where id = %s", worker.id)
    assert worker.rescue() == [first]
    assert worker.claim() == [first]
    worker.finish(first)
    assert worker.claim() == [second]


def test_a_seat_comes_free_when_a_job_is_handed_back(worker: Worker):
    first, second = worker.insert_limited("acme", 2)
    assert worker.claim() == [first]
    worker.release(never_started=[first])
    assert worker.claim() == [first]
    worker.release(started=[first])
    assert worker.claim() == [first]
    worker.finish(first)
    assert worker.claim() == [second]


def test_cancelled_jobs_that_waited_for_a_seat_are_passed_over(worker: Worker):
    jobs = worker.insert_limited("acme", 100)
    worker.claim()
    worker.run("select * from dtsched.cancel(%s)", jobs[1:99])
    worker.finish(jobs[0])
    assert worker.claim(1) == [jobs[99]]


def test_a_cancelled_job_that_is_retried_waits_for_its_seat_again(worker: Worker):
    first, second = worker.insert_limited("acme", 2)
    worker.claim()
    worker.run("select * from dtsched.cancel(array[%s::bigint])", second)
    worker.run("select * from dtsched.retry(array[%s::bigint])", second)
    assert worker.claim() == []
    worker.finish(first)
    assert worker.claim() == [second]


def test_a_deleted_job_does_not_take_the_turn_of_its_key_with_it(worker: Worker):
    first, second = worker.insert_limited("acme", 2)
    worker.run("select * from dtsched.delete(array[%s::bigint])", first)
    assert worker.claim() == [second]


def test_a_job_that_comes_due_waits_for_a_seat(worker: Worker):
    worker.take_over_the_clock()
    (first,) = worker.insert_limited("acme")
    second, third = worker.column(
        "select dtsched.submit('echo', limit_key => 'acme', delay => '1 min') from generate_series(1, 2)"
    )
    worker.travel("1 min")
    worker.run("select * from dtsched.promote()")
    worker.run("select * from dtsched.renew(%s)", worker.id)
    for job in (first, second, third):
        assert worker.claim() == [job]
        worker.finish(job)


def test_a_released_child_waits_for_a_seat(worker: Worker):
    (parent,) = worker.insert()
    first, second = worker.column(
        """
        select dtsched.submit('echo', limit_key => 'acme', depends_on => array[%s::bigint])
        from generate_series(1, 2)
        """,
        parent,
    )
    assert worker.claim() == [parent]
    worker.finish(parent)
    assert worker.claim() == [first]
    assert worker.claim() == []
    worker.finish(first)
    assert worker.claim() == [second]


def test_a_job_whose_task_no_claimer_knows_does_not_hold_up_its_key(open_worker: OpenWorker):
    knowing, other = open_worker(tasks=["rare"]), open_worker(tasks=["echo"])
    rare = other.value("insert into dtsched.jobs (task, limit_key) values ('rare', 'acme') returning id")
    (common,) = other.insert_limited("acme")
    assert other.claim() == [common]
    assert knowing.claim() == []
    other.finish(common)
    assert knowing.claim() == [rare]
    assert knowing.claim() == []


def test_jobs_without_a_key_and_with_one_share_a_claim(worker: Worker):
    plain = worker.insert(20)
    worker.set_queue(key_limit=100)
    limited = worker.insert_limited("acme", 20)
    assert sorted(worker.claim(10)) == [*plain[:5], *limited[:5]]
    assert sorted(worker.claim(40)) == [*plain[5:], *limited[5:]]


def test_a_claim_of_one_takes_from_both_in_the_end(worker: Worker):
    plain = worker.insert(30)
    worker.set_queue(key_limit=100)
    limited = worker.insert_limited("acme", 30)
    claimed = [job for _ in range(30) for job in worker.claim(1)]
    assert len(claimed) == 30
    assert set(claimed) & set(plain)
    assert set(claimed) & set(limited)


def test_a_higher_priority_goes_before_a_limited_job_of_a_lower_one(worker: Worker):
    limited = worker.insert_limited("acme", priority=4)
    plain = worker.insert(3, priority=5)
    assert worker.claim(3) == plain
    assert worker.claim(3) == limited


def test_every_key_starts_one_before_any_starts_another(worker: Worker):
    """One key floods, a hundred have one each: all hundred are among the first that start."""
    worker.set_queue(key_limit=1000)
    flood = worker.insert_limited("flood", 5000)
    small = [job for n in range(100) for job in worker.insert_limited(f"small-{n}")]
    started = [job for _ in range(21) for job in worker.claim(10)]
    assert set(small) <= set(started)
    assert len(set(flood) & set(started)) == 110


def insert_of_many_keys(worker: Worker, keys: int, each: int, *, seats: int) -> dict[int, str]:
    worker.run("select dtsched.set_limit('key-' || n, %s) from generate_series(0, %s) n", seats, keys - 1)
    jobs = {job: f"key-{n}" for n in range(keys) for job in worker.insert_limited(f"key-{n}", each)}
    assert len(jobs) == keys * each
    return jobs


def test_large_claims_in_quick_succession_take_several_jobs_of_fewer_keys_but_of_16_at_least(worker: Worker):
    """Where keys have many seats; after a pause each key has its one again before any has its next."""
    jobs = insert_of_many_keys(worker, 100, 10, seats=10)
    assert len({jobs[job] for job in worker.claim(100)}) == 100
    for _ in range(3):
        worker.finish(*worker.claim(100))
    claimed = worker.claim(100)
    assert len(claimed) == 100
    assert 16 <= len({jobs[job] for job in claimed}) <= 32
    worker.run("set dtsched.turns = '2;1700000000'")
    assert len({jobs[job] for job in worker.claim(100)}) > 40


@pytest.mark.parametrize("learned", ["1", "8000", "nonsense"])
def test_whatever_a_session_has_learned_every_key_that_may_start_a_job_does(learned: str, worker: Worker):
    jobs = insert_of_many_keys(worker, 120, 2, seats=1)
    worker.run("select set_config('dtsched.turns', %s || ';' || extract(epoch from now())::bigint, false)", learned)
    assert {jobs[job] for job in worker.claim(100)} == {f"key-{n}" for n in range(100)}
    assert len(worker.claim(100)) == 20
    assert worker.claim(100) == []


def test_a_flood_submitted_one_by_one_keeps_nobody_waiting(worker: Worker):
    flood = [job for _ in range(300) for job in worker.insert_limited("flood")]
    (small,) = worker.insert_limited("small")
    assert worker.claim(10) == [flood[0], small]


def test_keys_take_turns_with_one_slot(worker: Worker):
    worker.set_queue(key_limit=1000)
    jobs = {key: worker.insert_limited(key, 3) for key in ("a", "b", "c")}
    started = [job for _ in range(9) for job in worker.claim(1)]
    assert started == [jobs[key][n] for n in range(3) for key in ("a", "b", "c")]


def test_a_claim_that_is_rolled_back_leaves_the_turn(worker: Worker):
    (job,) = worker.insert_limited("acme")
    worker.run("begin")
    assert worker.claim() == [job]
    worker.run("rollback")
    assert worker.claim() == [job]


def test_a_key_that_somebody_has_locked_keeps_its_turn(open_session: OpenSession, worker: Worker):
    holder = open_session()
    set_limit(worker, "acme", 1)
    (job,) = worker.insert_limited("acme")
    holder.run("begin")
    holder.run("select from dtsched.limits for update")
    assert worker.claim() == []
    holder.run("rollback")
    assert worker.claim() == [job]


def test_a_job_whose_row_somebody_holds_keeps_its_place(open_session: OpenSession, worker: Worker):
    holder = open_session()
    first, second = worker.insert_limited("acme", 2)
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", first)
    assert worker.claim() in ([], [second])
    holder.run("rollback")
    assert len(worker.drain()) == 1 or running(worker, "acme") == 1
    assert running(worker, "acme") == 1


def test_a_submission_that_commits_while_its_key_is_finished_is_not_left_behind(
    session: Session, open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    """The claim that meets the turn sees the seat as taken; the finish that frees it must see the job that waits."""
    claimer = open_worker()
    (first,) = session.insert_limited("acme")
    assert worker.claim() == [first]
    worker.run("begin")
    worker.finish(first)
    (second,) = session.insert_limited("acme")
    assert claimer.claim() == []
    worker.run("commit")
    assert claimer.drain() == [second]


def test_a_finish_waits_for_the_claim_that_counts_its_key(session: Session, open_worker: OpenWorker, worker: Worker):
    claimer = open_worker()
    (first,) = session.insert_limited("acme")
    assert worker.claim() == [first]
    (second,) = session.insert_limited("acme")
    claimer.run("begin")
    assert claimer.claim() == []  # at its limit: the turn is dropped
    finishing = Started(lambda: worker.finish(first))
    wait_until_blocked(session, worker)
    claimer.run("commit")
    finishing.join()
    assert claimer.claim() == [second]


def test_a_wake_that_is_being_taken_away_is_not_relied_on(open_session: OpenSession, worker: Worker):
    # each start of a key with a rate leaves a wake, also where nothing waits: who takes that away gives no turn then
    worker.take_over_the_clock()
    worker.stop_the_clock()
    set_limit(worker, "acme", 10, rate=1)
    for seconds in (1, 0):
        jobs = worker.insert_limited("acme")
        assert worker.claim() == jobs
        worker.finish(*jobs)
        worker.travel(f"{seconds} s")
    promoter = open_session()
    promoter.run("begin")
    promoter.run("select dtsched.promote()")
    third = worker.insert_limited("acme")
    assert worker.claim() == []
    promoter.run("commit")
    worker.travel("1 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == third


def test_a_wake_is_not_taken_away_under_the_claim_that_relies_on_it(open_session: OpenSession, worker: Worker):
    worker.take_over_the_clock()
    worker.stop_the_clock()
    set_limit(worker, "acme", 10, rate=1)
    (first,) = worker.insert_limited("acme")
    parent = worker.insert()
    child = worker.value("select dtsched.submit('echo', limit_key => 'acme', depends_on => %s)", parent)
    assert worker.claim() == [first, *parent]
    worker.finish(first)
    worker.travel("1 s")
    second = worker.insert_limited("acme")
    assert worker.claim() == second
    worker.finish(*second, *parent)
    worker.run("begin")
    assert worker.claim() == []  # the child is parked by this, and relies on a wake that is there
    promoter = open_session()
    promoter.run("select dtsched.promote()")
    promoter.travel("1 s")
    assert promoter.value("select next_seconds from dtsched.promote()") is None  # nobody asks for it again and again
    worker.run("commit")
    assert promoter.value("select next_seconds from dtsched.promote()") is None
    assert worker.claim() == [child]


def test_a_job_that_comes_while_its_queue_is_given_more_seats_a_key_is_not_left_behind(
    open_session: OpenSession, worker: Worker
):
    worker.set_queue(key_limit=0)
    operator = open_session()
    operator.run("begin")
    operator.set_queue(key_limit=1)
    job = worker.insert_limited("acme")
    assert worker.claim() == []
    operator.run("commit")
    assert worker.claim() == job


def test_a_limit_is_never_exceeded_by_many_workers(session: Session, open_worker: OpenWorker):
    keys = {f"key-{n}": 1 + n % 3 for n in range(6)}
    for key, limit in keys.items():
        set_limit(session, key, limit)
        session.insert_limited(key, 60)
    session.run("""
        create function public.watch() returns trigger language plpgsql as $$ begin
            insert into public.seen
            select lease.limit_key, count(*) from dtsched.leases lease group by lease.limit_key;
            return null; end $$
        """)
    session.run("create table public.seen (limit_key text, jobs bigint)")
    session.run(
        "create trigger watch after insert on dtsched.leases for each statement execute function public.watch()"
    )

    def work(worker: Worker) -> None:
        while worker.value("select exists (select from dtsched.parked)"):
            worker.finish(*worker.claim(7))

    in_parallel(*(partial(work, open_worker()) for _ in range(4)))
    assert session.states() == {"completed": 360}
    seen = dict(session.rows("select limit_key, max(jobs) from public.seen group by limit_key"))
    assert all(seen[key] <= limit for key, limit in keys.items())
    assert session.value("select count(*) from dtsched.ready") == 0
