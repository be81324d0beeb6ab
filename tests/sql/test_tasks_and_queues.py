"""What a claim is given by the worker's tasks, by a paused queue and by a worker that drains."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker


def test_a_task_the_worker_does_not_know_is_parked_at_no_cost_and_taken_by_one_that_does(
    session: Session, open_worker: OpenWorker
):
    (known,) = session.insert(task="echo")
    (unknown,) = session.insert(task="resize")
    assert open_worker(tasks=["echo"]).drain() == [known]
    assert session.rows("select job_id, reason, task from dtsched.parked") == [(unknown, "task", "resize")]
    assert session.rows("select state, attempt from dtsched.jobs where id = %s", unknown) == [("ready", 0)]
    assert open_worker(tasks=["echo", "resize"]).drain() == [unknown]
    assert session.value("select count(*) from dtsched.parked") == 0


def test_a_worker_without_a_list_of_tasks_takes_any(session: Session, open_worker: OpenWorker):
    jobs = session.insert(task="echo") + session.insert(task="resize")
    assert open_worker(tasks=["echo"]).drain() == jobs[:1]
    assert open_worker().drain() == jobs[1:]


def test_parked_jobs_are_taken_by_priority(session: Session, open_worker: OpenWorker):
    low, high = session.insert(task="resize", priority=2) + session.insert(task="resize", priority=8)
    open_worker(tasks=["echo"]).drain()
    assert open_worker(tasks=["resize"]).claim(1) == [high]
    assert open_worker(tasks=["resize"]).claim(1) == [low]


def test_a_backlog_does_not_starve_the_parked(session: Session, open_worker: OpenWorker):
    (parked,) = session.insert(task="resize")
    open_worker(tasks=["echo"]).drain()
    session.insert(2000, task="resize")
    worker = open_worker(tasks=["resize"])
    claimed: list[int] = []
    while parked not in claimed:
        claimed = worker.claim(2)
        assert claimed, "the backlog was drained first"


def test_parked_jobs_of_another_queue_are_left_alone(session: Session, open_worker: OpenWorker):
    session.insert(task="resize", queue="images")
    stranger = open_worker(tasks=["echo"])
    assert stranger.claim(queue="images") == []
    knowing = open_worker(tasks=["resize"])
    assert knowing.claim(queue="default") == []
    assert len(knowing.claim(queue="images")) == 1


def test_a_parked_job_whose_row_is_held_is_not_lost(session: Session, open_worker: OpenWorker):
    (job,) = session.insert(task="resize")
    open_worker(tasks=["echo"]).drain()
    session.run("begin")
    session.run("select from dtsched.jobs where id = %s for update", job)
    knowing = open_worker(tasks=["resize"])
    assert knowing.claim() == []
    session.run("rollback")
    assert knowing.drain() == [job]


def test_two_workers_never_take_the_same_parked_job(session: Session, open_worker: OpenWorker):
    jobs = session.insert(50, task="resize")
    open_worker(tasks=["echo"]).drain()
    one, other = open_worker(tasks=["resize"]), open_worker(tasks=["resize"])
    one.run("begin")
    first = one.claim(20)
    second = other.claim(100)
    one.run("commit")
    assert sorted(first + second) == jobs


def test_submit_refuses_a_task_that_no_worker_has_declared(session: Session, open_worker: OpenWorker):
    assert session.value("select dtsched.submit('resize')")  # nobody has declared anything yet
    open_worker(tasks=["echo"])
    with pytest.raises(psycopg.Error, match='no worker has declared a task "resize"; known are echo') as refusal:
        session.run("select dtsched.submit('resize')")
    assert refusal.value.sqlstate == "JQ002"
    assert session.insert(task="resize")
    assert session.column('select id from dtsched.submit_many(\'[{"task": "resize"}]\', false)')


def test_a_paused_queue_gives_nothing_until_it_goes_on(session: Session, worker: Worker):
    session.insert(queue="mail")
    jobs = session.insert()
    session.run("update dtsched.queues set paused_at = now() where name = 'default'")
    assert worker.claim() == []
    assert len(worker.claim(queue="mail")) == 1
    session.run("update dtsched.queues set paused_at = null")
    assert worker.claim() == jobs


def test_a_draining_worker_gets_nothing_and_may_still_finish(session: Session, worker: Worker):
    (job,) = session.insert()
    worker.claim()
    session.insert()
    session.run("update dtsched.workers set draining = true where id = %s", worker.id)
    assert worker.claim() == []
    assert worker.rows("select alive, draining from dtsched.renew(%s)", worker.id) == [(True, True)]
    assert worker.finish(job) == [worker.leases[job]]


def test_has_ready_sees_queues_with_work_that_are_not_paused(session: Session, open_worker: OpenWorker):
    open_worker(queues=["default", "mail"])
    has_ready = "select dtsched.has_ready(array['default', 'mail'])"
    assert session.value(has_ready) is False
    session.insert(queue="mail")
    assert session.value(has_ready) is True
    session.run("update dtsched.queues set paused_at = now() where name = 'mail'")
    assert session.value(has_ready) is False
