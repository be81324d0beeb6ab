"""One run: a plan is carried out on a stage, phase by phase. What became of it is for the checker to say, from what was
written down."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, LiteralString

import psycopg

from dtsched.torture.checker.liveness import LISTEN_SECONDS
from dtsched.torture.faults.base import Fault
from dtsched.torture.mutants import Mutant, plant
from dtsched.torture.plan import Mode, Plan, baseline_of, draw
from dtsched.torture.pulse import LISTENERS
from dtsched.torture.stage import Cast, LocalStage, open_stage
from dtsched.torture.state import dump
from dtsched.torture.storm import Show, Storm
from dtsched.torture.wire import open_wire

APP = "dtsched.torture.app:app"
SECOND_APP = "dtsched.torture.eager:app"
SUBMITTERS = 2
LEASE_SECONDS = 5.0
POLL_SECONDS = 1.0
RESCUE_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 5.0
THREADS = 64
"""In which faults wait for the server. With as many as asyncio makes by itself, a few that wait for locks keep all
others from their turn."""
SETTINGS = {"max_connections": "240"}
"""Of the server: for those of some faults at a time, beside those of all members."""
_LOOK_SECONDS = 0.25

# What is there to be done and nobody does. A job of a task that no worker knows waits for one, and a schedule goes on
# making new ones.
_LEFT: LiteralString = """
    select count(*) from dtsched.jobs job
    where job.state in ('blocked', 'scheduled', 'ready', 'running') and job.created_at < %(since)s
        and coalesce(job.run_at, job.created_at) <= dtsched.now()
        and not exists (select from dtsched.parked where parked.job_id = job.id and parked.reason = 'task')"""


def drain_seconds(plan: Plan) -> float:
    """In which every job that is due has ended: a lease to run out, a backoff, a rescue, a poll, and 10 s."""
    return plan.lease_seconds + LONGEST_BACKOFF_SECONDS + RESCUE_SECONDS + POLL_SECONDS + 10.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the user asked for. `bin_dir`: the programs of another PostgreSQL than the embedded one."""

    seed: int
    minutes: float
    mode: Mode
    faults: Sequence[type[Fault]]
    workers: int
    apis: int
    folder: Path
    bin_dir: Path | None = None
    mutant: Mutant | None = None


async def carry_out(order: Order, show: Show, *, announce: Callable[[Plan], None] = lambda plan: None) -> None:
    """Returns when everything has ended and is written down in the order's folder. `announce` is given the plan before
    anything of it happens; what it raises ends the run."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "torture"))
    mutant = order.mutant
    cast = Cast(
        workers=order.workers,
        apis=order.apis,
        submitters=2,
        http_workers=1,
        lease_seconds=LEASE_SECONDS,
        poll_seconds=POLL_SECONDS if mutant is None or mutant.poll_seconds is None else mutant.poll_seconds,
        seed=order.seed,
        app=APP if mutant is None or mutant.app is None else mutant.app,
        second_app=SECOND_APP if mutant is None or mutant.app is None else None,
    )
    prepare = None if mutant is None else partial(plant, mutant=mutant)
    async with open_stage(
        order.folder, cast, settings=SETTINGS, bin_dir=order.bin_dir, open_wire=open_wire, prepare=prepare
    ) as stage:
        plan = _plan(order, stage)
        plan.save(order.folder)
        announce(plan)
        await Run(plan, stage, {fault.number: fault for fault in order.faults}, show).run()
        await asyncio.to_thread(dump, stage.cluster.dsn, order.folder)


def _plan(order: Order, stage: LocalStage) -> Plan:
    missing = {fault.number: why for fault in order.faults if (why := fault.missing(stage)) is not None}
    possible = [fault for fault in order.faults if fault.number not in missing]
    windows, left_out = draw(possible, seed=order.seed, minutes=order.minutes, mode=order.mode)
    return Plan(
        seed=order.seed,
        minutes=order.minutes,
        mode=order.mode,
        workers=order.workers,
        apis=order.apis,
        lease_seconds=LEASE_SECONDS,
        baseline_seconds=baseline_of(order.minutes),
        windows=windows,
        left_out={**missing, **left_out},
    )


class Run:
    def __init__(self, plan: Plan, stage: LocalStage, faults: Mapping[str, type[Fault]], show: Show) -> None:
        self._plan = plan
        self._stage = stage
        self._faults = faults
        self._show = show
        self._began = monotonic()

    async def run(self) -> None:
        """Returns when all members have ended; the server still runs, for its tables to be read."""
        self._enter("baseline")
        await self._until(self._plan.baseline_seconds, "baseline")
        self._enter("storm")
        await Storm(self._plan, self._stage, self._faults, self._show, began=self._began).run()
        self._enter("heal")
        await self._stage.wire.heal()
        await asyncio.to_thread(self._stage.cluster.start)
        self._enter("drain")
        await self._stage.stop("submitter")
        if await self._drain():
            await self._until_all_listen()
        self._enter("check")
        await self._stage.stop()

    async def _drain(self) -> bool:
        """Ends early when nothing is left. The time begins anew whenever fewer are left than ever before: a backlog is
        worked off first. What is left when it is over is for the checker to find."""
        seconds = drain_seconds(self._plan)
        began = monotonic()
        since = least = None
        while (spent := monotonic() - began) < seconds:
            self._show("drain", spent, seconds)
            with suppress(psycopg.OperationalError), self._stage.connect(application="torture drain") as connection:
                since = since or _value(connection, "select dtsched.now()")
                left = int(_value(connection, _LEFT, since=since))
                if left == 0:
                    return True
                if least is None or left < least:
                    least, began = left, monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def _until_all_listen(self) -> None:
        """Or for so long that the checker can tell that they do not."""
        seconds = LISTEN_SECONDS + 2.0
        began = monotonic()
        while (spent := monotonic() - began) < seconds:
            with suppress(psycopg.OperationalError), self._stage.connect(application="torture drain") as connection:
                if _value(connection, LISTENERS) >= self._stage.count_workers():
                    return
            self._show("drain", spent, seconds)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until(self, seconds: float, name: str) -> None:
        began = monotonic() - self._began
        while (now := monotonic() - self._began) < seconds:
            self._show(name, now - began, seconds - began)
            await asyncio.sleep(min(_LOOK_SECONDS, seconds - now))

    def _enter(self, name: str) -> None:
        self._stage.record("phase", "ok", name=name)


def _value(connection: psycopg.Connection, statement: LiteralString, **parameters: object) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]
