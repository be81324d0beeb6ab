"""Group B, what somebody has set for the whole database: it is so for a while, for every session."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, LiteralString

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.jobs import orders, submit_aside
from dtsched.torture.faults.servers import Defaults, busy, when_it_answers

_TABLES: LiteralString = "analyze dtsched.jobs, dtsched.ready, dtsched.leases, dtsched.scheduled, dtsched.workers"


class Condition(Fault):
    """`settings` from inject() to heal()."""

    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (4.0, 10.0)

    settings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._defaults = Defaults()

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await busy(stage)
        self._defaults.set(stage, self.settings)
        return exposed

    async def heal(self, stage: Stage) -> None:
        await self._defaults.reset(stage)


class SerializableByDefault(Condition):
    """F35. Also for those who submit by plain SQL, and do not say what they want."""

    number = "F35"
    title = "serializable transactions by default"
    settings: ClassVar[Mapping[str, str]] = {"default_transaction_isolation": "serializable"}


class StrangePlans(Condition):
    """F36. What the planner would like best is forbidden, in any mixture; and a backlog comes, is analysed while it is
    worked off, and so its statistics are wrong at once."""

    number = "F36"
    title = "planner forbidden what it likes, and statistics gone stale"
    takes = 24.0

    backlog: ClassVar[int] = 2000
    choices: ClassVar[Mapping[str, Sequence[str]]] = {
        "enable_indexscan": ("on", "off"),
        "enable_indexonlyscan": ("on", "off"),
        "enable_bitmapscan": ("on", "off"),
        "enable_hashjoin": ("on", "off"),
        "enable_mergejoin": ("on", "off"),
        "enable_nestloop": ("on", "off"),
        "enable_sort": ("on", "off"),
        "enable_material": ("on", "off"),
        "enable_memoize": ("on", "off"),
        "enable_hashagg": ("on", "off"),
        "random_page_cost": ("0.1", "4", "1000"),
        "work_mem": ("64kB", "4MB"),
        "plan_cache_mode": ("auto", "force_custom_plan", "force_generic_plan"),
        "jit": ("on", "off"),
        "jit_above_cost": ("0", "100000"),
    }

    async def inject(self, stage: Stage) -> Sequence[int]:
        settings = {name: self.random.choice(values) for name, values in self.choices.items()}
        stage.record("fault", "info", fault=self.number, settings=settings)
        await submit_aside(stage, orders(self.random, self.backlog, "do_nothing"))
        exposed = await busy(stage)
        self._defaults.set(stage, settings)
        await self._analyse(stage)
        return exposed

    async def heal(self, stage: Stage) -> None:
        await super().heal(stage)
        await self._analyse(stage)

    async def _analyse(self, stage: Stage) -> None:
        await when_it_answers(stage, lambda connection: connection.execute(_TABLES))


class CommitsThatDoNotWait(Condition):
    """F39. A crash follows, and takes what was not written by then: nothing that somebody was told of is among it."""

    number = "F39"
    title = "synchronous_commit = off by default, and a crash"
    lasts: ClassVar[tuple[float, float]] = (2.0, 4.0)
    heavy = True
    settings: ClassVar[Mapping[str, str]] = {"synchronous_commit": "off"}

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._lazy = False

    async def inject(self, stage: Stage) -> Sequence[int]:
        """Exposed is what is in flight at the crash."""
        self._lazy = True
        with stage.connect(application="torture fault") as connection:
            connection.execute("alter system set wal_writer_delay = '10s'")
            connection.execute("select pg_reload_conf()")
        await super().inject(stage)
        return []

    async def heal(self, stage: Stage) -> None:
        if self._lazy:
            self.late = stage.in_flight()
            await asyncio.to_thread(stage.cluster.stop, "immediate")
            await asyncio.to_thread(stage.cluster.start)
            await super().heal(stage)
            await when_it_answers(stage, lambda connection: connection.execute("alter system reset wal_writer_delay"))
            await when_it_answers(stage, lambda connection: connection.execute("select pg_reload_conf()"))
            self._lazy = False
