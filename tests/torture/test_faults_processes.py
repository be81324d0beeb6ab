"""Each fault of groups A and D once, on a stage of two workers: it strikes, and the jobs come right afterwards.
Numbers are those of the catalogue."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncGenerator
from random import Random

import psutil
import pytest

from dtsched.torture.faults.base import Fault, Stage
from dtsched.torture.faults.handlers import (
    BlockedLoop,
    DeafHandlers,
    ForkedHandlers,
    HeldInterpreter,
    KilledAtTheEnd,
    OutlivingChildren,
    PoisonPills,
    UnknownTasks,
)
from dtsched.torture.faults.jobs import orders, submit_aside
from dtsched.torture.faults.processes import (
    FAULTS,
    AllWorkersKilled,
    BrieflyFrozenWorkers,
    FrozenWorkers,
    KilledBetweenClaimAndStart,
    KilledRescue,
    KilledWorkers,
    Namesakes,
    StarvedWorker,
    ToldToEnd,
    trace_held_up,
)
from dtsched.torture.faults.semantics import (
    ABUSES,
    ROLES,
    CancelRaces,
    GraphsInTheMaking,
    KeyStorm,
    LimitUnderKills,
    SameTime,
    SqlAbuse,
    Starvation,
)
from dtsched.torture.faults.semantics import FAULTS as SEMANTICS
from dtsched.torture.sabotage import Poison
from dtsched.torture.stage import LocalStage
from tests.torture import small_stage
from tests.torture.small_stage import all_come_right, attempts_of, busy, noted, open_small_stage, records


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    async with open_small_stage(tmp_path_factory.mktemp("stage"), surprised=True) as stage:
        yield stage


async def struck(stage: LocalStage, fault: Fault) -> list[int]:
    """These have done all they do when they are injected."""
    return await small_stage.struck(stage, fault, lasts=0.0)


async def test_f01_killed_workers(stage: LocalStage) -> None:
    busy(stage)
    exposed = await struck(stage, KilledWorkers(Random(1)))
    assert set(attempts_of(stage, exposed, "crash")) == set(exposed)


async def test_f02_killed_between_a_handlers_end_and_its_completion(stage: LocalStage) -> None:
    class Fewer(KilledAtTheEnd):
        jobs = 12  # half of which find a slot at once

    exposed = await struck(stage, Fewer(Random(1)))
    assert set(attempts_of(stage, exposed, "crash")) == set(exposed)
    ends = [end.job for end in records(stage, "end") if end.note["outcome"] == "return"]
    assert all(ends.count(job) == 2 for job in exposed)


async def test_f03_killed_between_claim_and_start(stage: LocalStage) -> None:
    exposed = await struck(stage, KilledBetweenClaimAndStart(Random(1)))
    starts = [start.job for start in records(stage, "start")]
    assert {job: starts.count(job) for job in exposed} == dict.fromkeys(exposed, 1)


async def test_f04_all_killed_again_and_again(stage: LocalStage) -> None:
    busy(stage, jobs=30)

    class Twice(AllWorkersKilled):
        times = 2

    exposed = await struck(stage, Twice(Random(1)))
    assert len(attempts_of(stage, exposed, "crash")) >= len(exposed)


async def test_f05_frozen_for_three_leases(stage: LocalStage) -> None:
    busy(stage)
    exposed = await struck(stage, FrozenWorkers(Random(1)))
    assert set(attempts_of(stage, exposed, "crash")) == set(exposed)


async def test_f06_frozen_for_less_than_a_lease(stage: LocalStage) -> None:
    busy(stage)
    exposed = await struck(stage, BrieflyFrozenWorkers(Random(1)))
    assert attempts_of(stage, exposed, "crash") == []


async def test_f07_a_blocked_loop(stage: LocalStage) -> None:
    exposed = await struck(stage, BlockedLoop(Random(1)))
    assert attempts_of(stage, exposed, "crash") == []


async def test_f07_a_held_interpreter(stage: LocalStage) -> None:
    exposed = await struck(stage, HeldInterpreter(Random(1)))
    assert set(attempts_of(stage, exposed, "crash")) == set(exposed)


class Pill(PoisonPills):
    attempts = 2


@pytest.mark.parametrize("poison", ["kill", "exit", "segfault", "recursion", "memory"])
async def test_f08_poison(stage: LocalStage, poison: Poison) -> None:
    class OneWay(Pill):
        ways = (poison,)

    [pill] = await struck(stage, OneWay(Random(1)))
    died = poison in ("kill", "exit", "segfault")
    assert len(attempts_of(stage, [pill], "crash")) == (2 if died else 0)


@pytest.mark.parametrize("limit", [resource.RLIMIT_NOFILE, resource.RLIMIT_AS])
async def test_f09_starved(stage: LocalStage, limit: int) -> None:
    class Limited(StarvedWorker):
        limits = (limit,)

        async def heal(self, stage: Stage) -> None:
            await asyncio.sleep(0.5)
            await super().heal(stage)

    busy(stage)
    await struck(stage, Limited(Random(1)))


async def test_f09_who_is_starved_by_several_at_a_time_gets_back_what_it_had(stage: LocalStage) -> None:
    class Limited(StarvedWorker):
        limits = (resource.RLIMIT_NOFILE,)

    busy(stage)
    faults = [Limited(Random(number)) for number in range(3)]
    for fault in faults:
        await fault.inject(stage)
    for fault in faults:
        await fault.heal(stage)
    await stage.until("all are at work", lambda: len(stage.members("worker")) == stage.cast.workers)
    for worker in stage.members("worker"):
        assert psutil.Process(worker.pid).rlimit(resource.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)


async def test_a_fault_that_waits_for_another_one_lets_that_go_on(stage: LocalStage) -> None:
    async with trace_held_up(stage):
        waiting = asyncio.create_task(submit_aside(stage, orders(Random(1), 1, "do_nothing")))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert len(await waiting) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_f10_told_to_end(stage: LocalStage, seed: int) -> None:
    busy(stage, jobs=30)
    await struck(stage, ToldToEnd(Random(seed)))
    said = noted(stage, "F10").note
    assert said["wrong"] == []


async def test_f11_deaf_handlers(stage: LocalStage) -> None:
    class Few(DeafHandlers):
        each = 2
        seconds = 2.5

    assert len(await struck(stage, Few(Random(1)))) == 4


async def test_f12_children_of_a_killed_worker(stage: LocalStage) -> None:
    class Fewer(OutlivingChildren):
        each = 4

    await struck(stage, Fewer(Random(1)))
    assert noted(stage, "F12").note["wrong"] == []


async def test_f13_a_fork_in_a_handler(stage: LocalStage) -> None:
    busy(stage)
    exposed = await struck(stage, ForkedHandlers(Random(1)))
    assert attempts_of(stage, exposed, "crash") == []


async def test_f14_namesakes(stage: LocalStage) -> None:
    busy(stage, jobs=40, seconds=0.6)
    await struck(stage, Namesakes(Random(1)))


async def test_f15_a_killed_rescue(stage: LocalStage) -> None:
    exposed = await struck(stage, KilledRescue(Random(1)))
    assert set(attempts_of(stage, exposed, "crash")) == set(exposed)


async def test_f16_unknown_tasks(stage: LocalStage) -> None:
    exposed = await struck(stage, UnknownTasks(Random(1)))
    assert len(exposed) == UnknownTasks.count


async def test_f52_a_storm_of_keys(stage: LocalStage) -> None:
    class Smaller(KeyStorm):
        submitters = 8

    await struck(stage, Smaller(Random(1)))
    assert {one.note["unique"]["on_conflict"] for one in records(stage, "submit") if "unique" in one.note} == {
        "keep",
        "supersede",
        "reject",
    }


async def test_f53_a_limit_under_kills(stage: LocalStage) -> None:
    class Fewer(LimitUnderKills):
        jobs = 12
        kills = 1

    await struck(stage, Fewer(Random(1)))


async def test_f54_graphs_in_the_making(stage: LocalStage) -> None:
    await struck(stage, GraphsInTheMaking(Random(1)))


async def test_f55_cancel_races(stage: LocalStage) -> None:
    exposed = await struck(stage, CancelRaces(Random(1)))
    cancelled = [one for one in records(stage, "cancel") if one.phase == "ok" and one.job in exposed]
    assert len(exposed) == len([one for one in cancelled if one.note["outcome"] != "busy"])


async def test_f56_starvation(stage: LocalStage) -> None:
    class Fewer(Starvation):
        few = 20

    assert len(await struck(stage, Fewer(Random(1)))) == 20


async def test_f57_abuse_by_sql(stage: LocalStage) -> None:
    await struck(stage, SqlAbuse(Random(1)))
    said = noted(stage, "F57").note
    assert (said["accepted"], said["tried"]) == ([], len(ROLES) * len(ABUSES))


async def test_f57_tells_of_what_is_not_refused(stage: LocalStage) -> None:
    class Permitted(SqlAbuse):
        abuses = ("select dtsched.version()",)

    busy(stage)
    await Permitted(Random(1)).inject(stage)
    said = noted(stage, "F57").note
    assert said["tried"] == len(ROLES)
    assert "dtsched_reader: select dtsched.version()" in said["accepted"]
    await all_come_right(stage, seconds=40)


async def test_f58_a_backlog_that_comes_due_at_once(stage: LocalStage) -> None:
    class Fewer(SameTime):
        count = 500
        piece = 300

    assert len(await struck(stage, Fewer(Random(1)))) == 500


def test_every_fault_of_the_groups_is_listed_once() -> None:
    assert [fault.number for fault in SEMANTICS] == [f"F{number}" for number in range(52, 59)]
    assert [fault.number for fault in FAULTS] == [
        *(f"F{number:02}" for number in range(1, 8)),
        "F07G",
        *(f"F{number:02}" for number in range(8, 17)),
    ]
