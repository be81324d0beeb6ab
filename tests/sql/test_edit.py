"""edit(): what can be changed of a job, when, and that nobody takes it by what it was before."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.sql.test_retention import close_the_chunk


def edit(session: Session, *jobs: int, **changes: Any) -> list[str]:
    return session.column("select outcome from dtsched.edit(%s, %s)", list(jobs), json.dumps(changes))


def test_everything_that_can_be_changed_is(worker: Worker):
    job = worker.value("select dtsched.submit('echo', args => %s, timeout => '1 min')", json.dumps({"a": 1, "b": 2}))
    changes = {
        "merge_args": {"b": 3, "c": None}, "queue": "mail", "priority": 9, "max_attempts": 2, "timeout": None,
        "tags": ["x"], "limit_key": "host", "deadline": "2030-01-01T00:00:00Z",
    }  # fmt: skip
    assert edit(worker, job, **changes) == ["edited"]
    row = worker.rows("""
        select args, queue, priority, max_attempts, timeout, tags, limit_key, deadline = '2030-01-01 00:00Z'
        from dtsched.jobs""")
    assert row == [({"a": 1, "b": 3, "c": None}, "mail", 9, 2, None, ["x"], "host", True)]
    assert edit(worker, job, args={}, limit_key=None, deadline=None, timeout=2.5) == ["edited"]
    row = worker.rows("select args, limit_key, deadline, extract(epoch from timeout)::float8 from dtsched.jobs")
    assert row == [({}, None, None, 2.5)]


def test_what_runs_has_completed_or_is_not_there_is_left_alone(worker: Worker):
    failed, done, cancelled, running = worker.insert(4)
    worker.run("select dtsched.cancel(%s)", cancelled)
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", failed)
    later = worker.value("select dtsched.submit('echo', delay => '1 hour')")
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [later])
    assert edit(worker, failed, done, cancelled, running, later, child, 999, args={"x": 1}) == [
        "edited", "finished", "edited", "running", "edited", "edited", "missing",
    ]  # fmt: skip
    assert set(worker.column("select id from dtsched.jobs where args <> '{}'")) == {failed, cancelled, later, child}
    assert edit(worker, failed, done, cancelled, later, child, queue="mail", priority=1) == [
        "edited", "finished", "edited", "edited", "edited",
    ]  # fmt: skip
    assert (
        worker.value("select queue from dtsched.scheduled")
        == worker.value("select queue from dtsched.blocked")
        == "mail"
    )


BAD: tuple[tuple[object, str], ...] = (
    ({}, 'say what to change, as in {"priority": 9}, not {}'),
    ([1], "not [1]"),
    (None, "not null"),
    ({"task": "other"}, 'can be changed, not "task"'),
    ({"priority": 11}, "priority must be 1 to 10, not 11"),
    ({"priority": None}, "priority must have a value, not null"),
    ({"queue": "a b"}, "queue must be 1 to 128 characters"),
    ({"args": [1]}, "args must be an object of named arguments, not [1]"),
    ({"merge_args": 1}, "merge_args must be an object of named arguments, not 1"),
    ({"args": {}, "merge_args": {}}, "args and merge_args exclude each other: give one"),
    ({"timeout": 0}, "timeout must be over 0"),
    ({"tags": [""]}, "tags must be at most 20 strings"),
    ({"deadline": "soon"}, "deadline must be a finite time"),
)


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_changes_that_no_job_may_have_are_refused(session: Session, changes: object, said: str):
    (job,) = session.insert()
    with pytest.raises(psycopg.Error) as refused:
        session.run("select dtsched.edit(%s, %s::jsonb)", [job], None if changes is None else json.dumps(changes))
    assert refused.value.sqlstate == "JQ001"
    assert said in str(refused.value)


def test_args_that_would_grow_too_large_are_left_and_the_others_are_not(session: Session):
    small, large = session.insert(2)
    assert edit(session, large, args={"x": "a" * 1_000_000}) == ["edited"]
    assert edit(session, small, large, merge_args={"y": "b" * 100_000}) == ["edited", "too_large"]
    assert session.value("select args ? 'y' from dtsched.jobs where id = %s", large) is False


def test_a_ready_job_goes_by_its_new_priority_at_once(worker: Worker):
    first, second, third = worker.insert(3)
    edit(worker, third, priority=9)
    edit(worker, first, priority=1)
    assert [worker.claim(1) for _ in range(4)] == [[third], [second], [first], []]


def test_a_ready_job_moved_to_another_queue_is_taken_there_and_only_there(open_worker: OpenWorker):
    worker, mailer = open_worker(), open_worker(queues=["mail"])
    moved, stays = worker.insert(2)
    edit(worker, moved, queue="mail")
    assert worker.claim() == [stays]
    assert mailer.claim(queue="mail") == [moved]


def test_an_entry_that_a_claimer_has_in_hand_does_not_bring_the_job_to_its_old_queue(
    open_worker: OpenWorker, open_session: OpenSession
):
    worker, mailer = open_worker(), open_worker(queues=["mail"])
    (job,) = worker.insert()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.ready for update")  # as a claimer that has taken it and not got further
    assert edit(worker, job, queue="mail") == ["edited"]
    holder.run("rollback")
    assert worker.sweep() == []
    assert mailer.claim(queue="mail") == [job]
    mailer.finish(job)
    assert mailer.sweep() == []
    assert worker.drain() == []


def test_a_parked_job_is_met_anew(open_worker: OpenWorker):
    worker = open_worker(tasks=["another"])
    (job,) = worker.insert()
    assert worker.claim() == []
    assert edit(worker, job, queue="mail") == ["edited"]
    assert worker.value("select count(*) from dtsched.parked") == 0
    assert open_worker(queues=["mail"]).claim(queue="mail") == [job]


def test_a_failed_job_that_is_moved_is_counted_in_its_new_queue(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    counted = "select value from dtsched.metrics() where name = 'dtsched_jobs' and labels = %s"
    edit(worker, job, queue="mail")
    assert worker.value(counted, '{"queue": "mail", "state": "failed"}') == 1
    assert worker.value(counted, '{"queue": "default", "state": "failed"}') == 0
    attempts = "select sum(value) from dtsched.metrics() where name = 'dtsched_attempts_total'"
    assert worker.value(attempts) == 1
    worker.run("select dtsched.retry(%s)", job)
    assert worker.value(counted, '{"queue": "mail", "state": "failed"}') == 0


def test_a_dead_letter_is_mended_and_sent_back(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    assert edit(worker, job, args={"to": "right@x.org"}) == ["edited"]
    assert worker.value("select dtsched.retry(%s)", job) == "retried"
    (claimed,) = worker.rows("select args from dtsched.claim(%s, 'default', 1)", worker.id)
    assert claimed == ({"to": "right@x.org"},)
    worker.run("update dtsched.leases set worker_id = %s", worker.id)


def test_a_job_whose_row_is_held_is_busy(session: Session, open_session: OpenSession):
    (job,) = session.insert()
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", job)
    assert edit(session, job, priority=9) == ["busy"]
    holder.run("commit")
    assert edit(session, job, priority=9) == ["edited"]


def test_a_job_moved_to_a_queue_of_shorter_retention_goes_in_time(worker: Worker):
    worker.take_over_the_clock()
    worker.run("select dtsched.set_retention('{\"failed\": 3600}', 'mail')")
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    close_the_chunk(worker)
    edit(worker, job, queue="mail")
    worker.travel("61 minutes")
    assert worker.value("select jobs from dtsched.prune()") == 1


def test_jobs_moved_about_while_workers_claim_run_once_each(open_worker: OpenWorker, open_session: OpenSession):
    session = open_session()
    jobs = session.insert(120)
    taken: list[tuple[str, int]] = []

    def work(queue: str) -> None:
        worker = open_worker(queues=[queue])
        for _ in range(60):
            claimed = worker.claim(3, queue=queue)
            taken.extend((queue, job) for job in claimed)
            queues = worker.column("select distinct queue from dtsched.jobs where id = any (%s)", claimed)
            assert queues in ([], [queue])
            worker.finish(*claimed)

    def move_about() -> None:
        editor = open_session()
        for n in range(40):
            edit(editor, *jobs[n * 3 :], queue=("default", "mail")[n % 2], priority=1 + n % 10)

    in_parallel(lambda: work("default"), lambda: work("mail"), move_about)
    for queue in ("default", "mail"):
        worker = open_worker(queues=[queue])
        worker.run("set dtsched.sweep = '0'")
        while claimed := worker.claim(queue=queue):
            taken.extend((queue, job) for job in claimed)
            worker.finish(*claimed)
    assert sorted(job for _, job in taken) == jobs


def test_a_job_that_changed_queues_while_it_was_ready_and_is_put_off_again_counts_in_its_new_one(worker: Worker):
    later = "2050-01-01 00:00Z"
    job = worker.value("select dtsched.submit('echo', run_at => %s)", later)
    worker.run("select dtsched.run_now(%s)", job)
    assert edit(worker, job, queue="mail") == ["edited"]
    worker.run("select dtsched.reschedule(%s, %s)", job, later)
    assert worker.rows("select name, scheduled from dtsched.list_queues() where scheduled > 0") == [("mail", 1)]
