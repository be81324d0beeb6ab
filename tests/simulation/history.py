"""What must hold of the trace, whatever the model says: the invariants of safety, each by its number.

Read after each step, so that every moment is judged, not only the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sql.sessions import Session
from tests.sql.test_state_edges import DELETED, NEW, documented_edges

ENDED = ("completed", "failed", "cancelled")

# what has happened since, and of each start what it must not have come before
NEW_EVENTS = """
    select event.id, event.job_id, event.from_state, event.to_state, event.attempt, job.max_attempts,
        coalesce(job.run_at <= dtsched.now(), true),
        coalesce((
            select bool_and(parent.state in ('completed', 'failed', 'cancelled')
                            and (parent.state = 'completed' or parent.skipped is true or edge.on_failure = 'run'))
            from dtsched.edges_of(array[event.job_id]) edge
            join dtsched.jobs parent on parent.id = edge.parent_id), true)
    from dtsched.job_events event
    left join dtsched.jobs job on job.id = event.job_id
    where event.id > %s
    order by event.id
    """
LEASES = """
    select lease.id, lease.job_id, lease.worker_id, lease.cancel_requested_at is not null,
        job.state, job.attempt, job.worker_id
    from dtsched.leases lease
    left join dtsched.jobs job on job.id = lease.job_id
    order by lease.id
    """
SHARED_KEYS = """
    select job.key from dtsched.jobs job
    where job.key is not null and job.state in ('blocked', 'scheduled', 'ready', 'running')
        and not exists (select from dtsched.leases lease where lease.job_id = job.id and lease.gave_up_key)
    group by job.key
    having count(*) > 1
    """


@dataclass
class History:
    """`states` are what the events come to; `greatest` is the highest lease that any claim has been given."""

    edges: set[tuple[str, str]] = field(default_factory=documented_edges)
    seen: int = 0
    states: dict[int, str] = field(default_factory=dict[int, str])
    accepted: dict[int, int] = field(default_factory=dict[int, int])
    reopened: dict[int, int] = field(default_factory=dict[int, int])
    told_to_stop: set[int] = field(default_factory=set[int])
    leases: dict[int, int] = field(default_factory=dict[int, int])
    greatest: int = 0

    def look(self, session: Session) -> None:
        for number, job, left, entered, attempt, most, is_due, may_start in session.rows(NEW_EVENTS, self.seen):
            self.seen = number
            self._step(job, left or NEW, entered or DELETED)
            if entered == "running":
                assert most is None or attempt <= most, f"S6: job {job} starts for the {attempt}th time"
                assert is_due, f"S12: job {job} starts before its time"
                assert may_start, f"S10: job {job} starts before its parents have ended as they must"
        self._look_at_leases(session)
        assert session.rows(SHARED_KEYS) == [], "S8: two unfinished jobs have one key"

    def note_late(self, session: Session, states: dict[int, str]) -> None:
        """Jobs that have just been committed, whose events may be older than what was seen last."""
        self.states.update(states)
        self.seen = session.value("select greatest(%s, max(id)) from dtsched.job_events", self.seen)

    def _step(self, job: int, left: str, entered: str) -> None:
        assert (left, entered) in self.edges, f"S7: job {job} goes from {left} to {entered}"
        assert self.states.get(job, NEW) == left, f"S7: job {job} was {self.states.get(job, NEW)}, not {left}"
        self.states[job] = entered
        if left in ENDED and entered != DELETED:
            self.reopened[job] = self.reopened.get(job, 0) + 1
        if entered in ENDED:
            self.accepted[job] = self.accepted.get(job, 0) + 1
        ends, reopened = self.accepted.get(job, 0), self.reopened.get(job, 0)
        assert ends - reopened <= 1, f"S3: job {job} ended {ends} times, and was brought back {reopened} times"
        if left == "running":
            assert not (job in self.told_to_stop and entered == "completed"), f"S14: job {job} was told to stop"
            self.told_to_stop.discard(job)

    def _look_at_leases(self, session: Session) -> None:
        held: dict[int, int] = {}
        for lease, job, worker, is_told, state, _, owner in session.rows(LEASES):
            assert job not in held, f"S5: job {job} has two leases"
            assert (state, owner) == ("running", worker), f"S5: job {job} has a lease of {worker}, and is {state}"
            if lease not in self.leases:
                assert lease > self.greatest, f"S4: lease {lease} of job {job} is not greater than all before"
            held[job] = lease
            if is_told:
                self.told_to_stop.add(job)
        running = {job for job, state in self.states.items() if state == "running"}
        assert running == held.keys(), "S5: what runs has a lease, and nothing else"
        self.leases = {lease: job for job, lease in held.items()}
        self.greatest = max([self.greatest, *self.leases])
