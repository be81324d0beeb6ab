"""Slots without a database: who is woken for what."""

import asyncio
from typing import Any

from dtsched import App
from dtsched.answers import Outcome
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.slots import Slots
from dtsched.store import Claimed
from tests.runtime.workers import until

ROUNDS = 12
"""Of the event loop: enough for a hundred slots, woken two by two."""


def slots_of(app: App, size: int, ended: list[Outcome | None]) -> Slots:
    def context(*_: object) -> Any:
        raise AssertionError("no handler here asks for one")

    async def results(*_: object) -> dict[int, bytes | None]:
        raise AssertionError("no job here refers to another")

    return Slots(
        "default",
        size,
        app.registry,
        make_context=context,
        read_results=results,
        on_end=lambda _, outcome: ended.append(outcome),
    )


def attempts(count: int) -> list[Attempt]:
    return [Attempt(Claimed(lease, lease, "step", b"{}", 1, 5, None, None), 0.0) for lease in range(1, count + 1)]


async def some_rounds() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def test_every_slot_begins_within_a_few_rounds_where_handlers_wait() -> None:
    app = App()
    running = 0
    over = asyncio.Event()

    @app.task
    async def step() -> None:
        nonlocal running
        running += 1
        await over.wait()

    ended: list[Outcome | None] = []
    slots = slots_of(app, 100, ended)
    slots.start()
    await some_rounds()
    slots.feed(attempts(130))
    await some_rounds()
    assert (running, len(slots.pending)) == (100, 30)
    over.set()
    await some_rounds()
    assert (running, len(ended)) == (130, 130)
    assert await slots.close(1.0) == 0


async def test_jobs_that_come_while_others_run_wake_the_slots_that_are_left() -> None:
    app = App()
    running = 0
    over = asyncio.Event()

    @app.task
    async def step() -> None:
        nonlocal running
        running += 1
        await over.wait()

    slots = slots_of(app, 20, [])
    slots.start()
    await some_rounds()
    for count in (1, 2, 10, 7):
        before = running
        slots.feed(attempts(count))
        await some_rounds()
        assert running == before + count
    over.set()
    await some_rounds()
    assert await slots.close(1.0) == 0


async def test_slots_whose_sleep_is_being_cancelled_keep_nobody_else_asleep() -> None:
    """As by a handler that has kept its task, and cancels it when that is no longer its own."""
    app = App()
    running = 0
    over = asyncio.Event()

    @app.task
    async def step() -> None:
        nonlocal running
        running += 1
        await over.wait()

    slots = slots_of(app, 10, [])
    slots.start()
    await some_rounds()
    for task in asyncio.all_tasks():
        if task.get_name() in {f"dtsched-default-{number}" for number in range(5, 10)}:
            task.cancel()
    slots.feed(attempts(10))
    await some_rounds()
    began = running
    over.set()
    await some_rounds()
    assert await slots.close(1.0) == 0
    assert began == 10


async def test_where_jobs_take_longer_than_a_moment_none_begins_at_once_without_a_free_slot() -> None:
    """However many of them end in a moment: fifty slots with jobs of 50 ms end twenty."""
    app = App()
    begun = 0
    startable: list[int] = []

    @app.task
    async def step() -> None:
        nonlocal begun
        begun += 1
        if begun % 50 == 0:
            slots.room()  # this is when it is looked at how fast they end
        if begun == 200:
            startable.append(slots.startable)
        await asyncio.sleep(0.05)

    ended: list[Outcome | None] = []
    slots = slots_of(app, 50, ended)
    slots.start()
    await some_rounds()
    slots.feed(attempts(200))
    await until(lambda: len(ended) == 200)
    assert await slots.close(1.0) == 0
    assert startable == [0]
