"""Rescue: the jobs of dead workers come back, those of the living stay, whatever outage or clock jump there was."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker

LEASE = "60 s"


@pytest.fixture
def witness(open_worker: OpenWorker) -> Worker:
    """A worker that has renewed without a gap for more than a lease, on a clock that the test owns."""
    witness = open_worker(lease=LEASE)
    witness.take_over_the_clock()
    become_a_witness(witness)
    return witness


def become_a_witness(*workers: Worker) -> None:
    for _ in range(3):
        workers[0].travel("25 s")
        for worker in workers:
            assert worker.renew()


def test_a_witness_takes_back_the_jobs_of_a_worker_that_stopped_renewing(open_worker: OpenWorker, witness: Worker):
    dead = open_worker(lease=LEASE)
    jobs = dead.insert(3)
    assert dead.claim() == jobs
    assert witness.rescue() == []
    become_a_witness(witness)
    assert witness.rescue() == jobs
    assert witness.rescue() == []
    assert witness.drain() == jobs


def test_a_lease_without_a_worker_row_is_an_orphan(open_worker: OpenWorker, witness: Worker):
    gone = open_worker(lease=LEASE)
    (job,) = gone.insert()
    gone.claim()
    gone.run("delete from dtsched.workers where id = %s", gone.id)
    assert witness.rescue() == [job]


def test_a_worker_declared_lost_can_neither_finish_nor_renew_nor_claim(open_worker: OpenWorker, witness: Worker):
    frozen = open_worker(lease=LEASE)
    (job,) = frozen.insert()
    frozen.claim()
    become_a_witness(witness)
    assert witness.rescue() == [job]
    assert frozen.finish(job) == []
    assert frozen.finish_as("fail", job) == []
    assert frozen.renew() is False
    assert witness.claim() == [job]
    assert frozen.finish(job) == []
    assert witness.finish(job) == [witness.leases[job]]


def test_a_late_worker_that_nobody_has_judged_yet_goes_on_with_what_it_holds(open_worker: OpenWorker, witness: Worker):
    late = open_worker(lease=LEASE)
    first, second = late.insert(2)
    late.claim()
    witness.travel("61 s")
    assert late.finish(first) == [late.leases[first]]
    assert late.renew() is True
    assert late.finish(second) == [late.leases[second]]


def test_who_is_no_worker_is_told_a_witness_once_there_is_one(open_worker: OpenWorker, open_session: OpenSession):
    session = open_session()
    worker = open_worker(lease=LEASE)
    worker.take_over_the_clock()
    assert session.value("select dtsched.witness()") is None, "it has not been there for long enough"
    worker.travel("30 s")
    worker.renew()
    assert session.value("select dtsched.witness()") is None
    worker.travel("31 s")
    assert session.value("select dtsched.witness()") == worker.id
    worker.travel("61 s")
    assert session.value("select dtsched.witness()") is None, "its lease has run out"
    worker.renew()
    assert session.value("select dtsched.witness()") is None, "and with it what was unbroken"


def test_only_a_witness_rescues(open_worker: OpenWorker, witness: Worker):
    dead, newcomer = open_worker(lease=LEASE), open_worker(lease="5 minutes")
    (job,) = dead.insert()
    dead.claim()
    become_a_witness(witness)
    assert newcomer.rescue() == []
    assert witness.rescue() == [job]


def test_after_an_outage_longer_than_the_lease_the_living_renew_before_anybody_is_judged(
    open_worker: OpenWorker, witness: Worker
):
    living, dead = open_worker(lease=LEASE), open_worker(lease=LEASE)
    (kept,) = living.insert()
    living.claim()
    (orphaned,) = dead.insert()
    dead.claim()
    witness.run("update dtsched.workers set expires_at = dtsched.now() - interval '10 minutes'")
    assert witness.rescue() == []
    assert witness.renew()
    assert witness.rescue() == []
    assert living.renew()
    become_a_witness(witness, living)
    assert witness.rescue() == [orphaned]
    assert living.finish(kept) == [living.leases[kept]]


@pytest.mark.parametrize("jump", ["1 hour", "-1 hour"])
def test_a_jump_of_the_clock_costs_no_living_worker_its_jobs(open_worker: OpenWorker, witness: Worker, jump: str):
    living, dead = open_worker(lease=LEASE), open_worker(lease=LEASE)
    (kept,) = living.insert()
    living.claim()
    (orphaned,) = dead.insert()
    dead.claim()
    witness.travel(jump)
    assert living.rescue() == witness.rescue() == []
    assert witness.renew()
    assert witness.rescue() == []
    rescued: list[int] = []
    for _ in range(3):
        become_a_witness(witness, living)
        rescued += witness.rescue()
    assert rescued == [orphaned]
    assert living.finish(kept) == [living.leases[kept]]


def test_after_the_clock_went_back_nobodys_lease_ends_later_than_one_lease_from_now(
    open_worker: OpenWorker, witness: Worker
):
    open_worker(lease=LEASE)
    witness.travel("-1 hour")
    become_a_witness(witness)
    become_a_witness(witness)
    witness.rescue()
    assert witness.value("select bool_and(expires_at <= dtsched.now() + lease) from dtsched.workers")


def test_a_rescue_waits_for_nobody_and_a_finish_in_progress_wins(open_worker: OpenWorker, witness: Worker):
    dead = open_worker(lease=LEASE)
    held, free = dead.insert(2)
    dead.claim()
    become_a_witness(witness)
    dead.run("begin")
    dead.finish(held)
    witness.run("set lock_timeout = '100ms'")
    assert witness.rescue() == [free]
    dead.run("commit")
    assert witness.rescue() == []
    assert witness.states() == {"completed": 1, "ready": 1}


def test_a_job_row_that_somebody_holds_delays_the_rescue_of_that_job_only(
    open_session: OpenSession, open_worker: OpenWorker, witness: Worker
):
    dead = open_worker(lease=LEASE)
    held, free = dead.insert(2)
    dead.claim()
    become_a_witness(witness)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", held)
    witness.run("set lock_timeout = '10 ms'")
    assert witness.rescue() == [free]
    holder.run("commit")
    assert witness.rescue() == [held]


def test_a_child_that_somebody_holds_delays_the_rescue_of_its_parent_only(
    open_session: OpenSession, open_worker: OpenWorker, witness: Worker
):
    """The last attempt of the parent is lost: ending it cancels the child."""
    dead = open_worker(lease=LEASE)
    parent = dead.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1) returning id")
    (free,) = dead.insert()
    dead.claim()
    child = dead.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    become_a_witness(witness)
    holder = open_session()
    holder.run("begin")
    holder.run("select dtsched.cancel(%s)", child)
    assert witness.rescue() == [free]
    holder.run("rollback")
    assert witness.rescue() == [parent]
    assert [witness.state(job) for job in (parent, child)] == ["failed", "cancelled"]


def test_a_rescue_stops_at_its_limit_and_goes_on_in_the_next(open_worker: OpenWorker, witness: Worker):
    dead = open_worker(lease=LEASE)
    jobs = dead.insert(25)
    dead.claim()
    become_a_witness(witness)
    rescued = [witness.column("select job_id from dtsched.rescue(%s, 10)", witness.id) for _ in range(4)]
    assert [len(batch) for batch in rescued] == [10, 10, 5, 0]
    assert sorted(job for batch in rescued for job in batch) == jobs


@pytest.mark.parametrize("of", ["leases", "jobs"])
def test_what_somebody_holds_hides_nothing_behind_it(
    open_session: OpenSession, open_worker: OpenWorker, witness: Worker, of: str
):
    """The free ones are of the worker whose row was held first, of a second one, and of one without a row."""
    lost = sorted((open_worker(lease=LEASE) for _ in range(3)), key=lambda worker: worker.id)
    jobs = [worker.claim() for worker in lost if worker.insert(25)]
    lost[2].run("delete from dtsched.workers where id = %s", lost[2].id)
    become_a_witness(witness)
    held, free = [*jobs[0][:20], *jobs[1][:20]], [*jobs[0][20:], *jobs[1][20:], *jobs[2]]
    holder = open_session()
    holder.run("begin")
    holder.run(
        "select from dtsched.leases where job_id = any (%s) for update"
        if of == "leases"
        else "select from dtsched.jobs where id = any (%s) for update",
        held,
    )
    rescued: list[int] = []
    while batch := witness.column("select job_id from dtsched.rescue(%s, 10)", witness.id):
        assert len(batch) <= 10
        rescued += batch
    assert sorted(rescued) == sorted(free)
    holder.run("commit")
    assert sorted(witness.rescue()) == sorted(held)


def test_a_cancelled_job_of_a_lost_worker_ends_cancelled(open_worker: OpenWorker, witness: Worker):
    dead = open_worker(lease=LEASE)
    (job,) = dead.insert()
    dead.claim()
    assert witness.value("select dtsched.cancel(%s)", job) == "requested"
    become_a_witness(witness)
    assert witness.rows("select job_id, state from dtsched.rescue(%s)", witness.id) == [(job, "cancelled")]
    assert witness.state(job) == "cancelled"


def test_a_lost_worker_is_forgotten_after_a_day(open_worker: OpenWorker, witness: Worker):
    open_worker(lease=LEASE)
    become_a_witness(witness)
    witness.rescue()
    witness.travel("1 day")
    witness.renew()
    become_a_witness(witness)
    witness.rescue()
    assert witness.column("select id from dtsched.workers") == [witness.id]


def test_when_rescue_and_finish_fight_over_every_lease_each_is_won_once(
    database: str, open_worker: OpenWorker, witness: Worker
):
    victims = [open_worker(lease=LEASE) for _ in range(4)]
    witness.insert(2000)
    for _ in range(5):
        for victim in victims:
            victim.claim(100)
    become_a_witness(witness)
    finished: list[int] = []
    start = threading.Barrier(len(victims) + 1)

    def finish(victim: Worker) -> None:
        start.wait()
        for job in victim.leases:
            finished.extend(victim.finish(job))

    threads = [threading.Thread(target=finish, args=(victim,)) for victim in victims]
    for thread in threads:
        thread.start()
    start.wait()
    rescued: list[int] = []
    while len(rescued) + len(finished) < 2000:
        rescued += witness.column("select lease_id from dtsched.rescue(%s, 20)", witness.id)
    for thread in threads:
        thread.join()
    everything = {lease for victim in victims for lease in victim.leases.values()}
    assert rescued
    assert finished
    assert sorted(finished + rescued) == sorted(everything)
    assert witness.states() == {"completed": len(finished), "ready": len(rescued)}


def test_a_renewal_that_waited_for_a_lock_grants_a_whole_lease(database: str, open_worker: OpenWorker):
    worker = open_worker(lease="1 s")
    with contextlib.closing(Session(database)) as holder:
        holder.run("begin")
        holder.run("select from dtsched.workers for update")
        renewal = threading.Thread(target=worker.renew)
        renewal.start()
        holder.run("select pg_sleep(1.2)")
        holder.run("commit")
        renewal.join()
        assert holder.value("select expires_at > clock_timestamp() from dtsched.workers")
