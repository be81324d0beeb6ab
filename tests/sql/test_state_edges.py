"""The SQL is held to the edges in schema/README.md: every way a job can go is gone here, and nothing else happens."""

from __future__ import annotations

import re
from pathlib import Path

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker

README = Path(__file__).parents[2] / "schema" / "README.md"
NEW = "(new)"
DELETED = "(deleted)"


def documented_edges() -> set[tuple[str, str]]:
    edges = README.read_text().partition("## Edges")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| (\(new\)|[a-z]+) \| (\(deleted\)|[a-z]+) \|", edges, re.MULTILINE)) - {("from", "to")}


def observed_edges(session: Session) -> set[tuple[str, str]]:
    edges = session.rows(
        "select distinct coalesce(from_state, %s), coalesce(to_state, %s) from dtsched.job_events", NEW, DELETED
    )
    return {(from_state, to_state) for from_state, to_state in edges}


def submit(session: Session, *, delay: str | None = None, depends_on: list[int] | None = None) -> int:
    return session.value("select dtsched.submit('echo', delay => %s::interval, depends_on => %s)", delay, depends_on)


def cancel(session: Session, *jobs: int) -> None:
    session.run("select dtsched.cancel(%s)", list(jobs))


def finish_in_every_way(worker: Worker) -> None:
    for outcome in ("retry", "snooze"):
        for delay in (0, 60):
            (job,) = worker.insert()
            worker.claim()
            worker.finish_as(outcome, job, delay=delay)
            cancel(worker, job)
    for outcome in ("fail", "cancel"):
        (job,) = worker.insert()
        worker.claim()
        worker.finish_as(outcome, job)
    told_to_stop = worker.insert(2)
    worker.claim()
    cancel(worker, *told_to_stop)
    worker.finish(told_to_stop[0])
    worker.finish_as("retry", told_to_stop[1])
    used_up = worker.value("insert into dtsched.jobs (task, max_attempts) values ('echo', 1) returning id")
    worker.claim()
    worker.finish_as("retry", used_up)


def hand_back_in_every_way(worker: Worker, open_worker: OpenWorker) -> None:
    fresh, begun, stopped = worker.insert(3)
    worker.claim()
    cancel(worker, stopped)
    worker.release(never_started=[fresh, stopped], started=[begun])
    for _ in range(3):
        worker.claim()
        worker.run("select dtsched.reconcile(%s, '{}', %s)", worker.id, max(worker.leases.values()))
    other = open_worker()
    other.insert(2)
    other.claim()
    other.value("select dtsched.deregister_worker(%s)", other.id)
    lost = open_worker()
    jobs = lost.claim(2)
    cancel(lost, jobs[0])
    lost.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = %s", lost.id)
    worker.run("update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", worker.id)
    assert sorted(worker.rescue()) == jobs
    worker.finish(*worker.drain())


def depend_in_every_way(worker: Worker) -> None:
    parent = submit(worker)
    submit(worker, depends_on=[parent])
    submit(worker, depends_on=[parent], delay="1 hour")
    cancelled = submit(worker, depends_on=[parent])
    cancel(worker, cancelled)
    submit(worker, depends_on=[cancelled])
    worker.claim(1)
    worker.finish(parent)
    submit(worker, depends_on=[parent])
    failing = submit(worker)
    grandparent = submit(worker, depends_on=[failing])
    submit(worker, depends_on=[grandparent])
    worker.claim()
    worker.finish_as("fail", failing)


def schedule_in_every_way(worker: Worker) -> None:
    submit(worker, delay="1 min")
    cancel(worker, submit(worker, delay="1 hour"), submit(worker))
    worker.travel("2 min")
    worker.run("select dtsched.promote()")


def expire_in_every_way(worker: Worker) -> None:
    (parent,) = worker.insert()
    for delay, parents in (("0", None), ("1 hour", None), ("0", [parent])):
        worker.run(
            "select dtsched.submit('echo', delay => %s::interval, depends_on => %s, expires_in => '1 min')",
            delay,
            parents,
        )
    worker.travel("2 min")
    worker.run("select dtsched.expire(null)")
    worker.run("select dtsched.edit(array(select id from dtsched.jobs where state = 'failed'), '{\"deadline\": null}')")
    worker.run("select dtsched.retry(array(select id from dtsched.jobs where state = 'failed'))")


def change_in_every_way(worker: Worker) -> None:
    failed, cancelled, later, done = submit(worker), submit(worker), submit(worker, delay="1 hour"), submit(worker)
    child = submit(worker, depends_on=[failed])
    cancel(worker, cancelled, later)
    worker.claim()
    worker.finish(done)
    worker.finish_as("fail", failed)
    worker.run("select dtsched.retry(%s)", [failed, cancelled, later, child])
    worker.run("select dtsched.reschedule(%s, dtsched.now() + interval '1 hour')", failed)
    worker.run("select dtsched.run_now(%s)", failed)
    worker.claim()
    worker.finish_as("fail", failed)
    worker.run("select dtsched.delete(%s)", [failed, done, later])


def test_the_edges_that_jobs_take_are_those_documented(session: Session, open_worker: OpenWorker, worker: Worker):
    session.take_over_the_clock()
    session.run("select dtsched.trace(true)")
    finish_in_every_way(worker)
    hand_back_in_every_way(worker, open_worker)
    depend_in_every_way(worker)
    schedule_in_every_way(worker)
    expire_in_every_way(worker)
    change_in_every_way(worker)
    assert observed_edges(session) - documented_edges() == set()
    assert documented_edges() - observed_edges(session) == set()


def test_the_trace_is_off_until_it_is_switched_on_and_after_it_is_switched_off(session: Session):
    session.insert()
    session.run("select dtsched.trace(true)")
    (job,) = session.insert()
    session.run("select dtsched.trace(false)")
    session.insert()
    assert session.rows("select job_id, from_state, to_state from dtsched.job_events") == [(job, None, "ready")]


def test_the_trace_also_sees_what_goes_past_the_functions(session: Session):
    session.run("select dtsched.trace(true)")
    (job,) = session.insert()
    session.run("update dtsched.jobs set state = 'completed', finished_at = dtsched.now()")
    session.run("update dtsched.jobs set finished_at = dtsched.now()")
    session.run("delete from dtsched.jobs")
    events = session.rows("select from_state, to_state from dtsched.job_events where job_id = %s order by id", job)
    assert events == [(None, "ready"), ("ready", "completed"), ("completed", "completed"), ("completed", None)]
