"""The storms that every change has to pass: what they are made of, and what fails them."""

from __future__ import annotations

import pytest

from dtsched.torture.catalogue import chosen
from dtsched.torture.plan import draw
from tests.support.storms import ALWAYS, FAULTS, MINUTES, judged


def test_each_fault_finds_a_place_whatever_the_seed() -> None:
    for seed in (ALWAYS, *range(300)):
        windows, left_out = draw(chosen(",".join(FAULTS)), seed=seed, minutes=MINUTES, mode="storm")
        assert left_out == {}
        assert {window.fault for window in windows} == {*FAULTS}


@pytest.mark.parametrize(
    ("codes", "code"), [([0, 0], 0), ([0, 2], 0), ([2, 0], 0), ([2, 2], 1), ([0, 1], 1), ([1, 2], 1), ([0, -9], 1)]
)
def test_a_storm_that_is_violated_fails_and_so_do_two_that_show_nothing(codes: list[int], code: int) -> None:
    assert judged(codes) == code
