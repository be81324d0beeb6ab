"""The fleet, and around it what else there is: submitters that commit late, calls that are cut off, a schedule."""

from __future__ import annotations

from typing import Any

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from psycopg.types.json import Jsonb

from tests.simulation.fleet import JOBS, KEYS, NUMBERS, QUEUES, WHICH, Fleet
from tests.simulation.history import History
from tests.simulation.model import RETRY_SECONDS, ModelJob

TICK_SECONDS = 20
TOLERANCE_SECONDS = 60
BACKOFF = {"kind": "fixed", "base": RETRY_SECONDS, "jitter": 0}

LATE_JOBS = st.fixed_dictionaries(
    {}, optional={"priority": st.integers(1, 10), "delay": st.sampled_from([10, 60]), "limit_key": KEYS}
)
# what may be cut off before its commit, with the worker who calls it
CALLS = {
    "claim": "select dtsched.claim(%(worker)s, 'default', 3)",
    "finish": """
        select dtsched.finish(%(worker)s, array(select id from dtsched.leases where worker_id = %(worker)s))
        """,
    "leave": "select dtsched.deregister_worker(%(worker)s)",
    "rescue": "select dtsched.rescue(%(worker)s)",
    "expire": "select dtsched.expire(%(worker)s)",
    "promote": "select dtsched.promote(100)",
    "cancel": "select dtsched.cancel(array(select id from dtsched.jobs))",
    "retry": "select dtsched.retry(array(select id from dtsched.jobs))",
    "delete": "select dtsched.delete(array(select id from dtsched.jobs))",
    "emit": "select dtsched.emit('e')",
    "submit": """select dtsched.submit('echo', key => 'a', limit_key => 'a', on_conflict => 'supersede')""",
}
FIRE = """
    select extract(epoch from fired.tick - clock.stopped_at)::float8, fired.outcome, fired.job_id
    from public.clock
    cross join lateral dtsched.fire(
        's', (select version from dtsched.schedules where name = 's'), clock.stopped_at + make_interval(secs => %s),
        array(select clock.stopped_at + make_interval(secs => tick) from unnest(%s::float8[]) tick),
        clock.stopped_at + make_interval(secs => %s)) fired
    order by 1
    """


class World(Fleet):
    """Its fifth session is the late submitter: what it has submitted is not there for anybody until it commits."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.late: list[ModelJob] = []
        self.next_tick = TICK_SECONDS
        self.catchup = "latest"

    def teardown(self) -> None:
        self.submitter.run("rollback")
        super().teardown()

    @property
    def submitter(self) -> Any:
        return self.sessions[4]

    @initialize(jobs=st.lists(JOBS, min_size=3, max_size=8), catchup=st.sampled_from(["skip", "latest", "all"]))
    def begin(self, jobs: list[dict[str, Any]], catchup: str) -> None:
        super().begin(jobs)
        self.catchup = catchup
        fields = {"spec": "* * * * *", "task": "echo", "catchup": catchup, "backoff": BACKOFF}
        self.operator.run("select dtsched.save_schedule('s', %s::jsonb)", Jsonb(fields))
        self.operator.run(
            """
            update dtsched.schedules set next_at = clock.stopped_at + make_interval(secs => %s)
            from public.clock where name = 's'
            """,
            TICK_SECONDS,
        )

    # submitters that commit late

    @rule(jobs=st.lists(LATE_JOBS, min_size=1, max_size=3))
    def submit_and_commit_later(self, jobs: list[dict[str, Any]]) -> None:
        if not self.late:
            self.submitter.run("begin")
        wanted: list[dict[str, Any]] = [{"task": "echo", "backoff": BACKOFF, **job} for job in jobs]
        numbers = self.submitter.column("select id from dtsched.submit_many(%s)", Jsonb(wanted))
        for number, job in zip(numbers, wanted, strict=True):
            delay = job.get("delay")
            new = ModelJob(
                id=number,
                task="echo",
                queue="default",
                priority=job.get("priority", 5),
                max_attempts=5,
                key=None,
                key_until=None,
                limit_key=job.get("limit_key"),
                due=None if delay is None else self.model.now + delay,
                deadline=None,
                timeout=None,
                parents={},
            )
            new.state = self.model.free_state(new)
            self.late.append(new)

    @precondition(lambda self: self.late)
    @rule(commits=st.booleans())
    def end_the_late_transaction(self, commits: bool) -> None:
        self.history.look(self.operator)
        self.submitter.run("commit" if commits else "rollback")
        if commits:
            self.model.jobs.update((job.id, job) for job in self.late)
            self.history.note_late(self.operator, {job.id: job.state for job in self.late})
        self.late = []

    # calls that are cut off

    @rule(number=NUMBERS, call=st.sampled_from(sorted(CALLS)))
    def is_cut_off(self, number: int, call: str) -> None:
        """As if the process or the server had died before the commit: nothing has happened."""
        session = self.sessions[number]
        session.run("begin")
        try:
            session.connection.execute(CALLS[call].encode(), {"worker": self.workers[number].id})
        except psycopg.Error as error:
            assert error.sqlstate == "JQ005", error  # noqa: PT017 - the worker's lease is over
        finally:
            session.run("rollback")

    # the schedule

    @rule(number=NUMBERS)
    def fire(self, number: int) -> None:
        ticks = [float(tick) for tick in range(self.next_tick, int(self.model.now) + 1, TICK_SECONDS)]
        if not ticks:
            return
        in_time = [tick for tick in ticks if tick >= self.model.now - TOLERANCE_SECONDS]
        late = [tick for tick in ticks if tick not in in_time]
        made_up = {"skip": [], "latest": [] if in_time else late[-1:], "all": late}[self.catchup]
        following = ticks[-1] + TICK_SECONDS
        fired = self.sessions[number].rows(FIRE, ticks[0], ticks, following)
        expected = ["fired" if tick in in_time + made_up else "missed" for tick in ticks]
        assert [(tick, outcome) for tick, outcome, _ in fired] == list(zip(ticks, expected, strict=True)), "S13"
        assert self.sessions[(number + 1) % 3].rows(FIRE, ticks[0], ticks, following) == [], "S13: fired twice"
        self.next_tick = int(following)
        for tick, outcome, job in fired:
            assert (job is not None) == (outcome == "fired")
            if job is not None:
                self.model.submit(
                    ModelJob(
                        id=job,
                        task="echo",
                        queue="default",
                        priority=5,
                        max_attempts=5,
                        key=None,
                        key_until=None,
                        limit_key=None,
                        due=tick,
                        deadline=None,
                        timeout=None,
                        parents={},
                    )
                )

    # two steps in one, which would seldom meet

    @rule(queue=QUEUES, limit=st.sampled_from([0, 1, 2]), rate=st.sampled_from([None, 1]))
    def limit_and_claim(self, queue: str, limit: int, rate: float | None) -> None:
        self.set_queue(queue, limit, rate)
        self.claim_all(queue)

    @precondition(lambda self: self._held())
    @rule(which=WHICH)
    def cancel_and_complete(self, which: int) -> None:
        job = self._running(which)
        assert self.operator.value("select dtsched.cancel(%s)", job.id) == self.model.cancel(job)
        self.finish(False, 0, which, "complete", 0)

    @rule(number=NUMBERS, seconds=st.sampled_from([10, 20, 60, 80]), queue=QUEUES)
    def wait_and_go_on(self, number: int, seconds: int, queue: str) -> None:
        self.travel(seconds, set())
        self.promote(number)
        if self.late:  # some of it due before what has just been promoted
            self.end_the_late_transaction(True)
        self.fire(number)
        self.claim(number, queue, 5)  # what is late now, too
        self.promote(number)
        self.claim(number, queue, 5)

    # what is told and asked while jobs run

    @precondition(lambda self: self.model.jobs)
    @rule(which=WHICH, number=NUMBERS)
    def report(self, which: int, number: int) -> None:
        job = self._running(which)
        lease = job.lease or 1
        report = Jsonb([{"lease": lease, "progress": {"percent": which % 101}}])
        told = self.sessions[number].column("select dtsched.report(%s, %s)", self.workers[number].id, report)
        assert told == ([lease] if job.lease is not None and job.worker == self.workers[number].id else [])

    @rule(queue=QUEUES)
    def drained(self, queue: str) -> None:
        runs = any(job.state == "running" and job.queue == queue for job in self.model.jobs.values())
        told = self.operator.value("select dtsched.drained(%s)", queue)
        assert told == (queue in self.model.paused and not runs)

    @invariant()
    def the_trace_is_sound(self) -> None:
        self.history.look(self.operator)
