"""Three logical workers, submitters and operators take turns at random, and after every step the tables say what the
model says. A failure is shrunk to the shortest story that still fails.

The same 25 stories are told each time; DTSCHED_TEST_STORIES=500 tells so many others.
"""

from __future__ import annotations

import os
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from tests.sql.model import ENDED, LEASE_SECONDS, Model, ModelJob, ModelWorker
from tests.sql.sessions import Session

STORIES = int(os.environ.get("DTSCHED_TEST_STORIES", "0"))
SETTINGS = settings(
    max_examples=STORIES or 25,
    stateful_step_count=60 if STORIES else 40,
    deadline=None,
    derandomize=not STORIES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    phases=(Phase.generate, Phase.shrink),
)

QUEUES = st.sampled_from(["default", "mail"])
KEYS = st.sampled_from(["a", "b"])
MAYBE_KEY = st.one_of(st.none(), KEYS)
OUTCOMES = st.sampled_from(["complete", "retry", "fail", "snooze", "cancel"])
DELAYS = st.sampled_from([0, 0, 10, 60])
WORKERS = st.integers(0, 2)
WHICH = st.integers(0, 10**6)


class Fleet(RuleBasedStateMachine):
    """Jobs are picked by a number modulo how many there are, so that shrinking finds the first."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.sessions = [Session(self.dsn) for _ in range(4)]
        self.operator = self.sessions[3]
        self.workers: list[ModelWorker] = []

    def teardown(self) -> None:
        self.check()
        for session in self.sessions:
            session.close()

    @initialize()
    def begin(self) -> None:
        empty(self.operator)
        self.operator.run("update public.clock set ahead = interval '0'")
        for session in self.sessions:
            session.run("select setseed(0)")  # or a story could not be told twice
        for number in range(3):
            self.workers.append(self._register(number))

    @rule(
        queue=QUEUES,
        priority=st.integers(1, 10),
        max_attempts=st.integers(1, 3),
        delay=DELAYS,
        key=MAYBE_KEY,
        limit_key=MAYBE_KEY,
        parents=st.lists(WHICH, max_size=2),
    )
    def submit(
        self,
        queue: str,
        priority: int,
        max_attempts: int,
        delay: int,
        key: str | None,
        limit_key: str | None,
        parents: list[int],
    ) -> None:
        parents_ids = {self._job(which).id for which in parents} if self.model.jobs else set[int]()
        wanted = {
            "task": "echo",
            "queue": queue,
            "priority": priority,
            "max_attempts": max_attempts,
            "delay": delay or None,
            "key": key,
            "limit_key": limit_key,
            "depends_on": sorted(parents_ids) or None,
        }
        ((job, created),) = self.operator.rows("select id, created from dtsched.submit_many(%s)", Jsonb([wanted]))
        holder = None if key is None else self.model.holder(key)
        assert created == (holder is None)
        if holder is not None:
            assert job == holder.id
            return
        due = self.model.now + delay if delay else None
        self.model.submit(ModelJob(job, queue, priority, max_attempts, key, limit_key, due, parents_ids))

    @rule(number=WORKERS, queue=QUEUES, limit=st.integers(1, 5))
    def claim(self, number: int, queue: str, limit: int) -> None:
        worker = self.workers[number]
        session = self.sessions[number]
        statement = "select job_id, lease_id, attempt from dtsched.claim(%s, %s, %s)"
        if worker.lost or worker.expires_at <= self.model.now:
            with pytest.raises(psycopg.Error) as refused:
                session.rows(statement, worker.id, queue, limit)
            assert refused.value.sqlstate == "JQ005"
            return
        claimed = session.rows(statement, worker.id, queue, limit)
        assert self.model.claimed(queue, [job for job, _, _ in claimed]) is None
        assert len(claimed) == min(limit, self.model.room(queue))
        for job, lease, attempt in claimed:
            self.model.start(self.model.jobs[job], worker.id, lease)
            assert attempt == self.model.jobs[job].attempt

    @precondition(lambda self: self.model.jobs)
    @rule(number=WORKERS, which=WHICH, outcome=OUTCOMES, delay=DELAYS)
    def finish(self, number: int, which: int, outcome: str, delay: int) -> None:
        """By whichever worker: only the holder of the lease is heard."""
        running = [job for job in self.model.jobs.values() if job.state == "running"]
        job = running[which % len(running)] if running else self._job(which)
        lease = job.lease if job.lease is not None else 1
        accepted = self._finish(number, lease, outcome, delay)
        if job.lease is not None and job.worker == self.workers[number].id:
            assert accepted == [lease]
            self.model.finish(job, outcome, delay)
            assert self._finish(number, lease, outcome, delay) == []
        else:
            assert accepted == []

    @rule(number=WORKERS)
    def renew(self, number: int) -> None:
        worker = self.workers[number]
        ((alive, _, cancelled),) = self.sessions[number].rows("select * from dtsched.renew(%s)", worker.id)
        assert alive == (not worker.lost)
        if alive:
            mine = [job for job in self.model.jobs.values() if job.worker == worker.id and job.lease is not None]
            assert sorted(cancelled) == sorted(job.lease or 0 for job in mine if job.told_to_stop)
            if worker.expires_at < self.model.now:
                worker.unbroken_since = self.model.now
            worker.expires_at = self.model.now + LEASE_SECONDS
        else:
            self.workers[number] = self._register(number)

    @rule(number=WORKERS)
    def rescue(self, number: int) -> None:
        worker, now = self.workers[number], self.model.now
        rescued = self.sessions[number].column("select job_id from dtsched.rescue(%s)", worker.id)
        if worker.lost or worker.expires_at <= now or worker.unbroken_since > now - LEASE_SECONDS:
            assert rescued == []
            return
        for other in self.workers:
            other.lost = other.lost or other.expires_at < now
        living = {other.id for other in self.workers if not other.lost}
        orphans = [job for job in self.model.jobs.values() if job.lease is not None and job.worker not in living]
        assert sorted(rescued) == sorted(job.id for job in orphans)
        for job in sorted(orphans, key=lambda job: job.id):
            self.model.hand_back(job, started=True)

    @precondition(lambda self: any(job.lease is not None for job in self.model.jobs.values()))
    @rule(which=WHICH, started=st.booleans())
    def release(self, which: int, started: bool) -> None:
        held = [job for job in self.model.jobs.values() if job.lease is not None]
        job = held[which % len(held)]
        never_started, begun = ("{}", [job.lease]) if started else ([job.lease], "{}")
        over = self.operator.column(
            "select dtsched.release(%s, %s::bigint[], %s::bigint[])", job.worker, never_started, begun
        )
        assert over == [job.lease]
        self.model.hand_back(job, started=started)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job = self._job(which)
        assert self.operator.value("select dtsched.cancel(%s)", job.id) == self.model.cancel(job)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        job = self._job(which)
        assert self.operator.value("select dtsched.retry(%s)", job.id) == self.model.retry(job)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH)
    def run_now(self, which: int) -> None:
        job = self._job(which)
        assert self.operator.value("select dtsched.run_now(%s)", job.id) == self.model.move(job, self.model.now)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH, delay=st.sampled_from([-10, 0, 30]))
    def reschedule(self, which: int, delay: int) -> None:
        job = self._job(which)
        told = self.operator.value(
            "select dtsched.reschedule(%s, dtsched.now() + make_interval(secs => %s))", job.id, delay
        )
        assert told == self.model.move(job, self.model.now + delay)

    @rule()
    def promote(self) -> None:
        """To the end: a stale entry takes a place in a call's limit."""
        promoted = 0
        while True:
            ((count, next_seconds),) = self.operator.rows("select promoted, next_seconds from dtsched.promote(100)")
            promoted += count
            if next_seconds != 0:
                break
        assert promoted == self.model.promote()

    @rule(seconds=st.sampled_from([1, 10, 29, 31, 61]))
    def travel(self, seconds: int) -> None:
        self.operator.travel(f"{seconds} s")
        self.model.now += seconds

    @rule(queue=QUEUES)
    def pause(self, queue: str) -> None:
        assert self.operator.value("select dtsched.pause(%s)", queue) == (queue not in self.model.paused)
        self.model.paused.add(queue)

    @rule(queue=QUEUES)
    def resume(self, queue: str) -> None:
        assert self.operator.value("select dtsched.resume(%s)", queue) == (queue in self.model.paused)
        self.model.paused.discard(queue)

    @rule(key=KEYS, limit=st.integers(0, 3))
    def set_limit(self, key: str, limit: int) -> None:
        self.operator.run("select dtsched.set_limit(%s, %s)", key, limit)
        self.model.limits[key] = limit

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        found = self.operator.rows("select id, state, attempt, crash_count from dtsched.jobs order by id")
        assert found == [(job.id, job.state, job.attempt, job.crashes) for job in self.model.jobs.values()]

    @rule()
    def check(self) -> None:
        assert self.operator.rows("select * from dtsched.check()") == []

    def _job(self, which: int) -> ModelJob:
        """Unfinished ones mostly: what has ended stays as it is."""
        jobs = [job for job in self.model.jobs.values() if job.state not in ENDED] if which % 4 else []
        jobs = jobs or list(self.model.jobs.values())
        return jobs[which % len(jobs)]

    def _register(self, number: int) -> ModelWorker:
        worker = ModelWorker(uuid4(), self.model.now + LEASE_SECONDS, self.model.now)
        self.sessions[number].run(
            "select dtsched.register_worker(%s, 'test', '{default,mail}', null, 10, '30 s')", worker.id
        )
        return worker

    def _finish(self, number: int, lease: int, outcome: str, delay: int) -> list[int]:
        worker = self.workers[number].id
        if outcome == "complete":
            return self.sessions[number].column("select dtsched.finish(%s, array[%s::bigint])", worker, lease)
        other = Jsonb([{"lease": lease, "outcome": outcome, "delay": delay}])
        return self.sessions[number].column("select dtsched.finish(%s, '{}', null, %s)", worker, other)


def empty(session: Session) -> None:
    """Every table but those that say what is laid."""
    tables = session.value("""
        select string_agg(format('dtsched.%I', relname), ', ') from pg_class
        where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p') and not relispartition
            and relname not in ('installed', 'tasks')
        """)
    session.connection.execute(f"truncate {tables}".encode())


def test_whatever_happens_the_tables_say_what_the_model_says(database: str):
    session = Session(database)
    session.take_over_the_clock()
    session.stop_the_clock()
    session.close()

    class FleetHere(Fleet):
        dsn = database

    run_state_machine_as_test(FleetHere, settings=SETTINGS)
