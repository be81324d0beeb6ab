"""`dtsched bench`: how many jobs that do nothing are submitted and finished in a second, durably."""

import asyncio
import time
from dataclasses import dataclass

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.display import Display
from dtsched.cli.exits import ExitCode
from dtsched.cli.fresh import fresh_database, temporary_folder
from dtsched.cli.options import json_option
from dtsched.cli.output import print_json
from dtsched.cli.processes import Family, termination_raises
from dtsched.cli.reading import read_one
from dtsched.connections import Connection, connect
from dtsched.errors import DtschedError
from dtsched.jobs import NewJob
from dtsched.store import Store

BATCH = 1000
SECONDS = 600.0


class Durability(msgspec.Struct, frozen=True, kw_only=True):
    fsync: str
    synchronous_commit: str
    unlogged: int
    server_version: str


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Read from dtsched.jobs. `seconds` is from the first claim to the last finish."""

    jobs: int
    completed: int
    attempts: int
    seconds: float
    workers: int


class Left(msgspec.Struct, frozen=True):
    left: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    processes: int
    slots: int
    counts: Counts
    durability: Durability
    submitted_per_second: float
    finished_per_second: float
    faults: list[str]


DURABILITY = """
    select current_setting('fsync') as fsync,
        current_setting('synchronous_commit') as synchronous_commit,
        current_setting('server_version') as server_version,
        (select count(*)
         from pg_catalog.pg_class
         where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'i') and relpersistence <> 'p'
             and relname not like 'feed%') as unlogged
"""
# The narrow tables say what is left without reading every job.
LEFT = "select (select count(*) from dtsched.ready) + (select count(*) from dtsched.leases) as left"
COUNTS = """
    select count(*) as jobs,
        count(*) filter (where job.state = 'completed') as completed,
        coalesce(sum(job.attempt), 0)::bigint as attempts,
        count(distinct job.worker_id) as workers,
        coalesce(extract(epoch from max(job.finished_at) - min(job.started_at)), 0)::float8 as seconds
    from dtsched.jobs job
"""


@click.command("bench", cls=RichCommand)
@click.option("--jobs", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option("--slots", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Of each process.")
@click.option("--dsn", metavar="DSN", help="An empty database to use, instead of a server that is thrown away.")
@json_option
def bench_command(jobs: int, processes: int, slots: int, dsn: str | None, as_json: bool) -> int:
    """Measure how many jobs a second this machine finishes.

    Submits jobs that do nothing, then starts the workers; the rate is from the first claim to the last finish, and
    every count is read from the tables. Refuses a database that would not keep what it acknowledged.
    """
    with (
        termination_raises(),
        temporary_folder() as logs,
        fresh_database(dsn) as target,
        Family(logs) as family,
        Display() as display,
    ):
        figures = asyncio.run(Bench(target, family, display, jobs, processes, slots).run())
    print_json(figures) if as_json else print_figures(figures)
    return ExitCode.ERROR if figures.faults else ExitCode.OK


@dataclass(frozen=True)
class Bench:
    dsn: str
    family: Family
    display: Display
    jobs: int
    processes: int
    slots: int

    async def run(self) -> Figures:
        async with await connect(self.dsn, role="bench") as connection:
            durability = await read_one(connection, Durability, DURABILITY)
            refuse_forgetful(durability)
            submitted_per_second = await self._submit()
            await connection.execute("analyze dtsched.jobs, dtsched.ready")
            self._start_workers()
            await self.family.until(
                f"{self.jobs:,} jobs are finished", SECONDS, lambda: self._finished(connection), 0.25
            )
            counts = await read_one(connection, Counts, COUNTS)
            return Figures(
                processes=self.processes,
                slots=self.slots,
                counts=counts,
                durability=durability,
                submitted_per_second=submitted_per_second,
                finished_per_second=counts.completed / counts.seconds if counts.seconds else 0.0,
                faults=await self._faults(connection, counts),
            )

    async def _submit(self) -> float:
        """Over as many connections as there are processes; returns jobs a second."""
        began = time.monotonic()
        shares = [self.jobs // self.processes + (i < self.jobs % self.processes) for i in range(self.processes)]
        self.display.advance("submitting", 0, self.jobs)
        await asyncio.gather(*(self._submit_share(share) for share in shares))
        return self.jobs / (time.monotonic() - began)

    async def _submit_share(self, share: int) -> None:
        job = NewJob(task="noop", queue="bench")
        async with await connect(self.dsn, role="bench") as connection:
            store = Store(connection)
            for start in range(0, share, BATCH):
                await store.submit_many([job] * min(BATCH, share - start), check_tasks=False)

    def _start_workers(self) -> None:
        environment = {
            "DTSCHED_DSN": self.dsn,
            "DTSCHED_LOG": "text",
            "DTSCHED_LOG_LEVEL": "WARNING",
            "DTSCHED_LEASE": "30s",
        }
        for number in range(1, self.processes + 1):
            name = f"bench-{number}"
            app = ["worker", "-A", "dtsched.workers.bench:app", "-q", f"bench:{self.slots}", "--name", name]
            self.family.start(name, app, environment)

    async def _finished(self, connection: Connection) -> bool:
        left = (await read_one(connection, Left, LEFT)).left
        self.display.advance("finishing", self.jobs - left, self.jobs)
        return left == 0

    async def _faults(self, connection: Connection, counts: Counts) -> list[str]:
        broken = await Store(connection).check()
        return [
            *([] if counts.jobs == self.jobs else [f"{self.jobs} jobs were submitted, {counts.jobs} are stored"]),
            *([] if counts.completed == self.jobs else [f"{counts.completed} of {self.jobs} jobs completed"]),
            *([] if counts.attempts == self.jobs else [f"{counts.attempts} attempts were made of {self.jobs} jobs"]),
            *(f"job {job_id}: {invariant}: {detail}" for invariant, job_id, detail in broken[:5]),
        ]


def refuse_forgetful(durability: Durability) -> None:
    if durability.fsync != "on" or durability.synchronous_commit != "on" or durability.unlogged:
        raise DtschedError(
            f"nothing is measured on a database that may forget: fsync is {durability.fsync}, synchronous_commit is "
            f"{durability.synchronous_commit}, {durability.unlogged} tables or indexes are not logged"
        )


def print_figures(figures: Figures) -> None:
    counts, durability = figures.counts, figures.durability
    lines = [
        f"{figures.submitted_per_second:,.0f} jobs/s submitted, in batches of {BATCH:,}",
        f"{figures.finished_per_second:,.0f} jobs/s finished: {counts.completed:,} jobs in {counts.seconds:.2f} s from "
        f"the first claim to the last finish, {counts.workers} of {figures.processes} worker processes, "
        f"{figures.slots} slots each",
        f"PostgreSQL {durability.server_version}, fsync {durability.fsync}, synchronous_commit "
        f"{durability.synchronous_commit}, all tables logged",
        *(f"WRONG: {fault}" for fault in figures.faults),
    ]
    for line in lines:
        click.echo(line)
