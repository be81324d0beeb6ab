"""dtsched.why(): what keeps a job where it is."""

from __future__ import annotations

import pytest

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker
from tests.sql.test_steps import park


def why(session: Session, job: int) -> dict[str, str]:
    return dict(session.rows("select code, reason from dtsched.why(%s)", job))


def test_there_is_no_reason_without_a_job(session: Session):
    assert why(session, 1) == {}


def test_a_blocked_job_names_the_unfinished_parents(worker: Worker):
    done, *open_parents = worker.insert(13)
    worker.claim(1)
    worker.finish(done)
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [done, *open_parents])
    reason = why(worker, child)["parents"]
    assert reason.startswith(f"it waits for 12 jobs: {open_parents[0]} (ready), ")
    assert reason.endswith(f"{open_parents[9]} (ready), …")


def test_a_blocked_job_with_a_time_says_that_too(worker: Worker):
    (parent,) = worker.insert()
    child = worker.value("select dtsched.submit('echo', depends_on => %s, delay => '1 hour')", [parent])
    assert list(why(worker, child)) == ["parents", "later"]


def test_a_scheduled_job_says_when_and_why_again(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("retry", job, delay=600)
    reason = why(worker, job)["later"]
    assert "in 00:09:5" in reason or "in 00:10:00" in reason
    assert "attempt 1 of 5 ended with: ValueError: told to" in reason


def test_a_due_job_says_whether_anybody_is_there_to_make_it_ready(session: Session, open_worker: OpenWorker):
    session.take_over_the_clock()
    job = session.value("select dtsched.submit('echo', delay => '1 min')")
    session.travel("2 min")
    assert "no worker is alive" in why(session, job)["due"]
    open_worker()
    assert "within a second or two" in why(session, job)["due"]


def test_a_ready_job_that_nobody_serves_says_how_to_have_it_served(session: Session):
    (job,) = session.insert(queue="mail")
    assert why(session, job) == {"no_worker": "no live worker serves queue mail: start one with -q mail"}


def test_a_worker_that_is_lost_or_drains_serves_nobody(session: Session, open_worker: OpenWorker):
    (job,) = session.insert()
    open_worker()
    assert "no_worker" not in why(session, job)
    session.run("update dtsched.workers set draining = true")
    assert "no_worker" in why(session, job)
    session.run("update dtsched.workers set draining = false, expires_at = dtsched.now()")
    assert "no_worker" in why(session, job)


def test_a_job_whose_task_nobody_knows_says_so(open_worker: OpenWorker):
    worker = open_worker(tasks=["another"])
    (job,) = worker.insert()
    unknown = {"unknown_task": "the worker that serves queue default does not know task echo"}
    assert why(worker, job) == unknown
    worker.claim()
    assert why(worker, job) == unknown


def test_a_paused_queue_comes_first(worker: Worker):
    (job,) = worker.insert()
    worker.run("select dtsched.pause('default')")
    assert next(iter(why(worker, job))) == "paused"


@pytest.mark.parametrize(("ahead", "says"), [(1, "a job goes"), (2, "2 jobs go"), (1000, "1000 jobs or more go")])
def test_a_job_behind_others_counts_them(worker: Worker, ahead: int, says: str):
    worker.insert(ahead, priority=6)
    (job,) = worker.insert()
    assert why(worker, job)["behind"].startswith(says)


def test_busy_slots_and_an_empty_queue_are_told_apart(worker: Worker):
    (job,) = worker.insert()
    assert list(why(worker, job)) == ["next"]
    worker.claim()
    worker.insert(9)
    worker.claim()
    (waiting,) = worker.insert()
    assert why(worker, waiting) == {"busy": "the 10 slots of the workers that serve queue default are all taken"}


def test_a_running_job_names_its_worker_its_silence_and_its_cancellation(worker: Worker, session: Session):
    (job,) = worker.insert()
    worker.claim()
    assert "attempt 1 of 5 has run for" in why(session, job)["running"]
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s'")
    assert "silent_worker" in why(session, job)
    session.run("delete from dtsched.workers")
    assert str(worker.id) in why(session, job)["silent_worker"]
    session.run("select dtsched.cancel(%s)", job)
    assert "told to stop" in why(session, job)["cancelling"]
    worker.finish(job)


def test_an_ended_job_says_how_it_ended(worker: Worker):
    done, failed = worker.insert(2)
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", failed)
    assert list(why(worker, done)) == ["completed"]
    assert why(worker, failed)["failed"].endswith(": ValueError: told to")


def test_a_job_that_waits_says_when_its_deadline_ends_it(worker: Worker):
    (parent,) = worker.insert()
    blocked = worker.value("select dtsched.submit('echo', depends_on => %s, expires_in => '1 hour')", [parent])
    ready = worker.value("select dtsched.submit('echo', expires_in => '1 hour')")
    for job, first in ((blocked, "parents"), (ready, "behind")):
        reasons = why(worker, job)
        assert list(reasons) == [first, "deadline"]
        assert reasons["deadline"].startswith("unless it has ended by its deadline, it is ended as failed at ")
    assert "deadline" not in why(worker, parent)


def test_a_job_whose_deadline_comes_before_it_can_start_says_so_to_the_microsecond(session: Session):
    session.take_over_the_clock()
    session.stop_the_clock()
    submit = "select dtsched.submit('echo', delay => '2 hours', expires_in => %s::interval)"
    never, just = (session.value(submit, expiry) for expiry in ("2 hours", "2 hours 1 us"))
    assert list(why(session, never)) == ["later", "deadline"]
    assert why(session, never)["deadline"].startswith("its deadline comes before that: it is ended as failed at ")
    assert why(session, never)["deadline"].endswith(", in 02:00:00")
    assert why(session, just)["deadline"].startswith("unless it has ended by its deadline")


def test_a_sleeping_job_tells_of_its_deadline_too(worker: Worker):
    job = worker.value("select dtsched.submit('echo', expires_in => '1 hour')")
    worker.claim()
    worker.run("select dtsched.start_sleep(%s, %s, 'nap', 600)", worker.id, worker.leases[job])
    assert park(worker, job, "nap")
    reasons = why(worker, job)
    assert list(reasons) == ["sleep", "deadline"]
    assert reasons["deadline"].startswith("unless it has ended by its deadline")


def test_a_job_past_its_deadline_says_who_ends_it(session: Session, open_worker: OpenWorker):
    session.take_over_the_clock()
    session.stop_the_clock()
    job = session.value("select dtsched.submit('echo', expires_in => '1 min')")
    session.travel("1 min - 1 us")
    assert list(why(session, job))[-1] == "deadline"
    assert "no_worker" in why(session, job)
    session.travel("1 us")
    assert list(why(session, job)) == ["deadline"]
    assert "; no worker is alive to end it as failed: start one" in why(session, job)["deadline"]
    worker = open_worker()
    assert "; workers end it as failed within a second or two" in why(session, job)["deadline"]
    worker.run("select dtsched.expire(null)")
    assert list(why(session, job)) == ["failed"]
