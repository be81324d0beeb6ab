"""A function that is broken is noticed within a few stories, or a few more where the machine goes other ways.
DTSCHED_TEST_EXAMPLES=25 tries more of them."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from tests.simulation.fleet import empty
from tests.simulation.test_simulation import EXAMPLES, SETTINGS, prepared, tell_stories
from tests.sql.conftest import OpenSession
from tests.support.broken import Broken

ALWAYS = (
    Broken(
        "whoever finishes is heard",
        "finish_completed",
        "(lease.worker_id = p_worker) is true and ",
        "",
    ),
    Broken("an attempt is not counted when it starts", "claim", "attempt = job.attempt + 1", "attempt = job.attempt"),
    Broken(
        "a job that is told to stop completes",
        "finish_completed",
        "    if v_leases is null then",
        "    v_stopped := null;\n    if v_leases is null then",
    ),
)
SOMETIMES = (
    Broken(
        "a crash is not counted",
        "hand_back_free",
        "crash_count = job.crash_count + p_started::integer",
        "crash_count = job.crash_count",
    ),
    Broken(
        "a claim passes over a deadline",
        "claim",
        "and (job.deadline is null or job.deadline > dtsched.now())  -- else expire() ends it",
        "",
    ),
    Broken("anybody is a witness", "rescue", "and witness.unbroken_since <= v_now - witness.lease", ""),
    Broken(
        "a tick at the edge of the tolerance is late",
        "fire",
        "given.tick >= v_now - v_schedule.tolerance",
        "given.tick > v_now - v_schedule.tolerance",
    ),
    Broken("what is due at this moment waits", "promote", "entry.run_at <= v_now", "entry.run_at < v_now"),
    Broken("a limit is not heeded", "admit", "(v_queue.settings ->> 'limit')::integer", "1000"),
    Broken("a key is not freed", "free_keys", "where taken.key", "where false and taken.key"),
    Broken(
        "children start when their parent fails", "cancel_descendants", "on_failure = 'cancel'", "on_failure = 'never'"
    ),
)


@pytest.mark.timeout(0 if EXAMPLES else 120)
@pytest.mark.parametrize("broken", ALWAYS + (SOMETIMES if EXAMPLES else ()), ids=str)
def test_a_broken_function_is_caught(open_session: OpenSession, broken: Broken) -> None:
    sessions = prepared(open_session)
    with broken.laid(sessions[3]), pytest.raises(AssertionError):
        tell_stories(sessions, settings(SETTINGS, max_examples=EXAMPLES or 100, phases=[Phase.generate]))
    empty(sessions[3])  # what it has left is broken too
