"""What comes over HTTP comes twice: ends of leases, heartbeats, requests under a key, steps of operations."""

from __future__ import annotations

import pytest

from tests.isolation.duels import Duels, accepted, transaction
from tests.isolation.engine import Play, Values

FINISH = """select outcome from dtsched.finish_lease(%(worker)s, null, %(lease)s, %(secret)s,
    '{"outcome": "complete"}', 'body')"""
FAIL = """select outcome from dtsched.finish_lease(%(worker)s, null, %(lease)s, %(secret)s,
    '{"outcome": "fail"}', 'another')"""
ONCE = """select answer -> 0 ->> 'id', replayed from dtsched.submit_once(
    '[{"task": "echo"}]', p_key => 'k', p_digest => 'digest', p_check => false)"""


def leased(duels: Duels) -> Values:
    worker = duels.value("select dtsched.register_http_worker('w', '{default}', null, 5, interval '100 s')")
    job = duels.submit()
    ((lease, secret),) = duels.rows("select lease_id, secret from dtsched.claim_leases(%s, null, 5)", worker)
    return {"worker": worker, "other": duels.worker(), "jobs": [job], "lease": lease, "secret": secret}


def test_the_same_end_twice_counts_once_and_is_told_twice(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert sorted(accepted(play, (0, 0), (1, 0))) == ["accepted", "repeated"]
        assert duels.events(play.values["jobs"][0], "completed") == 1

    duels.fight(leased, transaction(FINISH), transaction(FINISH), holds=holds)


def test_of_two_different_ends_one_counts(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert sorted(accepted(play, (0, 0), (1, 0))) == ["accepted", "otherwise"]

    duels.fight(leased, transaction(FINISH), transaction(FAIL), holds=holds)


@pytest.mark.parametrize("knows", [True, False])
def test_an_end_beside_a_heartbeat(duels: Duels, knows: bool):
    def setup(duels: Duels) -> Values:
        given = leased(duels)
        duels.travel("99 s")
        duels.run("select dtsched.renew(%s)", given["worker"])
        duels.travel("99 s")
        return given | {"known": [given["lease"]] if knows else []}

    def holds(duels: Duels, play: Play) -> None:
        (job,) = play.values["jobs"]
        (outcome,) = play.column(0, 0)
        if knows:
            assert outcome == "accepted"
        assert duels.state_of(job) == ("completed" if outcome == "accepted" else "ready")

    heartbeat = "select lost from dtsched.heartbeat(%(worker)s, null, null, %(known)s)"
    duels.fight(setup, transaction(FINISH), transaction(heartbeat), holds=holds)


def test_an_end_beside_a_rescue(duels: Duels):
    def setup(duels: Duels) -> Values:
        given = leased(duels)
        duels.lose(given["worker"])
        return given

    def holds(duels: Duels, play: Play) -> None:
        (outcome,) = play.column(0, 0)
        assert (outcome == "accepted") != (play.column(1, 0) == play.values["jobs"])

    rescue = "select job_id from dtsched.rescue(%(other)s)"
    duels.fight(setup, transaction(FINISH), transaction(rescue), holds=holds)


def test_two_claims_of_one_worker_take_no_more_than_it_has_slots(duels: Duels):
    def setup(duels: Duels) -> Values:
        worker = duels.value("select dtsched.register_http_worker('w', '{default}', null, 2, interval '100 s')")
        return {"worker": worker, "jobs": [duels.submit() for _ in range(4)]}

    def holds(duels: Duels, play: Play) -> None:
        assert duels.value("select count(*) from dtsched.leases") == 2

    claim = "select job_id from dtsched.claim_leases(%(worker)s, null, 5)"
    duels.fight(setup, transaction(claim), transaction(claim), holds=holds)


def test_a_request_that_is_sent_twice_submits_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert duels.value("select count(*) from dtsched.jobs") == 1
        assert None in play.errors
        if play.errors == [None, None]:
            assert len(set(accepted(play, (0, 0), (1, 0)))) == 1

    duels.fight(lambda duels: {}, transaction(ONCE), transaction(ONCE), holds=holds, refused={"JQ010"})


def test_a_request_that_is_rolled_back_and_sent_again_submits_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert duels.value("select count(*) from dtsched.jobs") == (play.errors[1] is None)

    duels.fight(lambda duels: {}, (f"begin; {ONCE}", "rollback"), transaction(ONCE), holds=holds, refused={"JQ010"})


def operation(duels: Duels) -> Values:
    jobs = [duels.submit() for _ in range(3)]
    worker = duels.worker()
    duels.run("""select dtsched.create_operation('cancel', '{"state": ["ready"]}')""")
    return {"worker": worker, "jobs": jobs}


def met(duels: Duels) -> int:
    """Once it is through."""
    for _ in range(20):
        duels.run("update dtsched.operations set next_at = '-infinity' where next_at > '-infinity'")
        duels.run("select dtsched.step_operation(2)")
    ((state, outcomes),) = duels.rows("select state, outcomes from dtsched.list_operations(null)")
    assert state == "completed"
    return sum(outcomes.values())


STEP = "select met from dtsched.step_operation(2)"


def test_two_steps_of_an_operation_meet_each_job_once(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert met(duels) == 3
        assert duels.value("select count(*) from dtsched.job_events where to_state = 'cancelled'") == 3

    duels.fight(operation, transaction(STEP), transaction(STEP), holds=holds)


def test_a_step_of_an_operation_beside_a_claim_of_its_jobs(duels: Duels):
    def holds(duels: Duels, play: Play) -> None:
        assert met(duels) <= 3
        for job in play.column(1, 0):
            assert duels.state_of(job) == "running"

    claim = "select job_id from dtsched.claim(%(worker)s, 'default', 10)"
    duels.fight(operation, transaction(STEP), transaction(claim), holds=holds)
