"""Limits of a queue, rates, circuit breakers and aging: at their exact boundaries, with the clock in hand."""

from __future__ import annotations

from functools import partial

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

BREAKER = {"failures": 3, "within": 60, "cooldown": 30}


@pytest.fixture
def worker(open_worker: OpenWorker) -> Worker:
    """One whose lease outlives all travels."""
    worker = open_worker(lease="10 days")
    worker.take_over_the_clock()
    worker.stop_the_clock()
    return worker


def fail(worker: Worker, count: int, *, key: str | None = None) -> None:
    """So many attempts that fail, one after the other."""
    for _ in range(count):
        (job,) = worker.insert() if key is None else worker.insert_limited(key)
        assert worker.claim() == [job]
        worker.finish_as("fail", job)


def wake(worker: Worker) -> float | None:
    """What is due is promoted and woken; returns in how many seconds to do it again."""
    return worker.value("select next_seconds from dtsched.promote()")


def test_a_queue_runs_as_many_at_once_as_it_may(open_worker: OpenWorker, worker: Worker):
    other = open_worker(lease="10 days")
    worker.set_queue(limit=3)
    jobs = worker.insert(6)
    assert worker.claim(2) == jobs[:2]
    assert other.claim() == jobs[2:3]
    assert other.claim() == []
    worker.finish(jobs[0])
    assert other.claim() == [jobs[3]]


def test_what_ran_before_the_limit_was_set_is_counted(worker: Worker):
    jobs = worker.insert(5)
    assert worker.claim(3) == jobs[:3]
    worker.set_queue(limit=3)
    assert worker.claim() == []
    worker.finish(*jobs[:2])
    assert worker.claim() == jobs[3:]


def test_what_a_claim_under_way_takes_while_a_limit_is_set_is_counted(
    open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    other, operator = open_worker(lease="10 days"), open_session()
    jobs = worker.insert(4)
    worker.run("begin")
    assert worker.claim(2) == jobs[:2]
    setting = Started(lambda: operator.set_queue(limit=2))
    wait_until_blocked(other, operator)
    assert other.claim() == []
    worker.run("commit")
    setting.join()
    assert other.claim() == []
    worker.finish(jobs[0])
    assert other.claim() == [jobs[2]]


def test_what_started_while_there_was_no_limit_is_counted_when_there_is_one_again(worker: Worker):
    worker.set_queue(limit=1)
    jobs = worker.insert(5)
    assert worker.claim() == jobs[:1]
    worker.set_queue(limit=None)
    assert worker.claim(2) == jobs[1:3]
    worker.set_queue(limit=4)
    assert worker.claim() == jobs[3:4]


def test_a_limit_is_set_while_an_open_transaction_has_ended_what_runs(open_worker: OpenWorker, worker: Worker):
    other = open_worker(lease="10 days")
    jobs = worker.insert(4)
    assert worker.claim(2) == jobs[:2]
    worker.run("begin")
    worker.finish(jobs[0])
    other.run("set lock_timeout = '1s'")
    other.set_queue(limit=2)
    assert other.claim() == []  # it may yet be rolled back
    worker.run("rollback")
    assert other.claim() == []
    worker.finish(jobs[0])
    assert other.claim() == jobs[2:3]
    assert other.claim() == []


def test_what_ran_before_the_limit_is_forgotten_as_it_ends(worker: Worker):
    jobs = worker.insert(6)
    assert worker.claim(4) == jobs[:4]
    worker.set_queue(limit=4)
    uncounted = "select cardinality(uncounted) from dtsched.queues"
    assert worker.value(uncounted) == 4
    worker.finish(*jobs[:3])
    assert worker.claim(1) == jobs[4:5]
    assert worker.value(uncounted) == 1
    worker.finish(jobs[3])
    assert worker.claim() == jobs[5:]
    assert worker.value(uncounted) == 0


def test_a_queue_limited_to_zero_runs_nothing_until_the_limit_is_taken_away(worker: Worker):
    worker.set_queue(limit=0)
    jobs = worker.insert(2)
    assert worker.claim() == []
    worker.set_queue(limit=None)
    assert worker.claim() == jobs


def test_another_queue_is_not_concerned(worker: Worker):
    worker.set_queue("mail", limit=0)
    jobs = worker.insert(2)
    assert worker.claim() == jobs


def test_a_limited_queue_and_its_limited_keys_hold_both(worker: Worker):
    worker.set_queue(limit=3, key_limit=2)
    a, b = worker.insert_limited("a", 3), worker.insert_limited("b", 3)
    assert sorted(worker.claim()) == [a[0], a[1], b[0]]
    worker.finish(a[0])
    assert len(worker.claim()) == 1


def test_a_queue_limit_is_never_exceeded_by_many_workers(session: Session, open_worker: OpenWorker):
    session.set_queue(limit=3)
    session.insert(200)
    session.run("create table public.seen (jobs bigint)")
    session.run("""
        create function public.watch() returns trigger language plpgsql as $$ begin
            insert into public.seen select count(*) from dtsched.leases; return null; end $$
        """)
    session.run(
        "create trigger watch after insert on dtsched.leases for each statement execute function public.watch()"
    )

    def work(worker: Worker) -> None:
        while worker.value("select exists (select from dtsched.ready)"):
            worker.finish(*worker.claim(2))

    in_parallel(*(partial(work, open_worker()) for _ in range(4)))
    assert session.states() == {"completed": 200}
    assert session.value("select max(jobs) from public.seen") <= 3


def test_a_bucket_starts_full_and_fills_at_its_rate(worker: Worker):
    worker.set_queue(rate=2, burst=3)
    jobs = worker.insert(6)
    assert worker.claim() == jobs[:3]
    worker.travel("0.499 s")
    assert worker.claim() == []
    worker.travel("0.001 s")
    assert worker.claim() == [jobs[3]]
    worker.travel("1 s")
    assert worker.claim() == jobs[4:]


def test_a_bucket_holds_no_more_than_its_burst(worker: Worker):
    worker.set_queue(rate=1, burst=2)
    jobs = worker.insert(5)
    assert worker.claim() == jobs[:2]
    worker.travel("1 hour")
    assert worker.claim() == jobs[2:4]
    assert worker.claim() == []


def test_a_burst_is_a_seconds_worth_unless_said_otherwise(worker: Worker):
    worker.set_queue(rate=0.1)
    jobs = worker.insert(2)
    assert worker.claim() == jobs[:1]
    worker.set_queue(rate=4.5)
    jobs = worker.insert(9)
    assert len(worker.claim()) == 5


def test_whoever_promotes_is_told_when_a_queue_has_its_next_token(worker: Worker):
    worker.set_queue(rate=0.5)
    worker.insert(2)
    assert len(worker.claim()) == 1
    assert wake(worker) == pytest.approx(2)
    worker.travel("2 s")
    assert wake(worker) is None
    assert len(worker.claim()) == 1
    assert wake(worker) is None  # nothing waits


def test_a_key_has_a_bucket_of_its_own(worker: Worker):
    worker.run("select dtsched.set_limit('a', 10, 1, 2)")
    a, b = worker.insert_limited("a", 4), worker.insert_limited("b", 1)
    assert sorted(worker.claim()) == [*a[:2], *b]
    assert wake(worker) == pytest.approx(1)
    worker.travel("0.999 s")
    assert wake(worker) == pytest.approx(0.001)
    assert worker.claim() == []
    worker.travel("0.001 s")
    wake(worker)
    assert worker.claim() == [a[2]]


def test_keys_have_the_rate_that_their_queue_says(worker: Worker):
    worker.set_queue(key_limit=10, key_rate=1)
    a, b = worker.insert_limited("a", 2), worker.insert_limited("b", 2)
    assert sorted(worker.claim()) == [a[0], b[0]]
    assert worker.claim() == []
    worker.travel("1 s")
    wake(worker)
    assert sorted(worker.claim()) == [a[1], b[1]]


def test_one_claim_takes_no_more_tokens_than_there_are_though_turns_of_the_key_stand_in_several_lanes(worker: Worker):
    worker.run("select dtsched.set_limit('a', 10, 1, 2)")
    jobs = [worker.insert_limited("a", priority=priority)[0] for priority in (9, 7, 5, 3)]
    assert worker.claim() == jobs[:2]
    assert worker.claim() == []


def test_a_claim_that_is_rolled_back_takes_no_tokens(worker: Worker):
    worker.set_queue(rate=0.001)
    jobs = worker.insert(1)
    worker.run("begin")
    assert worker.claim() == jobs
    worker.run("rollback")
    assert worker.claim() == jobs


def test_a_breaker_opens_with_as_many_failures_as_it_bears(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    worker.insert()
    assert worker.claim() == []
    assert worker.value("select code from dtsched.why((select max(id) from dtsched.jobs))") == "breaker"


def test_failures_that_lie_too_far_apart_do_not_open_a_breaker(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 2)
    worker.travel("60 s")
    fail(worker, 2)
    worker.travel("59.999 s")
    fail(worker, 1)
    worker.insert()
    assert worker.claim() == []


def test_retries_are_failures_and_snoozes_are_not(worker: Worker):
    worker.set_queue(breaker={**BREAKER, "failures": 2})
    for outcome in ("snooze", "cancel", "retry"):
        (job,) = worker.insert()
        assert worker.claim() == [job]
        worker.finish_as(outcome, job, delay=3600)
    (job,) = worker.insert()
    assert worker.claim() == [job]
    worker.finish_as("retry", job, delay=3600)
    worker.insert()
    assert worker.claim() == []


def test_after_its_cooldown_a_breaker_lets_one_try_and_closes_when_that_completes(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    jobs = worker.insert(3)
    worker.travel("29.999 s")
    assert worker.claim() == []
    worker.travel("0.001 s")
    assert worker.claim() == jobs[:1]
    assert worker.claim() == []
    worker.finish(jobs[0])
    assert worker.claim() == jobs[1:]
    assert worker.value("select open_until from dtsched.queues where name = 'default'") is None


def test_a_try_that_fails_opens_the_breaker_again(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    worker.travel("30 s")
    first, second = worker.insert(2)
    assert worker.claim() == [first]
    worker.finish_as("fail", first)
    assert worker.claim() == []
    worker.travel("30 s")
    assert worker.claim() == [second]


def test_a_try_that_neither_completes_nor_fails_is_followed_by_another(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    worker.travel("30 s")
    first, second = worker.insert(2)
    assert worker.claim() == [first]
    worker.finish_as("cancel", first)
    assert worker.claim() == [second]


def test_workers_are_woken_when_a_breaker_lets_one_try(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    worker.insert()
    assert worker.claim() == []
    assert wake(worker) == pytest.approx(30)


def test_resuming_closes_a_breaker(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    jobs = worker.insert(2)
    assert worker.value("select dtsched.resume('default')")
    assert worker.claim() == jobs
    assert not worker.value("select dtsched.resume('default')")


def test_one_claim_tries_once_though_turns_of_the_key_stand_in_several_lanes(worker: Worker):
    worker.set_queue(key_limit=10, key_breaker=BREAKER)
    fail(worker, 3, key="a")
    worker.travel("30 s")
    jobs = [worker.insert_limited("a", priority=priority)[0] for priority in (9, 7, 5)]
    assert worker.claim() == jobs[:1]
    assert worker.claim() == []
    worker.finish(jobs[0])
    assert worker.claim() == jobs[1:]


def test_each_key_has_a_breaker_of_its_own(worker: Worker):
    worker.set_queue(key_breaker=BREAKER)
    fail(worker, 3, key="a")
    first, second, third = worker.insert_limited("a", 3)
    (other,) = worker.insert_limited("b")
    assert worker.claim() == [other]
    worker.travel("30 s")
    wake(worker)
    assert worker.claim() == [first]
    worker.finish(first)
    assert worker.claim() == [second]
    worker.finish(second)
    assert worker.claim() == [third]
    assert worker.value("select open_until from dtsched.limits where limit_key = 'a'") is None


def age(worker: Worker, by: str) -> None:
    """Time passes, and workers note it."""
    worker.run("select pg_current_xact_id()")
    worker.run("select dtsched.note_age()")
    worker.travel(by)


def test_a_job_that_has_waited_long_enough_goes_before_younger_ones_of_a_higher_priority(worker: Worker):
    old = worker.insert(2, priority=1)
    age(worker, "10 minutes")
    young = worker.insert(2, priority=10)
    assert [worker.claim(1)[0] for _ in range(4)] == [*old, *young]


def test_a_moment_earlier_the_priority_decides(worker: Worker):
    old = worker.insert(2, priority=1)
    age(worker, "599.999 s")
    young = worker.insert(2, priority=10)
    assert [worker.claim(1)[0] for _ in range(4)] == [*young, *old]


def test_among_the_aged_the_priority_decides(worker: Worker):
    low, high = worker.insert(priority=1), worker.insert(priority=9)
    age(worker, "11 minutes")
    young = worker.insert(priority=10)
    assert [worker.claim(1)[0] for _ in range(3)] == [*high, *low, *young]


def test_a_queue_says_how_old_is_old(worker: Worker):
    worker.set_queue(aging=5)
    old = worker.insert(priority=1)
    age(worker, "5 s")
    young = worker.insert(priority=10)
    assert [worker.claim(1)[0] for _ in range(2)] == [*old, *young]


def test_nothing_starves_under_a_flood_of_a_higher_priority(worker: Worker):
    old = worker.insert(3, priority=1)
    worker.insert(500, priority=10)
    age(worker, "10 minutes")
    worker.insert(500, priority=10)
    claimed = worker.claim(503)
    assert set(old) <= set(claimed)


def test_a_turn_of_a_limit_key_ages_too(worker: Worker):
    (old,) = worker.insert_limited("a", priority=1)
    age(worker, "10 minutes")
    (young,) = worker.insert(priority=10)
    assert worker.claim(1) == [old]
    assert worker.claim(1) == [young]


def test_ages_are_noted_every_ten_seconds_and_thinned_out(session: Session, worker: Worker):
    noted = [worker.value("select dtsched.note_age()")]
    worker.travel("9.999 s")
    noted.append(worker.value("select dtsched.note_age()"))
    worker.travel("0.001 s")
    noted.append(worker.value("select dtsched.note_age()"))
    assert noted == [True, False, True]
    worker.run(
        "insert into dtsched.ages select dtsched.now() - interval '1 s' * n, '5', n %% 600 = 0 "
        "from generate_series(15, 40 * 86400, 3600) n".replace("%%", "%")
    )
    worker.travel("10 s")
    worker.run("select dtsched.note_age()")
    assert session.value("select count(*) from dtsched.ages where at < dtsched.now() - interval '31 days'") == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"limit": -1}, "limit must be a whole number of jobs from 0, not -1"),
        ({"limit": 1.5}, "limit must be a whole number of jobs from 0, not 1.5"),
        ({"limit": "3"}, 'limit must be a whole number of jobs from 0, not "3"'),
        ({"burst": 0}, "burst must be a whole number of jobs from 1, not 0"),
        ({"rate": 0}, "rate must be a number of jobs a second from 0.000001 to 1000000, not 0"),
        ({"key_rate": True}, "key_rate must be a number of jobs a second from 0.000001 to 1000000, not true"),
        ({"aging": 0}, "aging must be 1 second to 30 days, in seconds, not 0"),
        ({"max_attempts": 0}, "max_attempts must be 1 to 1000, not 0"),
        ({"timeout": 0}, "timeout must be over 0 and at most 366 days, in seconds, not 0"),
        ({"breaker": {"failures": 1}}, "breaker must be an object of failures"),
        ({"breaker": {"failures": 0, "within": 1, "cooldown": 1}}, "breaker must be an object of failures"),
        ({"breaker": {"failures": 1, "within": "1", "cooldown": 1}}, "breaker must be an object of failures"),
        ({"retention": {"completed": -1}}, "retention must be an object of completed, failed, cancelled and results"),
        ({"retention": {"done": 1}}, "retention must be an object of completed, failed, cancelled and results"),
        ({"speed": 1}, 'there is no setting "speed": known are limit, rate'),
    ],
)
def test_a_bad_setting_is_refused_and_changes_nothing(settings: dict[str, object], problem: str, session: Session):
    session.set_queue(limit=7)
    with pytest.raises(psycopg.Error) as refused:
        session.run("select dtsched.set_queue('default', %s)", Jsonb({"aging": 60, **settings}))
    assert refused.value.sqlstate == "JQ001"
    assert (refused.value.diag.message_primary or "").startswith(problem)
    assert session.value("select settings from dtsched.queues where name = 'default'") == {"limit": 7}


def test_settings_are_changed_one_by_one_and_taken_away_by_null(session: Session):
    session.set_queue(limit=7, aging=60)
    session.set_queue(rate=0.5, aging=None)
    assert session.value("select dtsched.set_queue('default', '{}')") == {"limit": 7, "rate": 0.5}


def test_limits_are_listed_with_what_runs_and_waits(open_session: OpenSession, worker: Worker):
    worker.insert_limited("a", 3)
    worker.claim()
    worker.run("select dtsched.set_limit('b', 5, 0.5, 2)")
    reader = open_session()
    assert reader.rows("select limit_key, concurrency, rate, burst, running, waiting from dtsched.list_limits()") == [
        ("a", None, None, None, 1, 2),
        ("b", 5, 0.5, 2, 0, 0),
    ]


def reasons(worker: Worker, job: int) -> list[tuple[str, str]]:
    return worker.rows("select code, reason from dtsched.why(%s)", job)


def test_why_names_the_jobs_that_hold_the_seats_of_a_key(worker: Worker):
    first, second, third = worker.insert_limited("acme", 3)
    assert worker.claim() == [first]
    held = f"limit key acme runs as many jobs as it may: 1 of 1, held by job {first} on worker test"
    assert reasons(worker, second) == [("limit", held)]
    assert reasons(worker, third) == [("limit", held), ("behind", "a job of its limit key goes before it")]


def test_why_says_until_when_a_bucket_is_empty(worker: Worker):
    worker.set_queue(rate=0.1)
    worker.insert()
    worker.claim()
    (job,) = worker.insert()
    ((code, reason),) = reasons(worker, job)
    until = worker.value("select (dtsched.now() + interval '10 s')::text")
    assert (code, reason) == ("rate", f"the rate of queue default (0.1 a second) is used up until {until}")


def test_why_says_that_a_queue_is_at_its_limit(worker: Worker):
    worker.set_queue(limit=1)
    worker.insert()
    worker.claim()
    (job,) = worker.insert()
    assert reasons(worker, job) == [("limit", "queue default runs as many jobs as it may: 1 of 1")]


def test_why_says_by_which_job_a_breaker_tries(worker: Worker):
    worker.set_queue(breaker=BREAKER)
    fail(worker, 3)
    worker.travel("30 s")
    probe, job = worker.insert(2)
    assert worker.claim() == [probe]
    told = f"too many jobs of queue default failed: it waits for job {probe}, by which it tries whether it may go on"
    assert reasons(worker, job) == [("breaker", told)]
