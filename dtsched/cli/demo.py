"""`dtsched demo`: real jobs on two workers, one of them killed while busy, and a verdict read from the tables."""

import asyncio
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import LiteralString, cast
from uuid import UUID

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli import workload
from dtsched.cli.display import Display
from dtsched.cli.exits import ExitCode
from dtsched.cli.fresh import fresh_database, temporary_folder
from dtsched.cli.options import json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.processes import Child, Family, send, termination_raises
from dtsched.cli.reading import read, read_ids, read_one
from dtsched.cli.verdict import Percentiles, Verdict, Victim, judge
from dtsched.cli.workload import LIBRARY, Api, Total, library_files
from dtsched.connections import Connection, connect
from dtsched.errors import DtschedError
from dtsched.store import Store

WORKERS = ("demo-1", "demo-2")
LEASE = "2s"  # short, so that the killed worker's jobs come back while one watches
START_SECONDS = 30.0
KILL_SECONDS = 15.0
DRAIN_SECONDS = 120.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `true` decides the exit code."""

    true: bool
    verdict: Verdict
    victim: Victim
    total: Total
    recount_seconds: float
    wall_seconds: float


@click.command("demo", cls=RichCommand)
@click.option("--dsn", metavar="DSN", help="An empty database to use, instead of a server that is thrown away.")
@click.option(
    "--wait/--no-wait", default=None, help="Keep the API open at the end, until Ctrl-C. Default: on a terminal."
)
@click.option("--tamper", metavar="SQL", hidden=True, help="Run before the verdict, to see that it notices.")
@json_option
def demo_command(dsn: str | None, wait: bool | None, tamper: str | None, as_json: bool) -> int:
    """Run a real workload, kill a busy worker, and prove that nothing was lost.

    One job for each file of the installed Python's library hashes it and counts its lines and words; the last job sums.
    Some jobs fail and are retried, some are delayed, one is cancelled. The verdict is read from the tables; exit code 0
    only if all of it holds.
    """
    began = time.monotonic()
    with termination_raises(), temporary_folder() as logs, fresh_database(dsn) as target, Family(logs) as family:
        with Display() as display:
            demo = Demo(target, family, display, tamper)
            report = asyncio.run(demo.run(began))
        print_json(report) if as_json else print_report(report)
        if wait if wait is not None else sys.stdin.isatty() and sys.stdout.isatty():
            keep_open(family, demo.url)
    return ExitCode.OK if report.true else ExitCode.ERROR


class Demo:
    def __init__(self, dsn: str, family: Family, display: Display, tamper: str | None) -> None:
        self._dsn = dsn
        self._family = family
        self._display = display
        self._tamper = tamper
        self._port = free_port()
        self._api = Api(self._port)

    @property
    def url(self) -> str:
        return self._api.url

    async def run(self, began: float) -> Report:
        async with await connect(self._dsn, role="demo") as connection:
            await connection.execute("select dtsched.trace(true)")
            workers = await self._start(connection)
            files = sorted(library_files())
            acknowledged = await workload.submit(connection, files, self._api)
            self._display.say(f"submitted {acknowledged:,} jobs, {len(files):,} of them a file of {LIBRARY}")
            await self._finished(connection, len(files) // 4)
            acknowledged += await workload.submit_lingering(connection)
            await self._finished(connection, len(files) // 2)
            victim, more = await self._kill_a_busy_one(connection, workers)
            acknowledged += more
            await self._finished(connection, acknowledged)
            acknowledged += await self._probe(connection)
            if self._tamper:
                await connection.execute(cast("LiteralString", self._tamper))
            return await self._report(connection, victim, acknowledged, files, began)

    async def _start(self, connection: Connection) -> dict[str, Child]:
        """Two workers and the API, ready; the workers by their names. One that was taken for lost has another id."""
        environment = {
            "DTSCHED_DSN": self._dsn,
            "DTSCHED_LEASE": LEASE,
            "DTSCHED_LOG": "text",
            "DTSCHED_LOG_LEVEL": "INFO",
        }
        app = ["worker", "-A", "dtsched.workers.survey:app", "-q", "survey:8", "-q", "slow:4"]
        children = {name: self._family.start(name, [*app, "--name", name], environment) for name in WORKERS}
        self._family.start("api", ["api", "--host", "127.0.0.1", "--port", str(self._port)], environment)
        await self._family.until("workers and API start", START_SECONDS, lambda: self._started(connection))
        self._display.say(f"started workers {' and '.join(WORKERS)}, lease {LEASE}, and the API on {self.url}")
        return children

    async def _started(self, connection: Connection) -> bool:
        registered = await read_ids(connection, "select 1 from dtsched.workers")
        return len(registered) == len(WORKERS) and await asyncio.to_thread(self._api.ready)

    async def _finished(self, connection: Connection, count: int) -> None:
        async def enough() -> bool:
            progress = await read_one(connection, Progress, PROGRESS)
            self._display.advance("finished", progress.ended, progress.jobs)
            return progress.ended >= count

        await self._family.until(f"{count:,} jobs are finished", DRAIN_SECONDS, enough)

    async def _kill_a_busy_one(self, connection: Connection, workers: dict[str, Child]) -> tuple[Victim, int]:
        """SIGKILL for a worker that holds leases of jobs whose handlers run, and how many jobs were added.

        It is stopped first, so that what the table says of it stays true until it is dead.
        """
        submitted = 0
        deadline = time.monotonic() + KILL_SECONDS
        while time.monotonic() < deadline:
            busy = await read(connection, Busy, BUSY)
            if not busy:
                if not await read_ids(connection, LINGERING):  # the files took longer than those jobs
                    submitted += await workload.submit_lingering(connection)
                await asyncio.sleep(0.02)
                continue
            child = workers[busy[0].name]
            send(child, signal.SIGSTOP)
            held = await self._held_by_stopped(connection, busy[0].worker_id)
            if any(one.worker_id == busy[0].worker_id for one in await read(connection, Busy, BUSY)):
                send(child, signal.SIGKILL)
                child.process.wait()
                self._family.forget(child)
                self._display.say(f"killed {child.name} (pid {child.pid}) with SIGKILL while it held {len(held)} jobs")
                return Victim(worker_id=busy[0].worker_id, job_ids=held), submitted
            send(child, signal.SIGCONT)
        raise DtschedError("no worker held a running job when one was to be killed")

    async def _held_by_stopped(self, connection: Connection, worker_id: UUID) -> list[int]:
        """What it had sent before it was stopped may still commit: read until it says the same twice. On a busy machine
        that may be too early, see FINISHED_AT_LAST."""
        before, held = [0], await read_ids(connection, HELD, [worker_id])
        while held != before:
            await asyncio.sleep(0.05)
            before, held = held, await read_ids(connection, HELD, [worker_id])
        return held

    async def _probe(self, connection: Connection) -> int:
        """One job at a time on an idle worker."""
        store = Store(connection)
        ended = (await read_one(connection, Progress, PROGRESS)).ended
        for number in range(1, workload.PROBES + 1):
            await store.submit_many([workload.PROBE])
            while (await read_one(connection, Progress, PROGRESS)).ended < ended + number:
                self._family.require_all()
                await asyncio.sleep(0.002)
        return workload.PROBES

    async def _report(
        self, connection: Connection, victim: Victim, acknowledged: int, files: list[str], began: float
    ) -> Report:
        late = await read_ids(connection, FINISHED_AT_LAST, [victim.worker_id, victim.job_ids])
        victim = msgspec.structs.replace(victim, job_ids=sorted({*victim.job_ids} - {*late}))
        self._display.say("counting the library again in a single process")
        recount_began = time.monotonic()
        total = await asyncio.to_thread(workload.recount, files)
        recount_seconds = time.monotonic() - recount_began
        verdict = await judge(
            connection, victim, acknowledged=acknowledged, measured_task="survey_file", probe_task="probe"
        )
        verdict.faults.extend(await workload.unmet(connection, total))
        return Report(
            true=not verdict.faults,
            verdict=verdict,
            victim=victim,
            total=total,
            recount_seconds=recount_seconds,
            wall_seconds=time.monotonic() - began,
        )


class Busy(msgspec.Struct, frozen=True):
    """A worker and how many jobs it has been running for a moment."""

    worker_id: UUID
    name: str
    running: int


class Progress(msgspec.Struct, frozen=True):
    jobs: int
    ended: int


PROGRESS = """
    select count(*) as jobs, count(*) filter (where job.state in ('completed', 'failed', 'cancelled')) as ended
    from dtsched.jobs job
"""
# A handler that lingers has begun when its job has been claimed for a while.
BUSY = """
    select lease.worker_id, worker.name, count(*) as running
    from dtsched.leases lease
    join dtsched.jobs job on job.id = lease.job_id
    join dtsched.workers worker on worker.id = lease.worker_id
    where job.state = 'running' and job.task = 'linger'
        and job.started_at between dtsched.now() - interval '0.6 s' and dtsched.now() - interval '0.1 s'
    group by 1, 2
    order by 3 desc
"""
LINGERING = """
    select job.id from dtsched.jobs job where job.task = 'linger' and job.state in ('ready', 'running') limit 1
"""
# What the killed worker had sent, and the server had not come to when it was asked what that worker held.
FINISHED_AT_LAST = """
    select job.id
    from dtsched.jobs job
    where job.worker_id = %s and job.id = any (%s) and job.state in ('completed', 'failed', 'cancelled')
        and not exists (
            select from dtsched.attempts crash
            where crash.job_id = job.id and crash.worker_id = job.worker_id and crash.outcome = 'crash')
"""
HELD = """
    select lease.job_id
    from dtsched.leases lease
    join dtsched.jobs job on job.id = lease.job_id
    where lease.worker_id = %s and job.state = 'running'
    order by 1
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def keep_open(family: Family, url: str) -> None:
    api = next(child for child in family.children if child.name == "api")
    say(f"the API on {url} stays open until Ctrl-C")
    with suppress(KeyboardInterrupt):
        api.process.wait()


def print_report(report: Report) -> None:
    verdict, counts, total = report.verdict, report.verdict.counts, report.total
    rescued = len(set(report.victim.job_ids) & set(verdict.rescued))
    whole, pick_up = verdict.whole_way, verdict.pick_up
    lines = [
        f"{counts.submitted:,} submitted, {counts.finished:,} finished, "
        f"{len(verdict.lost):,} lost, {len(verdict.doubled):,} finished twice",
        f"{counts.completed:,} completed; on purpose {counts.failed:,} failed, {counts.cancelled:,} was cancelled, and "
        f"{counts.failed_attempts:,} attempts failed",
        f"the killed worker held {len(report.victim.job_ids):,} jobs, {rescued:,} of them came back and ended",
        f"{verdict.pace.jobs_per_second:,.0f} jobs/s from first claim to last finish ({verdict.pace.seconds:.1f} s, "
        f"of which the killed worker's lease is {LEASE}); {verdict.pace.busiest_second:,} in the busiest second",
        f"created to finished, {whole.jobs:,} files in one go: {in_words(whole)}",
        f"ready to running, {pick_up.jobs:,} jobs one by one: {in_words(pick_up)}",
        f"{total.files:,} files, {total.bytes:,} bytes, {total.lines:,} lines, {total.words:,} words, "
        f"sha256 {total.sha256[:16]}…; recounted in a single process in {report.recount_seconds:.1f} s",
        *(f"WRONG: {fault}" for fault in verdict.faults),
        f"verdict: {'all of it is true' if report.true else 'FALSE'}, after {report.wall_seconds:.1f} s",
    ]
    for line in lines:
        click.echo(line)


def in_words(latency: Percentiles) -> str:
    values = {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99}
    return ", ".join(f"{name} {value:,.1f} ms" for name, value in values.items() if value is not None)
