"""One unfinished job a key: submissions, retries and ends that want the same key."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values
from tests.isolation.test_leases import FAIL, FINISH

SUBMIT = """select id, outcome from dtsched.submit_many(
    '[{"task": "echo", "key": "k"}, {"task": "echo", "key": "l"}]', false)"""
BACKWARDS = """select id, outcome from dtsched.submit_many(
    '[{"task": "echo", "key": "l"}, {"task": "echo", "key": "k"}]', false)"""
RETRY = "select outcome from dtsched.retry(%(jobs)s)"


def submit(mode: str) -> str:
    return f"""select id, outcome from dtsched.submit_many(
        '[{{"task": "echo", "key": "k", "on_conflict": "{mode}"}}]', false)"""


def holders(duels: Duels) -> int:
    """Unfinished jobs with the key, but for those that have given it up: they end with their attempt."""
    return duels.value("""
        select count(*) from dtsched.jobs job
        where key = 'k' and finished_at is null
            and not exists (select from dtsched.leases where job_id = job.id and gave_up_key)
        """)


def nobody(duels: Duels) -> Values:
    return {}


def waiting_holder(duels: Duels) -> Values:
    return {"worker": duels.worker(), "jobs": [duels.submit(key="k")]}


def running_holder(duels: Duels) -> Values:
    given = waiting_holder(duels)
    return given | {"leases": duels.claim(given["worker"])}


def cancelled_holders(duels: Duels) -> Values:
    jobs = [duels.submit(key="k")]
    duels.run("select dtsched.cancel(%s)", jobs[0])
    return {"jobs": jobs, "worker": duels.worker()}


def test_of_two_submissions_with_a_key_one_makes_the_job_and_the_other_gets_it(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        made = [outcome for rows in play.rows for _, outcome in rows[0]]
        assert sorted(made) == ["created", "created", "kept", "kept"]
        assert len(set(accepted(play, (0, 0), (1, 0)))) == 2

    duels.fight(nobody, transaction(SUBMIT), transaction(BACKWARDS), holds=holds)


def test_a_submission_that_waits_for_one_which_is_rolled_back_makes_the_job(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert [outcome for _, outcome in play.rows[1][0]] == ["created", "created"] or not play.waited
        assert holders(duels) == 1

    duels.fight(nobody, (f"begin; {SUBMIT}", "rollback"), transaction(BACKWARDS), holds=holds)


@pytest.mark.parametrize("mode", ["keep", "reject", "replace", "supersede"])
@pytest.mark.parametrize("finish", [FINISH, FAIL], ids=["complete", "fail"])
def test_a_submission_beside_the_end_of_the_job_that_holds_its_key(duels: Duels, finish: str, mode: str):
    def holds(duels: Duels, play: Play) -> None:
        if play.errors[1] is None:
            ((job, outcome),) = play.rows[1][0]
            assert (job == play.values["jobs"][0]) == (outcome == "kept")
        assert holders(duels) <= 1

    duels.fight(running_holder, transaction(finish), transaction(submit(mode)), holds=holds, refused={"JQ003"})


@pytest.mark.parametrize("mode", ["replace", "supersede"])
def test_a_submission_that_takes_the_key_of_a_job_beside_the_claim_of_that_job(duels: Duels, mode: str):
    def holds(duels: Duels, play: Play) -> None:
        assert holders(duels) == 1

    claim = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
    duels.fight(waiting_holder, transaction(claim), transaction(submit(mode)), holds=holds)


@pytest.mark.parametrize("mode", ["replace", "supersede"])
def test_two_submissions_that_take_the_key_of_the_same_job(duels: Duels, mode: str):
    def holds(duels: Duels, play: Play) -> None:
        assert holders(duels) == 1

    duels.fight(waiting_holder, transaction(submit(mode)), transaction(submit(mode)), holds=holds)


def test_a_retry_beside_a_submission_that_takes_its_key(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert holders(duels) == 1
        ((_, outcome),) = play.rows[1][0]
        assert (play.column(0, 0) == ["retried"]) == (outcome == "kept")

    duels.fight(cancelled_holders, transaction(RETRY), transaction(submit("keep")), holds=holds)


def test_two_retries_and_a_submission(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert holders(duels) == 1

    duels.fight(
        cancelled_holders, transaction(RETRY), transaction(RETRY), transaction(submit("supersede")), holds=holds
    )


def test_a_key_that_outlives_its_job_beside_the_one_who_frees_it(duels: Duels):
    def setup(duels: Duels) -> Values:
        job = duels.submit(key="k", key_for=10)
        duels.run("select dtsched.cancel(%s)", job)
        duels.travel("11 s")
        return {"jobs": [job]}

    def holds(duels: Duels, play: Play) -> None:
        assert holders(duels) == 1
        ((_, outcome),) = play.rows[1][0]
        assert outcome == "created"

    free = "select dtsched.free_expired_keys(100)"
    duels.fight(setup, transaction(free), transaction(submit("keep")), holds=holds)
