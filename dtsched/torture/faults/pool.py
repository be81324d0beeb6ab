"""Group C, a pooler that comes between: PgBouncer in transaction mode, of Debian's package."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.servers import busy
from dtsched.torture.pgbouncer import PgBouncer, pgbouncer, program


class Pooler(Fault):
    """All connections lead through PgBouncer for a while, and it is reloaded, restarted and killed. Sessions end with
    it, so that a lock that stays behind shows in the meantime: `done` counts those."""

    number: ClassVar[str] = "F46"
    title: ClassVar[str] = "PgBouncer in transaction mode, and its restart"
    takes = 6.0
    group: ClassVar[Group] = "network"
    lasts: ClassVar[tuple[float, float]] = (6.0, 12.0)

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return None if program() else "Debian's package pgbouncer is not installed"

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._running = ExitStack()
        ignored = self.random.choice(["", "options"])
        pooler = await asyncio.to_thread(
            self._running.enter_context, pgbouncer(stage.cluster.dsn, size=30, ignored=ignored)
        )
        jobs = await busy(stage)
        await stage.wire.to(pooler.dsn)
        await stage.wire.cut(by=self.by)
        self._acting = asyncio.create_task(self._act(stage, pooler))
        return jobs

    async def heal(self, stage: Stage) -> None:
        if (acting := getattr(self, "_acting", None)) is not None:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)
        await stage.wire.to(stage.cluster.dsn)
        await stage.wire.cut(by=self.by)
        await stage.wire.heal(by=self.by)
        if left := self.done.get("left_locks"):
            stage.record("fault", "info", fault=self.number, wrong=[f"{left} locks of sessions were left behind"])
        if (running := getattr(self, "_running", None)) is not None:
            await asyncio.to_thread(running.close)

    @property
    def by(self) -> str:
        return f"{self.number} {id(self):x}"

    async def _act(self, stage: Stage, pooler: PgBouncer) -> None:
        while True:
            for act in self.random.sample([pooler.reload, pooler.stop, pooler.kill], 3):
                await asyncio.sleep(self.random.uniform(0.5, 2.0))
                self.done["left_locks"] = max(self.done.get("left_locks", 0), await asyncio.to_thread(_locks, stage))
                await asyncio.to_thread(act)
                await asyncio.to_thread(pooler.start)
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1


def _locks(stage: Stage) -> int:
    """Advisory locks of sessions that are in no transaction."""
    with stage.connect() as connection:
        row = connection.execute(
            """select count(*) from pg_locks held join pg_stat_activity session using (pid)
            where held.locktype = 'advisory' and session.state = 'idle'"""
        ).fetchone()
        return row[0] if row else 0


FAULTS: Sequence[type[Fault]] = (Pooler,)
