"""A retry brings back what was cancelled because of the retried job, and nothing else."""

from __future__ import annotations

from typing import Any

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.graphs import submit_many
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker


def retry(session: Session, *jobs: int) -> list[str]:
    outcomes = dict(session.rows("select * from dtsched.retry(%s)", list(jobs)))
    return [outcomes[job] for job in jobs]


def failed_with(worker: Worker, *children: dict[str, Any]) -> list[int]:
    """A failed job, and children whose depends_on are entries of this list, in which it is the first."""
    jobs = submit_many(worker, {}, *children)
    worker.claim(1)
    worker.finish_as("fail", jobs[0])
    return jobs


CHILD: dict[str, Any] = {"depends_on": [{"entry": 1}]}
GRANDCHILD: dict[str, Any] = {"depends_on": [{"entry": 2}]}


def test_a_retried_job_brings_its_descendants_back_and_they_run_after_it(worker: Worker) -> None:
    root, child, grandchild = failed_with(worker, CHILD, GRANDCHILD)
    assert [worker.state(job) for job in (child, grandchild)] == ["cancelled", "cancelled"]
    assert retry(worker, root) == ["retried"]
    for job in (root, child, grandchild):
        assert worker.drain() == [job]
        worker.finish(job)
    assert worker.rows("select * from dtsched.cancelled_by") == []


def test_what_somebody_cancelled_stays_cancelled_and_so_do_its_descendants(worker: Worker) -> None:
    root, child, grandchild = submit_many(worker, {}, CHILD, GRANDCHILD)
    worker.run("select dtsched.cancel(%s)", child)
    worker.claim()
    worker.finish_as("fail", root)
    assert retry(worker, root) == ["retried"]
    assert [worker.state(job) for job in (child, grandchild)] == ["cancelled", "cancelled"]
    assert retry(worker, child) == ["retried"]
    assert [worker.state(job) for job in (child, grandchild)] == ["blocked", "blocked"]


def test_what_was_skipped_stays_skipped_until_it_is_retried_itself(worker: Worker) -> None:
    root, child = failed_with(worker, {**CHILD, "on_parent_failure": "skip"})
    assert retry(worker, child) == ["parents"]
    assert retry(worker, root) == ["retried"]
    assert worker.state(child) == "cancelled"
    assert retry(worker, child) == ["retried"]
    assert worker.rows("select state, skipped from dtsched.jobs where id = %s", child) == [("blocked", None)]


def test_a_child_of_two_failed_parents_comes_back_with_the_second_retry(worker: Worker) -> None:
    one, other, child = submit_many(worker, {}, {}, {"depends_on": [{"entry": 1}, {"entry": 2}]})
    worker.claim()
    worker.finish_as("fail", one)
    worker.finish_as("fail", other)
    assert retry(worker, one) == ["retried"]
    assert worker.state(child) == "cancelled"
    assert retry(worker, other) == ["retried"]
    assert worker.state(child) == "blocked"
    worker.finish(*worker.drain())
    assert worker.drain() == [child]


def test_a_parent_that_failed_again_keeps_the_child_cancelled_until_it_is_retried_again(worker: Worker) -> None:
    one, other, child = submit_many(worker, {}, {}, {"depends_on": [{"entry": 1}, {"entry": 2}]})
    worker.claim()
    worker.finish_as("fail", one, other)
    assert retry(worker, one) == ["retried"]
    worker.drain()
    worker.finish_as("fail", one)
    assert retry(worker, other) == ["retried"]
    assert worker.state(child) == "cancelled"
    assert retry(worker, one) == ["retried"]
    assert worker.state(child) == "blocked"


def test_a_child_whose_key_is_held_by_now_stays_cancelled_and_its_parent_is_retried(worker: Worker) -> None:
    root, child, grandchild = failed_with(worker, {**CHILD, "key": "k"}, GRANDCHILD)
    (holder,) = submit_many(worker, {"key": "k"})
    assert retry(worker, root) == ["retried"]
    assert [worker.state(job) for job in (child, grandchild)] == ["cancelled", "cancelled"]
    assert retry(worker, child) == ["key_held"]
    worker.run("select dtsched.cancel(%s)", holder)
    assert retry(worker, child) == ["retried"]
    assert worker.state(grandchild) == "blocked"


def test_a_child_brought_back_holds_its_key_again(worker: Worker) -> None:
    root, child = failed_with(worker, {**CHILD, "key": "k"})
    retry(worker, root)
    assert submit_many(worker, {"key": "k"}) == [child]


def test_a_job_is_retried_without_those_that_were_deleted(worker: Worker) -> None:
    root, child, grandchild, sibling = failed_with(worker, CHILD, GRANDCHILD, CHILD)
    worker.run("select dtsched.delete(%s)", child)
    assert retry(worker, root) == ["retried"]
    assert [worker.state(job) for job in (grandchild, sibling)] == ["cancelled", "blocked"]
    assert worker.rows("select * from dtsched.cancelled_by") == []


def test_a_job_cannot_be_retried_while_somebody_holds_what_it_would_bring_back(
    open_session: OpenSession, worker: Worker
) -> None:
    root, _, grandchild = failed_with(worker, CHILD, GRANDCHILD)
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", grandchild)
    assert retry(worker, root) == ["busy"]
    assert worker.states() == {"failed": 1, "cancelled": 2}
    holder.run("rollback")
    assert retry(worker, root) == ["retried"]
    assert worker.states() == {"ready": 1, "blocked": 2}


def test_a_child_submitted_while_its_parent_is_retried_is_cancelled_or_waits_but_is_never_left_behind(
    open_session: OpenSession, worker: Worker, session: Session
) -> None:
    (root,) = failed_with(worker)
    worker.run("begin")
    assert retry(worker, root) == ["retried"]
    children: list[int] = []
    submitter = open_session()
    submitting = Started(lambda: children.extend(submit_many(submitter, {"depends_on": [root]})))
    wait_until_blocked(session, submitter)
    worker.run("commit")
    submitting.join()
    assert session.state(children[0]) == "blocked"


def test_concurrent_retries_of_both_parents_end_with_the_child_brought_back(open_worker: OpenWorker) -> None:
    left, right = open_worker(), open_worker()
    for _ in range(30):
        one, other, child = submit_many(left, {}, {}, {"depends_on": [{"entry": 1}, {"entry": 2}]})
        left.claim()
        left.finish_as("fail", one, other)

        def again(worker: Worker, job: int) -> None:
            while retry(worker, job) != ["retried"]:
                pass

        in_parallel(lambda job=one: again(left, job), lambda job=other: again(right, job))
        assert left.state(child) == "blocked"
        left.run("select dtsched.cancel(%s)", [one, other])


def test_a_retry_beside_the_finish_of_another_parent_never_loses_the_child(open_worker: OpenWorker) -> None:
    left, right = open_worker(), open_worker()
    for n in range(40):
        one, other, child = submit_many(left, {}, {}, {"depends_on": [{"entry": 1}, {"entry": 2}]})
        left.claim()
        left.finish_as("fail", one)
        right.id, right.leases = left.id, left.leases

        def again(job: int) -> None:
            while retry(left, job) != ["retried"]:
                pass

        def end(job: int, completes: bool) -> None:
            right.finish(job) if completes else right.finish_as("fail", job)

        in_parallel(lambda job=one: again(job), lambda job=other, completes=n % 2 == 1: end(job, completes))
        if n % 2 == 0:
            assert left.state(child) == "cancelled"
            assert retry(left, other) == ["retried"]
        assert left.state(child) == "blocked"
        left.run("select dtsched.cancel(%s)", [one, other, child])
        left.drain()


def test_a_retry_beside_the_deletion_of_the_job_waits_for_nobody_and_notes_nothing(
    session: Session, open_session: OpenSession, worker: Worker
) -> None:
    root, child = failed_with(worker, CHILD)
    session.run("begin")
    assert session.value("select dtsched.delete(%s)", root) == "deleted"
    impatient = open_session()
    impatient.run("set statement_timeout = '2 s'")
    assert retry(impatient, root) == ["busy"]
    session.run("commit")
    assert session.rows("select * from dtsched.cancelled_by") == []
    assert session.state(child) == "cancelled"
