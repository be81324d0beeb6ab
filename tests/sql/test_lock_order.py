"""The lock order of schema/README.md: wherever two calls meet, one waits for the other and neither is aborted.

Each test stops one side half way by a key row that a third session holds, lets the other side run into it, and lets go.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker

SUBMIT_CHILD = "select dtsched.submit('child', depends_on => %s)"


@pytest.fixture
def holder(open_session: OpenSession) -> Session:
    """Holds the key 'stop' of a job, and so stops whoever is about to end that job, until it commits."""
    return open_session()


def hold_the_key(holder: Session) -> None:
    holder.run("begin")
    holder.run("select from dtsched.keys where key = 'stop' for update")


def two_claimed_jobs(worker: Worker) -> tuple[int, int]:
    """Of the two, the one with the higher id has the key."""
    (low,) = worker.insert()
    high = worker.value("select dtsched.submit('echo', key => 'stop')")
    assert worker.claim() == [low, high]
    return low, high


def finish_failures_before_successes(worker: Worker, low: int, high: int) -> None:
    worker.run(
        "select dtsched.finish(%s, %s, null, %s)",
        worker.id,
        [worker.leases[low]],
        Jsonb([{"lease": worker.leases[high], "outcome": "fail"}]),
    )


def finish_one_that_was_cancelled(worker: Worker, low: int, high: int) -> None:
    worker.run("update dtsched.leases set cancel_requested_at = now() where job_id = %s", low)
    worker.finish(low, high)


@pytest.mark.parametrize("finish", [finish_failures_before_successes, finish_one_that_was_cancelled])
def test_finishing_jobs_in_two_steps_beside_a_submission_that_depends_on_both(
    holder: Session, session: Session, worker: Worker, finish: Callable[[Worker, int, int], None]
):
    low, high = two_claimed_jobs(worker)
    session.run("begin")
    child = session.value(SUBMIT_CHILD, [low, high])
    hold_the_key(holder)
    finishing = Started(lambda: finish(worker, low, high))
    wait_until_blocked(holder, worker)
    linking = Started(lambda: session.run("commit"))
    wait_until_blocked(holder, session)
    holder.run("commit")
    finishing.join()
    linking.join()
    assert worker.state(child) == "cancelled"


@pytest.mark.parametrize("size", [200, 5000])
@pytest.mark.parametrize(
    ("hold", "look"),
    [
        (
            "select from dtsched.leases where job_id = %s for no key update",
            "select job_id from dtsched.leases order by job_id for share skip locked",
        ),
        (
            "select from dtsched.jobs where id = %s for no key update",
            "select id from dtsched.jobs order by id for share skip locked",
        ),
    ],
    ids=["leases", "jobs"],
)
def test_what_ends_jobs_with_results_locks_in_the_order_of_ids_however_little_memory_it_has(
    holder: Session, session: Session, worker: Worker, size: int, hold: LiteralString, look: LiteralString
):
    jobs = worker.insert(1000)
    worker.claim(1000)
    worker.run("set work_mem = '64kB'")
    holder.run("begin")
    holder.run(hold, jobs[500])
    results = Jsonb(["x" * size] * len(jobs))
    leases = [worker.leases[job] for job in reversed(jobs)]
    finishing = Started(lambda: worker.run("select dtsched.finish(%s, %s, %s)", worker.id, leases, results))
    wait_until_blocked(session, worker)
    free = session.column(look)
    holder.run("commit")
    finishing.join()
    assert free == jobs[501:]


def test_setting_a_limit_beside_a_failure_that_opens_a_breaker(
    holder: Session, open_session: OpenSession, worker: Worker
):
    operator = open_session()
    worker.set_queue(breaker={"failures": 1, "within": 60, "cooldown": 60})
    job = worker.value("select dtsched.submit('echo', key => 'stop')")
    worker.claim()
    hold_the_key(holder)
    failing = Started(lambda: worker.finish_as("fail", job))
    wait_until_blocked(holder, worker)
    operator.run("set statement_timeout = '10s'")
    operator.set_queue(limit=1)  # waits for no lease
    holder.run("commit")
    failing.join()
    assert worker.value("select open_until is not null from dtsched.queues")


def test_handing_back_in_two_steps_beside_a_submission_that_depends_on_both(
    holder: Session, session: Session, worker: Worker
):
    low = worker.value("select dtsched.submit('echo')")
    high = worker.value("select dtsched.submit('echo', key => 'stop')")
    worker.claim()
    worker.run("update dtsched.leases set cancel_requested_at = now() where job_id = %s", high)
    session.run("begin")
    child = session.value(SUBMIT_CHILD, [low, high])
    hold_the_key(holder)
    releasing = Started(lambda: worker.release(never_started=[high], started=[low]))
    wait_until_blocked(holder, worker)
    linking = Started(lambda: session.run("commit"))
    wait_until_blocked(holder, session)
    holder.run("commit")
    releasing.join()
    linking.join()
    assert worker.state(child) == "cancelled"


def test_submitting_children_of_several_parents_out_of_order_beside_those_who_finish_the_parents(
    holder: Session, open_session: OpenSession, worker: Worker
):
    low, high, out_of_reach = worker.insert(3)
    worker.claim(2)
    submitter = open_session()
    submitter.run("begin")
    submitter.run(
        "select dtsched.submit_many(%s)",
        Jsonb([{"task": "child", "depends_on": parents} for parents in ([high, out_of_reach], [low])]),
    )
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for no key update", out_of_reach)
    linking = Started(lambda: submitter.run("commit"))
    wait_until_blocked(holder, submitter)
    finishing = Started(lambda: worker.finish(low, high))
    wait_until_blocked(holder, worker)
    holder.run("commit")
    linking.join()
    finishing.join()
    assert worker.column("select task from dtsched.jobs where id = any (%s)", worker.drain()) == ["echo", "child"]


def test_cancelling_a_blocked_job_beside_the_finish_of_its_last_parent(
    holder: Session, session: Session, worker: Worker
):
    (parent,) = worker.insert()
    child = worker.value("select dtsched.submit('child', key => 'stop', depends_on => %s)", [parent])
    worker.claim()
    hold_the_key(holder)
    cancelling = Started(lambda: session.run("select dtsched.cancel(%s)", child))
    wait_until_blocked(holder, session)
    finishing = Started(lambda: worker.finish(parent))
    wait_until_blocked(holder, worker)
    holder.run("commit")
    cancelling.join()
    finishing.join()
    assert [worker.state(job) for job in (parent, child)] == ["completed", "cancelled"]


def test_children_of_several_statements_wait_for_the_first_of_all_their_parents_with_none_in_hand(
    open_session: OpenSession, session: Session
):
    first, second = session.insert(2)
    holder, submitter = open_session(), open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for no key update", first)
    submitter.run("begin")
    for parent in (second, first):
        submitter.run("select dtsched.submit('child', depends_on => %s)", [parent])
    committing = Started(lambda: submitter.run("commit"))
    wait_until_blocked(session, submitter)
    session.run("select from dtsched.jobs where id = %s for no key update nowait", second)
    holder.run("rollback")
    committing.join()
    assert session.states() == {"blocked": 2, "ready": 2}


def test_two_failing_parents_with_the_same_descendants(
    holder: Session, open_session: OpenSession, open_worker: OpenWorker
):
    """Cancelled level by level, the descendants would be locked in another order from each side."""
    one, other = open_worker(), open_worker()
    (left,) = one.insert()
    one.claim()
    (right,) = other.insert()
    other.claim()
    first = one.value("select dtsched.submit('echo', key => 'stop', depends_on => %s)", [left])
    second = one.value("select dtsched.submit('echo', key => 'stop too', depends_on => %s)", [right, first])
    third = one.value(SUBMIT_CHILD, [left, second])
    holder.run("begin")
    holder.run("select from dtsched.keys for update")
    sides = [Started(lambda: one.finish_as("fail", left)), Started(lambda: other.finish_as("fail", right))]
    wait_until_blocked(holder, one, other)
    holder.run("commit")
    for side in sides:
        side.join()
    assert [one.state(job) for job in (first, second, third)] == ["cancelled"] * 3


@pytest.mark.parametrize("named", ["%s", '{"job": %s}', '"stop"', '{"job": "stop"}'])
def test_superseding_the_child_of_a_parent_that_is_finished_with_another_child_of_it(
    holder: Session, session: Session, open_session: OpenSession, worker: Worker, named: str
) -> None:
    parent = worker.value("select dtsched.submit('echo', key => 'stop', key_for => 'kept')")
    child = worker.value("select dtsched.submit('echo', key => 'child', depends_on => %s)", [parent])
    worker.claim()
    hold_the_key(holder)
    finishing = Started(lambda: worker.finish(parent))
    wait_until_blocked(session, worker)
    submitter = open_session()
    parents = [json.loads(named.replace("%s", str(parent)))]
    again = {"task": "echo", "key": "child", "on_conflict": "supersede", "depends_on": parents}
    submitting = Started(lambda: submitter.run("select dtsched.submit_many(%s)", Jsonb([again])))
    wait_until_blocked(session, submitter)
    holder.run("rollback")
    finishing.join()
    submitting.join()
    assert session.state(parent) == "completed"
    assert session.rows("select id = %s, state from dtsched.jobs where key = 'child' order by id", child) == [
        (True, "cancelled"),
        (False, "ready"),
    ]
