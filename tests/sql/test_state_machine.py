"""Three logical workers, submitters and operators take turns at random, and after every step the tables say what the
model says. A failure is shrunk to the shortest story that still fails.

The same 25 stories are told each time; DTSCHED_TEST_STORIES=500 tells so many others.
"""

from __future__ import annotations

import os
from typing import Any
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

from tests.sql.conftest import OpenSession
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
POLICIES = st.sampled_from(["cancel", "cancel", "skip", "run"])
JOBS = st.fixed_dictionaries(
    {
        "task": st.just("echo"),
        "queue": QUEUES,
        "priority": st.integers(1, 10),
        "max_attempts": st.integers(1, 3),
        "delay": DELAYS,
        "key": MAYBE_KEY,
        "limit_key": MAYBE_KEY,
        "parents": st.lists(st.tuples(WHICH, POLICIES), max_size=2),
    }
)


class Fleet(RuleBasedStateMachine):
    """Jobs are picked by a number modulo how many there are, so that shrinking finds the first."""

    sessions: tuple[Session, ...]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.operator = self.sessions[3]
        self.workers: list[ModelWorker] = []

    def teardown(self) -> None:
        self.check()

    @initialize(jobs=st.lists(JOBS, min_size=3, max_size=8))
    def begin(self, jobs: list[dict[str, Any]]) -> None:
        empty(self.operator)
        self.operator.run("update public.clock set ahead = interval '0'")
        for session in self.sessions:
            session.run("reset all")  # what it remembers of another story: cursors and marks
            session.run("select setseed(0)")  # or a story could not be told twice
        for number in range(3):
            self.workers.append(self._register(number))
        for wanted in jobs:  # a story may well have no other
            self.submit(wanted)

    @rule(wanted=JOBS)
    def submit(self, wanted: dict[str, Any]) -> None:
        policies = {self._job(which).id: policy for which, policy in wanted["parents"]} if self.model.jobs else {}
        job = {name: value for name, value in wanted.items() if name != "parents" and value} | {
            "depends_on": [{"job": parent, "on_failure": policy} for parent, policy in policies.items()]
        }
        ((number, created),) = self.operator.rows("select id, created from dtsched.submit_many(%s)", Jsonb([job]))
        holder = None if wanted["key"] is None else self.model.holder(wanted["key"])
        assert created == (holder is None)
        if holder is not None:
            assert number == holder.id
            return
        due = self.model.now + wanted["delay"] if wanted["delay"] else None
        values = {name: wanted[name] for name in ("queue", "priority", "max_attempts", "key", "limit_key")}
        self.model.submit(ModelJob(id=number, due=due, parents=policies, **values))

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
    def pause_or_resume(self, queue: str) -> None:
        if queue in self.model.paused:
            assert self.operator.value("select dtsched.resume(%s)", queue)
            self.model.paused.remove(queue)
        else:
            assert self.operator.value("select dtsched.pause(%s)", queue)
            self.model.paused.add(queue)

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
    """Every table but those that say what is laid and declared. TRUNCATE takes thirty times as long for so few rows."""
    session.run("""
        do $$
        declare
            v_table text;
        begin
            for v_table in
                select relname from pg_class
                where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p') and not relispartition
                    and relname not in ('installed', 'tasks', 'pruning')
            loop
                execute format('delete from dtsched.%I', v_table);
            end loop;
        end $$
        """)


def test_whatever_happens_the_tables_say_what_the_model_says(open_session: OpenSession):
    fleet_sessions = tuple(open_session() for _ in range(4))  # for all stories: a new one has everything to plan anew
    fleet_sessions[3].take_over_the_clock()
    fleet_sessions[3].stop_the_clock()

    class FleetHere(Fleet):
        sessions = fleet_sessions

    run_state_machine_as_test(FleetHere, settings=SETTINGS)
