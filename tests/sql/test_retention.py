"""What is past its retention goes, and nothing else: at the boundary, in batches, beside workers."""

from __future__ import annotations

import json
import threading
from typing import LiteralString

import psycopg
import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.support.patience import Stopwatch, five_tries, until, within

LEFT_OVER = """select (select count(*) from dtsched.results) + (select count(*) from dtsched.attempts)
    + (select count(*) from dtsched.unsuccessful) + (select count(*) from dtsched.keys)"""


def prune(session: Session) -> int:
    """Until there is no more, wherever it may be; how many jobs went."""
    jobs, more = session.rows("select jobs, more from dtsched.prune(p_all => true)")[0]
    while more:
        again, more = session.rows("select jobs, more from dtsched.prune()")[0]
        jobs += again
    return jobs


def retain(session: Session, queue: str | None = None, /, **members: float | str | None) -> None:
    session.run("select dtsched.set_retention(%s::jsonb, %s)", json.dumps(members), queue)


def ended(worker: Worker) -> tuple[int, int, int]:
    """A completed, a failed and a cancelled job."""
    completed, failed, cancelled = worker.insert(3)
    worker.run("select dtsched.cancel(%s)", cancelled)
    worker.claim()
    worker.finish(completed)
    worker.finish_as("fail", failed)
    return completed, failed, cancelled


def freeze(session: Session) -> None:
    session.run("create table public.frozen as select clock_timestamp() as at")
    session.run("""
        create or replace function dtsched.now() returns timestamptz language sql volatile security definer
        as $$ select at from public.frozen $$
        """)


def pass_time(session: Session, by: str) -> None:
    session.run("update public.frozen set at = at + %s::interval", by)
    session.run("update dtsched.workers set expires_at = dtsched.now() + interval '1 hour'")


def close_the_chunk(session: Session) -> None:
    """From here on only what is in it decides when these 10,000 ids are looked at again."""
    session.run("select setval('dtsched.job_id_seq', 20000)")
    session.run("select dtsched.prune()")
    session.run("select setval('dtsched.job_id_seq', 20001)")
    session.travel("11 min")
    session.run("select dtsched.prune(p_all => true)")


def test_by_default_a_completed_job_goes_after_7_days_and_the_others_after_30(worker: Worker):
    freeze(worker)
    ended(worker)
    pass_time(worker, "7 days - 1 us")
    assert prune(worker) == 0
    pass_time(worker, "1 us")
    assert prune(worker) == 1
    assert worker.states() == {"failed": 1, "cancelled": 1}
    pass_time(worker, "23 days - 1 us")
    assert prune(worker) == 0
    pass_time(worker, "1 us")
    assert prune(worker) == 2
    assert worker.value(LEFT_OVER) == 0


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_each_state_has_a_retention_of_its_own(worker: Worker, state: str):
    freeze(worker)
    jobs = dict(zip(["completed", "failed", "cancelled"], ended(worker), strict=True))
    retain(worker, **{state: 60})
    pass_time(worker, "1 min - 1 us")
    assert prune(worker) == 0
    pass_time(worker, "1 us")
    assert prune(worker) == 1
    assert jobs[state] not in worker.column("select id from dtsched.jobs")


def test_what_a_queue_says_goes_over_what_all_queues_say(worker: Worker):
    freeze(worker)
    retain(worker, completed="forever", failed="forever", cancelled="forever")
    retain(worker, "default", completed=0)
    completed, failed, cancelled = ended(worker)
    assert prune(worker) == 1
    pass_time(worker, "100 years")
    assert prune(worker) == 0
    retain(worker, "default", failed=0)
    assert prune(worker) == 1
    retain(worker, cancelled=0)
    assert prune(worker) == 1
    assert worker.column("select id from dtsched.jobs where id = any (%s)", [completed, failed, cancelled]) == []


def test_null_is_the_default_again(worker: Worker):
    retain(worker, completed=5, results=7)
    retain(worker, completed=None)
    assert worker.value("select retention from dtsched.pruning") == {"results": 7}
    retain(worker, "mail", failed=5, cancelled="forever")
    retain(worker, "mail", failed=None)
    assert worker.rows("select * from dtsched.retention() where queue is distinct from 'default' order by queue") == [
        ("mail", 7 * 86400, 30 * 86400, float("inf"), 7),
        (None, 7 * 86400, 30 * 86400, 30 * 86400, 7),
    ]


@pytest.mark.parametrize("settings", ['{"retention": {"completed": "soon", "failed": -1}}', '{"retention": [0]}', "{}"])
def test_settings_that_nobody_can_understand_delete_nothing(worker: Worker, settings: str):
    worker.run("insert into dtsched.queues (name, settings) values ('odd', %s)", settings)
    assert worker.rows("select completed, failed from dtsched.retention() where queue = 'odd'") == [
        (7 * 86400, 30 * 86400)
    ]


BAD: tuple[tuple[LiteralString, str], ...] = (
    ("select dtsched.set_retention('[1]')", "retention must be an object of completed, failed, cancelled and results"),
    ("select dtsched.set_retention(null)", "retention must be an object, not null"),
    ("""select dtsched.set_retention('{"done": 1}')""", 'not {"done": 1}'),
    ("""select dtsched.set_retention('{"failed": -1}')""", 'each in seconds or "forever", not '),
    ("""select dtsched.set_retention('{"failed": "1d"}')""", 'not {"failed": "1d"}'),
    ("""select dtsched.set_retention('{"failed": 1e99}')""", 'not {"failed": 1'),
    ("""select dtsched.set_retention('{"failed": 1}', 'a b')""", "queue must be 1 to 128 characters"),
    ("select dtsched.prune(0)", "prune() takes a limit of 1 or more, not 0"),
    ("select dtsched.prune(null)", "not null"),
)


@pytest.mark.parametrize(("statement", "said"), BAD)
def test_what_is_no_retention_is_refused(session: Session, statement: LiteralString, said: str):
    with pytest.raises(psycopg.Error) as refused:
        session.run(statement)
    assert refused.value.sqlstate == "JQ001"
    assert said in str(refused.value)


def test_a_job_that_has_not_ended_stays_however_old_it_is(worker: Worker):
    freeze(worker)
    retain(worker, completed=0, failed=0, cancelled=0)
    running, _ready = worker.insert(2)
    worker.claim(1)
    parent = worker.value("select dtsched.submit('echo', delay => '300 days')")
    worker.run("select dtsched.submit('echo', depends_on => %s)", [parent])
    pass_time(worker, "299 days")
    assert prune(worker) == 0
    worker.finish(running)
    assert prune(worker) == 1
    assert worker.states() == {"ready": 1, "scheduled": 1, "blocked": 1}


def test_a_result_may_go_before_its_job(worker: Worker):
    freeze(worker)
    retain(worker, results=60)
    small, large = worker.insert(2)
    worker.claim()
    worker.run(
        "select dtsched.finish(%s, %s, jsonb_build_array(1, (select jsonb_agg(n) from generate_series(1, 500) n)))",
        worker.id, [worker.leases[small], worker.leases[large]],
    )  # fmt: skip
    pass_time(worker, "1 min - 1 us")
    prune(worker)
    assert worker.value("select count(result) from dtsched.job(%s)", large) == 1
    pass_time(worker, "1 us")
    assert worker.rows("select jobs, results from dtsched.prune(p_all => true)") == [(0, 2)]
    for job in (small, large):
        assert worker.rows("select state, result from dtsched.job(%s)", job) == [("completed", None)]
    assert worker.rows("select jobs, results from dtsched.prune(p_all => true)") == [(0, 0)]


def test_only_what_may_be_due_is_looked_at(worker: Worker):
    worker.take_over_the_clock()
    retain(worker, completed=3600)
    (job,) = worker.insert()
    worker.claim()
    worker.finish(job)
    assert worker.value("select jobs from dtsched.prune()") == 0
    due = worker.value("select due_at - (select finished_at from dtsched.jobs) = '1 hour' from dtsched.prunable")
    assert due
    worker.travel("59 minutes")
    assert worker.value("select jobs from dtsched.prune()") == 0
    worker.travel("1 minute")
    assert worker.value("select jobs from dtsched.prune()") == 1


def test_jobs_that_cannot_be_past_their_retention_yet_are_not_judged_one_by_one(worker: Worker):
    """How many are judged is told by how often it is asked what is kept of their results."""
    worker.take_over_the_clock()
    retain(worker, "other", completed=14400, results=7200)
    worker.insert(50, queue="other")
    worker.finish(*worker.claim(queue="other"))
    results = "select seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'results'"

    def looks() -> int:
        worker.run("select pg_stat_force_next_flush()")
        return worker.value(results)

    before = looks()
    assert worker.value("select jobs from dtsched.prune()") == 0
    assert looks() == before
    worker.travel("2 hours")
    assert worker.value("select jobs from dtsched.prune()") == 0
    assert looks() > before


def test_a_chunk_is_looked_at_again_by_the_shortest_retention_there_is(worker: Worker):
    """Of a failed job that may be retried and complete, or move to that queue."""
    worker.take_over_the_clock()
    retain(worker, "other", completed=3600)
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    worker.run("select dtsched.prune()")
    assert worker.value("select due_at - (select finished_at from dtsched.jobs) = '1 hour' from dtsched.prunable")


def test_where_no_job_is_left_it_is_looked_once_a_day(worker: Worker):
    worker.take_over_the_clock()
    retain(worker, "other", completed=3600)
    (job,) = worker.insert()
    worker.run("select dtsched.prune()")
    worker.run("select dtsched.delete(%s)", job)
    close_the_chunk(worker)
    worker.travel("2 hours")
    worker.run("select dtsched.prune()")
    due = "select due_at - (select dtsched.now()) from dtsched.prunable order by chunk limit 1"
    assert worker.value(f"select ({due}) > interval '20 hours'")


def test_a_retention_that_was_shortened_counts_at_once(worker: Worker):
    ended(worker)
    assert worker.value("select jobs from dtsched.prune()") == 0
    retain(worker, "default", completed=0)
    assert worker.value("select jobs from dtsched.prune()") == 1


def test_a_job_that_was_retried_after_it_was_looked_at_goes_in_time(worker: Worker):
    worker.take_over_the_clock()
    retain(worker, completed=3600)
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    close_the_chunk(worker)
    worker.run("select dtsched.retry(%s)", job)
    worker.claim()
    worker.finish(job)
    worker.travel("61 minutes")
    assert worker.value("select jobs from dtsched.prune()") == 1


def test_jobs_that_were_restored_where_none_had_been_are_found_by_looking_everywhere(worker: Worker):
    retain(worker, completed=0)
    worker.run("select setval('dtsched.job_id_seq', 50000)")
    assert prune(worker) == 0
    worker.run("delete from dtsched.prunable where chunk < 5")
    worker.run("insert into dtsched.jobs (id, task, state, finished_at) values (7, 'echo', 'completed', now())")
    worker.run("insert into dtsched.tallies (queue, task, event, jobs) values ('default', 'echo', 'complete', 1)")
    assert worker.value("select jobs from dtsched.prune()") == 0
    assert prune(worker) == 1


def test_a_limit_bounds_a_call_and_the_next_one_goes_on(worker: Worker):
    retain(worker, completed=0)
    jobs = worker.insert(25)
    worker.claim()
    worker.finish(*jobs)
    assert [worker.rows("select jobs, more from dtsched.prune(10)")[0] for _ in range(4)] == [
        (10, True), (10, True), (5, True), (0, False),
    ]  # fmt: skip
    assert worker.rows("select sum(case event when 'complete' then jobs else -jobs end) from dtsched.tallies") == [(0,)]


def test_a_job_whose_row_is_held_is_left_for_later(worker: Worker, open_session: OpenSession):
    worker.take_over_the_clock()
    retain(worker, completed=0)
    held, free = worker.insert(2)
    worker.claim()
    worker.finish(held, free)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for share", held)
    assert worker.value("select jobs from dtsched.prune()") == 1
    holder.run("commit")
    worker.travel("1 min")
    assert worker.value("select jobs from dtsched.prune()") == 1


def test_a_call_that_is_killed_has_done_nothing(worker: Worker, open_session: OpenSession):
    retain(worker, completed=0)
    jobs = worker.insert(3)
    worker.claim()
    worker.finish(*jobs)
    killed = open_session()
    killed.run("begin")
    assert killed.value("select jobs from dtsched.prune()") == 3
    assert worker.rows("select jobs, more from dtsched.prune()") == [(0, True)]
    worker.run("select pg_terminate_backend(%s, 60000)", killed.connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        killed.run("commit")
    assert worker.states() == {"completed": 3}
    assert worker.column("select * from dtsched.check()") == []
    assert prune(worker) == 3


def test_a_job_that_was_deleted_or_pruned_holds_no_key(worker: Worker):
    retain(worker, completed=0)
    job = worker.value("select dtsched.submit('echo', key => 'once', key_for => 'kept')")
    worker.claim()
    worker.finish(job)
    assert worker.value("select count(*) from dtsched.keys") == 1
    assert prune(worker) == 1
    assert worker.value("select count(*) from dtsched.keys") == 0


def test_what_depends_on_a_pruned_job_is_refused_and_what_depended_on_it_goes_on(worker: Worker):
    retain(worker, completed=0)
    parent, other = worker.insert(2)
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [parent, other])
    worker.claim(1)
    worker.finish(parent)
    assert prune(worker) == 1
    with pytest.raises(psycopg.Error, match=f"depends_on names job {parent}, which does not exist"):
        worker.run("select dtsched.submit('echo', depends_on => %s)", [parent])
    worker.claim()
    worker.finish(other)
    assert worker.state(child) == "ready"


def test_pruning_beside_workers_that_submit_claim_finish_and_retry_loses_nothing(
    open_worker: OpenWorker, open_session: OpenSession
):
    session = open_session()
    retain(session, completed=0, failed="forever")  # a failed one is retried at once, unless it were gone by then
    done = threading.Event()

    def work() -> None:
        worker = open_worker()
        for _ in range(15):
            worker.insert(20)
            jobs = worker.claim(15)
            worker.finish_as("fail", *jobs[:2])
            worker.run("select dtsched.retry(%s)", jobs[:2])
            worker.finish(*jobs[2:])

    def keep_pruning() -> None:
        pruner = open_session()
        while not done.is_set():
            pruner.run("select dtsched.prune(p_all => true)")

    pruning = threading.Thread(target=keep_pruning)
    pruning.start()
    try:
        in_parallel(work, work)
    finally:
        done.set()
        pruning.join()
    last = open_worker()
    last.finish(*last.drain())
    prune(session)
    assert session.states() == {}
    assert session.rows("select sum(jobs) from dtsched.counted('-infinity', 'infinity') where event = 'complete'") == [
        (600,)
    ]


PARTITIONS = """select array_agg(relname::text order by relname) from pg_inherits join pg_class on oid = inhrelid
    where inhparent = 'dtsched.jobs'::regclass"""
FIRST_IS_OPEN = """select min(substr(relname, 6)::bigint) = (select last_value / 10000000 from dtsched.job_id_seq)
    from pg_inherits join pg_class on oid = inhrelid
    where inhparent = 'dtsched.jobs'::regclass and relname ~ '^jobs_[0-9]+$'"""


def fill_a_partition(session: Session) -> None:
    """As if 10 million ids had been given out."""
    session.run("select setval('dtsched.job_id_seq', 10000000)")
    session.run("select dtsched.ensure_partitions()")


def drop(session: Session) -> None:
    """It is put off while the machine is slow."""

    def dropped() -> bool:
        session.run("select dtsched.drop_old_partition()")
        return "jobs_0" not in session.value(PARTITIONS) and session.value(FIRST_IS_OPEN)

    until(dropped)


def test_a_full_partition_that_has_been_emptied_is_dropped(worker: Worker):
    retain(worker, completed=0)
    jobs = worker.insert(3)
    worker.claim()
    worker.finish(*jobs)
    assert worker.rows("select jobs, partitions from dtsched.prune(p_all => true)") == [(3, 0)]
    assert worker.rows("select jobs, partitions from dtsched.prune(p_all => true)") == [(0, 0)]
    fill_a_partition(worker)
    prune(worker)
    drop(worker)
    assert worker.value(PARTITIONS) == ["jobs_1", "jobs_2", "jobs_3", "jobs_default"]


def test_the_few_jobs_that_are_left_in_a_partition_live_on_without_it(worker: Worker):
    worker.take_over_the_clock()
    failed, running, retried = worker.insert(3)
    worker.claim()
    worker.finish_as("fail", failed)
    worker.finish_as("retry", retried, delay=0)  # ready, with a run_at
    later = worker.value("select dtsched.submit('echo', delay => '1 hour', key => 'later')")
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [later])
    before = worker.rows("select * from dtsched.jobs order by id")
    entries = worker.rows("select * from dtsched.ready")
    fill_a_partition(worker)
    drop(worker)
    assert "jobs_0" not in worker.value(PARTITIONS)
    assert worker.rows("select * from dtsched.jobs order by id") == before
    assert worker.rows("select * from dtsched.ready") == entries
    assert worker.rows("select * from dtsched.check()") == []
    worker.finish(running)
    worker.travel("2 hours")
    worker.renew()
    worker.run("select dtsched.promote()")
    assert sorted(worker.claim()) == [retried, later]
    worker.finish(retried, later)
    assert worker.claim() == [child]
    worker.run("select dtsched.retry(%s)", failed)
    assert worker.claim() == [failed]
    worker.finish(child, failed)
    retain(worker, completed=0)
    assert prune(worker) == 5
    (new,) = worker.insert()
    assert worker.claim() == [new]


def test_a_partition_with_more_than_a_thousand_jobs_left_stays(session: Session):
    session.insert(1001)
    fill_a_partition(session)
    assert prune(session) == 0
    assert "jobs_0" in session.value(PARTITIONS)


def test_nobody_waits_for_a_partition_that_somebody_has_in_use(session: Session, open_session: OpenSession):
    (job,) = session.insert()
    fill_a_partition(session)
    reader = open_session()
    reader.run("begin")
    reader.run("select count(*) from dtsched.jobs")

    @five_tries
    def drop_nothing() -> None:
        with within(1):
            assert session.value("select dtsched.drop_old_partition()") == 0

    drop_nothing()
    reader.run("commit")
    drop(session)
    assert session.state(job) == "ready"


def test_partitions_are_dropped_under_workers_that_go_on(open_worker: OpenWorker, open_session: OpenSession):
    session = open_session()
    (old,) = session.insert()
    gaps: list[float] = []

    def work() -> None:
        worker = open_worker()
        for _ in range(60):
            with Stopwatch() as gap:
                worker.insert(5)
                worker.finish(*worker.claim(5))
            gaps.append(gap.seconds)

    def keep_dropping() -> None:
        dropper = open_session()
        for n in range(1, 4):
            dropper.run("select setval('dtsched.job_id_seq', %s)", n * 10000000)
            while not dropper.value("select dtsched.ensure_partitions()"):
                pass
            drop(dropper)

    in_parallel(work, work, keep_dropping)
    assert session.value("select count(*) from pg_inherits where inhparent = 'dtsched.jobs'::regclass") == 4
    assert max(gaps) < 5
    assert old in session.column("select id from dtsched.jobs")


def test_looking_everywhere_where_no_job_is_left_looks_at_nothing(worker: Worker):
    freeze(worker)
    ended(worker)
    pass_time(worker, "30 days")
    assert prune(worker) == 3
    worker.run("begin")
    assert prune(worker) == 0
    looked = "select sum(idx_scan) from pg_stat_xact_user_tables where schemaname = 'dtsched' and relname ~ '^jobs'"
    assert worker.value(looked) < 1000
    worker.run("commit")


def test_looking_everywhere_passes_over_ids_that_no_job_has(worker: Worker):
    freeze(worker)
    for last in (1, 500_000, 100_000_000_000):
        worker.run("select setval('dtsched.job_id_seq', %s)", last)
        worker.run("select dtsched.prune()")
        worker.insert()
    worker.run("delete from dtsched.prunable where chunk = 50")  # as if its job had been restored
    worker.run("begin")
    assert prune(worker) == 0
    looked = "select sum(idx_scan) from pg_stat_xact_user_tables where schemaname = 'dtsched' and relname ~ '^jobs'"
    assert worker.value(looked) < 5000
    worker.run("commit")
    assert worker.column("select chunk from dtsched.prunable where chunk in (0, 50) order by 1") == [0, 50]


def test_no_name_of_a_queue_keeps_maintenance_away(worker: Worker, session: Session):
    """Who waits for jobs holds a lock by the hash of the queue's name, which may be any number, all the while."""
    session.run("select count(pg_advisory_lock_shared(dtsched.gate(), hash)) from generate_series(0, 100) hash")
    freeze(worker)
    ended(worker)
    pass_time(worker, "2 minutes")
    worker.run("set lock_timeout = '1s'")
    assert worker.rows("select more from dtsched.prune(p_all => true)") == [(False,)]
    assert worker.value("select dtsched.roll_up()") > 0
    worker.run("update dtsched.lease_epoch set server_started_at = '-infinity'")
    worker.insert()
    assert len(worker.claim()) == 1
