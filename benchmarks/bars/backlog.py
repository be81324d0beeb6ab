"""What much of something costs: ready jobs behind, finished jobs kept, a pinned xmin, and memory."""

import threading
import time
from collections.abc import Sequence
from typing import LiteralString

import psutil
import psycopg

from benchmarks.bars.ground import Ground, Server
from benchmarks.bars.row import Figure, Scale, Tell, paired
from benchmarks.bars.tasks import QUEUE
from dtsched.cli.processes import Child

FEW = 100_000
_KEPT: LiteralString = """
    insert into dtsched.jobs (task, queue, state, attempt, started_at, finished_at)
    select 'noop', %s, 'completed', 1, dtsched.now(), dtsched.now() from generate_series(1, %s)
"""
_KEPT_CHUNK = 50_000


def behind(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """10 million ready jobs and 20 million finished ones against the first hundred thousand of an empty database."""
    few = min(FEW, scale.jobs)

    def alone() -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(few))

    def among() -> float:
        with server.ground() as ground:
            keep(ground, scale.of(20_000_000))
            jobs = ground.load(scale.of(10_000_000))[:few]
            ground.settle()
            workers = ground.start_workers()
            ground.until_completed(jobs)
            ground.stop(workers)
            return ground.rate(jobs)

    row = f"{scale.of(10_000_000):,} ready jobs behind, {scale.of(20_000_000):,} finished jobs kept"
    value = paired("backlog", among, alone, scale, tell)
    return [Figure(row=row, value=value, of=f"the rate with {few:,}", at_least=0.9)]


def keep(ground: Ground, count: int) -> None:
    """Jobs that are finished already, as a retention would have left them."""
    for start in range(0, count, _KEPT_CHUNK):
        ground.connection.execute(_KEPT, (QUEUE, min(_KEPT_CHUNK, count - start)))


def memory(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """Of a worker that drains ten million jobs: at the end against a fifth of the way."""
    count = scale.of(10_000_000)
    with server.ground() as ground:
        jobs = ground.load(count)
        ground.settle()
        (worker,) = ground.start_workers(1)
        ground.until_completed(jobs[: count // 5])
        early = _resident(worker)
        ground.until_finished()
        late = _resident(worker)
    tell(f"memory: {early / 2**20:.1f} MiB after a fifth of {count:,} jobs, {late / 2**20:.1f} MiB after all")
    return [Figure(row=f"memory while draining {count:,} jobs", value=late / early, of="after a fifth", at_most=1.05)]


def _resident(worker: Child) -> int:
    process = psutil.Process(worker.pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


OFFERED = 5_000
_OFFER: LiteralString = "insert into dtsched.jobs (task, queue) select 'falter', %s from generate_series(1, %s)"


def pinned(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """A transaction that has written and stays open, while jobs are offered steadily; then a backlog is drained."""
    minutes = max(2.0, 10 * scale.share)

    def clean() -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(scale.jobs))

    with server.ground() as ground, psycopg.connect(ground.dsn) as holder:
        holder.execute("select pg_current_xact_id()")
        workers = ground.start_workers()
        first, last = _offered(ground, minutes)
        ground.until_finished()
        ground.stop(workers)
        drained = paired("drained under the pin", lambda: ground.drain(ground.load(scale.jobs)), clean, scale, tell)
    tell(f"pinned: claims take {first:.2f} ms in the first minute, {last:.2f} ms in the last (p99 of a session's own)")
    return [
        Figure(
            row=f"xmin pinned for {minutes:g} min, {OFFERED:,} jobs/s offered, 1 % of them retrying",
            value=last / first, of="claim p99 of the first minute", at_most=1.2,
        ),
        Figure(
            row="drained under the pinned xmin", value=drained, of="the rate of a clean database", at_least=0.9,
        ),
    ]  # fmt: skip


def _offered(ground: Ground, minutes: float) -> tuple[float, float]:
    """The p99 of claims, in ms, in the first and in the last minute. A session of its own claims 10 jobs at a time,
    fifty times a second, and finishes them."""
    stop = threading.Event()
    submitter = threading.Thread(target=_offer, args=(ground.dsn, stop))
    submitter.start()
    took: list[tuple[float, float]] = []
    began = time.monotonic()
    try:
        with psycopg.connect(ground.dsn, autocommit=True) as claimer:
            worker = claimer.execute("select gen_random_uuid()").fetchone()
            assert worker is not None
            claimer.execute(
                "select dtsched.register_worker(%s, 'prober', %s, null, 10, interval '1 h')", (worker[0], [QUEUE])
            )
            done: list[int] = []
            while (now := time.monotonic()) < began + 60 * minutes:
                claimed = claimer.execute(
                    "select lease_id from dtsched.work(%s, %s::bigint[], null, null, %s, 10)", (worker[0], done, QUEUE)
                ).fetchall()
                took.append((now - began, time.monotonic() - now))
                done = [lease for (lease,) in claimed]
                time.sleep(0.02)
            claimer.execute("select dtsched.finish(%s, %s::bigint[])", (worker[0], done))
            claimer.execute("select dtsched.deregister_worker(%s)", (worker[0],))
    finally:
        stop.set()
        submitter.join()
    return _p99_ms([s for at, s in took if at < 60]), _p99_ms([s for at, s in took if at >= 60 * (minutes - 1)])


def _offer(dsn: str, stop: threading.Event) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        due = time.monotonic()
        while not stop.is_set():
            connection.execute(_OFFER, (QUEUE, OFFERED // 50))
            due += 0.02
            time.sleep(max(0.0, due - time.monotonic()))


def _p99_ms(seconds: Sequence[float]) -> float:
    return 1000 * sorted(seconds)[len(seconds) * 99 // 100]
