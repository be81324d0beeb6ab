"""The verdict on histories made by hand: a true one passes, and each way of tampering with it is found."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from dtsched.cli.verdict import Verdict, Victim, judge
from dtsched.connections import connect as open_store
from tests.conftest import Connect

VICTIM = UUID(int=1)
SURVIVOR = UUID(int=2)


class History:
    """Four jobs: one whose worker was lost, one that failed once and then completed, one cancelled, one probe."""

    def __init__(self, dsn: str, connection: psycopg.Connection) -> None:
        self._dsn = dsn
        self.sql = connection
        self.sql.execute("select dtsched.trace(true)")
        self._register(VICTIM)
        ids = [self._submit(task) for task in ("linger", "stumble", "cancelled", "probe")]
        self.lingering, self.stumbling, self.cancelled, self.probe = ids
        self.sql.execute("select dtsched.cancel(%s)", [self.cancelled])
        self._lose_one_at_the_victim()
        for outcome in ("retry", "complete", "complete", "complete"):
            self._finish_one(outcome)
        self.sql.execute("delete from dtsched.workers")

    def verdict(self, acknowledged: int = 4) -> Verdict:
        return asyncio.run(self._judge(acknowledged))

    async def _judge(self, acknowledged: int) -> Verdict:
        async with await open_store(self._dsn, role="test") as connection:
            victim = Victim(worker_id=VICTIM, job_ids=[self.lingering])
            return await judge(
                connection, victim, acknowledged=acknowledged, measured_task="stumble", probe_task="probe"
            )

    def _register(self, worker: UUID) -> None:
        self.sql.execute("select dtsched.register_worker(%s, 'test', '{default}', null, 1, interval '1 s')", [worker])

    def _submit(self, task: str) -> int:
        row = self.sql.execute(
            'select dtsched.submit(%s, backoff => \'{"kind": "fixed", "base": 0}\')', [task]
        ).fetchone()
        assert row is not None
        return row[0]

    def _claim_one(self, worker: UUID) -> int:
        row = self.sql.execute("select lease_id from dtsched.claim(%s, 'default', 1)", [worker]).fetchone()
        assert row is not None
        return row[0]

    def _lose_one_at_the_victim(self) -> None:
        """The survivor is made a witness of its expiry by moving both on by hand: no test waits for a lease."""
        self._claim_one(VICTIM)
        self.sql.execute("update dtsched.workers set expires_at = expires_at - interval '1 h' where id = %s", [VICTIM])
        self._register(SURVIVOR)
        self.sql.execute(
            "update dtsched.workers set unbroken_since = unbroken_since - interval '1 h' where id = %s", [SURVIVOR]
        )
        self.sql.execute("select dtsched.rescue(%s)", [SURVIVOR])

    def _finish_one(self, outcome: str) -> None:
        self.sql.execute("select dtsched.renew(%s)", [SURVIVOR])
        lease = self._claim_one(SURVIVOR)
        if outcome == "complete":
            self.sql.execute("select dtsched.finish(%s, array[%s]::bigint[])", [SURVIVOR, lease])
        else:
            self.sql.execute(
                "select dtsched.finish(%s, '{}', null, jsonb_build_array(jsonb_build_object("
                "'lease', %s::bigint, 'outcome', %s::text, 'delay', 0)))",
                [SURVIVOR, lease, outcome],
            )
            self.sql.execute("select dtsched.promote()")


@pytest.fixture
def history(database: str, connect: Connect) -> History:
    return History(database, connect())


def test_a_true_history_has_no_faults(history: History) -> None:
    verdict = history.verdict()
    assert verdict.faults == []
    assert (verdict.counts.submitted, verdict.counts.finished) == (4, 4)
    assert (verdict.counts.completed, verdict.counts.cancelled, verdict.counts.failed_attempts) == (3, 1, 1)
    assert verdict.rescued == [history.lingering]
    assert (verdict.whole_way.jobs, verdict.pick_up.jobs) == (1, 1)
    assert verdict.pace.ran == 3


def test_a_deleted_job_is_lost(history: History) -> None:
    history.sql.execute("delete from dtsched.jobs where id = %s", [history.probe])
    verdict = history.verdict()
    assert verdict.lost == [history.probe]
    assert "1 job lost: " in verdict.faults[0]


def test_a_job_that_never_ended_is_lost(history: History) -> None:
    history.sql.execute("update dtsched.jobs set state = 'ready', finished_at = null where id = %s", [history.probe])
    assert history.verdict().lost == [history.probe]


def test_a_job_deleted_with_its_trace_is_missed_by_who_submitted_it(history: History) -> None:
    history.sql.execute("delete from dtsched.jobs where id = %s", [history.probe])
    history.sql.execute("delete from dtsched.job_events where job_id = %s", [history.probe])
    assert history.verdict().faults == [
        "4 jobs acknowledged, 3 traced",
        "the counts are those of the jobs: completed: counted 3, there are 2",
    ]


def test_a_job_that_came_from_nowhere_is_found(history: History) -> None:
    history.sql.execute("delete from dtsched.job_events where job_id = %s", [history.probe])
    assert history.verdict(acknowledged=3).lost == [history.probe]


@pytest.mark.parametrize(
    "tampering",
    [
        "update dtsched.jobs set finished_at = dtsched.now() where id = %s",
        "with again as (update dtsched.jobs set state = 'running' where id = %s returning id) select from again",
    ],
)
def test_a_job_that_finished_twice_is_found(history: History, tampering: str) -> None:
    history.sql.execute(tampering.encode(), [history.stumbling])
    history.sql.execute("update dtsched.jobs set state = 'completed' where id = %s", [history.stumbling])
    verdict = history.verdict()
    assert verdict.doubled == [history.stumbling]
    assert "1 job finished twice: " in verdict.faults[0]


def test_a_job_of_the_victim_that_nobody_rescued_is_found(history: History) -> None:
    history.sql.execute("delete from dtsched.attempts where job_id = %s", [history.lingering])
    verdict = history.verdict()
    assert verdict.rescued == []
    assert verdict.faults == [f"1 job of the killed worker not ended by the other: {history.lingering}"]


def test_a_history_with_a_gap_is_found(history: History) -> None:
    history.sql.execute("delete from dtsched.job_events where job_id = %s and to_state = 'running'", [history.probe])
    assert history.verdict().faults == [f"1 job with a history that has gaps or ends elsewhere: {history.probe}"]


def test_a_start_before_its_time_is_found(history: History) -> None:
    history.sql.execute(
        "update dtsched.jobs set run_at = dtsched.now() + interval '1 h' where id = %s", [history.probe]
    )
    assert history.verdict().faults == [f"1 job started before their time: {history.probe}"]


def test_a_lease_left_over_is_found_twice_over(history: History) -> None:
    history.sql.execute(
        "insert into dtsched.leases (id, job_id, worker_id) values (999, %s, %s)", [history.probe, SURVIVOR]
    )
    leftover, invariant = history.verdict().faults
    assert leftover == "1 leases left over"
    assert f"job {history.probe}" in invariant


def test_an_illegal_transition_is_found(history: History) -> None:
    history.sql.execute(
        "insert into dtsched.job_events (job_id, from_state, to_state, attempt) values"
        " (%(id)s, 'completed', 'ready', 1), (%(id)s, 'ready', 'completed', 1)",
        {"id": history.probe},
    )
    faults = history.verdict().faults
    assert f"job {history.probe} went from completed to ready" in faults
    assert f"job {history.probe} went from ready to completed" in faults
