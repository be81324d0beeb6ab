"""The faults of a plan, each at its time, and those that met too little once more."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from random import Random
from time import monotonic, monotonic_ns
from typing import Any

from dtsched.outage import first_line
from dtsched.torture.checker.exposures import ENOUGH
from dtsched.torture.faults.base import Fault, Stage
from dtsched.torture.plan import RECOVERY_SECONDS, Plan, Window, dice
from dtsched.torture.turns import Turns

Show = Callable[[str, float, float], None]
"""What is going on, how many seconds of it are over, and how many there are."""

HEAL_SECONDS = 60.0
LATEST = 1.5
"""Strikes that are late may come after the storm should be over, until it has taken so many times its minutes."""
AGAIN = 4
"""How often at most a fault strikes beyond the plan, because the jobs it has met are too few for a verdict."""
FAULTS_NAMED = 5
_LOOK_SECONDS = 0.25


class Storm:
    """`began`: when the run began, by monotonic(); the windows of the plan count from then."""

    def __init__(
        self, plan: Plan, stage: Stage, faults: Mapping[str, type[Fault]], show: Show, *, began: float
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._faults = faults
        self._show = show
        self._began = began
        self._turns = Turns()
        self._numbers = count(1)
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._exposed: Counter[str] = Counter()

    async def run(self) -> None:
        """Returns when it is over and all is healed that can be."""
        async with asyncio.TaskGroup() as group:
            for window in self._plan.windows:
                self._begin(group, window)
            while (now := self._now) < self._ends:
                self._tell("storm")
                await asyncio.sleep(min(_LOOK_SECONDS, self._ends - now))
            await self._until_over()
            for time in range(AGAIN):
                for window in self._lacking(time):
                    self._begin(group, window)
                    if self._plan.mode == "single":
                        await self._until_over()
                await self._until_over()

    @property
    def _ends(self) -> float:
        return 60 * self._plan.minutes

    @property
    def _now(self) -> float:
        return monotonic() - self._began

    def _tell(self, what: str) -> None:
        calm = self._plan.baseline_seconds
        self._show(what, self._now - calm, self._ends - calm)

    def _begin(self, group: asyncio.TaskGroup, window: Window) -> None:
        number = next(self._numbers)
        strike = group.create_task(self._strike(number, window), name=f"torture-{window.fault}-{number}")
        self._under_way[strike] = window.fault
        strike.add_done_callback(self._under_way.pop)

    def _lacking(self, time: int) -> list[Window]:
        """A strike of each fault of the plan that has met too little, as far as there is time."""
        if self._now > LATEST * self._ends:
            return []
        random = dice(self._plan.seed, f"again/{time}")
        planned = sorted({window.fault for window in self._plan.windows})
        return [
            Window(
                fault=fault,
                at=self._now,
                lasts=random.uniform(*self._faults[fault].lasts),
                seed=random.getrandbits(32),
            )
            for fault in planned
            if self._exposed[fault] < ENOUGH
        ]

    async def _until_over(self) -> None:
        """And whoever looks on is told why it takes longer, if it does."""
        while self._under_way:
            faults = sorted(set(self._under_way.values()))
            what = ", ".join(faults) if len(faults) <= FAULTS_NAMED else f"{len(faults)} faults"
            self._tell(f"storm, until {what} {'is' if len(faults) == 1 else 'are'} over")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _strike(self, number: int, window: Window) -> None:
        """What could not be injected, or had no turn before the storm was over, makes its verdict inconclusive."""
        await asyncio.sleep(max(0.0, window.at - self._now))
        kind = self._faults[window.fault]
        note = partial(self._stage.record, "fault", fault=window.fault, window=number)
        async with self._turns.alone() if kind.heavy else self._turns.together():
            if self._now > LATEST * self._ends:
                note(phase="fail", error="its turn did not come before the storm was over")
                return
            fault = kind(Random(window.seed))
            note = partial(note, overlaps=kind.overlaps)
            began = monotonic_ns()
            jobs: list[int] = []
            failed = True
            try:
                jobs += await fault.inject(self._stage)
                note(phase="invoke", began_ns=began, jobs=jobs)
                await asyncio.sleep(window.lasts)
                failed = False
            except Exception as error:
                note(phase="fail", began_ns=began, error=_said(error))
            try:
                async with asyncio.timeout(HEAL_SECONDS):
                    await fault.heal(self._stage)
            except Exception as error:
                note(phase="fail", error=f"not healed: {_said(error)}")
            else:
                done: dict[str, Any] = {**fault.done, **({"jobs": fault.late} if fault.late else {})}
                note(phase="ok", **done)
                self._exposed[window.fault] += 0 if failed else fault.done.get("struck", len(jobs or fault.late))
            if kind.heavy:
                await asyncio.sleep(RECOVERY_SECONDS)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
