"""What is gone is gone for good, and nothing else: deletion and pruning against retries, ends and children."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.isolation.duels import Duels, transaction
from tests.isolation.engine import Play, Values
from tests.isolation.test_leases import FINISH

RETRY = "select outcome from dtsched.retry(%(jobs)s)"
DELETE = "select outcome from dtsched.delete(%(jobs)s)"
PRUNE = "select jobs from dtsched.prune(p_all => true)"
SUBMIT_CHILD = "select id from dtsched.submit_many(%(child)s, false)"


def ended_jobs(duels: Duels) -> Values:
    """A failed one with a key, and one that was cancelled because of it."""
    worker = duels.worker()
    parent = duels.submit(key="k", max_attempts=1)
    child = duels.submit(depends_on=[parent])
    leases = duels.claim(worker)
    outcome = f'[{{"lease": {leases[0]}, "outcome": "fail"}}]'
    duels.run("select dtsched.finish(%s, '{}', null, %s::jsonb)", worker, outcome)
    return {"worker": worker, "jobs": [parent], "child_id": child}


def cancelled_job(duels: Duels) -> Values:
    job = duels.submit()
    duels.run("select dtsched.cancel(%s)", job)
    return {"jobs": [job]}


def old_jobs(duels: Duels) -> Values:
    given = ended_jobs(duels)
    duels.run("select dtsched.prune()")  # which makes the chunk known
    duels.travel("31 days")
    return given


def running_jobs(duels: Duels) -> Values:
    worker = duels.worker()
    jobs = [duels.submit(), duels.submit()]
    return {"worker": worker, "leases": duels.claim(worker), "jobs": jobs}


def is_there(duels: Duels, job: int) -> bool:
    return duels.state_of(job) is not None


@pytest.mark.parametrize("setup", [ended_jobs, cancelled_job])
def test_a_job_is_either_retried_or_deleted(duels: Duels, setup: Callable[[Duels], Values]):
    def holds(duels: Duels, play: Play) -> None:
        (job,) = play.values["jobs"]
        (retried,), (deleted,) = play.column(0, 0), play.column(1, 0)
        assert retried in ("retried", "busy", "missing")
        if retried == "retried" and deleted == "deleted":  # it was retried, cancelled as it waits, and deleted
            assert duels.events(job, "ready") == 2
        assert is_there(duels, job) == (deleted != "deleted")
        assert not play.waited

    duels.fight(setup, transaction(RETRY), transaction(DELETE), holds=holds)


def test_a_job_is_either_retried_or_pruned(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        (job,) = play.values["jobs"]
        (retried,) = play.column(0, 0)
        assert is_there(duels, job) or retried in ("missing", "busy")
        if retried == "retried":
            assert duels.state_of(job) == "ready"

    duels.fight(old_jobs, transaction(RETRY), transaction(PRUNE), holds=holds)


def test_a_running_job_is_not_deleted_and_an_ended_one_is(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert len(play.column(0, 0)) == 2
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            assert is_there(duels, job) == (outcome != "deleted")
            assert outcome in ("running", "busy", "deleted")

    duels.fight(running_jobs, transaction(FINISH), transaction(DELETE), holds=holds)


def test_two_deletions_delete_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert play.column(0, 0) + play.column(1, 0) in (["deleted", "missing"], ["missing", "deleted"]) or (
            "busy" in play.column(0, 0) + play.column(1, 0)
        )

    duels.fight(ended_jobs, transaction(DELETE), transaction(DELETE), holds=holds)


def test_a_parent_is_not_deleted_from_under_a_child_that_is_being_submitted(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = running_jobs(duels)
        duels.run("select dtsched.finish(%s, %s)", given["worker"], given["leases"])
        return given | {"child": f'[{{"task": "child", "depends_on": {given["jobs"]}}}]'}

    def holds(duels: Duels, play: Play) -> None:
        if play.errors[0] is None:
            assert duels.state_of(play.column(0, 0)[0]) == "ready"

    duels.fight(setup, transaction(SUBMIT_CHILD), transaction(DELETE), holds=holds, refused={"JQ001"})


def test_a_waiting_job_is_deleted_beside_the_claim_of_it(duels: Duels):
    def setup(duels: Duels) -> Values:
        return {"worker": duels.worker(), "jobs": [duels.submit(), duels.submit(key="k")]}

    def holds(duels: Duels, play: Play) -> None:
        claimed = set(play.column(0, 0))
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            assert (outcome == "deleted") == (not is_there(duels, job))
            assert not (job in claimed and outcome == "deleted")

    claim = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
    duels.fight(setup, transaction(claim), transaction(DELETE), holds=holds)


def test_two_prunings_prune_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert not is_there(duels, play.values["jobs"][0]) or play.waited

    duels.fight(old_jobs, transaction(PRUNE), transaction(PRUNE), holds=holds)
