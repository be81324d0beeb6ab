"""Ids: none of a lease is given out twice, also by a server that has gone back in time; and what is near their end."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker


def lease_of(session: Session, job: int) -> int:
    return session.value("select id from dtsched.leases where job_id = %s", job)


def restore(session: Session, leases: int) -> None:
    """As if the server of a backup had been started, in which so many leases had ever been given out."""
    session.run("delete from dtsched.leases")
    session.run("select setval('dtsched.lease_id_seq', %s, %s)", max(leases, 1), leases > 0)
    session.run("update dtsched.lease_epoch set server_started_at = server_started_at - interval '1 day'")


def test_a_lease_from_before_a_restore_is_not_the_one_that_its_worker_has_been_given_since(worker: Worker):
    (lost,) = worker.insert()
    worker.claim()
    stale = lease_of(worker, lost)
    restore(worker, leases=stale - 1)
    worker.run("delete from dtsched.jobs")
    (other,) = worker.insert()
    assert worker.claim() == [other]
    assert worker.rows("select dtsched.finish(%s, array[%s]::bigint[])", worker.id, stale) == []
    assert worker.state(other) == "running"


def test_lease_ids_go_on_by_one_while_the_server_runs(worker: Worker):
    jobs = worker.insert(3)
    worker.claim()
    first = lease_of(worker, jobs[0])
    assert [lease_of(worker, job) for job in jobs] == [first, first + 1, first + 2]
    (another,) = worker.insert()
    worker.claim()
    assert lease_of(worker, another) == first + 3


def test_a_server_that_was_started_again_gives_out_lease_ids_beyond_any_that_there_were(worker: Worker):
    restore(worker, leases=10)
    (job,) = worker.insert()
    worker.claim()
    # microseconds since 1970, of which more have passed than leases were ever given out
    began = worker.value("select extract(epoch from server_started_at) * 1000000 from dtsched.lease_epoch")
    assert began <= lease_of(worker, job) < 2**53


@pytest.mark.parametrize("ahead", ["1 day", "200 years"])
def test_lease_ids_go_up_also_when_the_clock_has_gone_back(worker: Worker, ahead: str):
    restore(worker, leases=10)
    worker.run(
        "select setval('dtsched.lease_id_seq', (extract(epoch from clock_timestamp() + %s::interval) * 1e6)::bigint)",
        ahead,
    )
    before = worker.value("select last_value from dtsched.lease_id_seq")
    (job,) = worker.insert()
    worker.claim()
    assert before < lease_of(worker, job) <= before + 1_000_002


def test_two_workers_that_claim_first_after_a_start_set_the_ids_forward_once(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    jobs = first.insert(2)
    restore(first, leases=10)
    first.run("begin")
    (claimed,) = first.claim(1)
    lease = lease_of(first, claimed)
    (other,) = second.claim(1)  # it waits for nobody's transaction
    assert {claimed, other} == set(jobs)
    assert lease_of(second, other) == lease + 1
    first.run("rollback")
    assert first.claim(1) == [claimed]
    assert lease_of(first, claimed) > lease + 1
    assert first.value("select server_started_at = pg_postmaster_start_time() from dtsched.lease_epoch")


def test_a_claim_that_finds_no_ids_left_leaves_no_lock_behind(open_worker: OpenWorker):
    first, second = open_worker(), open_worker()
    first.insert()
    restore(first, leases=2**53 - 1)
    for worker in (first, second):
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
            worker.claim()


def test_a_schema_that_was_dumped_and_restored_into_the_same_server_sets_the_ids_forward(worker: Worker):
    worker.run("update dtsched.lease_epoch set ids = 0::oid")  # what is restored comes with another one
    before = worker.value("select last_value from dtsched.lease_id_seq")
    (job,) = worker.insert()
    worker.claim()
    assert lease_of(worker, job) > before + 1_000_000


@pytest.mark.parametrize("sequence", ["job_id_seq", "lease_id_seq"])
def test_ids_end_where_json_readers_would_round_them(session: Session, sequence: str):
    session.run("select setval(%s::regclass, %s)", f"dtsched.{sequence}", 2**53 - 1)
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
        session.value("select nextval(%s::regclass)", f"dtsched.{sequence}")


def test_what_maintenance_does_goes_on_near_the_end_of_the_ids_and_after_they_were_set_back(worker: Worker):
    worker.run("select dtsched.prune()")
    worker.run("select setval('dtsched.job_id_seq', %s)", 2**53 - 3)
    worker.finish(*worker.insert(1), *worker.claim())
    worker.run("select dtsched.prune(), dtsched.ensure_partitions()")
    worker.run("select setval('dtsched.job_id_seq', 50000)")
    worker.insert()
    worker.finish(*worker.claim())
    worker.run("select dtsched.prune()")
    assert worker.rows("select * from dtsched.check()") == []
    assert 5 in worker.column("select chunk from dtsched.prunable")


def test_jobs_whose_chunk_of_ids_no_maintenance_has_met_yet_are_nothing_wrong(worker: Worker):
    worker.run("select dtsched.prune()")
    worker.run("select setval('dtsched.job_id_seq', 30000)")
    worker.insert()
    worker.finish(*worker.claim())
    assert worker.rows("select * from dtsched.check()") == []
    worker.run("select dtsched.prune()")
    assert worker.rows("select * from dtsched.check()") == []
    worker.run("delete from dtsched.prunable where chunk = 3")
    worker.run("insert into dtsched.prunable (chunk) values (4)")
    worker.run("select setval('dtsched.job_id_seq', 40000)")
    assert worker.column("select invariant from dtsched.check()") == [
        "a job is looked at when its retention has passed"
    ]
    worker.run("select dtsched.prune(p_all => true)")


def test_after_a_dump_was_loaded_ids_and_transactions_go_on_from_what_is_there(worker: Worker):
    jobs = worker.insert(3)
    worker.run("update dtsched.ready set xid = '9000000000'")  # of a server that has seen more
    worker.run("insert into dtsched.ages (at, xid, kept) values (clock_timestamp(), '9000000000', false)")
    worker.run("select setval('dtsched.job_id_seq', 1)")
    before = worker.value("select last_value from dtsched.lease_id_seq")
    worker.run("select dtsched.after_restore()")
    assert worker.value("select max(xid) < pg_snapshot_xmax(pg_current_snapshot()) from dtsched.ready") is True
    assert worker.value("select count(*) from dtsched.ages where xid = '9000000000'") == 0
    more = worker.insert(2)
    assert min(more) > max(jobs)
    assert sorted(worker.claim()) == sorted([*jobs, *more])
    assert lease_of(worker, jobs[0]) > before + 1_000_000


@pytest.mark.parametrize("known", ["known", "unknown"])
def test_a_claim_beside_an_open_after_restore_is_given_no_old_lease_id(open_worker: OpenWorker, known: str):
    """Whether its server is that of the copy, as with CREATE DATABASE … TEMPLATE, or another one."""
    restorer, worker = open_worker(), open_worker()
    worker.insert()
    if known == "unknown":
        restore(worker, leases=10)
    before = worker.value("select last_value from dtsched.lease_id_seq")
    restorer.run("begin")
    restorer.run("select dtsched.after_restore()")
    (job,) = worker.claim()
    assert lease_of(worker, job) > before + 1_000_000
    restorer.run("rollback")


def test_nobody_but_the_owner_says_that_a_dump_was_loaded(session: Session):
    session.run("set role dtsched_operator")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.run("select dtsched.after_restore()")
    session.run("reset role")


def test_an_index_that_is_not_valid_is_found(session: Session):
    session.insert(2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        session.run("create unique index concurrently half_made_idx on dtsched.ready ((queue is null))")
    assert session.rows("select invariant, job_id, detail from dtsched.check()") == [
        ("every index is valid", None, "dtsched.half_made_idx: drop it, or REINDEX INDEX CONCURRENTLY")
    ]
    session.run("drop index dtsched.half_made_idx")
