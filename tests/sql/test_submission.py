"""Every way a row gets into jobs: routed by the state it asks for, and no submitter ever waits for another."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker
from tests.support.patience import within


def test_a_plain_insert_of_a_task_alone_is_claimed_with_the_defaults(session: Session, worker: Worker):
    (job,) = session.column("insert into dtsched.jobs (task) values ('echo') returning id")
    assert worker.rows(
        "select job_id, task, args, attempt, max_attempts, timeout_seconds from dtsched.claim(%s, 'default', 1)",
        worker.id,
    ) == [(job, "echo", {}, 1, 5, None)]


def test_copy_routes_200_000_rows_within_seconds(session: Session, worker: Worker):
    with within(60), session.connection.cursor().copy("copy dtsched.jobs (task, args, priority) from stdin") as copy:
        for n in range(200_000):
            copy.write_row(("echo", '{"n": 1}', 1 + n % 10))
    assert session.value("select count(*) from dtsched.ready") == 200_000
    assert len(worker.claim(1000)) == 1000
    assert session.column("select distinct priority from dtsched.jobs where state = 'running'") == [10]


def test_an_insert_into_a_partition_by_the_owner_is_routed_too(session: Session, worker: Worker):
    jobs = session.column("insert into dtsched.jobs_0 (task) values ('echo'), ('echo') returning id")
    jobs += session.column("insert into dtsched.jobs_default (id, task) values (9e15, 'echo') returning id")
    assert worker.drain() == jobs


def test_a_job_beyond_the_partitions_made_ahead_lands_in_the_default_one(session: Session, worker: Worker):
    jobs = session.column("insert into dtsched.jobs (id, task) values (9e15, 'echo') returning id")
    assert session.column("select id from dtsched.jobs_default") == jobs
    assert worker.drain() == jobs


def test_a_job_for_later_is_scheduled_and_one_whose_time_has_passed_is_ready(session: Session):
    later, past = session.column("""
        insert into dtsched.jobs (task, run_at)
        values ('echo', now() + interval '1 hour'), ('echo', now() - interval '1 hour')
        returning id
        """)
    assert [session.state(later), session.state(past)] == ["scheduled", "ready"]
    assert session.column("select job_id from dtsched.scheduled") == [later]
    assert session.column("select job_id from dtsched.ready") == [past]


def test_restored_rows_are_routed_only_as_their_state_asks(session: Session, worker: Worker):
    states = ("ready", "scheduled", "running", "completed", "failed", "cancelled")
    jobs: dict[str, int] = {}
    for state in states:
        jobs[state] = session.value(
            """
            insert into dtsched.jobs (task, state, run_at, finished_at)
            values ('echo', %s, case when %s in ('scheduled', 'completed') then now() + interval '1 hour' end,
                    case when %s in ('completed', 'failed', 'cancelled') then now() end)
            returning id
            """,
            state,
            state,
            state,
        )
    assert {state: session.state(job) for state, job in jobs.items()} == {state: state for state in states}
    assert session.column("select job_id from dtsched.ready") == [jobs["ready"]]
    assert session.column("select job_id from dtsched.scheduled") == [jobs["scheduled"]]
    assert worker.drain() == [jobs["ready"]]
    # what a restore of everything brings along: the lease, the counts and the lists
    session.run("delete from dtsched.jobs where id <> %s", jobs["ready"])


@pytest.mark.parametrize("lane", ["the same", "another", "a new one"])
def test_a_submitter_waits_for_no_open_transaction(open_session: OpenSession, worker: Worker, lane: str):
    first, second = open_session(), open_session()
    first.insert()
    first.run("begin")
    held = first.insert(priority=7)
    second.run("set lock_timeout = '200ms'")
    second.run("begin")
    jobs = second.insert(priority=7 if lane == "the same" else 3, queue="fresh" if lane == "a new one" else "default")
    jobs += [second.value("select dtsched.submit('echo', queue => 'fresh', key => 'a key of its own')")]
    second.run("commit")
    claimed = worker.drain() + worker.claim(queue="fresh")
    assert set(jobs) <= set(claimed)
    first.run("commit")
    assert worker.drain() == held


def test_a_submission_waits_for_no_claim_or_finish_that_is_open(open_session: OpenSession, worker: Worker):
    done, running = worker.insert(2)
    worker.claim()
    worker.run("begin")
    worker.finish(done)
    worker.insert(5)
    worker.claim()
    other = open_session()
    other.run("set lock_timeout = '200ms'")
    other.insert()
    other.value("select dtsched.submit('echo', depends_on => %s)", [running])
    worker.run("rollback")


def test_a_submission_that_is_rolled_back_leaves_nothing(session: Session, worker: Worker):
    (parent,) = session.insert()
    session.run("begin")
    session.insert(3)
    session.value("select dtsched.submit('echo', key => 'k', depends_on => %s)", [parent])
    session.value("select dtsched.submit('echo', delay => '1 h')")
    session.run("rollback")
    counts = session.rows("""
        select (select count(*) from dtsched.jobs), (select count(*) from dtsched.ready),
            (select count(*) from dtsched.keys), (select count(*) from dtsched.scheduled),
            (select count(*) from dtsched.blocked)
        """)
    assert counts == [(1, 1, 0, 0, 0)]


def test_submit_carries_everything_it_is_given(session: Session):
    (parent,) = session.insert()
    job = session.value(
        """
        select dtsched.submit('resize', '{"width": 3}', queue => 'images', priority => 9, run_at => '2100-01-01 00:00Z',
            key => 'one', max_attempts => 2, timeout => '90 s', limit_key => 'gpu', depends_on => %s, tags => '{a,b}',
            backoff => '{"kind": "fixed", "base": 3}', correlation_id => 'request-1')
        """,
        [parent],
    )
    assert session.rows(
        """
        select task, args, queue, priority, extract(epoch from run_at)::bigint, key, max_attempts, timeout, limit_key,
            depends_on, tags, correlation_id, state
        from dtsched.job(%s)
        """,
        job,
    ) == [
        (
            "resize",
            {"width": 3},
            "images",
            9,
            4102444800,
            "one",
            2,
            90.0,
            "gpu",
            [parent],
            ["a", "b"],
            "request-1",
            "blocked",
        )
    ]
    assert session.value("select backoff from dtsched.jobs where id = %s", job) == {"kind": "fixed", "base": 3}


def test_submit_many_answers_in_the_order_it_was_asked(session: Session):
    rows = session.rows("""
        select id, created from dtsched.submit_many(
            '[{"task": "a"}, {"task": "b", "key": "k"}, {"task": "c", "key": "k"}, {"task": "d"}]')
        """)
    assert [created for _, created in rows] == [True, True, False, True]
    assert rows[1][0] == rows[2][0]
    assert session.column(
        "select task from dtsched.jobs where id = any (%s) order by id", [row[0] for row in rows]
    ) == [
        "a",
        "b",
        "d",
    ]


def test_submit_many_writes_nothing_when_one_job_is_bad(session: Session):
    with pytest.raises(psycopg.Error, match=r"^job 3: priority must be 1 to 10, not 11") as refusal:
        session.run("""select dtsched.submit_many('[{"task": "a"}, {"task": "b"}, {"task": "c", "priority": 11}]')""")
    assert refusal.value.sqlstate == "JQ001"
    assert session.states() == {}


def test_submitting_nothing_is_no_error(session: Session):
    assert session.rows("select * from dtsched.submit_many('[]')") == []


def test_partitions_are_made_ahead_and_a_second_call_makes_none(session: Session):
    assert session.value("select dtsched.ensure_partitions()") == 0
    session.run("select setval('dtsched.job_id_seq', 25000000)")
    assert session.value("select dtsched.ensure_partitions()") == 2
    assert session.value("select dtsched.ensure_partitions()") == 0
    (job,) = session.insert()
    assert session.value("select tableoid::regclass::text from dtsched.jobs where id = %s", job) == "dtsched.jobs_2"


def test_making_a_partition_does_not_queue_everybody_behind_an_open_transaction(
    open_session: OpenSession, session: Session, worker: Worker
):
    """Attaching needs the default partition for itself: waiting for that would hold up every claim that comes after."""
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs limit 1")
    session.run("select setval('dtsched.job_id_seq', 25000000)")
    session.run("set statement_timeout = '5 s'")
    assert session.value("select dtsched.ensure_partitions()") == 0
    jobs = session.insert()
    assert worker.drain() == jobs
    holder.run("commit")
    assert session.value("select dtsched.ensure_partitions()") == 2
