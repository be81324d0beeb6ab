"""What a job does when a parent does not complete, by the policy of its edge, and how its parents may be named."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.graphs import submit_many
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker


def fail(worker: Worker, job: int) -> None:
    if job not in worker.leases:
        worker.drain()
    worker.finish_as("fail", job)


def child_of(session: Session, parent: int, policy: str | None = None, **more: Any) -> int:
    (child,) = submit_many(session, {"depends_on": [{"job": parent, "on_failure": policy}], **more})
    return child


def skipped(session: Session, job: int) -> bool:
    return session.value("select skipped from dtsched.job(%s)", job)


def refused(session: Session, *jobs: dict[str, Any]) -> str:
    with pytest.raises(psycopg.Error) as refusal:
        submit_many(session, *jobs)
    assert refusal.value.sqlstate == "JQ001"
    assert session.value("select count(*) from dtsched.jobs") == 0
    return refusal.value.diag.message_primary or ""


@pytest.mark.parametrize("late", [False, True])
def test_each_policy_does_what_it_says_also_when_the_parent_has_failed_before(worker: Worker, late: bool) -> None:
    (parent,) = worker.insert()
    if late:
        fail(worker, parent)
    cancel, skip, run = (child_of(worker, parent, policy) for policy in (None, "skip", "run"))
    after = [child_of(worker, job) for job in (cancel, skip, run)]
    if not late:
        fail(worker, parent)
    assert [worker.state(job) for job in (cancel, skip, run)] == ["cancelled", "cancelled", "ready"]
    assert [skipped(worker, job) for job in (cancel, skip, run)] == [False, True, False]
    assert worker.value("select error from dtsched.jobs where id = %s", skip).startswith("skipped: ")
    assert [worker.state(job) for job in after] == ["cancelled", "ready", "blocked"]
    assert worker.rows("select * from dtsched.blocked, dtsched.dependencies where child_id <> %s", after[2]) == []


def test_a_job_submitted_after_its_parent_was_skipped_runs(worker: Worker) -> None:
    (parent,) = worker.insert()
    fail(worker, parent)
    child = child_of(worker, child_of(worker, parent, "skip"))
    assert worker.drain() == [child]


def test_the_policy_of_a_job_is_that_of_its_edges_that_have_none(worker: Worker) -> None:
    (parent,) = worker.insert()
    one, other = submit_many(
        worker,
        {"depends_on": [parent], "on_parent_failure": "run"},
        {"depends_on": [{"job": parent, "on_failure": "skip"}], "on_parent_failure": "run"},
    )
    plain = worker.value(
        "insert into dtsched.jobs (task, depends_on, on_parent_failure) values ('echo', %s, 'run') returning id",
        [parent],
    )
    by_function = worker.value("select dtsched.submit('echo', depends_on => %s, on_parent_failure => 'skip')", [parent])
    fail(worker, parent)
    assert [worker.state(job) for job in (one, other, plain, by_function)] == [
        "ready",
        "cancelled",
        "ready",
        "cancelled",
    ]


@pytest.mark.parametrize(
    ("policies", "state", "is_skipped"),
    [
        (["skip", "cancel"], "cancelled", False),
        (["run", "skip"], "cancelled", True),
        (["run", "run"], "ready", False),
        (["run", "cancel", "skip"], "cancelled", False),
    ],
)  # fmt: skip
def test_cancel_goes_before_skip_and_skip_before_run(
    worker: Worker, policies: list[str], state: str, is_skipped: bool
) -> None:
    parents = worker.insert(len(policies))
    edges = [{"job": job, "on_failure": policy} for job, policy in zip(parents, policies, strict=True)]
    before, twice = submit_many(
        worker, {"depends_on": edges}, {"depends_on": [{**edge, "job": parents[0]} for edge in edges]}
    )
    worker.claim()
    worker.finish_as("fail", *parents)
    (after,) = submit_many(worker, {"depends_on": edges})
    for job in (before, twice, after):
        assert (worker.state(job), skipped(worker, job)) == (state, is_skipped)


def test_a_job_that_runs_whatever_its_parents_do_waits_for_all_of_them(worker: Worker) -> None:
    failing, completing, cancelled = worker.insert(3)
    (child,) = submit_many(worker, {"depends_on": [failing, completing, cancelled], "on_parent_failure": "run"})
    worker.claim(2)
    worker.finish_as("fail", failing)
    worker.run("select dtsched.cancel(%s)", cancelled)
    assert worker.state(child) == "blocked"
    worker.finish(completing)
    assert worker.drain() == [child]


def test_a_skipped_job_lets_its_key_go_and_is_counted_as_cancelled(worker: Worker) -> None:
    (parent,) = worker.insert()
    child_of(worker, parent, "skip", key="k")
    fail(worker, parent)
    assert worker.rows("select * from dtsched.keys") == []
    assert len(submit_many(worker, {"key": "k"})) == 1


def test_the_last_two_parents_failing_together_let_the_child_run_once(open_worker: OpenWorker) -> None:
    left, right = open_worker(), open_worker()
    pairs = [tuple(left.insert(2)) for _ in range(60)]
    left.claim(1000)
    right.leases, right.id = left.leases, left.id
    children = submit_many(
        left, *({"depends_on": list(pair), "on_parent_failure": "run", "queue": "other"} for pair in pairs)
    )
    for one, other in pairs:
        in_parallel(lambda job=one: left.finish_as("fail", job), lambda job=other: right.finish(job))
    assert [left.state(job) for job in children] == ["ready"] * 60


def test_a_parent_that_fails_while_a_child_is_inserted_decides_over_it(
    open_session: OpenSession, worker: Worker
) -> None:
    (parent,) = worker.insert()
    worker.claim()
    submitter = open_session()
    submitter.run("begin")
    children = [child_of(submitter, parent, policy) for policy in ("cancel", "skip", "run")]
    worker.finish_as("fail", parent)
    submitter.run("commit")
    assert [worker.state(job) for job in children] == ["cancelled", "cancelled", "ready"]


def test_one_parents_failure_waits_for_the_failure_of_the_other_and_finds_the_child_skipped(
    open_worker: OpenWorker, session: Session
) -> None:
    left, right = open_worker(), open_worker()
    one, other = left.insert(2)
    (child,) = submit_many(
        left, {"depends_on": [{"job": one, "on_failure": "skip"}, {"job": other, "on_failure": "cancel"}]}
    )
    grandchild = child_of(left, child)
    left.claim(1)
    right.claim(1)
    left.run("begin")
    left.finish_as("fail", one)
    second = Started(lambda: right.finish_as("fail", other))
    wait_until_blocked(session, right)
    left.run("commit")
    second.join()
    assert (left.state(child), skipped(left, child), left.state(grandchild)) == ("cancelled", True, "ready")


def test_entries_keys_and_ids_name_parents_of_one_batch(worker: Worker) -> None:
    (outside,) = worker.insert()
    last, first, middle = submit_many(
        worker,
        {"depends_on": [{"entry": 3}, {"job": "a", "on_failure": "run"}, outside]},
        {"key": "a"},
        {"depends_on": [{"entry": 2, "on_failure": "skip"}, {"job": outside}]},
    )
    assert worker.rows("select id, depends_on, parent_policies from dtsched.jobs where depends_on is not null") == [
        (last, [middle, first, outside], [None, "run", None]),
        (middle, [first, outside], ["skip", None]),
    ]


def test_an_entry_whose_key_is_held_stands_for_the_holder(worker: Worker) -> None:
    (holder,) = submit_many(worker, {"key": "k"})
    kept, child = submit_many(worker, {"key": "k"}, {"depends_on": [{"entry": 1}]})
    assert (kept, worker.value("select depends_on from dtsched.jobs where id = %s", child)) == (holder, [holder])


NONSENSE: list[tuple[list[dict[str, Any]], str]] = [
    ([{"depends_on": [{"entry": 1}]}], "depends_on goes in a circle, "
     "in which jobs wait for each other for ever: entry 1"),
    ([{}, {"depends_on": [{"entry": 3}]}, {"depends_on": [{"entry": 2}]}], "job 2: depends_on goes in a circle, "
     "in which jobs wait for each other for ever: entry 3, entry 2"),
    ([{"key": "a", "depends_on": [{"entry": 2}]}, {"depends_on": ["a"]}], 'for ever: "a", entry 2'),
    ([{"depends_on": [{"entry": 2}]}], "depends_on names entry 2, and there is 1 job: entries count from 1"),
    ([{}, {"depends_on": [{"entry": 3}]}], "job 2: depends_on names entry 3, and there are 2 jobs: "
     "entries count from 1"),
    ([{"depends_on": [{"entry": 0}]}], "an entry in depends_on must be the number of a job of the batch, from 1, "
     "not 0"),
    ([{"depends_on": [{"entry": "1"}]}], 'an entry in depends_on must be the number of a job of the batch, from 1, '
     'not "1"'),
    ([{"depends_on": [{"entry": 1, "job": 2}]}], "an object in depends_on must be like"),
    ([{"depends_on": [{"on_failure": "run"}]}], "an object in depends_on must be like"),
    ([{"depends_on": [{"job": 1, "when": "run"}]}], "an object in depends_on must be like"),
    ([{"depends_on": [{"job": 1, "on_failure": "stop"}]}], 'on_failure must be cancel, run or skip, not "stop"'),
    ([{"depends_on": [{"job": {}}]}], "depends_on must be at most 100000 job ids and keys, not {}"),
    ([{"on_parent_failure": "stop"}], 'on_parent_failure must be cancel, run or skip, not "stop"'),
    ([{"args": {"a": {"$parent": 2}}, "depends_on": [1]}], 'args.a must be {"$parent": n}, n from 1 to 1'),
    ([{"args": {"a": {"$parent": 1, "b": 2}}, "depends_on": [1]}], "args.a must be"),
    ([{"workflow": 7}], "there is no workflow 7: create_workflow() makes one"),
    ([{"workflow": "7"}], 'workflow must be the id of a workflow, not "7"'),
]  # fmt: skip


@pytest.mark.parametrize(("jobs", "says"), NONSENSE)
def test_what_makes_no_sense_is_refused(session: Session, jobs: list[dict[str, Any]], says: str) -> None:
    assert says in refused(session, *jobs)


def test_a_plain_insert_is_refused_the_same(session: Session) -> None:
    session.run("set role dtsched_submit")
    with pytest.raises(psycopg.Error, match='on_parent_failure must be cancel, run or skip, not "stop"'):
        session.run("insert into dtsched.jobs (task, on_parent_failure) values ('echo', 'stop')")
    with pytest.raises(psycopg.Error, match="there is no workflow 7"):
        session.run("insert into dtsched.jobs (task, workflow_id) values ('echo', 7)")


def test_a_circle_of_ids_in_one_transaction_is_refused_at_its_commit(session: Session) -> None:
    session.run("begin")
    session.run("insert into dtsched.jobs (id, task, depends_on) values (71, 'echo', '{72}'), (72, 'echo', '{73}')")
    session.run("insert into dtsched.jobs (id, task, depends_on) values (73, 'echo', '{71}'), (70, 'echo', '{71}')")
    with pytest.raises(psycopg.Error, match=r"depends_on goes in a circle, .* for ever: 71, 72, 73"):
        session.run("commit")


def test_a_circle_that_was_made_past_the_functions_is_found(open_session: OpenSession) -> None:
    session = open_session()
    (root,) = session.insert()
    one, other = submit_many(session, {"depends_on": [root]}, {"depends_on": [{"entry": 1}, root]})
    session.run(
        "update dtsched.dependencies set parent_id = %s where parent_id = %s and child_id = %s", other, root, one
    )
    found = session.rows("select invariant, job_id, detail from dtsched.check()")
    assert found == [("jobs do not wait for each other in a circle", one, f"circle: {one}, {other}")]
    session.run(
        "update dtsched.dependencies set parent_id = %s where parent_id = %s and child_id = %s", root, other, one
    )


def test_results_of_parents_are_read_by_their_places(worker: Worker) -> None:
    done, failed, large = worker.insert(3)
    edges = [{"job": job, "on_failure": "run"} for job in (large, failed, done)]
    (child,) = submit_many(worker, {"depends_on": edges})
    worker.claim()
    worker.rows(
        "select dtsched.finish(%s, %s, %s)",
        worker.id,
        [worker.leases[done], worker.leases[large]],
        Jsonb([{"n": 1}, "x" * 1000]),
    )
    worker.finish_as("fail", failed)
    results = worker.rows("select * from dtsched.parent_results(%s, '{1,2,3,4,0}') order by place", child)
    assert results == [(1, "x" * 1000), (2, None), (3, {"n": 1})]
    worker.run("select dtsched.delete(%s)", done)
    assert worker.rows("select * from dtsched.parent_results(%s, '{3}')", child) == [(3, None)]


def test_a_child_that_was_scheduled_before_its_parent_was_retried_is_scheduled_for_the_same_time_again(worker: Worker):
    parent, child = submit_many(worker, {}, {"depends_on": [{"entry": 1}], "on_parent_failure": "run", "delay": 3600})
    worker.claim()
    worker.finish_as("fail", parent)
    assert worker.state(child) == "scheduled"
    worker.run("select dtsched.cancel(%s)", child)
    worker.run("select dtsched.retry(%s)", [parent, child])
    assert worker.state(child) == "blocked"
    worker.claim()
    assert worker.finish(parent) == [worker.leases[parent]]
    assert worker.state(child) == "scheduled"
