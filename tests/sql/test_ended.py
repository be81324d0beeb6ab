"""The end of a job is announced to whoever waits for it, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker


def complete(worker: Worker, job: int) -> None:
    worker.finish(job)


def fail(worker: Worker, job: int) -> None:
    worker.finish_as("fail", job)


def stop(worker: Worker, job: int) -> None:
    worker.run("select dtsched.cancel(%s)", job)
    worker.finish(job)


def crash(worker: Worker, job: int) -> None:
    worker.run("update dtsched.jobs set max_attempts = 1")
    worker.run("select dtsched.deregister_worker(%s)", worker.id)


@pytest.fixture
def listener(open_session: OpenSession) -> Session:
    listener = open_session()
    listener.run("listen dtsched_done")
    return listener


def announced(listener: Session, *, seconds: float = 5) -> list[str]:
    return [notify.payload for notify in listener.connection.notifies(timeout=seconds, stop_after=1)]


@pytest.mark.parametrize("end", [complete, fail, stop, crash])
def test_whoever_waits_is_told_however_the_job_ends(
    listener: Session, worker: Worker, end: Callable[[Worker, int], None]
):
    (job,) = worker.insert()
    worker.claim()
    assert listener.value("select dtsched.watch_ended(%s)", [job % 256]) is True
    end(worker, job)
    assert announced(listener) == [str(job)]


def test_waiting_jobs_that_are_cancelled_and_their_descendants_are_announced(listener: Session, session: Session):
    parent = session.value("select dtsched.submit('echo')")
    child = session.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    listener.run("select dtsched.watch_ended(%s)", [child % 256])
    session.run("select dtsched.cancel(%s)", parent)
    assert announced(listener) == [str(child)]


def test_a_deleted_job_is_announced(listener: Session, worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.finish(job)
    listener.run("select dtsched.watch_ended(%s)", [job % 256])
    worker.run("select dtsched.delete(%s)", job)
    assert announced(listener) == [str(job)]


def test_nobody_is_told_of_what_nobody_waits_for(listener: Session, worker: Worker):
    other, job = worker.insert(2)
    worker.claim()
    listener.run("select dtsched.watch_ended(%s)", [job % 256])
    worker.finish(other)
    worker.finish(job)
    assert announced(listener) == [str(job)]
    listener.run("select dtsched.unwatch_ended(%s)", [job % 256])
    worker.insert(1)
    worker.finish(*worker.claim())
    listener.run("notify dtsched_done, 'end'")
    assert announced(listener) == ["end"]


def test_the_locks_are_gone_with_the_last_unwatch(listener: Session, session: Session):
    held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    for buckets in ([1, 2], [2]):
        listener.run("select dtsched.watch_ended(%s)", buckets)
    listener.run("select dtsched.unwatch_ended(%s)", [1, 2])
    assert listener.value(held) == 2
    listener.run("select dtsched.unwatch_ended(%s)", [2])
    assert listener.value(held) == 0


def test_a_thousand_ends_at_once_fit_into_notifications(listener: Session, worker: Worker):
    worker.run("select setval('dtsched.job_id_seq', 9007199254740991 - 1000)")
    jobs = worker.insert(1000)
    worker.claim(1000)
    listener.run("select dtsched.watch_ended(array(select generate_series(0, 255)))")
    worker.finish(*jobs)
    told = [notify.payload for notify in listener.connection.notifies(timeout=5, stop_after=3)]
    assert sorted(int(job) for payload in told for job in payload.split(",")) == jobs


def test_ended_jobs_and_missing_ones_are_told_from_the_others(worker: Worker):
    done, running, ready = worker.insert(3)
    worker.claim(2)
    worker.finish(done)
    assert sorted(worker.column("select dtsched.ended(%s)", [done, running, ready, 999])) == [done, 999]
