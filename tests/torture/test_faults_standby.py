"""Faults after which the server knows less than before, once each: no lease is given out twice. Numbers are the
catalogue's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from random import Random

import pytest

from dtsched.torture.faults.standby import FAULTS, AsynchronousFailover, RestoredBackup, Succession, SynchronousFailover
from dtsched.torture.stage import LocalStage
from tests.torture.small_stage import all_come_right, noted, open_small_stage, records, submitting


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    async with open_small_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.mark.parametrize("kind", [AsynchronousFailover, SynchronousFailover, RestoredBackup])
async def test_f23_f24_f25_a_server_that_knows_less(stage: LocalStage, kind: type[Succession]) -> None:
    with submitting(stage):
        fault = kind(Random(1))
        exposed = await fault.inject(stage)
        assert len(exposed) >= 1
        await fault.heal(stage)
    await all_come_right(stage, seconds=40.0)
    starts = [(start.job, start.lease) for start in records(stage, "start")]  # read once: others may begin meanwhile
    assert len(set(starts)) == len(starts)  # no lease was given out twice
    said = noted(stage, kind.number, "acked_lost_before").note
    assert said["acked_lost_before"] == 0


def test_every_fault_is_listed_once() -> None:
    assert [fault.number for fault in FAULTS] == ["F23", "F24", "F25"]
