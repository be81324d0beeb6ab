"""The steps that every worker and every server takes, so that a fleet that claims from psql or over HTTP has them done
too. The database sees to it that each is done once."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from dtsched.maintenance.chores import Chores
from dtsched.maintenance.events import Events
from dtsched.maintenance.expire import Expire
from dtsched.maintenance.forget import Forget
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import repeat
from dtsched.maintenance.operations import Operations
from dtsched.maintenance.partitions import Partitions
from dtsched.maintenance.promote import Promote
from dtsched.maintenance.prune import Prune
from dtsched.maintenance.rescue import Rescue
from dtsched.maintenance.rollup import RollUp
from dtsched.maintenance.schedules import Schedules
from dtsched.outage import Recovery
from dtsched.settings import Settings


class Everywhere:
    """Over one connection. `worker_id` is who judges others; None in a server, which does so in a witness's name."""

    def __init__(self, link: Link, settings: Settings, *, worker_id: Callable[[], UUID | None]) -> None:
        self._link = link
        self._chores = Chores("rescue", "expire", "events", "schedules", "operations")
        self.promote = Promote(link, self._chores, poll_seconds=settings.poll)
        self._steps = {
            "promote": self.promote.run_once,
            "rescue": Rescue(
                link, worker_id=worker_id, lease_seconds=settings.lease, poll_seconds=settings.poll
            ).run_once,
            "expire": Expire(link, worker_id=worker_id).run_once,
            "partitions": Partitions(link).run_once,
            "rollup": RollUp(link).run_once,
            "forget": Forget(link).run_once,
            "events": Events(link).run_once,
            "schedules": Schedules(link).run_once,
            "prune": Prune(link).run_once,
            "operations": Operations(link).run_once,
        }

    def hasten(self, name: str) -> None:
        """There is something for this step to do now; the others hear of it from the database."""
        self._chores.tell([name])

    def start(self, recovery: Recovery | None = None) -> list[asyncio.Task[None]]:
        """To be cancelled by whoever calls this."""
        pokes = {"promote": self.promote.poked, **self._chores.pokes}
        return [
            asyncio.create_task(
                repeat(step, name=name, poke=pokes.get(name), database=self._link.outage, recovery=recovery),
                name=f"dtsched-{name}",
            )
            for name, step in self._steps.items()
        ]
