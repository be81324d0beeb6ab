"""Three logical workers, submitters and operators take turns, one statement at a time, and after every step the tables
say what the model says."""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from psycopg.types.json import Jsonb

from tests.simulation.model import (
    GRACE_SECONDS,
    LEASE_SECONDS,
    MAX_CRASHES,
    RETRY_SECONDS,
    Limit,
    Model,
    ModelJob,
    ModelWorker,
)
from tests.sql.sessions import Session

WHICH = st.integers(0, 10**6)
NUMBERS = st.integers(0, 2)
QUEUES = st.sampled_from(["default", "mail"])
KEYS = st.sampled_from(["a", "b"])
LIMITS = st.sampled_from([None, 0, 1, 2, 3])
RATES = st.sampled_from([None, None, 0.125, 2])
JOBS = st.fixed_dictionaries(
    {},
    optional={
        "task": st.just("fragile"),
        "queue": st.just("mail"),
        "priority": st.integers(1, 10),
        "max_attempts": st.integers(1, 3),
        "delay": st.sampled_from([10, 60]),
        "key": KEYS,
        "key_for": st.sampled_from(["kept", 30]),
        "on_conflict": st.sampled_from(["replace", "reject", "supersede"]),
        "limit_key": KEYS,
        "expires_in": st.sampled_from([20, 60]),
        "timeout": st.sampled_from([5, 20]),
        "parents": st.lists(st.tuples(WHICH, st.sampled_from(["cancel", "skip", "run"])), max_size=2),
    },
)
CHANGES = st.one_of(
    st.fixed_dictionaries({"priority": st.integers(1, 10)}),
    st.fixed_dictionaries({"queue": QUEUES}),
    st.fixed_dictionaries({"limit_key": st.one_of(st.none(), KEYS)}),
    st.fixed_dictionaries({"max_attempts": st.integers(1, 3)}),
    st.fixed_dictionaries({"deadline": st.sampled_from([None, 20, 60])}),
)
FOUND = """
    select job.id, job.state, job.attempt, job.crash_count, job.skipped is true, job.priority, job.queue,
        case when job.state = 'scheduled' and job.run_at < '9999-01-01' then
            extract(epoch from job.run_at - clock.stopped_at)::float8 end,
        array(select kept.parent_id from dtsched.cancelled_by kept where kept.child_id = job.id order by 1)
    from dtsched.jobs job
    cross join public.clock
    order by job.id
    """


class Fleet(RuleBasedStateMachine):
    """Jobs are picked by a number modulo how many there are, so that shrinking finds the first."""

    sessions: tuple[Session, ...]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.step = 0
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
        self.workers = [self._register(number) for number in range(3)]
        for wanted in jobs:  # a story may well have no other
            self.submit(wanted)

    @rule(wanted=JOBS)
    def submit(self, wanted: dict[str, Any]) -> None:
        given: dict[str, Any] = {"task": "echo"} | wanted
        edges: list[tuple[int, str]] = given.pop("parents", [])
        parents = {self._job(which).id: policy for which, policy in edges} if self.model.jobs else {}
        key, mode = given.get("key"), given.get("on_conflict", "keep")
        if key is None:
            given = {name: value for name, value in given.items() if name not in ("key_for", "on_conflict")}
        elif mode == "replace":
            parents = {}
        given["depends_on"] = [{"job": parent, "on_failure": policy} for parent, policy in parents.items()]
        given["backoff"] = {"kind": "fixed", "base": RETRY_SECONDS, "jitter": 0}
        holder = self.model.holder(key)
        expected = self.model.submission(key, mode)
        if expected == "rejected":
            with pytest.raises(psycopg.Error) as refused:
                self.operator.rows("select from dtsched.submit_many(%s)", Jsonb([given]))
            assert refused.value.sqlstate == "JQ003"
            return
        ((number, outcome),) = self.operator.rows("select id, outcome from dtsched.submit_many(%s)", Jsonb([given]))
        assert outcome == expected
        assert outcome in ("created", "superseded") or (holder is not None and number == holder.id)
        new = self._new(number, given, parents)
        if holder is not None and outcome == "replaced":
            self.model.replace(holder, new)
        elif outcome != "kept":
            if holder is not None:
                self.model.supersede(holder, told=mode == "supersede")
            self.model.submit(new)

    def _new(self, number: int, given: dict[str, Any], parents: dict[int, str]) -> ModelJob:
        def at(name: str) -> float | None:
            seconds = given.get(name)
            return None if seconds is None else self.model.now + (math.inf if seconds == "kept" else seconds)

        return ModelJob(
            id=number,
            task=given["task"],
            queue=given.get("queue", "default"),
            priority=given.get("priority", 5),
            max_attempts=given.get("max_attempts", 5),
            key=given.get("key"),
            key_until=at("key_for"),
            limit_key=given.get("limit_key"),
            due=at("delay"),
            deadline=at("expires_in"),
            timeout=given.get("timeout"),
            parents=parents,
        )

    @rule(number=NUMBERS, queue=QUEUES, limit=st.integers(1, 5))
    def claim(self, number: int, queue: str, limit: int) -> None:
        worker = self.workers[number]
        session = self.sessions[number]
        statement = "select job_id, lease_id, attempt, timeout_seconds from dtsched.claim(%s, %s, %s)"
        if worker.lost or worker.expires_at <= self.model.now:
            with pytest.raises(psycopg.Error) as refused:
                session.rows(statement, worker.id, queue, limit)
            assert refused.value.sqlstate == "JQ005"
            return
        if any(limit.rate for limit in self.model.limits.values()):
            self.promote(number)  # which wakes a key whose bucket was empty
        claimed = session.rows(statement, worker.id, queue, limit)
        assert self.model.claimed(queue, [job for job, _, _, _ in claimed]) is None
        assert len(claimed) == min(limit, self.model.room(queue))
        for number, lease, attempt, seconds in claimed:
            job = self.model.jobs[number]
            self.model.start(job, worker.id, lease)
            assert attempt == job.attempt
            assert seconds == (None if job.ends_by is None else job.ends_by - self.model.now)

    @rule(queue=QUEUES)
    def claim_all(self, queue: str) -> None:
        for number in range(3):
            self.claim(number, queue, 3)

    @precondition(lambda self: self._held())
    @rule(which=WHICH, outcome=st.sampled_from(["complete", "fail", "retry"]))
    def finish_one(self, which: int, outcome: str) -> None:
        self.finish(False, 0, which, outcome, 0)

    @precondition(lambda self: self._held())
    @rule(which=WHICH, outcome=st.sampled_from(["complete", "fail"]))
    def finish_what_another_has(self, which: int, outcome: str) -> None:
        job = self._running(which)
        number = (self._worker_of(job, 0) + 1) % len(self.workers)
        assert job.lease is not None
        assert self._finish(number, job.lease, outcome, None) == []

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH)
    def cancel_and_retry(self, which: int) -> None:
        """Among the first few, on which others depend."""
        job = list(self.model.jobs.values())[which % min(4, len(self.model.jobs))]
        assert self.operator.value("select dtsched.cancel(%s)", job.id) == self.model.cancel(job)
        assert self.operator.value("select dtsched.retry(%s)", job.id) == self.model.retry(job)

    @precondition(lambda self: self.model.jobs)
    @rule(
        whoever=st.booleans(),
        number=NUMBERS,
        which=WHICH,
        outcome=st.sampled_from(["complete", "complete", "retry", "fail", "snooze", "cancel", "died"]),
        delay=st.sampled_from([None, 0, 10, 60]),
    )
    def finish(self, whoever: bool, number: int, which: int, outcome: str, delay: int | None) -> None:
        """Only the holder of the lease is heard, and once."""
        job = self._running(which)
        if not whoever:
            number = self._worker_of(job, number)
        lease = job.lease if job.lease is not None else 1
        accepted = self._finish(number, lease, outcome, delay)
        if job.lease is not None and job.worker == self.workers[number].id:
            assert accepted == [lease]
            self.model.finish(job, outcome, delay)
            assert self._finish(number, lease, outcome, delay) == []
        else:
            assert accepted == []

    @precondition(lambda self: self.model.jobs)
    @rule(
        which=WHICH,
        name=st.sampled_from(["nap", "e", "f"]),
        seconds=st.sampled_from([10, 60, None]),
        parks=st.booleans(),
    )
    def wait(self, which: int, name: str, seconds: int | None, parks: bool) -> None:
        """A handler sleeps (nap) or waits for an event, and as a rule gives its slot back when told to."""
        job = self._running(which)
        number = self._worker_of(job, 0)
        if job.lease is None or job.worker != self.workers[number].id:
            return
        session, worker, lease = self.sessions[number], self.workers[number].id, job.lease
        if name == "nap":
            seconds = seconds or 30
            told = session.value("select dtsched.start_sleep(%s, %s, %s, %s)", worker, lease, name, seconds)
            assert told == (self.model.ask(job, name, "sleep", seconds) == "over")
        else:
            told = session.value(
                "select outcome from dtsched.await_event(%s, %s, %s, %s, %s)", worker, lease, name, name, seconds
            )
            expected = self.model.ask(job, name, "event", seconds or math.inf)
            assert told == ("timeout" if expected == "over" else expected)
        if told in (False, "wait") and parks:
            other = Jsonb([{"lease": lease, "outcome": "snooze", "wait": name}])
            assert session.column("select dtsched.finish(%s, '{}', null, %s)", worker, other) == [lease]
            self.model.finish(job, "snooze", step=name)

    @rule(event=st.sampled_from(["e", "f"]))
    def emit(self, event: str) -> None:
        ((created, woken),) = self.operator.rows("select * from dtsched.emit(%s)", event)
        expected = self.model.emit(event)
        assert (created, woken) == (expected is not None, expected or 0)

    @rule(number=NUMBERS)
    def renew(self, number: int) -> None:
        worker = self.workers[number]
        ((alive, _, cancelled),) = self.sessions[number].rows("select * from dtsched.renew(%s)", worker.id)
        assert alive == (not worker.lost)
        if alive:
            assert sorted(cancelled) == sorted(job.lease or 0 for job in self._held(worker) if job.told_to_stop)
            if worker.expires_at < self.model.now:
                worker.unbroken_since = self.model.now
            worker.expires_at = self.model.now + LEASE_SECONDS
        else:
            self.workers[number] = self._register(number)

    @rule(number=NUMBERS)
    def rescue(self, number: int) -> None:
        rescued = self.sessions[number].column("select job_id from dtsched.rescue(%s)", self.workers[number].id)
        if not self._is_witness(number):
            assert rescued == []
            return
        for other in self.workers:
            other.lost = other.lost or other.expires_at < self.model.now
        living = {other.id for other in self.workers if not other.lost}
        orphans = [job for job in self._held() if job.worker not in living]
        assert sorted(rescued) == sorted(job.id for job in orphans)
        for job in orphans:
            self.model.hand_back(job, started=True)

    @rule(number=NUMBERS)
    def expire(self, number: int) -> None:
        expired = self.sessions[number].rows("select * from dtsched.expire(%s)", self.workers[number].id)
        late = self.model.expire_waiting()
        assert sorted(job for job, lease, _ in expired if lease is None) == sorted(job.id for job in late)
        taken: list[tuple[int, int | None, str]] = []
        if self._is_witness(number):
            living = {other.id for other in self.workers if not other.lost and other.expires_at > self.model.now}
            for job in self._held():
                if job.worker in living and job.ends_by is not None and job.ends_by + GRACE_SECONDS < self.model.now:
                    lease = job.lease
                    self.model.finish(job, "retry")
                    taken.append((job.id, lease, job.state))
        assert sorted(row for row in expired if row[1] is not None) == sorted(taken)

    @precondition(lambda self: self._held())
    @rule(which=WHICH, started=st.booleans())
    def release(self, which: int, started: bool) -> None:
        job = self._running(which)
        never_started, begun = ("{}", [job.lease]) if started else ([job.lease], "{}")
        over = self.operator.column(
            "select dtsched.release(%s, %s::bigint[], %s::bigint[])", job.worker, never_started, begun
        )
        assert over == [job.lease]
        self.model.hand_back(job, started=started)

    @precondition(lambda self: self._held())
    @rule(which=WHICH, leaves=st.booleans())
    def forget(self, which: int, leaves: bool) -> None:
        """A worker that has forgotten a lease, or goes and leaves all it holds."""
        job = self._running(which)
        number = self._worker_of(job, 0)
        worker = self.workers[number]
        held = [other for other in self._held(worker) if leaves or other is job]
        if leaves:
            count = self.sessions[number].value("select dtsched.deregister_worker(%s)", worker.id)
            assert count == len(held)
            self.workers[number] = self._register(number)
        else:
            known = [other.lease for other in self._held(worker) if other is not job]
            back = self.sessions[number].column(
                "select dtsched.reconcile(%s, %s::bigint[], 1000000000)", worker.id, known
            )
            assert back == [other.lease for other in held]
        for other in held:
            self.model.hand_back(other, started=True)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job = self._job(which)
        assert self.operator.value("select dtsched.cancel(%s)", job.id) == self.model.cancel(job)

    @precondition(lambda self: any(not job.is_unfinished for job in self.model.jobs.values()))
    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        ended = [job for job in self.model.jobs.values() if not job.is_unfinished]
        job = ended[which % len(ended)] if which % 8 else self._job(which)
        assert self.operator.value("select dtsched.retry(%s)", job.id) == self.model.retry(job)

    @precondition(lambda self: len(self.model.jobs) > 3)
    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        job = self._job(which)
        assert self.operator.value("select dtsched.delete(%s)", job.id) == self.model.delete(job)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH, changes=CHANGES)
    def edit(self, which: int, changes: dict[str, Any]) -> None:
        job = self._job(which)
        if changes.get("deadline"):
            changes = {"deadline": self.model.now + changes["deadline"]}
        told = self.operator.value(
            """
            select dtsched.edit(%s, %s || case when %s::float8 is null then '{}' else jsonb_build_object('deadline',
                (select stopped_at from public.clock) + make_interval(secs => %s)) end)
            """,
            job.id,
            Jsonb(changes),
            changes.get("deadline"),
            changes.get("deadline"),
        )
        assert told == self.model.edit(job, changes)

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH, delay=st.sampled_from([-10, 0, 30]))
    def reschedule(self, which: int, delay: int) -> None:
        job = self._job(which)
        statement = "select dtsched.reschedule(%s, dtsched.now() + make_interval(secs => %s))"
        if delay == 0:
            statement = "select dtsched.run_now(%s) where %s = 0"
        told = self.operator.value(statement, job.id, delay)
        assert told == self.model.move(job, self.model.now + delay)

    @rule(number=NUMBERS)
    def promote(self, number: int) -> None:
        """To the end: a stale entry takes a place in a call's limit."""
        promoted = 0
        while True:
            ((count, seconds),) = self.sessions[number].rows("select promoted, next_seconds from dtsched.promote(100)")
            promoted += count
            if seconds != 0:
                break
        assert promoted == self.model.promote()

    @rule(seconds=st.sampled_from([1, 10, 20, 61, 101]), deaf=st.sets(NUMBERS, max_size=2))
    def travel(self, seconds: int, deaf: set[int]) -> None:
        """Workers renew as a rule, or there would soon be none to claim."""
        self.operator.travel(f"{seconds} s")
        self.model.now += seconds
        for number in {0, 1, 2} - deaf:
            self.renew(number)

    @rule(queue=QUEUES)
    def pause_or_resume(self, queue: str) -> None:
        if queue in self.model.paused:
            assert self.operator.value("select dtsched.resume(%s)", queue)
            self.model.paused.remove(queue)
        else:
            assert self.operator.value("select dtsched.pause(%s)", queue)
            self.model.paused.add(queue)

    @rule(key=KEYS, limit=LIMITS, rate=RATES)
    def set_limit(self, key: str, limit: int | None, rate: float | None) -> None:
        self.operator.run("select dtsched.set_limit(%s, %s, %s)", key, limit, rate)
        self.model.limits[key] = Limit(1 if limit is None else limit, rate)

    @rule(queue=QUEUES, limit=LIMITS, rate=RATES)
    def set_queue(self, queue: str, limit: int | None, rate: float | None) -> None:
        self.operator.set_queue(queue, limit=limit, rate=rate)
        self.model.queues[queue] = Limit(limit, rate)

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        self.step += 1
        self.model.note_ready(self.step)
        assert self.operator.rows(FOUND) == [
            (
                job.id,
                job.state,
                job.attempt,
                job.crashes,
                job.skipped,
                job.priority,
                job.queue,
                job.due if job.state == "scheduled" and job.due != math.inf else None,
                sorted(job.because),
            )
            for _, job in sorted(self.model.jobs.items())
        ]

    @rule()
    def check(self) -> None:
        assert self.operator.rows("select * from dtsched.check()") == []

    def _job(self, which: int) -> ModelJob:
        """Unfinished ones mostly: what has ended stays as it is."""
        jobs = [job for job in self.model.jobs.values() if job.is_unfinished] if which % 4 else []
        jobs = jobs or list(self.model.jobs.values())
        return jobs[which % len(jobs)]

    def _held(self, worker: ModelWorker | None = None) -> list[ModelJob]:
        """By their leases."""
        held = [job for job in self.model.jobs.values() if job.lease is not None]
        return sorted(
            (job for job in held if worker is None or job.worker == worker.id), key=lambda job: job.lease or 0
        )

    def _running(self, which: int) -> ModelJob:
        """Or any, where none is."""
        held = self._held()
        return held[which % len(held)] if held else self._job(which)

    def _worker_of(self, job: ModelJob, otherwise: int) -> int:
        return next((n for n, worker in enumerate(self.workers) if worker.id == job.worker), otherwise)

    def _is_witness(self, number: int) -> bool:
        worker, now = self.workers[number], self.model.now
        return not worker.lost and worker.expires_at > now and worker.unbroken_since <= now - LEASE_SECONDS

    def _register(self, number: int) -> ModelWorker:
        worker = ModelWorker(uuid4(), self.model.now + LEASE_SECONDS, self.model.now)
        declared = {task: {"settings": {"max_crashes": crashes}} for task, crashes in MAX_CRASHES.items()}
        self.sessions[number].run(
            "select dtsched.register_worker(%s, 'test', '{default,mail}', null, 10, %s, '{}', %s)",
            worker.id,
            f"{LEASE_SECONDS} s",
            Jsonb(declared),
        )
        return worker

    def _finish(self, number: int, lease: int, outcome: str, delay: int | None) -> list[int]:
        worker = self.workers[number].id
        if outcome == "complete":
            return self.sessions[number].column("select dtsched.finish(%s, array[%s::bigint])", worker, lease)
        other: dict[str, Any] = {"lease": lease, "outcome": outcome, "delay": delay}
        if outcome == "died":
            other |= {"outcome": "retry", "error": {"type": "ProcessDied", "message": "killed"}}
        return self.sessions[number].column("select dtsched.finish(%s, '{}', null, %s)", worker, Jsonb([other]))


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
            delete from dtsched.job_events;  -- of what the loop has deleted
        end $$
        """)
