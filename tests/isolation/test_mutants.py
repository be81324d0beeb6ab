"""A function that is broken is noticed: what these scenarios cannot see, they need not be played for."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels
from tests.isolation.engine import Refused
from tests.isolation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_broken_function_is_caught(duels: Duels, mutant: Mutant) -> None:
    with mutant.laid(duels), pytest.raises(Refused) as refused:
        mutant.scenario(duels)
    print(str(refused.value)[:300])
