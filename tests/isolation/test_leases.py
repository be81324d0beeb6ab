"""Who may run a job, and who may end it: claims, finishes, rescues and cancellations against each other."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values

CLAIM = "select job_id from dtsched.claim(%(worker)s, 'default', 1)"
OTHER_CLAIM = "select job_id from dtsched.claim(%(other)s, 'default', 2)"
FINISH = "select dtsched.finish(%(worker)s, %(leases)s)"
FAIL = """select dtsched.finish(%(worker)s, '{}', null,
    (select jsonb_agg(jsonb_build_object('lease', lease, 'outcome', 'fail')) from unnest(%(leases)s) lease))"""
RETRY = FAIL.replace("'fail'", "'retry', 'delay', 0")
ENDINGS = pytest.mark.parametrize("finish", [FINISH, FAIL, RETRY], ids=["complete", "fail", "retry"])
CANCEL = "select outcome from dtsched.cancel(%(jobs)s)"
RENEW = "select alive from dtsched.renew(%(worker)s)"
RESCUE = "select job_id from dtsched.rescue(%(other)s)"
THIRD_RESCUE = "select job_id from dtsched.rescue(%(third)s)"


def two_jobs(duels: Duels) -> Values:
    return {"worker": duels.worker(), "other": duels.worker(), "jobs": [duels.submit(), duels.submit()]}


def claimed_jobs(duels: Duels) -> Values:
    given = two_jobs(duels)
    return given | {"leases": duels.claim(given["worker"]), "third": duels.worker()}


def lost_jobs(duels: Duels) -> Values:
    given = claimed_jobs(duels)
    duels.lose(given["worker"])
    return given


def test_two_claims_never_take_the_same_job(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        taken = accepted(play, (0, 0), (1, 0))
        assert len(taken) == len(set(taken)) == duels.value("select count(*) from dtsched.leases")
        assert not play.waited

    duels.fight(two_jobs, transaction(CLAIM), transaction(OTHER_CLAIM), holds=holds)


def test_what_is_cancelled_before_it_is_claimed_never_starts_and_otherwise_is_told_to_stop(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            if outcome == "cancelled":
                assert duels.state_of(job) == "cancelled"
                assert duels.events(job, "running") == 0
            elif outcome == "requested":
                asked = duels.column("select cancel_requested_at from dtsched.leases where job_id = %s", job)
                assert len(asked) == 1
                assert asked != [None]

    duels.fight(two_jobs, transaction(OTHER_CLAIM), transaction(CANCEL), holds=holds)


@ENDINGS
def test_a_job_that_was_told_to_stop_before_its_end_ends_cancelled(duels: Duels, finish: str):
    def holds(duels: Duels, play: Play) -> None:
        assert play.column(0, 0) == play.values["leases"]
        assert 1 not in play.waited
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            if outcome in ("requested", "cancelled"):  # a retried one waits, and may be cancelled where it is
                assert duels.state_of(job) == "cancelled"
                assert duels.events(job, "completed") == duels.events(job, "failed") == 0
            elif outcome == "finished":
                assert duels.state_of(job) == ("completed" if finish is FINISH else "failed")

    duels.fight(claimed_jobs, transaction(finish), transaction(CANCEL), holds=holds)


@ENDINGS
def test_a_lease_is_either_finished_or_taken_back(duels: Duels, finish: str):
    def holds(duels: Duels, play: Play) -> None:
        finished, rescued = play.column(0, 0), play.column(1, 0)
        assert len(finished) + len(rescued) <= 2
        jobs = dict(zip(play.values["leases"], play.values["jobs"], strict=True))
        assert not {jobs[lease] for lease in finished} & set(rescued)
        assert duels.value("select count(*) from dtsched.leases") == 2 - len(finished) - len(rescued)
        assert 1 not in play.waited

    duels.fight(lost_jobs, transaction(finish), transaction(RESCUE), holds=holds)


def test_of_two_that_finish_the_same_leases_one_is_heard(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert sorted(accepted(play, (0, 0), (1, 0))) == sorted(play.values["leases"])

    duels.fight(claimed_jobs, transaction(FINISH), transaction(FAIL), holds=holds)


def test_a_worker_whose_renewal_was_heard_keeps_its_jobs(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        (alive,) = play.column(0, 0)
        assert alive == (play.column(1, 0) == [])
        assert duels.value("select count(*) from dtsched.leases") == (2 if alive else 0)

    def late(duels: Duels) -> Values:
        """Its lease is over, but nobody has said so yet: it may still renew."""
        return lost_jobs(duels)

    duels.fight(late, transaction(RENEW), transaction(RESCUE), holds=holds)


def test_of_two_rescues_each_job_is_taken_back_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        rescued = accepted(play, (0, 0), (1, 0))
        assert len(rescued) == len(set(rescued))
        for job in rescued:
            assert duels.value("select crash_count from dtsched.jobs where id = %s", job) == 1

    duels.fight(lost_jobs, transaction(RESCUE), transaction(THIRD_RESCUE), holds=holds)


def test_a_release_and_a_rescue_hand_back_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        for job in play.values["jobs"]:
            assert duels.events(job, "ready") <= 2
            assert duels.value("select crash_count from dtsched.jobs where id = %s", job) <= 1

    release = "select dtsched.release(%(worker)s, '{}', %(leases)s)"
    duels.fight(lost_jobs, transaction(release), transaction(RESCUE), holds=holds)


@ENDINGS
def test_an_attempt_that_has_run_over_ends_once(duels: Duels, finish: str):
    def overdue(duels: Duels) -> Values:
        given: Values = {"worker": duels.worker(), "other": duels.worker()}
        given["jobs"] = [duels.submit(timeout=1), duels.submit(timeout=1, max_attempts=1)]
        given["leases"] = duels.claim(given["worker"])
        duels.travel("30 s")
        return given

    def holds(duels: Duels, play: Play) -> None:
        assert len(play.column(0, 0)) + len(play.column(1, 0)) <= 2
        assert not set(play.column(0, 0)) & set(play.column(1, 0))

    expire = "select lease_id from dtsched.expire(%(other)s)"
    duels.fight(overdue, transaction(finish), transaction(expire), holds=holds)


def test_a_finish_a_rescue_and_a_cancellation_of_the_same_jobs(duels: Duels):
    duels.fight(lost_jobs, transaction(FINISH), transaction(RESCUE), transaction(CANCEL))


def test_two_claims_and_a_cancellation(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        taken = accepted(play, (0, 0), (1, 0))
        assert len(taken) == len(set(taken))

    duels.fight(two_jobs, transaction(CLAIM), transaction(OTHER_CLAIM), transaction(CANCEL), holds=holds)
