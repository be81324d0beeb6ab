"""When a paused queue is drained: nothing of it runs, and no claim is left that may yet bring something."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Worker

Connect = Callable[[], psycopg.Connection]


def drained(worker: Worker, queue: str = "default") -> bool:
    return worker.value("select dtsched.drained(%s)", queue)


def test_a_queue_is_drained_when_it_is_paused_and_its_last_lease_is_gone(worker: Worker) -> None:
    assert not drained(worker), "nobody has named it, so nobody has paused it"
    first, second = worker.insert(2)
    worker.claim(1)
    worker.run("select dtsched.pause('default')")
    assert not drained(worker)
    worker.finish(first)
    assert drained(worker), "what waits is not started"
    assert worker.claim() == []
    worker.run("select dtsched.resume('default')")
    assert not drained(worker)
    assert worker.claim() == [second]


def test_a_claim_whose_transaction_is_open_keeps_its_queue_from_being_drained(
    worker: Worker, open_worker: OpenWorker
) -> None:
    other = open_worker()
    (job,) = worker.insert()
    with worker.connection.transaction():
        assert worker.claim() == [job]
        other.run("select dtsched.pause('default')")
        assert other.value("select count(*) from dtsched.leases") == 0
        assert not drained(other), "it may commit"
    assert not drained(other), "and it has"
    worker.finish(job)
    assert drained(other)


def test_a_claim_that_found_nothing_keeps_its_queue_until_it_ends_and_no_other(
    worker: Worker, open_worker: OpenWorker
) -> None:
    other = open_worker()
    for queue in ("default", "mail"):
        other.run("select dtsched.pause(%s)", queue)
    with worker.connection.transaction():
        worker.claim()
        assert not drained(other)
        assert drained(other, "mail")
    assert drained(other)


def test_claims_of_a_queue_do_not_wait_for_each_other_to_commit(worker: Worker, open_worker: OpenWorker) -> None:
    other = open_worker()
    jobs = worker.insert(2)
    with worker.connection.transaction():
        assert worker.claim(1) == jobs[:1]
        assert other.claim(1) == jobs[1:]


@pytest.mark.parametrize("notify", ["on", "off"])
def test_a_pause_is_announced_once(worker: Worker, connect: Connect, notify: str) -> None:
    listener = connect()
    listener.execute("listen dtsched_pause")
    worker.run("select set_config('dtsched.notify', %s, false)", notify)
    assert worker.value("select dtsched.pause('mail')") is True
    assert worker.value("select dtsched.pause('mail')") is False
    heard = [(told.channel, told.payload) for told in listener.notifies(timeout=0.1)]
    assert heard == ([("dtsched_pause", "mail")] if notify == "on" else [])
