"""What strikes when, on a stage with nothing but a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from time import monotonic
from typing import ClassVar

import pytest

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.plan import Plan, Window
from dtsched.torture.stage import Cast, LocalStage
from dtsched.torture.storm import AGAIN, Storm
from tests.torture.small_stage import open_small_stage, records


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    cast = Cast(workers=0, app="dtsched.torture.sabotage:app", lease_seconds=1.0, poll_seconds=0.2, grace_seconds=0.5)
    async with open_small_stage(tmp_path_factory.mktemp("stage"), cast) as stage:
        yield stage


class Meets(Fault):
    """Something, each time."""

    title = "meets jobs"
    group: ClassVar[Group] = "processes"
    met: ClassVar[int]

    async def inject(self, stage: Stage) -> Sequence[int]:
        return range(self.met)


class Enough(Meets):
    number = "F90"
    met = 20


class Eight(Meets):
    number = "F91"
    met = 8


class Nothing(Meets):
    number = "F92"
    met = 0


class Refused(Meets):
    """Also when it has met enough: it says nothing."""

    number = "F93"
    met = 30

    async def heal(self, stage: Stage) -> None:
        raise OSError("it cannot be healed")


class Counted(Meets):
    number = "F94"
    met = 0

    async def heal(self, stage: Stage) -> None:
        self.done["struck"] = 25


KINDS = (Enough, Eight, Nothing, Refused, Counted)


def silent(_what: str, _done: float, _of: float) -> None: ...


async def struck(stage: LocalStage, minutes: float) -> dict[str, int]:
    """How often each has."""
    windows = [Window(fault=kind.number, at=0.0, lasts=0.0, seed=1) for kind in KINDS]
    plan = Plan(
        seed=1, minutes=minutes, mode="storm", workers=0, apis=0, lease_seconds=1.0, baseline_seconds=0.0,
        windows=windows, left_out={},
    )  # fmt: skip
    before = len(records(stage, "fault"))
    await Storm(plan, stage, {kind.number: kind for kind in KINDS}, silent, began=monotonic()).run()
    invoked = [one.note["fault"] for one in records(stage, "fault")[before:] if one.phase == "invoke"]
    return {kind.number: invoked.count(kind.number) for kind in KINDS}


async def test_what_has_met_too_little_strikes_again(everything: LocalStage) -> None:
    often = 1 + AGAIN
    assert await struck(everything, minutes=0.2) == {"F90": 1, "F91": 3, "F92": often, "F93": often, "F94": 1}


async def test_nothing_strikes_again_when_the_storm_has_lasted_for_too_long(everything: LocalStage) -> None:
    assert set((await struck(everything, minutes=0.0)).values()) <= {0, 1}
