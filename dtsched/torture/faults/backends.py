"""Group B, sessions: the server ends them, has none left, or ends what they do because it takes too long."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import ClassVar, LiteralString

import psycopg

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.servers import MEMBERS, Defaults, busy, terminate_on

_ROLES: LiteralString = """
    select distinct application_name from pg_stat_activity
    where datname = current_database() and application_name like %s order by 1"""


class KilledBackends(Fault):
    """F17. Five times a second all sessions of one role, whatever they are at."""

    number = "F17"
    title = "sessions of members ended by the server, five times a second"
    group: ClassVar[Group] = "postgres"

    times: ClassVar[int] = 10
    pause_seconds: ClassVar[float] = 0.2

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed: set[int] = set()
        with stage.connect(application="torture fault") as connection:
            for _ in range(self.times):
                exposed.update(await busy(stage, seconds=1.0))
                roles = [role for (role,) in connection.execute(_ROLES, (MEMBERS,)).fetchall()]
                if roles:
                    terminate_on(connection, self.random.choice(roles))
                await asyncio.sleep(self.pause_seconds)
        return sorted(exposed)


class KilledListeners(Fault):
    """F18. Everything else goes on: what is not heard of by NOTIFY is found by polling."""

    number = "F18"
    title = "only the sessions that listen ended"
    takes = 1.0
    group: ClassVar[Group] = "postgres"

    times: ClassVar[int] = 5

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed: set[int] = set()
        with stage.connect(application="torture fault") as connection:
            for _ in range(self.times):
                jobs = await busy(stage, seconds=1.0)
                if terminate_on(connection, "dtsched%listener"):
                    exposed.update(jobs)
                await asyncio.sleep(self.random.uniform(0.1, 0.4))
        return sorted(exposed)


class ShortTimeouts(Fault):
    """F33. As an administrator sets them for everybody. Members that set their own are not hit by those."""

    number = "F33"
    title = "statements, locks and idle sessions ended by timeouts of the database"
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (3.0, 6.0)
    heavy = True

    settings: ClassVar[Mapping[str, str]] = {
        "statement_timeout": "250ms",
        "lock_timeout": "20ms",
        "idle_in_transaction_session_timeout": "100ms",
        "idle_session_timeout": "300ms",
    }

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._defaults = Defaults()

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await busy(stage)
        self._defaults.set(stage, self.settings)
        return exposed

    async def heal(self, stage: Stage) -> None:
        await self._defaults.reset(stage)


class NoConnectionsLeft(Fault):
    """F37. All of them are held, also those that are kept for superusers."""

    number = "F37"
    title = "no connection left: all are held by somebody else"
    takes = 8.0
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (3.0, 8.0)
    heavy = True

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._held: list[psycopg.Connection] = []

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await busy(stage)
        ours = stage.connect(application="torture fault")
        self._held.append(ours)
        self._hold_all(stage)
        terminate_on(ours)  # who comes back finds their places taken
        await asyncio.sleep(0.05)
        self._hold_all(stage)
        return exposed

    def _hold_all(self, stage: Stage) -> None:
        with suppress(psycopg.OperationalError):
            while True:
                self._held.append(stage.connect(application="torture fault"))

    async def heal(self, stage: Stage) -> None:
        while self._held:
            self._held.pop().close()
