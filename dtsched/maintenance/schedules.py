"""Fires schedules. Every worker and every server does this; the database lets each tick happen once."""

import asyncio
import logging
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from dtsched import cron
from dtsched.connections import is_outage, is_transient
from dtsched.errors import DtschedError, InvalidInput
from dtsched.maintenance.chores import SLOW_SECONDS
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import first_line, jittered
from dtsched.schedules import DueSchedule

_log = logging.getLogger("dtsched.schedules")

_MOST_TICKS = 1000
"""Of what has fallen due at one go, after an outage; the oldest tick is noted too."""
_FULL = 100  # as many as one question is told: there may be more
_PRUNE_SECONDS = 60.0
_PRUNED = 1000  # as many as one call removes: there may be more


class _Plan(NamedTuple):
    """What to tell the database of a due schedule."""

    ticks: list[datetime]
    next_at: datetime | None


class Schedules:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._prune_at = 0.0

    async def run_once(self) -> Round:
        """Ticks noted. Again when the next is due."""
        async with self._link.store() as store:
            due = await store.due_schedules()
            if monotonic() >= self._prune_at:
                pruned = await store.prune_ticks()
                self._prune_at = 0.0 if pruned >= _PRUNED else monotonic() + jittered(_PRUNE_SECONDS)
        began = monotonic()
        pauses = [jittered(SLOW_SECONDS)]
        if due.next_seconds is not None:
            pauses.append(due.next_seconds)
        noted = 0
        for schedule in due.schedules:
            plan = await self._planned(schedule, due.now)
            if plan is not None:
                noted += await self._fire(schedule, plan)
                if plan.next_at is not None:
                    pauses.append((plan.next_at - due.now).total_seconds())
        if len(due.schedules) >= _FULL:
            return Round(noted, 0)
        return Round(noted, max(0.0, min(pauses) - (monotonic() - began)) + 0.001)

    async def _planned(self, schedule: DueSchedule, now: datetime) -> _Plan | None:
        """None where it is wrong, which its row says from then on."""
        try:
            return await asyncio.to_thread(_plan, schedule, now)
        except InvalidInput as error:
            _log.error("schedule %s is wrong and does not fire until it is changed: %s", schedule.name, error)
            async with self._link.store() as store:
                await store.note_schedule_problem(schedule.name, schedule.version, str(error))
            return None

    async def _fire(self, schedule: DueSchedule, plan: _Plan) -> int:
        """How many ticks were noted. One schedule that cannot be fired keeps none of the others waiting."""
        try:
            async with self._link.store() as store:
                ticks = await store.fire(schedule.name, schedule.version, schedule.next_at, plan.ticks, plan.next_at)
        except Exception as error:
            if is_outage(error) or not (isinstance(error, DtschedError) or is_transient(error)):
                raise
            _log.warning("schedule %s could not be fired, and is tried again: %s", schedule.name, first_line(error))
            return 0
        if missed := sum(tick.outcome == "missed" for tick in ticks):
            _log.warning("schedule %s: ticks that came too late and were not made up for: %d", schedule.name, missed)
        return len(ticks)


def _plan(schedule: DueSchedule, now: datetime) -> _Plan:
    times = cron.parse(schedule.spec, schedule.tz)
    first = schedule.next_at
    if first is None:
        return _Plan([], times.after(schedule.since))
    ticks, older = cron.ticks_between(times, first, now, limit=_MOST_TICKS)
    if older or first not in ticks:  # what was announced happens, also if zones have changed since
        ticks = [first, *ticks]
    return _Plan(ticks, times.after(now))
