"""What makes a waiting job ready, or ends it: promotion, parents, times and events against each other."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values
from tests.isolation.test_leases import FAIL, FINISH

PROMOTE = "select promoted from dtsched.promote()"
CANCEL = "select outcome from dtsched.cancel(%(jobs)s)"
SUBMIT_CHILD = "select id from dtsched.submit_many(%(child)s, false)"


def due_jobs(duels: Duels) -> Values:
    jobs = [duels.submit(delay=10), duels.submit(delay=10, limit_key="a"), duels.submit(delay=10, limit_key="a")]
    duels.travel("11 s")
    return {"jobs": jobs, "worker": duels.worker(), "other": duels.worker()}


def running_parents(duels: Duels) -> Values:
    worker = duels.worker()
    jobs = [duels.submit(), duels.submit()]
    return {"worker": worker, "jobs": jobs, "leases": duels.claim(worker)}


def blocked_children(duels: Duels) -> Values:
    given = running_parents(duels)
    children = [duels.submit(depends_on=given["jobs"]), duels.submit(depends_on=given["jobs"][1:])]
    return given | {"parents": given["jobs"], "jobs": children}


def test_two_promotions_promote_a_job_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert sum(accepted(play, (0, 0), (1, 0))) <= 3
        for job in play.values["jobs"]:
            assert duels.events(job, "ready") <= 1
        assert not play.waited

    duels.fight(due_jobs, transaction(PROMOTE), transaction(PROMOTE), holds=holds)


def test_a_job_that_is_cancelled_before_it_is_promoted_stays_cancelled(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            assert duels.state_of(job) == ("cancelled" if outcome == "cancelled" else "ready")

    duels.fight(due_jobs, transaction(PROMOTE), transaction(CANCEL), holds=holds)


def test_a_promotion_and_a_new_time(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        for job, outcome in play.rows[1][0]:
            assert outcome in ("scheduled", "busy")
            assert duels.state_of(job) == ("scheduled" if outcome == "scheduled" else "ready")
        assert 0 not in play.waited

    later = "select * from dtsched.reschedule(%(jobs)s, dtsched.now() + interval '1 hour')"
    duels.fight(due_jobs, transaction(PROMOTE), transaction(later), holds=holds)


def test_a_claim_beside_the_promotion_of_what_it_could_take(duels: Duels):
    claim = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
    duels.fight(due_jobs, transaction(PROMOTE), (claim, claim))


@pytest.mark.parametrize("policy", ["cancel", "skip", "run"])
@pytest.mark.parametrize("finish", [FINISH, FAIL], ids=["complete", "fail"])
def test_a_child_that_is_submitted_while_its_parents_end_neither_starts_early_nor_waits_for_ever(
    duels: Duels, finish: str, policy: str
):
    def setup(duels: Duels) -> Values:
        given = running_parents(duels)
        child = f'[{{"task": "child", "depends_on": {given["jobs"]}, "on_parent_failure": "{policy}"}}]'
        return given | {"child": child}

    def holds(duels: Duels, play: Play) -> None:
        (child,) = play.column(1, 0)
        runs = finish is FINISH or policy == "run"
        assert duels.state_of(child) == ("ready" if runs else "cancelled")

    duels.fight(setup, transaction(finish), transaction(SUBMIT_CHILD), holds=holds)


@pytest.mark.parametrize("finish", [FINISH, FAIL], ids=["complete", "fail"])
def test_a_child_that_is_cancelled_while_its_parents_end(duels: Duels, finish: str):
    def holds(duels: Duels, play: Play) -> None:
        for job, outcome in zip(play.values["jobs"], play.column(1, 0), strict=True):
            if outcome == "cancelled":
                assert duels.state_of(job) == "cancelled"
            else:
                assert duels.state_of(job) == ("ready" if finish is FINISH else "cancelled")

    duels.fight(blocked_children, transaction(finish), transaction(CANCEL), holds=holds)


def two_running_parents(duels: Duels) -> Values:
    """Each run by another worker, and what depends on both."""
    given: Values = {"worker": duels.worker(), "other": duels.worker()}
    given["jobs"] = [duels.submit(), duels.submit()]
    given["leases"] = duels.claim(given["worker"], 1)
    given["other_leases"] = duels.claim(given["other"], 1)
    given["child"] = duels.submit(depends_on=given["jobs"])
    given["grandchild"] = duels.submit(depends_on=[given["child"], given["jobs"][0]])
    return given


@pytest.mark.parametrize("first", [FINISH, FAIL], ids=["complete", "fail"])
@pytest.mark.parametrize("second", [FINISH, FAIL], ids=["complete", "fail"])
def test_of_two_parents_that_end_at_the_same_time_the_last_one_sets_the_child_free(
    duels: Duels, first: str, second: str
):
    both = first is second is FINISH

    def holds(duels: Duels, play: Play) -> None:
        assert duels.state_of(play.values["child"]) == ("ready" if both else "cancelled")
        assert duels.state_of(play.values["grandchild"]) == ("blocked" if both else "cancelled")

    second = second.replace("%(worker)s", "%(other)s").replace("%(leases)s", "%(other_leases)s")
    duels.fight(two_running_parents, transaction(first), transaction(second), holds=holds)


def test_an_event_that_is_emitted_while_a_job_comes_to_wait_for_it_is_heard(duels: Duels):
    def setup(duels: Duels) -> Values:
        given: Values = {"worker": duels.worker(), "jobs": [duels.submit()]}
        (given["lease"],) = duels.claim(given["worker"])
        return given

    def holds(duels: Duels, play: Play) -> None:
        (job,) = play.values["jobs"]
        duels.run("select dtsched.deliver_events()")
        (told,) = play.column(0, 0)
        if told == "wait" and play.column(0, 1):
            assert duels.state_of(job) == "ready"

    park = """select dtsched.finish(%(worker)s, '{}', null,
        jsonb_build_array(jsonb_build_object('lease', %(lease)s, 'outcome', 'snooze', 'wait', 'e')))"""
    wait = "select outcome from dtsched.await_event(%(worker)s, %(lease)s, 'e', 'e')"
    emit = "select created from dtsched.emit('e')"
    duels.fight(setup, (wait, park), transaction(emit), holds=holds, refused={"JQ001"})


def test_a_job_whose_deadline_passes_while_it_is_claimed(duels: Duels):
    def setup(duels: Duels) -> Values:
        given: Values = {"worker": duels.worker(), "other": duels.worker()}
        given["jobs"] = [duels.submit(expires_in=10), duels.submit()]
        duels.travel("11 s")
        return given

    def holds(duels: Duels, play: Play) -> None:
        late, other = play.values["jobs"]
        duels.run("select dtsched.expire(%s)", play.values["other"])  # the claim may have had it in hand
        assert duels.state_of(late) == "failed"
        assert play.column(1, 0) == [other]
        assert duels.events(late, "running") == 0

    expire = "select job_id from dtsched.expire(%(other)s)"
    claim = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
    duels.fight(setup, transaction(expire), transaction(claim), holds=holds)
