"""Counts, rates and latencies: exact, kept in the transaction that changes them, and read without the finished jobs."""

from __future__ import annotations

from typing import Any

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker

ENDED = {"complete": "completed", "fail": "failed", "cancel": "cancelled"}


def counts(session: Session) -> dict[str, int]:
    return session.value("select dtsched.stats() -> 'jobs'")


def nonzero(session: Session) -> dict[str, int]:
    return {state: jobs for state, jobs in counts(session).items() if jobs}


def sample(session: Session, name: str, **labels: str) -> float:
    found = [
        row[1]
        for row in session.rows("select labels, value from dtsched.metrics() where name = %s", name)
        if row[0] == labels
    ]
    assert len(found) == 1
    return found[0]


def test_stats_count_every_state_at_once(worker: Worker):
    completed, failed, running = worker.insert(3)
    worker.claim()
    worker.finish(completed)
    worker.finish_as("fail", failed)
    worker.insert(2)
    worker.run("select dtsched.submit('echo', delay => '1 hour')")
    worker.run("select dtsched.submit('echo', depends_on => %s)", [running])
    worker.run("select dtsched.cancel(dtsched.submit('echo'))")
    assert counts(worker) == {
        "blocked": 1, "scheduled": 1, "ready": 2, "running": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip


def test_entries_of_cancelled_moved_and_deleted_jobs_are_not_counted(session: Session):
    ready, moved = session.insert(2)
    later = session.value("select dtsched.submit('echo', delay => '1 hour')")
    session.run("select dtsched.cancel(%s)", ready)
    session.run("select dtsched.run_now(%s)", later)
    session.run("select dtsched.reschedule(%s, dtsched.now() + interval '2 hours')", moved)
    assert nonzero(session) == {"ready": 1, "scheduled": 1, "cancelled": 1}
    session.run("select dtsched.delete(%s)", [ready, later, moved])
    assert nonzero(session) == {}


def test_an_entry_of_parked_whose_job_was_cancelled_is_not_counted(open_worker: OpenWorker):
    worker = open_worker(tasks=["another"])
    (job,) = worker.insert()
    worker.claim()
    counted = "select ready, parked from dtsched.list_queues()"
    assert worker.rows(counted) == [(1, 1)]
    worker.run("select dtsched.cancel(%s)", job)
    assert worker.rows(counted) == [(0, 0)]


def test_a_count_is_rolled_back_with_what_it_counts(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.run("begin")
    worker.finish(job)
    assert nonzero(worker) == {"completed": 1}
    worker.run("rollback")
    assert nonzero(worker) == {"running": 1}
    worker.finish(job)


def test_retrying_and_deleting_take_jobs_out_of_the_counts(worker: Worker):
    done, failed = worker.insert(2)
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", failed)
    worker.run("select dtsched.retry(%s)", failed)
    assert nonzero(worker) == {"completed": 1, "ready": 1}
    worker.run("select dtsched.delete(%s)", done)
    assert nonzero(worker) == {"ready": 1}


def test_the_counts_are_right_however_jobs_end(worker: Worker, open_worker: OpenWorker):
    """The fixture checks them against the jobs when the test is over, as does dtsched.check() for everybody."""
    parent = worker.value("select dtsched.submit('echo')")
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    worker.run("select dtsched.submit('echo', depends_on => %s)", [child])
    stopped = worker.value("select dtsched.submit('echo')")
    worker.claim()
    worker.run("select dtsched.cancel(%s)", stopped)
    worker.finish(stopped)
    worker.finish_as("fail", parent)
    (crashing,) = worker.insert()
    for _ in range(3):
        other = open_worker()
        assert other.claim() == [crashing]
        other.run("select dtsched.deregister_worker(%s)", other.id)
    assert counts(worker)["failed"] == 2
    assert counts(worker)["cancelled"] == 3
    assert worker.value("select sum(jobs) from dtsched.tallies where event = 'crash'") == 3
    assert worker.rows("select * from dtsched.check()") == []


def test_a_wrong_count_is_found_by_check(session: Session, open_session: OpenSession):
    session.run("insert into dtsched.tallies (queue, task, event, jobs) values ('default', 'echo', 'complete', 1)")
    assert session.rows("select invariant, detail from dtsched.check()") == [
        ("the counts are those of the jobs", "completed: counted 1, there are 0")
    ]
    session.run("delete from dtsched.tallies")


def test_rolling_up_changes_no_sum(worker: Worker):
    worker.take_over_the_clock()
    before: dict[str, Any] = {}
    for _ in range(3):
        jobs = worker.insert(4)
        worker.claim()
        worker.finish(*jobs[:2])
        worker.finish_as("fail", *jobs[2:])
        before = nonzero(worker)
        worker.travel("1 min")
    assert worker.value("select count(*) from dtsched.tallies") > 0
    assert worker.value("select dtsched.roll_up()") >= 6
    assert worker.value("select count(*) from dtsched.tallies") == 0
    assert nonzero(worker) == before == {"completed": 6, "failed": 6}
    assert worker.value("select dtsched.roll_up()") == 0


def test_what_is_committed_after_its_minute_was_rolled_up_is_added_to_it(session: Session):
    late = """
        insert into dtsched.tallies (minute, queue, task, event, jobs, run_seconds)
        values ('epoch', 'q', 't', 'retry', 2, 3)
        """
    for _ in range(2):
        session.run(late)
        assert session.value("select dtsched.roll_up('1000 years')") == 1
    assert session.rows("select jobs, run_seconds from dtsched.stats_1m") == [(4, 6)]


def test_minutes_that_are_long_past_are_kept_as_one(worker: Worker):
    worker.take_over_the_clock()
    for _ in range(2):
        (job,) = worker.insert()
        worker.claim()
        worker.finish(job)
        worker.travel("1 min")
    worker.run("select dtsched.roll_up()")
    worker.travel("7 days")
    worker.run("select dtsched.roll_up()")
    assert worker.value("select count(distinct minute) from dtsched.stats_1m") == 1
    assert worker.value("select sum(jobs) from dtsched.stats_1m where minute = '-infinity'") == 2
    assert nonzero(worker) == {"completed": 2}


def test_a_roll_up_leaves_the_work_to_another_that_is_under_way(session: Session, open_session: OpenSession):
    other = open_session()
    other.run("begin")
    other.run("select pg_advisory_xact_lock(dtsched.chores_gate(), 2)")
    session.run("insert into dtsched.tallies (minute, queue, task, event, jobs) values ('epoch', 'q', 't', 'retry', 1)")
    assert session.value("select dtsched.roll_up()") == 0
    other.run("commit")
    assert session.value("select dtsched.roll_up()") == 1


def test_latencies_are_measured_from_due_to_start_and_to_the_end(worker: Worker):
    (job,) = worker.insert()
    worker.run("update dtsched.jobs set created_at = dtsched.now() - interval '20 s'")
    worker.claim()
    worker.run(
        "update dtsched.jobs set started_at = started_at - interval '3 s', created_at = created_at - interval '3 s'"
    )
    worker.finish(job)
    latency = worker.value("select dtsched.stats() -> 'latency'")
    assert latency["wait"] == {"p50": 30, "p95": 30, "p99": 30}
    assert latency["run"] == {"p50": 5, "p95": 5, "p99": 5}


def test_buckets_hold_what_is_below_their_bound(session: Session):
    bounds = session.value("select dtsched.bucket_bounds()")
    buckets = session.column(
        "select dtsched.bucket(s) from unnest(%s::float8[]) s", [0.0, 0.0009, 0.001, 3599.0, 3600.0, None]
    )
    assert buckets == [1, 1, 2, len(bounds), len(bounds) + 1, 0]


def test_percentiles_are_bounds_of_buckets(session: Session):
    histogram = [50, 45, 4, 1] + [0] * 15
    assert session.value("select dtsched.percentiles(%s)", histogram) == {"p50": 0.001, "p95": 0.0025, "p99": 0.005}
    assert session.value("select dtsched.percentiles(%s)", [0] * 19) == {"p50": None, "p95": None, "p99": None}
    assert session.value("select dtsched.percentiles(%s)", [0] * 18 + [1])["p50"] is None


def test_rates_are_of_this_minute_and_the_four_before(worker: Worker):
    worker.take_over_the_clock()
    jobs = worker.insert(30)
    worker.claim()
    worker.finish(*jobs)
    seconds = worker.value("select extract(epoch from dtsched.now() - dtsched.rates_from())::float8")
    rate = worker.value("select dtsched.stats() -> 'rates' -> 'complete'")
    assert abs(rate - 30 / seconds) < 0.01
    worker.travel("6 min")
    assert worker.value("select dtsched.stats() -> 'rates' -> 'complete'") == 0


def test_queues_are_listed_with_what_waits_and_who_serves(session: Session, open_worker: OpenWorker):
    worker = open_worker(queues=["mail", "idle"])
    session.insert(3, queue="mail")
    session.insert(2, queue="unserved")
    worker.claim(1, queue="mail")
    session.run("select dtsched.submit('echo', queue => 'later', delay => '1 hour')")
    session.run("select dtsched.pause('mail')")
    rows = session.rows(
        "select name, ready, scheduled, running, workers, slots, paused_at is not null from dtsched.list_queues()"
    )
    assert rows == [
        ("idle", 0, 0, 0, 1, 10, False),
        ("later", 0, 1, 0, 0, 0, False),
        ("mail", 2, 0, 1, 1, 10, True),
        ("unserved", 2, 0, 0, 0, 0, False),
    ]
    assert session.column("select name from dtsched.list_queues('mail')") == ["mail"]
    assert session.rows("select * from dtsched.list_queues('nosuch')") == []


def test_the_age_of_a_queue_is_that_of_its_oldest_head_past_stale_entries(session: Session):
    session.take_over_the_clock()
    stale, waiting = session.insert(2)
    session.travel("10 s")
    session.insert(priority=9)
    session.run("select dtsched.cancel(%s)", stale)
    age = session.value("select oldest_ready_seconds from dtsched.list_queues()")
    assert 10 <= age < 15
    session.run("select dtsched.cancel(%s)", waiting)
    assert session.value("select oldest_ready_seconds from dtsched.list_queues()") < 5


def test_workers_are_listed_with_their_state(session: Session, open_worker: OpenWorker):
    busy, draining, lost, expired = (open_worker() for _ in range(4))
    session.insert(2)
    busy.claim(2)
    session.run("update dtsched.workers set draining = true where id = %s", draining.id)
    session.run("update dtsched.workers set lost_at = dtsched.now() where id = %s", lost.id)
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 ms' where id = %s", expired.id)
    found = {row[0]: row[1:] for row in session.rows("select id, state, running, slots from dtsched.list_workers()")}
    assert found == {
        busy.id: ("active", 2, 10),
        draining.id: ("draining", 0, 10),
        lost.id: ("lost", 0, 10),
        expired.id: ("lost", 0, 10),
    }
    assert session.value("select dtsched.stats() -> 'workers'") == {
        "active": 1, "draining": 1, "lost": 2, "slots": 20, "running": 2, "utilisation": 0.1,
    }  # fmt: skip


def test_metrics_say_the_same_as_the_tables(worker: Worker):
    jobs = worker.insert(4)
    worker.claim(3)
    worker.finish(jobs[0])
    worker.finish_as("retry", jobs[1], delay=60)
    queue = {"queue": "default"}
    assert sample(worker, "dtsched_jobs", **queue, state="ready") == 1
    assert sample(worker, "dtsched_jobs", **queue, state="scheduled") == 1
    assert sample(worker, "dtsched_jobs", **queue, state="running") == 1
    assert sample(worker, "dtsched_jobs", **queue, state="completed") == 1
    assert sample(worker, "dtsched_attempts_total", **queue, task="echo", outcome="complete") == 1
    assert sample(worker, "dtsched_attempts_total", **queue, task="echo", outcome="retry") == 1
    assert sample(worker, "dtsched_job_run_seconds_count", **queue) == 2
    assert sample(worker, "dtsched_job_run_seconds_bucket", **queue, le="+Inf") == 2
    assert sample(worker, "dtsched_workers", state="active") == 1
    assert sample(worker, "dtsched_utilisation") == 0.1


def test_the_buckets_of_a_histogram_add_up_from_nothing(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.run(
        "update dtsched.jobs set started_at = started_at - interval '3 s', created_at = created_at - interval '3 s'"
    )
    worker.finish(job)
    buckets = worker.rows("""
        select labels ->> 'le', value from dtsched.metrics()
        where name = 'dtsched_job_run_seconds_bucket' order by replace(labels ->> 'le', '+Inf', 'inf')::float8
        """)
    assert dict(buckets)["2.5"] == 0
    assert dict(buckets)["5"] == 1
    assert buckets[-1] == ("+Inf", 1)
    assert len(buckets) == 19
