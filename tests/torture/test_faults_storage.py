"""Full storage, once each. Numbers are the catalogue's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from random import Random

import pytest

from dtsched.torture.faults.jobs import until_ended
from dtsched.torture.faults.storage import FAULTS, FullDisk, FullNotificationQueue, cannot_mount
from dtsched.torture.stage import LocalStage
from tests.torture.small_stage import busy, noted, open_small_stage, struck


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    async with open_small_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.mark.skipif(cannot_mount() is not None, reason="needs the right to mount")
async def test_f26_a_full_disk(stage: LocalStage) -> None:
    class Small(FullDisk):
        room_bytes = 24 << 20

    busy(stage, jobs=40, seconds=0.4)
    await struck(stage, Small(Random(1)), lasts=1.0)


async def test_f27_a_full_notification_queue(stage: LocalStage) -> None:
    if FullNotificationQueue.missing(stage) is not None:
        pytest.skip("needs the right to mount")
    running = busy(stage, jobs=8, seconds=10.0)  # the server is started again meanwhile
    fault = FullNotificationQueue(Random(1))
    try:
        assert set(running) & set(await fault.inject(stage))  # leases may run out while the server is down
        if FullNotificationQueue.leaves_room_for_others(stage):
            with stage.connect() as connection:  # as many will be told of it as look
                connection.execute("select dtsched.pause('aside'), dtsched.resume('aside')")
                connection.execute("select dtsched.set_limit('torture', p_concurrency => 1)")
                row = connection.execute("select dtsched.cancel(%s)", (running[0],)).fetchone()
                assert row in {("requested",), ("cancelled",)}  # whoever ran it may have lost it by then
    finally:
        await fault.heal(stage)
    said = noted(stage, "F27", "taken").note
    assert (said["taken"], said["wrong"]) == (said["submitted"], [])
    assert await until_ended(stage, running, seconds=40.0)


def test_every_fault_is_listed_once() -> None:
    assert [fault.number for fault in FAULTS] == ["F26", "F27"]
