"""Everything at once for some seconds: late commits, aborted producers and claims, killed claimers, rescue, retries.

Every job whose submission was committed is completed exactly once, and dtsched.check() finds nothing wrong.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field

from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.support.patience import PATIENCE_SECONDS

PRODUCING_SECONDS = 8.0
LEASE = "2 s"


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
            jobs = producer.insert(choose.choice([1, 1, 1, 5, 50]), priority=choose.choice([5, 5, 5, 9, 1]))
            if choose.random() < 0.2:
                jobs.append(producer.value("select dtsched.submit('child', depends_on => %s)", jobs[:3]))
            if choose.random() < 0.1:
                jobs.append(producer.value("select dtsched.submit('later', delay => '300 ms')"))
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
    while run.working:
        worker.renew()
        worker.run("begin")
        jobs = worker.claim(choose.choice([1, 5, 20, 100]))
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


def test_under_stress_every_committed_job_is_completed_exactly_once(database: str, session: Session):
    session.run("select dtsched.trace(true)")
    run = Run(database)
    in_parallel(
        *(lambda seed=seed: produce(run, seed) for seed in range(run.producers)),
        *(lambda seed=seed: consume(run, 100 + seed) for seed in range(4)),
        lambda: maintain(run),
    )
    assert run.aborted_claims > 0
    assert run.killed_claimers > 0
    assert run.abandoned_leases > 0
    completions = dict(
        session.rows("select job_id, count(*) from dtsched.job_events where to_state = 'completed' group by job_id")
    )
    assert (run.submitted - completions.keys(), completions.keys() - run.submitted) == (set(), set())
    assert set(completions.values()) == {1}
    assert session.states() == {"completed": len(run.submitted)}
    assert (
        session.value("select count(*) from dtsched.ready") == session.value("select count(*) from dtsched.leases") == 0
    )
