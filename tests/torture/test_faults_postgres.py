"""Each fault of group B once, on a stage of two workers: it strikes, and afterwards every job has come right, none of
them twice, and the members live. Numbers are the catalogue's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from random import Random
from typing import Literal

import pytest

from dtsched.torture.faults.backends import KilledBackends, KilledListeners, NoConnectionsLeft, ShortTimeouts
from dtsched.torture.faults.base import Fault
from dtsched.torture.faults.conditions import CommitsThatDoNotWait, SerializableByDefault, StrangePlans
from dtsched.torture.faults.holders import DeadlockPressure, LockedRows, LockedTable, PinnedHorizon
from dtsched.torture.faults.notifications import NotifyStorm, SpoofedNotifications
from dtsched.torture.faults.outages import Crash, KilledServer, LongOutage, UnwillingServer, Way
from dtsched.torture.faults.postgres import FAULTS
from dtsched.torture.faults.schemas import KilledMigration, SequencesNearTheirEnd
from dtsched.torture.stage import LocalStage
from tests.torture.small_stage import attempts_of, busy, noted, open_small_stage, records, struck, submitting


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    async with open_small_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


async def test_f17_killed_backends(stage: LocalStage) -> None:
    busy(stage, jobs=40)
    await struck(stage, KilledBackends(Random(1)))


async def test_f18_killed_listeners(stage: LocalStage) -> None:
    busy(stage, jobs=40)
    await struck(stage, KilledListeners(Random(1)))


@pytest.mark.parametrize("kind", [Crash, KilledServer])
async def test_f19_f20_a_crash(stage: LocalStage, kind: type[Fault]) -> None:
    busy(stage)
    await struck(stage, kind(Random(1)))


async def test_f21_an_outage_longer_than_the_leases_takes_no_job_from_the_living(stage: LocalStage) -> None:
    busy(stage, jobs=8, seconds=4.0)
    exposed = await struck(stage, LongOutage(Random(1)))
    assert attempts_of(stage, exposed, "crash") == []
    starts = [start.job for start in records(stage, "start")]
    assert all(starts.count(job) == 1 for job in exposed)


@pytest.mark.parametrize("way", ["smart", "fast", "starting", "read only"])
async def test_f22_an_unwilling_server(stage: LocalStage, way: Way) -> None:
    class OneWay(UnwillingServer):
        ways = (way,)

    busy(stage)
    await struck(stage, OneWay(Random(1)))


async def test_f28_a_storm_of_submissions(stage: LocalStage) -> None:
    class Fewer(NotifyStorm):
        submitters = 20

    exposed = await struck(stage, Fewer(Random(1)))
    assert len(exposed) == Fewer.submitters * Fewer.each


@pytest.mark.parametrize("seed", [1, 2])
async def test_f29_spoofed_notifications(stage: LocalStage, seed: int) -> None:
    busy(stage)
    await struck(stage, SpoofedNotifications(Random(seed)))


async def test_f30_a_pinned_horizon(stage: LocalStage) -> None:
    busy(stage)
    await struck(stage, PinnedHorizon(Random(1)))


async def test_f31_locked_rows(stage: LocalStage) -> None:
    busy(stage)
    exposed = await struck(stage, LockedRows(Random(1)), lasts=1.5)
    assert attempts_of(stage, exposed, "crash") == []


@pytest.mark.parametrize("table", ["jobs", "leases", "workers"])
async def test_f32_a_locked_table(stage: LocalStage, table: str) -> None:
    class OneTable(LockedTable):
        tables = (table,)

    busy(stage, jobs=8, seconds=2.0)
    exposed = await struck(stage, OneTable(Random(1)), lasts=1.5)
    assert attempts_of(stage, exposed, "crash") == []


async def test_f33_short_timeouts(stage: LocalStage) -> None:
    busy(stage)
    await struck(stage, ShortTimeouts(Random(1)), lasts=1.5)


async def test_f34_deadlock_pressure(stage: LocalStage) -> None:
    await struck(stage, DeadlockPressure(Random(1)), lasts=1.5)
    assert noted(stage, "F34", "wrong").note["wrong"] == []
    assert noted(stage, "F34", "deadlocks").note["deadlocks"] == 0


async def test_f35_serializable_by_default(stage: LocalStage) -> None:
    busy(stage)
    await struck(stage, SerializableByDefault(Random(1)))


async def test_f36_strange_plans(stage: LocalStage) -> None:
    class Few(StrangePlans):
        backlog = 100

    busy(stage)
    await struck(stage, Few(Random(1)))


async def test_f37_no_connections_left(stage: LocalStage) -> None:
    busy(stage)
    await struck(stage, NoConnectionsLeft(Random(1)))


async def test_f38_a_killed_migration(stage: LocalStage) -> None:
    class Once(KilledMigration):
        times = 1

    busy(stage, jobs=30)
    await struck(stage, Once(Random(1)))


async def test_f39_commits_that_do_not_wait(stage: LocalStage) -> None:
    with submitting(stage):
        await struck(stage, CommitsThatDoNotWait(Random(1)))


@pytest.mark.parametrize("way", ["half", "end"])
async def test_f40_ids_near_their_end(stage: LocalStage, way: Literal["half", "end"]) -> None:
    class OneWay(SequencesNearTheirEnd):
        ways = (way,)

    busy(stage)
    await struck(stage, OneWay(Random(1)))


def test_every_fault_of_the_group_is_listed_once() -> None:
    assert [fault.number for fault in FAULTS] == [
        *("F17", "F18", "F19", "F20", "F21", "F22", "F28", "F29", "F30", "F31", "F32", "F33", "F34", "F35", "F36"),
        *("F37", "F38", "F39", "F40"),
    ]
