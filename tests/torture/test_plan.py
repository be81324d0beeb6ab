"""What is going to happen in a run is fixed before it begins, and by its seed alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from dtsched.torture.plan import Mode, Plan, Planned, Window, baseline_of, draw


def fault(
    name: str, *, is_heavy: bool = False, seconds: tuple[float, float] = (0.0, 0.0), takes_seconds: float = 1.0
) -> type[Planned]:
    class Made(Planned):
        number: ClassVar[str] = name
        lasts: ClassVar[tuple[float, float]] = seconds
        heavy: ClassVar[bool] = is_heavy
        takes: ClassVar[float] = takes_seconds
        strikes: ClassVar[int] = 3

    return Made


FAULTS: Sequence[type[Planned]] = [
    fault("F01"),
    fault("F05", seconds=(15.0, 20.0)),
    fault("F19", is_heavy=True, seconds=(1.0, 4.0)),
    fault("F21", is_heavy=True, seconds=(15.0, 20.0)),
]


def windows(seed: int, *, minutes: float = 10, mode: Mode = "storm") -> list[Window]:
    return draw(FAULTS, seed=seed, minutes=minutes, mode=mode)[0]


def test_the_seed_fixes_the_plan() -> None:
    assert windows(42) == windows(42)
    assert windows(42) != windows(43)


@pytest.mark.parametrize("mode", ["single", "storm"])
def test_each_fault_has_all_its_strikes_after_the_baseline_and_before_the_end(mode: Mode) -> None:
    for seed in range(50):
        drawn = windows(seed, mode=mode)
        assert sorted(window.fault for window in drawn) == sorted(["F01", "F05", "F19", "F21"] * 3)
        assert all(baseline_of(10) <= window.at and window.at + window.lasts <= 590 for window in drawn)


def test_what_injecting_and_healing_take_is_planned_for() -> None:
    """Or else strikes wait for each other, and the last have no turn."""
    slow = [fault("F23", is_heavy=True, takes_seconds=30.0), fault("F07", takes_seconds=15.0), fault("F01")]
    for seed in range(50):
        drawn, left_out = draw(slow, seed=seed, minutes=10, mode="storm")
        assert left_out == {}
        for heavy in (window for window in drawn if window.fault == "F23"):
            beside = [one for one in drawn if heavy.at < one.at < heavy.at + 41.9]
            assert beside == []
        assert all(window.at + 15 <= 590 for window in drawn if window.fault == "F07")
    assert "F23" in draw(slow, seed=1, minutes=3, mode="storm")[1]


def test_nothing_else_strikes_while_a_heavy_fault_does_nor_just_after_it() -> None:
    for seed in range(50):
        drawn = windows(seed)
        for heavy in (window for window in drawn if window.fault in ("F19", "F21")):
            over = heavy.at + heavy.lasts + 11.9
            assert not [
                other
                for other in drawn
                if other is not heavy and other.at < over and other.at + other.lasts > heavy.at + 0.001
            ]


def test_one_by_one_no_two_windows_meet() -> None:
    for seed in range(50):
        drawn = windows(seed, mode="single")
        assert all(one.at + one.lasts + 4.9 < other.at for one, other in itertools.pairwise(drawn))


def test_what_does_not_fit_is_left_out_by_name_and_wholly() -> None:
    drawn, left_out = draw(FAULTS, seed=7, minutes=1, mode="storm")
    assert left_out["F21"] == "no room for all of its strikes in 1 minute"
    assert not {window.fault for window in drawn} & left_out.keys()
    assert {window.fault for window in drawn} | left_out.keys() == {"F01", "F05", "F19", "F21"}


def test_a_plan_is_kept(tmp_path: Path) -> None:
    plan = Plan(
        seed=42,
        minutes=10,
        mode="storm",
        workers=6,
        apis=2,
        lease_seconds=5,
        baseline_seconds=baseline_of(10),
        windows=windows(42),
        left_out={"F46": "pgbouncer is not installed"},
    )
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan
