"""Everything at once for some seconds: late commits, aborted producers and claims, killed claimers, rescue, retries.

Every job whose submission was committed is completed exactly once, and dtsched.check() finds nothing wrong.
Whoever stands still for a lease is lost, so how often a job crashes is up to the machine: no job fails by that here.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.support.patience import PATIENCE_SECONDS

PRODUCING_SECONDS = 8.0
LEASE = "2 s"
MOST = 1000


@dataclass
class Run:
    dsn: str
    submitted: set[int] = field(default_factory=set[int])
    aborted_claims: int = 0
    killed_claimers: int = 0
    abandoned_leases: int = 0
    producers: int = 6
    working: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def producing(self) -> bool:
        return self.producers > 0


def produce(run: Run, seed: int) -> None:
    choose = random.Random(seed)
    with contextlib.closing(Session(run.dsn)) as producer:
        end = time.monotonic() + PRODUCING_SECONDS
        while time.monotonic() < end:
            producer.run("begin")
            jobs = producer.column(
                """
                insert into dtsched.jobs (task, priority, max_attempts)
                select 'echo', %s, %s from generate_series(1, %s)
                returning id
                """,
                choose.choice([5, 5, 5, 9, 1]),
                MOST,
                choose.choice([1, 1, 1, 5, 50]),
            )
            if choose.random() < 0.2:
                child = "select dtsched.submit('child', depends_on => %s, max_attempts => %s)"
                jobs.append(producer.value(child, jobs[:3], MOST))
            if choose.random() < 0.1:
                later = "select dtsched.submit('later', delay => '300 ms', max_attempts => %s)"
                jobs.append(producer.value(later, MOST))
            time.sleep(choose.choice([0, 0, 0, 0.001, 0.02, 0.3, 2 if seed == 0 else 0]))
            if choose.random() < 0.1:
                producer.run("rollback")
                continue
            producer.run("commit")
            with run.lock:
                run.submitted.update(jobs)
    with run.lock:
        run.producers -= 1


def consume(run: Run, seed: int) -> None:
    choose = random.Random(seed)
    while run.working:
        with contextlib.closing(Worker(run.dsn, lease=LEASE)) as worker:
            worker.run("set dtsched.sweep = '0.2'")
            work_until_killed(run, worker, choose)


def work_until_killed(run: Run, worker: Worker, choose: random.Random) -> None:
    while run.working and worker.renew():
        worker.run("begin")
        try:
            jobs = worker.claim(choose.choice([1, 5, 20, 100]))
        except psycopg.Error as error:
            if error.sqlstate == "JQ005":  # it has stood still for a lease since it was renewed
                return
            raise
        fate = fate_of(run, choose) if jobs and run.producing else 1.0
        if fate < 0.03:
            worker.run("rollback")
            run.aborted_claims += 1
            continue
        if fate < 0.04:  # killed with its claim not committed
            run.killed_claimers += 1
            return
        worker.run("commit")
        if fate < 0.07:  # killed with its leases in hand
            run.abandoned_leases += len(jobs)
            return
        failing = [job for job in jobs if choose.random() < 0.05] if run.producing else []
        worker.finish(*(job for job in jobs if job not in failing))
        if failing:
            worker.finish_as("retry", *failing, delay=choose.choice([0, 0.2]))
        if not jobs:
            time.sleep(0.005)


def fate_of(run: Run, choose: random.Random) -> float:
    """Each ill fate once at least, however few claims a busy machine gets to."""
    for seen, fate in ((run.aborted_claims, 0.0), (run.killed_claimers, 0.035), (run.abandoned_leases, 0.05)):
        if not seen:
            return fate
    return choose.random()


def maintain(run: Run) -> None:
    """Promotes and rescues until nothing is left to do."""
    with contextlib.closing(Worker(run.dsn, lease=LEASE)) as witness:
        witness.run("set dtsched.sweep = '0.2'")
        end = time.monotonic() + PRODUCING_SECONDS + PATIENCE_SECONDS
        while time.monotonic() < end:
            witness.renew()
            witness.rescue()
            witness.run("select dtsched.promote()")
            producing = run.producing
            if not producing and not witness.value(
                "select exists (select from dtsched.jobs where finished_at is null)"
            ):
                break
            time.sleep(0.2)
        run.working = False


def stories(session: Session, jobs: set[int]) -> str:
    """All that is known of the first few of these jobs, a row a line."""
    lines: list[str] = []
    for job in sorted(jobs)[:5]:
        lines += session.column("select row_to_json(job)::text from dtsched.jobs job where id = %s", job)
        lines += session.column(
            "select row_to_json(bad)::text from dtsched.attempts bad where job_id = %s order by lease_id", job
        )
        lines += session.column(
            "select row_to_json(event)::text from dtsched.job_events event where job_id = %s order by id", job
        )
    return "\n".join([f"{len(jobs)} jobs are not completed once each, which are these:", *lines])


def test_under_stress_every_committed_job_is_completed_exactly_once(database: str, session: Session):
    session.run("select dtsched.trace(true)")
    session.run(
        "insert into dtsched.tasks (name, settings) select task, jsonb_build_object('max_crashes', %s::integer)"
        " from unnest('{echo,child,later}'::text[]) task",
        MOST,
    )
    run = Run(database)
    in_parallel(
        *(lambda seed=seed: produce(run, seed) for seed in range(run.producers)),
        *(lambda seed=seed: consume(run, 100 + seed) for seed in range(4)),
        lambda: maintain(run),
    )
    assert run.aborted_claims > 0
    assert run.killed_claimers > 0
    assert run.abandoned_leases > 0
    ended = {
        job: (state, completions)
        for job, state, completions in session.rows("""
            select id, job.state, coalesce(event.completions, 0)
            from dtsched.jobs job
            full join (select job_id as id, count(*) as completions
                       from dtsched.job_events
                       where to_state = 'completed'
                       group by job_id) event using (id)
            """)
    }
    expected = dict.fromkeys(run.submitted, ("completed", 1))
    odd = {job for job in ended.keys() | expected.keys() if ended.get(job) != expected.get(job)}
    if odd:
        pytest.fail(stories(session, odd))
    assert (
        session.value("select count(*) from dtsched.ready") == session.value("select count(*) from dtsched.leases") == 0
    )
