"""Light faults strike together, a heavy one alone."""

from __future__ import annotations

import asyncio

from dtsched.torture.turns import MOST_TOGETHER, Turns


async def test_a_heavy_fault_waits_for_light_ones_and_later_ones_wait_for_it() -> None:
    turns, told, light_may_end = Turns(), list[str](), asyncio.Event()

    async def light(name: str) -> None:
        async with turns.together():
            told.append(f"{name} begins")
            await light_may_end.wait()
            told.append(f"{name} ends")

    async def heavy() -> None:
        async with turns.alone():
            told.append("heavy begins")
            await asyncio.sleep(0)
            told.append("heavy ends")

    tasks = [asyncio.create_task(light("one")), asyncio.create_task(light("two"))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(heavy()), asyncio.create_task(heavy())]
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(light("late")))
    await asyncio.sleep(0.01)
    assert told == ["one begins", "two begins"]
    light_may_end.set()
    await asyncio.gather(*tasks)
    assert told[2:] == ["one ends", "two ends", *["heavy begins", "heavy ends"] * 2, "late begins", "late ends"]


async def test_a_heavy_fault_that_gives_up_waiting_lets_others_go_on() -> None:
    turns = Turns()

    async def heavy() -> None:
        async with turns.alone():
            raise AssertionError("its turn came")

    async with turns.together():
        waiting = asyncio.create_task(heavy())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(5), turns.together():
            pass


async def test_light_faults_that_asked_before_a_heavy_one_strike_before_it() -> None:
    turns, told, first_may_end = Turns(), list[str](), asyncio.Event()

    async def strike(name: str, *, alone: bool = False) -> None:
        async with turns.alone() if alone else turns.together():
            told.append(name)
            if name == "first":
                await first_may_end.wait()

    tasks: list[asyncio.Task[None]] = []
    for name, alone in (("first", True), ("light", False), ("heavy", True), ("late", False)):
        tasks.append(asyncio.create_task(strike(name, alone=alone)))
        await asyncio.sleep(0.01)
    first_may_end.set()
    await asyncio.gather(*tasks)
    assert told == ["first", "light", "heavy", "late"]


async def test_no_more_than_a_few_light_faults_strike_at_a_time() -> None:
    turns, at_work, most = Turns(), 0, 0

    async def strike() -> None:
        nonlocal at_work, most
        async with turns.together():
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.001)
            at_work -= 1

    await asyncio.gather(*(strike() for _ in range(5 * MOST_TOGETHER)))
    assert (most, at_work) == (MOST_TOGETHER, 0)
