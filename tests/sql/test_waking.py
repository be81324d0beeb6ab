"""Waking: nobody is notified while workers are busy, a hungry one always is, and until it is sure to be it polls."""

from __future__ import annotations

import contextlib
import time

import pytest

from dtsched.wakes import Entry, Wake, parse_wake
from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.support.patience import PATIENCE_SECONDS, five_tries, timely, until


class Listener:
    """The connection of a worker that listens, and goes hungry and sated on it."""

    def __init__(self, session: Session, queues: list[str]) -> None:
        self._session = session
        self._queues = queues
        session.run("listen dtsched_wake")
        session.run("listen dtsched_cancel")

    def go_hungry(self) -> int | None:
        return self._session.value("select dtsched.hungry(%s)", self._queues)

    def be_sated(self) -> None:
        self._session.run("select dtsched.sated(%s)", self._queues)

    def settled(self, xid: int | None) -> bool:
        return self._session.value("select dtsched.settled(%s)", xid)

    def wait_until_settled(self, xid: int | None) -> None:
        """Other transactions of the cluster (autovacuum's) count too, so it may take a moment."""
        until(lambda: self.settled(xid))

    def hears(self) -> tuple[str, str]:
        """The channel and the queue of what is sure to come, however late."""
        channel, payload = self.hears_all()
        return channel, parse_wake(payload).queue

    def hears_all(self) -> tuple[str, str]:
        (heard,) = self._session.connection.notifies(timeout=PATIENCE_SECONDS, stop_after=1)
        return heard.channel, heard.payload

    def heard(self, *, stop_after: int = 1) -> list[tuple[str, str]]:
        """What has come by now."""
        notifications = self._session.connection.notifies(timeout=0.3, stop_after=stop_after)
        return [(heard.channel, heard.payload) for heard in notifications]


@pytest.fixture
def listener(open_session: OpenSession) -> Listener:
    return Listener(open_session(), ["default", "mail"])


def test_submissions_notify_nobody_while_no_worker_is_hungry(session: Session, listener: Listener):
    for _ in range(50):
        session.insert()
    assert listener.heard() == []


def test_many_submitters_at_once_do_not_take_one_another_for_a_hungry_worker(database: str, listener: Listener):
    """Each tries the gate's lock for an instant and notifies in vain if it meets a rival's (1 in 30,000, measured)."""

    def submit() -> None:
        with contextlib.closing(Session(database)) as submitter:
            for _ in range(300):
                submitter.insert()

    in_parallel(*[submit] * 8)
    assert len(listener.heard(stop_after=100)) < 2400 / 100


@five_tries
def test_a_hungry_worker_hears_of_a_job_within_milliseconds(session: Session, listener: Listener):
    listener.go_hungry()
    delays: list[float] = []
    for _ in range(20):
        session.insert()
        committed = time.monotonic()
        assert listener.hears() == ("dtsched_wake", "default")
        delays.append(time.monotonic() - committed)
    timely(sorted(delays)[10] < 0.05, delays)


def test_a_single_entry_is_named_and_no_more_than_the_first_of_a_transaction(session: Session, listener: Listener):
    listener.go_hungry()
    (job,) = session.insert(priority=7)
    xid = session.value("select xid::text::bigint from dtsched.ready")
    assert parse_wake(listener.hears_all()[1]) == Wake("default", Entry(7, xid, job))
    session.insert(2)
    assert listener.hears_all()[1] == "default"
    session.run("begin")
    first = session.insert(queue="mail")
    session.insert(queue="mail")
    session.insert(queue="mail")
    session.insert()
    session.run("commit")
    xid = session.value("select max(xid)::text::bigint from dtsched.ready")
    heard = [payload for _, payload in listener.heard(stop_after=4)]
    assert heard == [f"mail 5 {xid} {first[0]}", "mail", "default"]


def test_what_is_rolled_back_is_not_named(session: Session, listener: Listener):
    listener.go_hungry()
    with session.connection.transaction(), session.connection.transaction(force_rollback=True):
        session.insert()
    (job,) = session.insert()
    entry = parse_wake(listener.hears_all()[1]).entry
    assert entry is not None
    assert entry.job_id == job


def test_a_turn_of_a_limit_key_is_not_named(session: Session, listener: Listener):
    listener.go_hungry()
    session.insert_limited("k")
    assert listener.hears_all()[1] == "default"


def test_a_worker_is_woken_for_its_own_queues_only(session: Session, listener: Listener):
    listener.go_hungry()
    session.insert(queue="reports")
    assert listener.heard() == []
    session.insert(queue="mail")
    assert listener.hears() == ("dtsched_wake", "mail")


def test_a_worker_cannot_go_hungry_while_somebody_has_the_gate_and_does_not_wait_for_it(
    session: Session, open_session: OpenSession, listener: Listener
):
    """Any role may take an advisory lock. What a failed try has taken is given back."""
    session.run("select pg_advisory_lock(dtsched.gate(), hashtext('mail'))")
    assert listener.go_hungry() is None
    session.run("select pg_advisory_unlock_all()")
    session.insert()
    assert listener.heard() == []
    assert listener.go_hungry()
    session.insert()
    assert listener.hears() == ("dtsched_wake", "default")


def test_a_sated_worker_is_left_alone_again(session: Session, listener: Listener):
    listener.go_hungry()
    listener.be_sated()
    session.insert()
    assert listener.heard() == []


def test_hunger_said_twice_is_taken_back_twice(session: Session, listener: Listener):
    listener.go_hungry()
    listener.go_hungry()
    listener.be_sated()
    session.insert()
    assert listener.hears() == ("dtsched_wake", "default")
    listener.be_sated()
    session.insert()
    assert listener.heard() == []


def test_one_sated_worker_does_not_silence_another(open_session: OpenSession, session: Session, listener: Listener):
    other = Listener(open_session(), ["default"])
    listener.go_hungry()
    other.go_hungry()
    listener.be_sated()
    session.insert()
    assert other.hears() == ("dtsched_wake", "default")


def test_hunger_ends_with_the_connection(open_session: OpenSession, session: Session, listener: Listener):
    hungry = open_session()
    Listener(hungry, ["default"]).go_hungry()
    hungry.close()
    while session.value("select count(*) from pg_locks where locktype = 'advisory'"):
        time.sleep(0.01)
    session.insert()
    assert listener.heard() == []


def test_promoted_jobs_wake_a_hungry_worker(session: Session, listener: Listener):
    session.take_over_the_clock()
    session.run("select dtsched.submit('echo', delay => '1 min')")
    session.travel("2 min")
    listener.go_hungry()
    assert session.value("select promoted from dtsched.promote()") == 1
    assert listener.hears() == ("dtsched_wake", "default")


def test_jobs_handed_back_wake_a_hungry_worker(worker: Worker, listener: Listener):
    (job,) = worker.insert()
    worker.claim()
    listener.go_hungry()
    worker.release(never_started=[job])
    assert listener.hears() == ("dtsched_wake", "default")


def test_children_released_wake_a_hungry_worker(worker: Worker, listener: Listener):
    (parent,) = worker.insert()
    worker.value("select dtsched.submit('child', queue => 'mail', depends_on => %s)", [parent])
    worker.claim()
    listener.go_hungry()
    worker.finish(parent)
    assert listener.hears() == ("dtsched_wake", "mail")


def test_a_job_parked_by_a_worker_that_does_not_know_it_wakes_those_who_may(
    session: Session, open_worker: OpenWorker, listener: Listener
):
    listener.go_hungry()
    session.insert(task="resize")
    assert listener.hears() == ("dtsched_wake", "default")
    open_worker(tasks=["echo"]).claim()
    assert listener.hears() == ("dtsched_wake", "default")


def test_an_entry_put_back_because_its_job_is_held_wakes_nobody(
    open_session: OpenSession, worker: Worker, listener: Listener
):
    (job,) = worker.insert()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", job)
    listener.go_hungry()
    assert worker.claim() == []
    assert listener.heard() == []


def test_a_transaction_that_found_the_gate_open_keeps_a_hungry_worker_polling_until_it_ends(
    open_session: OpenSession, worker: Worker, listener: Listener
):
    early = open_session()
    early.run("begin")
    jobs = early.insert()
    xid = listener.go_hungry()
    assert not listener.settled(xid)
    early.run("commit")
    assert listener.heard() == []
    listener.wait_until_settled(xid)
    assert worker.claim() == jobs


def test_a_transaction_that_submits_after_the_gate_was_shut_notifies_however_early_it_began(
    open_session: OpenSession, listener: Listener
):
    early = open_session()
    early.run("begin isolation level repeatable read")
    early.run("select from dtsched.jobs")
    xid = listener.go_hungry()
    early.insert()
    early.run("commit")
    listener.wait_until_settled(xid)
    assert listener.hears() == ("dtsched_wake", "default")


def test_a_silenced_submission_can_be_prepared_although_a_worker_is_hungry(
    session: Session, worker: Worker, listener: Listener
):
    listener.go_hungry()
    session.run("set dtsched.notify = off")
    session.run("begin")
    jobs = session.insert()
    session.run("prepare transaction 'silent'")
    session.run("commit prepared 'silent'")
    assert listener.heard() == []
    assert worker.claim() == jobs


def test_a_running_job_that_is_cancelled_tells_its_worker(session: Session, worker: Worker, listener: Listener):
    (job,) = worker.insert()
    worker.claim()
    assert session.value("select dtsched.cancel(%s)", job) == "requested"
    assert listener.hears() == ("dtsched_cancel", str(worker.id))
    assert worker.rows("select alive, cancelled from dtsched.renew(%s)", worker.id) == [(True, [worker.leases[job]])]
