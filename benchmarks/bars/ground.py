"""A server, databases on it that are each new, and what measurements do there. Every count and time is read from the
tables."""

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from benchmarks.bars.bare import START
from benchmarks.bars.tasks import QUEUE
from dtsched import embedded, migrations
from dtsched.cli.bench import DURABILITY, Durability, refuse_forgetful
from dtsched.cli.processes import Child, Family

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "bars"
PATIENCE_SECONDS = 3600.0

_LOAD: LiteralString = """
    insert into dtsched.jobs (task, queue, args)
    select %s, %s, %s from generate_series(1, %s)
"""
_LEFT: LiteralString = """
    select exists (select from dtsched.ready) or exists (select from dtsched.leases)
        or exists (select from dtsched.scheduled) or exists (select from dtsched.blocked)
"""
_RATE: LiteralString = """
    select count(*) filter (where state = 'completed'), extract(epoch from max(finished_at) - min(started_at))::float8
    from dtsched.jobs
    where id between %s and %s
"""
_CHUNK = 5_000


class Wrong(Exception):
    """What was measured is not what was to be measured."""


class Ground:
    """A database of its own for one measurement; its processes end with it."""

    def __init__(self, dsn: str, family: Family) -> None:
        self.dsn = dsn
        self.family = family
        self.connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(dsn, autocommit=True)

    def value(self, query: LiteralString, *parameters: object) -> Any:
        row = self.connection.execute(query, parameters).fetchone()
        assert row is not None
        return row[0]

    def load(
        self, count: int, *, task: str = "noop", queue: str = QUEUE, args: Mapping[str, object] | None = None
    ) -> range:
        """So many jobs that are ready, in transactions of some thousands; their ids."""
        first = self.value("select last_value + 1 from dtsched.job_id_seq") if self._any() else 1
        for start in range(0, count, _CHUNK):
            self.connection.execute(_LOAD, (task, queue, Jsonb(dict(args or {})), min(_CHUNK, count - start)))
        return range(first, first + count)

    def settle(self) -> None:
        """What was loaded is known to the planner, and nobody pays for writing it out while he is measured."""
        self.connection.execute("vacuum analyze")
        self.connection.execute("checkpoint")

    def start_workers(self, processes: int = 2, *, slots: int = 100, queues: str = QUEUE) -> list[Child]:
        environment = {
            "DTSCHED_DSN": self.dsn, "DTSCHED_LOG": "text", "DTSCHED_LOG_LEVEL": "ERROR", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        arguments = ["worker", "-A", "benchmarks.bars.tasks:app"]
        arguments += [part for queue in queues.split() for part in ("-q", f"{queue}:{slots}")]
        return [self.family.start(f"worker-{number}", arguments, environment) for number in range(processes)]

    def stop(self, children: list[Child]) -> None:
        for child in children:
            child.process.terminate()
        for child in children:
            child.process.wait(60)
            self.family.forget(child)

    def until_registered(self, workers: int) -> None:
        self._until(lambda: self._registered(workers), f"{workers} workers have registered", 0.1)

    def until_finished(self) -> None:
        """The narrow tables say what is left without reading every job; but under a pinned xmin that reads all that
        has ever been in them."""
        self._until(lambda: not self.value(_LEFT), "all jobs are finished", 0.1)

    def until_completed(self, jobs: range, *, pause: float = 0.1) -> None:
        """The jobs of a lane are claimed in order, so the last hundred are asked for first; of the others somebody may
        still have a batch then."""
        all_of = "select not exists (select from dtsched.jobs where id between %s and %s and state <> 'completed')"
        for part in (jobs[-100:], jobs):
            self._until(
                lambda part=part: self.value(all_of, part[0], part[-1]), f"{len(jobs):,} jobs are completed", pause
            )

    def rate(self, jobs: range) -> float:
        """Completed jobs a second, from the first claim to the last finish of these."""
        row = self.connection.execute(_RATE, (jobs[0], jobs[-1])).fetchone()
        if row is None or row[0] != len(jobs):
            raise Wrong(f"of {len(jobs):,} jobs {row and row[0]:,} are completed")
        return len(jobs) / row[1]

    def drain(self, jobs: range, *, processes: int = 2, slots: int = 100) -> float:
        """The rate at which workers finish what is there."""
        self.settle()
        workers = self.start_workers(processes, slots=slots)
        self.until_completed(jobs)
        self.stop(workers)
        self.check()
        return self.rate(jobs)

    def bare(self, jobs: range, *, processes: int, batch: int = 250) -> float:
        """The rate of as many loops that do nothing but claim and finish. They begin together: to start 64 processes
        takes as long as they take for 100,000 jobs."""
        self.settle()
        command = [sys.executable, "-m", "benchmarks.bars.bare", self.dsn, QUEUE, str(batch)]
        self.connection.execute(f"select pg_advisory_lock({START})")
        loops = [subprocess.Popen(command, cwd=ROOT) for _ in range(processes)]
        try:
            self._until(
                lambda: self._registered(processes) or any(loop.poll() for loop in loops), "the loops have begun", 0.1
            )
            self.connection.execute(f"select pg_advisory_unlock({START})")
            if any(loop.wait(PATIENCE_SECONDS) for loop in loops):
                raise Wrong("a bare loop has failed")
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
        return self.rate(jobs)

    def check(self) -> None:
        if broken := self.connection.execute("select * from dtsched.check()").fetchall():
            raise Wrong(f"dtsched.check() says {broken[:3]}")

    def close(self) -> None:
        self.family.end()
        self.connection.close()

    def _registered(self, workers: int) -> bool:
        return self.value("select count(*) = %s from dtsched.workers where lost_at is null", workers)

    def _any(self) -> bool:
        return bool(self.value("select is_called from dtsched.job_id_seq"))

    def _until(self, reached: Any, what: str, pause: float) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            self.family.require_all()
            if time.monotonic() > deadline:
                raise Wrong(f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}")
            time.sleep(pause)


class Server:
    """Databases are cloned from one that was migrated once."""

    def __init__(self, dsn: str, logs: Path) -> None:
        self.dsn = dsn
        self._logs = logs
        self._numbers = itertools.count(1)
        self._template = "bars_template"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(self._template)))
        migrations.up(self._of(self._template))
        asyncio.run(_require_durability(self._of(self._template)))

    @contextmanager
    def ground(self) -> Generator[Ground]:
        name = sql.Identifier(f"bars_{next(self._numbers)}")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} template {}").format(name, sql.Identifier(self._template)))
        try:
            with Family(self._logs) as family:
                ground = Ground(self._of(name.as_string().strip('"')), family)
                try:
                    yield ground
                finally:
                    ground.close()
        finally:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(name))

    def _of(self, name: str) -> str:
        return f"{self.dsn.rpartition('/')[0]}/{name}"


@contextmanager
def server() -> Generator[Server]:
    """A temporary one, on a disk."""
    HOME.mkdir(parents=True, exist_ok=True)
    with embedded.temporary(base=HOME) as cluster:
        logs = HOME / "logs"
        logs.mkdir(exist_ok=True)
        yield Server(cluster.dsn, logs)


async def _require_durability(dsn: str) -> None:
    from dtsched.cli.reading import read_one
    from dtsched.connections import connect

    async with await connect(dsn, role="bench") as connection:
        refuse_forgetful(await read_one(connection, Durability, DURABILITY))
