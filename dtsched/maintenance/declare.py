"""Declares the schedules of this worker's code, when it starts and then each minute: who falls silent is overruled by
nobody any more, see dtsched.declare_schedules()."""

import logging
from collections.abc import Mapping

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered
from dtsched.schedules import NewSchedule

_log = logging.getLogger("dtsched.schedules")

_INTERVAL_SECONDS = 60.0


class Declare:
    def __init__(self, link: Link, schedules: Mapping[str, NewSchedule]) -> None:
        self._link = link
        self._schedules = schedules
        self._told: dict[str, str] = {}

    async def run_once(self) -> Round:
        """Schedules made or changed."""
        if not self._schedules:
            return Round(0, 3600.0)
        async with self._link.store() as store:
            outcomes = await store.declare_schedules(self._schedules)
        for name, outcome in outcomes.items():
            self._tell(name, outcome)
        changed = sum(outcome in ("created", "changed") for outcome in outcomes.values())
        return Round(changed, jittered(_INTERVAL_SECONDS))

    def _tell(self, name: str, outcome: str) -> None:
        """Once, as long as it stays the same."""
        if outcome == "overruled" and self._told.get(name) != outcome:
            _log.warning("schedule %s is declared otherwise by newer workers, whose declaration is in force", name)
        elif outcome in ("created", "changed"):
            _log.info("schedule %s was %s by this worker's code", name, outcome)
        self._told[name] = outcome
