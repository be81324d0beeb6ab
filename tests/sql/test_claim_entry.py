"""A claim that is content with the entry it was told of: it takes that or whatever claim() would, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker

Entry = tuple[int, int, int]

COLUMNS = "job_id, task, args, attempt, max_attempts, timeout_seconds, correlation_id, backoff"


def entry_of(session: Session, job: int) -> Entry:
    """Its priority, xid and job, as a notification names them."""
    (row,) = session.rows("select priority, xid::text::bigint, job_id from dtsched.ready where job_id = %s", job)
    return row


def claim_entry(worker: Worker, entry: Entry, *, limit: int = 100, slots: int = 100) -> list[int]:
    priority, xid, job = entry
    claimed = worker.rows(
        "select job_id, lease_id from dtsched.claim_entry(%s, 'default', %s, %s, %s, %s::smallint, %s::text::xid8, %s)",
        worker.id, limit, worker.tasks, slots, priority, str(xid), job,
    )  # fmt: skip
    worker.leases.update((job, lease) for job, lease in claimed)
    return [job for job, _ in claimed]


def test_the_named_job_is_claimed_alone_and_the_others_are_found_after_it(worker: Worker):
    jobs = worker.insert(3)
    assert claim_entry(worker, entry_of(worker, jobs[1])) == [jobs[1]]
    assert worker.claim() == [jobs[0], jobs[2]]
    assert worker.finish(*jobs) == [worker.leases[job] for job in jobs]
    assert worker.rows("select * from dtsched.check()") == []


def test_what_it_tells_and_writes_is_what_a_claim_does(worker: Worker):
    worker.run(
        "select dtsched.register_worker(%s, 'other', '{default}', null, 1, interval '1 h', '{}', %s)",
        "00000000-0000-0000-0000-000000000001",
        Jsonb({"slow": {"settings": {"timeout": 77}}, "quick": {"settings": {}}}),
    )
    submit = """select dtsched.submit(%s, '{"n": 1}', max_attempts => 3, timeout => %s, correlation_id => 'c')"""
    for task, timeout in (("slow", None), ("quick", None), ("slow", "5 s")):
        by_entry, by_claim = (worker.value(submit, task, timeout) for _ in range(2))
        priority, xid, _ = entry_of(worker, by_entry)
        (told,) = worker.rows(
            f"select {COLUMNS} from dtsched.claim_entry(%s, 'default', 1, null, 1, %s::smallint, %s::text::xid8, %s)",
            worker.id, priority, str(xid), by_entry,
        )  # fmt: skip
        (usual,) = worker.rows(f"select {COLUMNS} from dtsched.claim(%s, 'default', 1)", worker.id)
        assert told[0] == by_entry
        assert usual[0] == by_claim
        assert told[1:] == usual[1:]
        rows = [
            worker.rows(
                """select job.state, job.attempt, job.worker_id, job.started_at is null, lease.worker_id, lease.queue,
                    lease.counted, lease.limit_key, lease.deadline - job.started_at, lease.secret, lease.gave_up_key
                from dtsched.jobs job join dtsched.leases lease on lease.job_id = job.id where job.id = %s""",
                job,
            )
            for job in (by_entry, by_claim)
        ]
        assert rows[0] == rows[1]
    assert worker.rows("select * from dtsched.check()") == []


UNUSUAL: dict[str, Callable[[Worker, int], object]] = {
    "the queue is paused": lambda worker, _: worker.run("select dtsched.pause('default')"),
    "the worker drains": lambda worker, _: worker.run("update dtsched.workers set draining = true"),
    "the queue is full": lambda worker, _: worker.set_queue(limit=0),
    "its breaker is open": lambda worker, _: worker.run(
        "insert into dtsched.queues (name, open_until) values ('default', now() + interval '1 h')"
        " on conflict (name) do update set open_until = excluded.open_until"
    ),
    "the job was cancelled": lambda worker, job: worker.run("select dtsched.cancel(%s)", job),
    "the job has moved": lambda worker, job: worker.run(
        """select dtsched.edit(array[%s]::bigint[], '{"queue": "other"}')""", job
    ),
    "its entry is an old one": lambda worker, job: worker.run(
        "with moved as (update dtsched.jobs set queue = 'other' where id = %s returning id)"
        " insert into dtsched.ready (queue, priority, job_id) select 'other', 5, id from moved",
        job,
    ),
    "the deadline has passed": lambda worker, job: worker.run(
        "with late as (update dtsched.jobs set deadline = now() - interval '1 s' where id = %s returning deadline, id)"
        " insert into dtsched.deadlines (deadline, job_id) select deadline, id from late",
        job,
    ),
    "somebody sets a limit": lambda worker, _: worker.run(
        "select pg_advisory_lock(dtsched.gate() + 3, hashtext('default'))"
    ),
}


@pytest.mark.parametrize("why", UNUSUAL)
def test_what_a_claim_would_not_start_is_not_started(why: str, open_worker: OpenWorker, worker: Worker):
    (job,) = worker.insert()
    entry = entry_of(worker, job)
    UNUSUAL[why](worker, job)
    other = open_worker()
    if why == "the worker drains":
        other.run("update dtsched.workers set draining = true")
    assert claim_entry(other, entry) == []
    assert worker.value("select count(*) from dtsched.leases") == 0


def test_a_job_of_a_task_that_the_worker_does_not_know_is_parked_for_others(open_worker: OpenWorker, worker: Worker):
    (job,) = worker.insert(task="resize")
    assert claim_entry(open_worker(tasks=["echo"]), entry_of(worker, job)) == []
    assert worker.value("select reason from dtsched.parked where job_id = %s", job) == "task"
    assert worker.claim() == [job]


def test_a_rate_is_heeded(worker: Worker):
    worker.set_queue(rate=0.001, burst=1)
    jobs = worker.insert(2)
    assert claim_entry(worker, entry_of(worker, jobs[1])) == [jobs[0]]
    assert claim_entry(worker, entry_of(worker, jobs[1])) == []


def test_a_turn_of_a_limit_key_is_no_job(worker: Worker):
    jobs = worker.insert_limited("k", 2)
    assert claim_entry(worker, entry_of(worker, jobs[0])) == [jobs[0]]
    assert claim_entry(worker, (15, 1, jobs[1])) == []


@pytest.mark.parametrize("entry", [(5, 1, 1), (6, 0, 0), (99, 2**63 - 1, 10**18 - 1)])
def test_whoever_is_told_of_something_that_is_not_there_claims_what_is(entry: Entry, worker: Worker):
    jobs = worker.insert(3)
    assert claim_entry(worker, entry, limit=2) == jobs[:2]


def test_an_entry_that_somebody_has_in_hand_is_left_to_him_and_nothing_is_waited_for(
    open_session: OpenSession, worker: Worker
):
    worker.run("set statement_timeout = '10s'")
    (job,) = worker.insert()
    entry = entry_of(worker, job)
    held: LiteralString
    for held in ("select from dtsched.ready for update", "select from dtsched.jobs for update"):
        holder = open_session()
        holder.run("begin")
        holder.run(held)
        assert claim_entry(worker, entry) == []
        assert worker.value("select count(*) from dtsched.ready") == 1
        holder.run("rollback")
    assert worker.sweep() == [job]


def test_of_many_that_are_told_of_the_same_entry_one_gets_it(open_worker: OpenWorker, worker: Worker):
    others = [open_worker() for _ in range(6)]
    for _ in range(30):
        (job,) = worker.insert()
        entry = entry_of(worker, job)
        in_parallel(*(partial(claim_entry, other, entry) for other in others))
        assert sum(job in other.leases for other in others) == 1
    assert worker.rows("select * from dtsched.check()") == []


def test_without_a_free_slot_or_a_wish_nothing_is_taken(worker: Worker):
    (job,) = worker.insert()
    assert claim_entry(worker, entry_of(worker, job), limit=0) == []
    worker.set_queue(rate=1000)  # of which nothing is fetched ahead
    assert claim_entry(worker, entry_of(worker, job), slots=0) == []


def test_a_lost_worker_is_told_so(worker: Worker):
    (job,) = worker.insert()
    entry = entry_of(worker, job)
    worker.run("update dtsched.workers set lost_at = now()")
    with pytest.raises(psycopg.DatabaseError) as refused:
        claim_entry(worker, entry)
    assert refused.value.sqlstate == "JQ005"


def test_the_turn_of_a_limit_key_is_no_entry_to_be_content_with(worker: Worker):
    jobs = worker.insert(2)
    worker.run(
        "insert into dtsched.ready (queue, priority, job_id, limit_key) values ('default', 15, %s, 'key')", jobs[0]
    )
    (xid,) = worker.column("select xid::text::bigint from dtsched.ready where priority = 15")
    assert claim_entry(worker, (15, xid, jobs[0])) == jobs


def test_it_refuses_other_isolation_levels_as_a_claim_does(worker: Worker):
    (job,) = worker.insert()
    entry = entry_of(worker, job)
    worker.run("begin isolation level repeatable read")
    with pytest.raises(psycopg.DatabaseError, match="READ COMMITTED"):
        claim_entry(worker, entry)
    worker.run("rollback")


def test_the_first_one_after_a_start_of_the_server_sets_the_ids_of_leases_forward(worker: Worker):
    (job,) = worker.insert()
    worker.run("update dtsched.lease_epoch set server_started_at = '2000-01-01'")
    before = worker.value("select nextval('dtsched.lease_id_seq')")
    assert claim_entry(worker, entry_of(worker, job)) == [job]
    assert worker.leases[job] > before + 1_000_000


def test_who_watches_is_told(open_session: OpenSession, worker: Worker):
    watcher = open_session()
    assert watcher.value("select dtsched.watch_feed()") is not None
    (job,) = worker.insert()
    assert claim_entry(worker, entry_of(worker, job)) == [job]
    assert worker.column("select event from dtsched.feed where job_id = %s order by id", job) == [
        "submitted",
        "started",
    ]
