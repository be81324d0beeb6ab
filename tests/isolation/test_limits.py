"""Limits hold, and what they hold back comes: claims, ends and new limits against each other."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values
from tests.isolation.test_leases import FAIL, FINISH

CLAIM = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
CLAIM_ONE = "select job_id from dtsched.claim(%(worker)s, 'default', 1)"
OTHER_CLAIM = "select job_id from dtsched.claim(%(other)s, 'default', 10)"


def limited_jobs(duels: Duels) -> Values:
    duels.run("select dtsched.set_limit('a', 2)")
    jobs = [duels.submit(limit_key=key) for key in "aaaab"]
    return {"worker": duels.worker(), "other": duels.worker(), "jobs": jobs}


def limited_queue(duels: Duels) -> Values:
    duels.run("""select dtsched.set_queue('default', '{"limit": 2}')""")
    return {"worker": duels.worker(), "other": duels.worker(), "jobs": [duels.submit() for _ in range(4)]}


def running_limited(duels: Duels) -> Values:
    given = limited_jobs(duels)
    return given | {"leases": duels.claim(given["worker"])}


def running(duels: Duels, key: str) -> int:
    return duels.value("select count(*) from dtsched.leases where limit_key = %s", key)


def test_two_claims_never_start_more_of_a_limit_key_than_may(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= 2
        assert running(duels, "b") <= 1
        taken = accepted(play, (0, 0), (1, 0))
        assert len(taken) == len(set(taken))

    duels.fight(limited_jobs, transaction(CLAIM), transaction(OTHER_CLAIM), holds=holds)


def test_two_claims_of_a_limit_key_that_is_new(duels: Duels):
    def setup(duels: Duels) -> Values:
        jobs = [duels.submit(limit_key="new", priority=priority) for priority in (5, 9, 9)]
        return {"worker": duels.worker(), "other": duels.worker(), "jobs": jobs}

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "new") == 1
        assert not play.waited

    duels.fight(setup, transaction(CLAIM_ONE), transaction(OTHER_CLAIM), holds=holds)


def test_two_claims_that_each_have_a_turn_of_the_same_limit_key(duels: Duels):
    def setup(duels: Duels) -> Values:
        duels.run("select dtsched.set_limit('a', 1)")
        jobs = [duels.submit(limit_key="a", priority=priority) for priority in (5, 5, 9, 9)]
        return {"worker": duels.worker(), "other": duels.worker(), "jobs": jobs}

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= 1

    duels.fight(setup, transaction(CLAIM_ONE), transaction(OTHER_CLAIM), holds=holds)


def test_two_claims_never_start_more_of_a_queue_than_may(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert duels.value("select count(*) from dtsched.leases") <= 2

    duels.fight(limited_queue, transaction(CLAIM), transaction(OTHER_CLAIM), holds=holds)


def test_two_claims_never_take_more_tokens_than_a_bucket_has(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = limited_jobs(duels)
        duels.run("select dtsched.set_limit('a', 10, 0.1, 3)")
        return given

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= 3

    duels.fight(setup, transaction(CLAIM), transaction(OTHER_CLAIM), holds=holds)


@pytest.mark.parametrize("concurrency", [0, 1, 4])
def test_a_claim_beside_a_new_limit(duels: Duels, concurrency: int):
    """Who claims before the new limit is there heeds the old one."""

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= max(2, concurrency)

    set_limit = f"select dtsched.set_limit('a', {concurrency})"
    duels.fight(limited_jobs, transaction(CLAIM), transaction(set_limit), holds=holds, within_limits=False)


@pytest.mark.parametrize("finish", [FINISH, FAIL], ids=["complete", "fail"])
def test_a_claim_beside_the_end_of_what_took_the_seats(duels: Duels, finish: str):
    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= 2
        assert play.column(0, 0) == play.values["leases"]

    duels.fight(running_limited, transaction(finish), (OTHER_CLAIM, OTHER_CLAIM), holds=holds)


def test_a_claim_beside_the_edit_of_a_limit_key(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = limited_jobs(duels)
        duels.run("select dtsched.set_limit('full', 0)")
        return given

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "full") == 0

    edit = """select outcome from dtsched.edit(%(jobs)s, '{"limit_key": "full"}')"""
    duels.fight(setup, transaction(CLAIM), transaction(edit), holds=holds)


def test_a_claim_beside_a_pause(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        drained = play.column(1, 2)
        if drained == [True]:
            assert duels.value("select count(*) from dtsched.leases") == len(play.column(0, 0))

    pause = "select dtsched.pause('default')"
    duels.fight(limited_queue, transaction(CLAIM), (pause,), holds=holds)


def test_a_rescue_and_a_claim_of_what_has_seats(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = running_limited(duels)
        duels.lose(given["worker"])
        return given | {"third": duels.worker()}

    def holds(duels: Duels, play: Play) -> None:
        assert running(duels, "a") <= 2

    rescue = "select job_id from dtsched.rescue(%(third)s)"
    duels.fight(setup, transaction(rescue), (OTHER_CLAIM, OTHER_CLAIM), holds=holds)
