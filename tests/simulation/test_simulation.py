"""Stories of workers, submitters and operators that Hypothesis makes up; one that fails is shrunk to the shortest.

The same stories are told each time; DTSCHED_TEST_EXAMPLES=500 tells so many others, by DTSCHED_TEST_SEED (default: the
time, which is printed).
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.world import World
from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session

EXAMPLES = int(os.environ.get("DTSCHED_TEST_EXAMPLES", "0"))
SEED = int(os.environ.get("DTSCHED_TEST_SEED", "0")) or int(time.time())
SETTINGS = settings(
    max_examples=EXAMPLES or 25,
    stateful_step_count=100 if EXAMPLES else 60,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    phases=(Phase.generate, Phase.shrink),
)


def prepared(open_session: OpenSession) -> tuple[Session, ...]:
    """For all stories: a new session has everything to plan anew."""
    sessions = tuple(open_session() for _ in range(5))
    sessions[3].take_over_the_clock()
    sessions[3].stop_the_clock()
    sessions[3].run("select dtsched.trace(true)")
    return sessions


def tell_stories(sessions_of_all: tuple[Session, ...], chosen: settings = SETTINGS) -> None:
    class Here(World):
        sessions = sessions_of_all

    if EXAMPLES:
        print(f"DTSCHED_TEST_SEED={SEED}")
        seed(SEED)(Here)
    run_state_machine_as_test(Here, settings=chosen)


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_whatever_happens_the_tables_say_what_the_model_says(open_session: OpenSession) -> None:
    tell_stories(prepared(open_session))
