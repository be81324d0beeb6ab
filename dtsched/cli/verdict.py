"""What the tables say of a demo that has ended: every figure and every judgement is read from them, none is remembered.

`job_events` (written while tracing, in the statement that makes a transition) says what happened, `jobs` what is.
"""

from uuid import UUID

from msgspec import Struct

from dtsched.cli.reading import read, read_ids, read_one
from dtsched.connections import Connection

EDGES = frozenset({
    (None, "blocked"), (None, "scheduled"), (None, "ready"),
    ("blocked", "scheduled"), ("blocked", "ready"), ("blocked", "cancelled"),
    ("scheduled", "ready"), ("scheduled", "cancelled"),
    ("ready", "running"), ("ready", "cancelled"),
    ("running", "ready"), ("running", "scheduled"),
    ("running", "completed"), ("running", "failed"), ("running", "cancelled"),
})  # fmt: skip
"""The legal transitions, without those of `retry`: nobody reopens an ended job during a demo."""

LOST = """
    select coalesce(submitted.job_id, job.id) as job_id
    from (select distinct event.job_id from dtsched.job_events event where event.from_state is null) submitted
    full join dtsched.jobs job on job.id = submitted.job_id
    where job.id is null
        or submitted.job_id is null
        or job.state not in ('completed', 'failed', 'cancelled')
    order by 1
"""
DOUBLED = """
    select event.job_id
    from dtsched.job_events event
    where event.to_state in ('completed', 'failed', 'cancelled')
    group by event.job_id
    having count(*) > 1
    order by 1
"""
# Each event must begin where the one before it ended, and the last must be what jobs says.
TORN = """
    select distinct event.job_id
    from (select event.*,
              lag(event.to_state) over history as before,
              lead(event.id) over history is null as is_last
          from dtsched.job_events event
          window history as (partition by event.job_id order by event.id)) event
    left join dtsched.jobs job on job.id = event.job_id
    where event.from_state is distinct from event.before
        or event.is_last and event.to_state is distinct from job.state
    order by 1
"""
USED_EDGES = """
    select event.from_state, event.to_state, min(event.job_id) as job_id
    from dtsched.job_events event
    group by 1, 2
"""
EARLY = """
    select job.id as job_id
    from dtsched.jobs job
    join dtsched.job_events event on event.job_id = job.id and event.to_state = 'running'
    where event.at < job.run_at and job.attempt = 1  -- a retry moves run_at
    order by 1
"""
# Taken from the victim by rescue and ended by somebody else afterwards, unless the crash was the last attempt it had.
RESCUED = """
    select crashed.job_id
    from dtsched.attempts crashed
    join dtsched.jobs job on job.id = crashed.job_id
    where crashed.worker_id = %s
        and crashed.outcome = 'crash'
        and job.state in ('completed', 'failed', 'cancelled')
        and (job.worker_id <> crashed.worker_id or crashed.attempt >= job.max_attempts)
    order by 1
"""
COUNTS = """
    select (select count(distinct event.job_id)
            from dtsched.job_events event
            where event.from_state is null) as submitted,
        count(*) filter (where job.state in ('completed', 'failed', 'cancelled')) as finished,
        count(*) filter (where job.state = 'completed') as completed,
        count(*) filter (where job.state = 'failed') as failed,
        count(*) filter (where job.state = 'cancelled') as cancelled,
        (select count(*) from dtsched.attempts attempt where attempt.outcome in ('retry', 'fail')) as failed_attempts,
        (select count(*) from dtsched.leases) as leases
    from dtsched.jobs job
"""
# From the first claim to the last end.
PACE = """
    select coalesce(extract(epoch from
                max(event.at) filter (where event.to_state in ('completed', 'failed'))
                - min(event.at) filter (where event.to_state = 'running')), 0)::float8 as seconds,
        count(*) filter (where event.to_state in ('completed', 'failed')) as ran,
        coalesce((select max(second.ended)
                  from (select count(*) as ended
                        from dtsched.job_events event
                        where event.to_state in ('completed', 'failed')
                        group by date_trunc('second', event.at)) second), 0) as busiest_second
    from dtsched.job_events event
"""
WHOLE_WAY = """
    select percentile_cont(0.50) within group (order by latency.ms) as p50,
        percentile_cont(0.95) within group (order by latency.ms) as p95,
        percentile_cont(0.99) within group (order by latency.ms) as p99,
        count(*) as jobs
    from (select extract(epoch from job.finished_at - job.created_at)::float8 * 1000 as ms
          from dtsched.jobs job
          where job.task = %s and job.state = 'completed') latency
"""
PICK_UP = """
    select percentile_cont(0.50) within group (order by latency.ms) as p50,
        percentile_cont(0.95) within group (order by latency.ms) as p95,
        percentile_cont(0.99) within group (order by latency.ms) as p99,
        count(*) as jobs
    from (select extract(epoch from event.at - ready.at)::float8 * 1000 as ms
          from dtsched.jobs job
          join dtsched.job_events ready on ready.job_id = job.id and ready.to_state = 'ready'
          join dtsched.job_events event on event.job_id = job.id and event.to_state = 'running'
          where job.task = %s and job.attempt = 1) latency
"""


class Percentiles(Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None
    jobs: int


class Counts(Struct, frozen=True, kw_only=True):
    """`failed_attempts` are those whose handler raised, `leases` those still held; the rest are jobs."""

    submitted: int
    finished: int
    completed: int
    failed: int
    cancelled: int
    failed_attempts: int
    leases: int


class Pace(Struct, frozen=True, kw_only=True):
    """`ran` are the jobs that a worker ended, `busiest_second` the most of them in one second of the clock."""

    seconds: float
    ran: int
    busiest_second: int

    @property
    def jobs_per_second(self) -> float:
        return self.ran / self.seconds if self.seconds else 0.0


class Victim(Struct, frozen=True, kw_only=True):
    """The worker that was killed, and the jobs whose leases it held just before."""

    worker_id: UUID
    job_ids: list[int]


class Verdict(Struct, frozen=True, kw_only=True):
    """`faults` has a sentence for each thing that is not as promised; the lists hold job ids."""

    counts: Counts
    pace: Pace
    whole_way: Percentiles
    pick_up: Percentiles
    lost: list[int]
    doubled: list[int]
    rescued: list[int]
    faults: list[str]


class Edge(Struct, frozen=True, kw_only=True):
    from_state: str | None
    to_state: str | None
    job_id: int


class Violation(Struct, frozen=True, kw_only=True):
    """`job_id` is None where it is about no single job."""

    invariant: str
    job_id: int | None
    detail: str


async def judge(
    connection: Connection, victim: Victim, *, acknowledged: int, measured_task: str, probe_task: str
) -> Verdict:
    """`acknowledged` is how many jobs the submitters were told of.

    Latencies are created to finished of `measured_task`, and ready to running of `probe_task`.
    """
    counts = await read_one(connection, Counts, COUNTS)
    lost = await read_ids(connection, LOST)
    doubled = await read_ids(connection, DOUBLED)
    rescued = await read_ids(connection, RESCUED, [victim.worker_id])
    return Verdict(
        counts=counts,
        pace=await read_one(connection, Pace, PACE),
        whole_way=await read_one(connection, Percentiles, WHOLE_WAY, [measured_task]),
        pick_up=await read_one(connection, Percentiles, PICK_UP, [probe_task]),
        lost=lost,
        doubled=doubled,
        rescued=rescued,
        faults=[
            *fault("lost", lost),
            *fault("finished twice", doubled),
            *fault("with a history that has gaps or ends elsewhere", await read_ids(connection, TORN)),
            *fault("started before their time", await read_ids(connection, EARLY)),
            *fault("of the killed worker not ended by the other", sorted(set(victim.job_ids) - set(rescued))),
            *([] if victim.job_ids else ["the killed worker held no job"]),
            *(
                []
                if counts.submitted == acknowledged
                else [f"{acknowledged} jobs acknowledged, {counts.submitted} traced"]
            ),
            *([] if counts.leases == 0 else [f"{counts.leases} leases left over"]),
            *await illegal_edges(connection),
            *await violations(connection),
        ],
    )


def fault(what: str, ids: list[int]) -> list[str]:
    if not ids:
        return []
    shown = ", ".join(map(str, ids[:5])) + (", …" if len(ids) > 5 else "")
    return [f"{len(ids)} {'job' if len(ids) == 1 else 'jobs'} {what}: {shown}"]


async def illegal_edges(connection: Connection) -> list[str]:
    return [
        f"job {edge.job_id} went from {edge.from_state or 'nothing'} to {edge.to_state or 'nothing'}"
        for edge in await read(connection, Edge, USED_EDGES)
        if (edge.from_state, edge.to_state) not in EDGES
    ]


async def violations(connection: Connection) -> list[str]:
    found = await read(connection, Violation, "select invariant, job_id, detail from dtsched.check()")
    return [
        f"{f'job {violation.job_id}: ' if violation.job_id else ''}{violation.invariant}: {violation.detail}"
        for violation in found[:5]
    ]
