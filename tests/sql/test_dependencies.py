"""Dependencies: a child is released once, when its last parent completes, and never lost, however they overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

SUBMIT_CHILD = "select dtsched.submit('child', depends_on => %s)"


def test_a_child_waits_for_its_parents_and_is_released_by_the_last(worker: Worker):
    parents = worker.insert(3)
    child = worker.value(SUBMIT_CHILD, parents)
    assert worker.claim() == parents
    worker.finish(*parents[:2])
    assert (worker.state(child), worker.drain()) == ("blocked", [])
    worker.finish(parents[2])
    assert worker.drain() == [child]
    assert worker.rows("select * from dtsched.dependencies") == worker.rows("select * from dtsched.blocked") == []


def test_a_plain_insert_may_depend_on_jobs_too(worker: Worker):
    (parent,) = worker.insert()
    child = worker.value(
        "insert into dtsched.jobs (task, depends_on) values ('child', %s) returning id", [parent, parent]
    )
    worker.claim()
    worker.finish(parent)
    assert worker.drain() == [child]


def test_parents_and_children_may_be_submitted_in_one_transaction_children_first(worker: Worker):
    worker.run("begin")
    child = worker.value(
        "insert into dtsched.jobs (id, task, depends_on) values (1000, 'child', '{1001}') returning id"
    )
    parent = worker.value("insert into dtsched.jobs (id, task) values (1001, 'parent') returning id")
    worker.run("commit")
    assert worker.claim() == [parent]
    worker.finish(parent)
    assert worker.drain() == [child]


def test_a_child_of_parents_that_have_completed_runs_at_once(worker: Worker):
    parents = worker.insert(2)
    worker.claim()
    worker.finish(*parents)
    child = worker.value(SUBMIT_CHILD, parents)
    assert worker.drain() == [child]


def test_an_empty_list_of_parents_is_none(worker: Worker):
    child = worker.value(SUBMIT_CHILD, [])
    assert worker.drain() == [child]


def test_a_child_with_a_delay_is_scheduled_once_it_is_free(worker: Worker):
    (parent,) = worker.insert()
    child = worker.value("select dtsched.submit('child', depends_on => %s, delay => '1 hour')", [parent])
    assert worker.state(child) == "blocked"
    worker.claim()
    worker.finish(parent)
    assert worker.state(child) == "scheduled"
    assert worker.drain() == []


def test_a_child_whose_delay_ran_out_while_it_was_blocked_is_ready_once_it_is_free(worker: Worker):
    worker.take_over_the_clock()
    (parent,) = worker.insert()
    child = worker.value("select dtsched.submit('child', depends_on => %s, delay => '1 min')", [parent])
    worker.claim()
    worker.travel("2 min")
    worker.finish(parent)
    assert worker.drain() == [child]


@pytest.mark.parametrize("missing", [[999_999_999], [0], [-5]])
def test_a_parent_that_does_not_exist_refuses_the_child(session: Session, missing: list[int]):
    (parent,) = session.insert()
    with pytest.raises(psycopg.Error, match=f"depends_on .*{missing[0]}"):
        session.run(SUBMIT_CHILD, [parent, *missing])
    assert session.states() == {"ready": 1}


def test_a_job_cannot_depend_on_itself(session: Session):
    with pytest.raises(psycopg.Error, match="circle, in which jobs wait for each other for ever: 77"):
        session.run("insert into dtsched.jobs (id, task, depends_on) values (77, 'echo', '{77}')")


def fail(worker: Worker, job: int) -> None:
    worker.claim()
    worker.finish_as("fail", job)


def cancel(worker: Worker, job: int) -> None:
    worker.run("select dtsched.cancel(%s)", job)


def crash(worker: Worker, job: int) -> None:
    for _ in range(3):
        worker.claim()
        worker.release(started=[job])


@pytest.mark.parametrize("end", [fail, cancel, crash])
def test_a_parent_that_does_not_complete_cancels_its_children_and_theirs(
    worker: Worker, end: Callable[[Worker, int], None]
):
    parent, other_parent = worker.insert(), worker.insert()
    child = worker.value("select dtsched.submit('child', depends_on => %s, queue => 'other')", parent + other_parent)
    grandchildren = [worker.value(SUBMIT_CHILD, [child]) for _ in range(2)]
    worker.run("select dtsched.claim(%s, 'default', 0)", worker.id)
    end(worker, parent[0])
    assert [worker.state(job) for job in (child, *grandchildren)] == ["cancelled"] * 3
    assert worker.value("select count(*) from dtsched.blocked") == 0
    assert worker.value("select error from dtsched.jobs where id = %s", child) == "a job it depends on did not complete"


def test_a_child_submitted_after_its_parent_failed_is_cancelled_at_once(worker: Worker):
    (parent,) = worker.insert()
    fail(worker, parent)
    child = worker.value(SUBMIT_CHILD, [parent])
    assert worker.state(child) == "cancelled"


def test_a_parent_that_ends_while_the_submitters_transaction_is_open_still_releases_the_child(
    open_session: OpenSession, worker: Worker
):
    (parent,) = worker.insert()
    worker.claim()
    submitter = open_session()
    submitter.run("begin")
    child = submitter.value(SUBMIT_CHILD, [parent])
    worker.run("set lock_timeout = '500ms'")
    assert worker.finish(parent) == [worker.leases[parent]]
    submitter.run("commit")
    assert worker.drain() == [child]


def test_the_last_two_parents_ending_together_release_the_child_once(open_worker: OpenWorker, worker: Worker):
    rounds = 150
    left, right = open_worker(), open_worker()
    pairs = [(left.insert()[0], right.insert()[0]) for _ in range(rounds)]
    worker.run("begin")
    children = [worker.value(SUBMIT_CHILD, list(pair)) for pair in pairs]
    worker.run("commit")
    left.claim(1000)
    right.leases = left.leases
    right.id = left.id
    for first, second in pairs:
        in_parallel(lambda job=first: left.finish(job), lambda job=second: right.finish(job))
    assert sorted(worker.drain()) == children


def test_parents_ending_while_children_are_linked_to_them_lose_none(open_session: OpenSession, open_worker: OpenWorker):
    """Submitters commit children of parents that end at that very moment."""
    finisher, submitter = open_worker(), open_session()
    parents = finisher.insert(200)
    finisher.claim(1000)
    children: list[int] = []

    def finish() -> None:
        for parent in parents:
            finisher.finish(parent)

    def submit() -> None:
        children.extend(submitter.value(SUBMIT_CHILD, [parent]) for parent in parents)

    in_parallel(finish, submit)
    assert sorted(finisher.drain()) == children


def test_a_fan_in_of_10_000_is_released_once_by_concurrent_finishers(open_worker: OpenWorker):
    workers = [open_worker() for _ in range(4)]
    parents = workers[0].insert(10_000)
    child = workers[0].value(SUBMIT_CHILD, parents)
    for worker in workers:
        worker.claim(2500)

    def finish(worker: Worker) -> None:
        jobs = list(worker.leases)
        for n in range(0, len(jobs), 100):
            worker.finish(*jobs[n : n + 100])

    in_parallel(*(lambda worker=worker: finish(worker) for worker in workers))
    assert workers[0].drain() == [child]
    assert workers[0].states() == {"completed": 10_000, "running": 1}


def test_the_results_of_the_parents_can_be_read(worker: Worker):
    parents = worker.insert(2)
    child = worker.value(SUBMIT_CHILD, parents)
    worker.claim()
    worker.rows(
        "select dtsched.finish(%s, %s, %s)", worker.id, [worker.leases[job] for job in parents], Jsonb(["x" * 1000, 2])
    )
    assert worker.rows("select job_id, state, result from dtsched.parents(%s)", child) == [
        (parents[0], "completed", "x" * 1000),
        (parents[1], "completed", 2),
    ]


def test_children_submitted_one_by_one_in_one_transaction_are_linked_all(session: Session, worker: Worker):
    """What a savepoint takes back is not linked, and nothing is left of what was noted."""
    (root,) = session.insert()
    one_by_one: LiteralString = """
        do $$
        begin
            for n in 1..1500 loop
                insert into dtsched.jobs (task, depends_on)
                values ('echo', array[current_setting('test.root')::bigint]);
            end loop;
        end $$
        """
    session.run("select set_config('test.root', %s, false)", str(root))
    session.run("begin")
    session.run(one_by_one)
    session.run("savepoint here")
    session.run(one_by_one)
    session.run("rollback to here")
    session.run(one_by_one)
    session.run("commit")
    assert session.states() == {"blocked": 3000, "ready": 1}
    assert worker.claim() == [root]
    worker.finish(root)
    assert session.states() == {"completed": 1, "ready": 3000}
    assert session.value("select count(*) from dtsched.unlinked") == 0


def test_children_are_linked_once_however_often_it_is_tried_before_the_commit(session: Session, worker: Worker):
    (root,) = worker.insert()
    submit = "select dtsched.submit('echo', depends_on => %s)"
    session.run("begin")
    jobs = [session.value(submit, [root])]
    session.run("savepoint here")
    jobs.append(session.value(submit, [root]))
    session.run("set constraints all immediate")
    session.run("rollback to here")
    jobs[1] = session.value(submit, [root, jobs[0]])
    session.run("set constraints all immediate")
    jobs.append(session.value(submit, [root, jobs[1]]))
    session.run("set constraints all deferred")
    jobs.append(session.value(submit, jobs))
    session.run("commit")
    assert session.column("select waiting from dtsched.blocked order by job_id") == [1, 2, 2, 3]
    assert session.value("select count(*) from dtsched.unlinked") == 0
    for job in [root, *jobs]:
        assert worker.claim() == [job]
        worker.finish(job)


def test_a_child_linked_while_its_parents_ancestor_fails_is_cancelled_too(
    open_session: OpenSession, session: Session, worker: Worker
):
    """Its edge is not there yet when the descendants are looked up; they are ended when the submitter has committed."""
    (root,) = worker.insert()
    worker.claim()
    parent = session.value("select dtsched.submit('echo', depends_on => %s)", [root])
    submitter = open_session()
    submitter.run("begin")
    child = submitter.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    submitter.run("set constraints all immediate")
    failing = Started(lambda: worker.finish_as("fail", root))
    wait_until_blocked(session, worker)
    submitter.run("commit")
    failing.join()
    assert [worker.state(job) for job in (parent, child)] == ["cancelled", "cancelled"]
