"""Each tick fires once, and nothing of an old definition does: firings, edits, pauses and removals."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values

FIRE = """select tick, job_id from dtsched.fire('s', %(version)s, %(tick)s, array[%(tick)s], %(next)s)
    where outcome = 'fired'"""
CHANGES = {
    "another spec": "select dtsched.schedule('s', '*/5 * * * *', 'other')",
    "pause": "select dtsched.pause_schedule('s')",
    "removal": "select dtsched.unschedule('s')",
}


def due_schedule(duels: Duels) -> Values:
    duels.run("select dtsched.schedule('s', '* * * * *', 'echo')")
    ((version, tick, following),) = duels.rows("""
        update dtsched.schedules set next_at = date_trunc('minute', dtsched.now()) - interval '1 minute'
        returning version, next_at, next_at + interval '2 minutes'
        """)
    return {"version": version, "tick": tick, "next": following, "worker": duels.worker()}


def fired(duels: Duels) -> int:
    return duels.value("select count(*) from dtsched.jobs")


def test_of_two_that_fire_a_tick_one_does(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert accepted(play, (0, 0), (1, 0)) == [play.values["tick"]]
        assert fired(duels) == 1

    duels.fight(due_schedule, transaction(FIRE), transaction(FIRE), holds=holds)


def test_a_tick_whose_firing_is_rolled_back_is_fired_by_the_other_or_stays_due(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert fired(duels) == len(play.column(1, 0))
        left = duels.value("select next_at = %s from dtsched.schedules", play.values["tick"])
        assert left == (fired(duels) == 0)

    duels.fight(due_schedule, (f"begin; {FIRE}", "rollback"), transaction(FIRE), holds=holds)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_changed_fires_before_that_or_not_at_all(duels: Duels, change: str):
    def holds(duels: Duels, play: Play) -> None:
        assert fired(duels) == len(play.column(0, 0))
        assert duels.value("select count(*) from dtsched.jobs where task = 'other'") == 0
        assert not (fired(duels) and play.ended_before(1, 1, 0))

    duels.fight(due_schedule, transaction(FIRE), transaction(change), holds=holds)


def test_two_firings_and_a_pause(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert fired(duels) == len(accepted(play, (0, 0), (1, 0))) <= 1

    duels.fight(due_schedule, transaction(FIRE), transaction(FIRE), transaction(CHANGES["pause"]), holds=holds)


def test_a_firing_and_a_run_by_hand_with_no_overlap(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = due_schedule(duels)
        duels.run("select dtsched.schedule('s', '* * * * *', 'echo', overlap => 'skip')")
        given["version"] = duels.value("update dtsched.schedules set next_at = %s returning version", given["tick"])
        return given

    def holds(duels: Duels, play: Play) -> None:
        assert fired(duels) == 1

    run = "select job_id from dtsched.run_schedule('s')"
    duels.fight(setup, transaction(FIRE), transaction(run), holds=holds)
