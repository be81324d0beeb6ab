"""Operations: an action over all jobs that fit a filter, in steps that any process may take."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

FAILED = {"state": ["failed"]}


def create(session: Session, action: str, wanted: dict[str, Any], **more: Any) -> int:
    given: dict[str, Any] = {"changes": None, "run_at": None, "dry_run": False, "queues": None, **more}
    given["changes"] = None if given["changes"] is None else Jsonb(given["changes"])
    return session.value(
        """select dtsched.create_operation(%s, %s, %s, %s::timestamptz, %s, p_queues => %s::text[])""",
        *(action, Jsonb(wanted), given["changes"], given["run_at"], given["dry_run"], given["queues"]),
    )


def step(session: Session, limit: int = 500) -> tuple[int | None, str | None, int]:
    ((operation, state, met, _),) = session.rows("select * from dtsched.step_operation(%s)", limit)
    return operation, state, met


def finish(session: Session, limit: int = 500) -> int:
    """Steps until nothing is under way, without waiting for those that are busy; returns the number of steps."""
    for steps in range(1000):
        session.run("update dtsched.operations set next_at = '-infinity' where next_at > '-infinity'")
        if step(session, limit)[0] is None:
            return steps
    raise AssertionError("the operation does not end")


def seen(session: Session, operation: int) -> dict[str, Any]:
    ((state, matched, outcomes, progress, error),) = session.rows(
        "select state, matched, outcomes, progress, error from dtsched.list_operations(%s)", operation
    )
    return {"state": state, "matched": matched, "outcomes": outcomes, "progress": progress, "error": error}


def done(session: Session, action: str, wanted: dict[str, Any], limit: int = 500, **more: Any) -> dict[str, int]:
    """The outcomes of an operation that is run to its end."""
    operation = create(session, action, wanted, **more)
    finish(session, limit)
    ended = seen(session, operation)
    assert (ended["state"], ended["progress"], ended["error"]) == ("completed", 1, None)
    assert sum(ended["outcomes"].values()) == ended["matched"]
    assert session.value("select count(*) from dtsched.operation_leftovers") == 0
    return ended["outcomes"]


def failed(worker: Worker, count: int = 1, queue: str = "default") -> list[int]:
    jobs = worker.insert(count, queue=queue)
    assert worker.claim(limit=count, queue=queue) == jobs
    worker.finish_as("fail", *jobs)
    return jobs


@contextmanager
def held(session: Session, *jobs: int) -> Generator[None]:
    session.run("begin")
    session.run("select from dtsched.jobs where id = any (%s) for update", list(jobs))
    yield
    session.run("rollback")


def test_each_action_does_to_all_that_fit_what_it_does_to_one(session: Session, worker: Worker):
    jobs = failed(worker, 5)
    other = worker.insert(queue="mail")
    changes = {"priority": 9, "merge_args": {"to": "b"}}
    assert done(session, "edit", FAILED, limit=2, changes=changes) == {"edited": 5}
    assert session.column("select id from dtsched.jobs where priority = 9 and args ->> 'to' = 'b' order by id") == jobs
    assert done(session, "retry", FAILED, limit=2) == {"retried": 5}
    assert done(session, "reschedule", {"queue": "default"}, limit=2, run_at="2100-01-01Z") == {"scheduled": 5}
    assert done(session, "run-now", {"state": "scheduled"}, limit=2) == {"ready": 5}
    assert done(session, "cancel", {"queue": "default"}, limit=2) == {"cancelled": 5}
    assert done(session, "delete", {"state": "cancelled"}, limit=2) == {"deleted": 5}
    assert session.column("select id from dtsched.jobs") == other


def test_a_dry_run_counts_and_shows_and_changes_nothing(session: Session, worker: Worker):
    jobs = failed(worker, 12)
    operation = create(session, "delete", FAILED, dry_run=True)
    finish(session)
    assert seen(session, operation) | {"error": None} == {
        "state": "completed", "matched": 12, "outcomes": {}, "progress": 1, "error": None,
    }  # fmt: skip
    sample = session.value("select sample from dtsched.list_operations(%s)", operation)
    assert [job["id"] for job in sample] == jobs[:1:-1]
    assert set(sample[0]) == {"id", "queue", "task", "state", "created_at"}
    assert session.states() == {"failed": 12}


def test_jobs_that_are_submitted_after_it_began_are_not_met(session: Session, worker: Worker):
    before = session.insert(3)
    operation = create(session, "cancel", {"state": "pending"})
    after = session.insert(3)
    finish(session, limit=2)
    assert seen(session, operation)["outcomes"] == {"cancelled": 3}
    assert session.column("select id from dtsched.jobs where state = 'cancelled' order by id") == before
    assert worker.claim() == after


def test_how_long_ago_counts_from_when_it_began(session: Session):
    session.take_over_the_clock()
    session.insert()
    session.travel("1 hour")
    (late,) = session.insert()
    create(session, "cancel", {"since": {"seconds_ago": 60}})
    session.travel("1 hour")
    finish(session)
    assert session.column("select id from dtsched.jobs where state = 'cancelled'") == [late]


def test_a_step_that_is_killed_in_the_middle_has_done_nothing_and_another_goes_on(
    session: Session, open_session: OpenSession
):
    session.insert(5)
    operation = create(session, "cancel", {"state": "ready"})
    assert step(session, 2) == (operation, "running", 2)
    killed = open_session()
    killed.run("begin")
    assert step(killed, 2) == (operation, "running", 2)
    session.run("select pg_terminate_backend(%s, 60000)", killed.connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        killed.run("commit")
    assert seen(session, operation)["matched"] == 2
    finish(session, 2)
    assert seen(session, operation)["outcomes"] == {"cancelled": 5}


def test_one_operation_is_stepped_by_one_at_a_time_and_others_by_others(session: Session, open_session: OpenSession):
    session.insert(4)
    first, second = create(session, "cancel", {"state": "ready"}), create(session, "cancel", {"queue": "none"})
    other = open_session()
    session.run("begin")
    assert step(session)[0] == first
    assert step(other)[0] == second
    assert other.rows("select operation_id, next_seconds from dtsched.step_operation()") == [(None, 0.25)]
    session.run("commit")
    assert step(session)[0] is None


def test_two_that_step_the_same_operation_meet_each_job_once(session: Session, open_session: OpenSession):
    session.insert(200)
    operation = create(session, "cancel", {"state": "ready"})

    def work() -> None:
        mine = open_session()
        for _ in range(60):
            step(mine, 7)

    in_parallel(work, work)
    finish(session, 7)
    assert seen(session, operation)["outcomes"] == {"cancelled": 200}


def test_claims_go_on_beside_an_operation_and_what_runs_meanwhile_fits_no_more(
    session: Session, worker: Worker, open_session: OpenSession
):
    jobs = session.insert(6)
    operation = create(session, "cancel", {"state": "ready"})
    session.run("begin")
    assert step(session, 3) == (operation, "running", 3)
    assert worker.claim() == jobs[:3]  # and waits for nothing
    session.run("commit")
    finish(session, 3)
    assert seen(session, operation)["outcomes"] == {"cancelled": 3}
    assert worker.finish(*jobs[:3]) == [worker.leases[job] for job in jobs[:3]]


def test_what_is_changed_between_the_search_and_the_action_is_left_alone(session: Session, worker: Worker):
    (job,) = failed(worker)
    session.run("select dtsched.retry(%s::bigint)", job)
    assert session.rows("select * from dtsched.act_on('delete', %s, null, null, %s)", Jsonb(FAILED), [job]) == [
        (job, "changed")
    ]
    assert session.state(job) == "ready"


def test_jobs_that_somebody_holds_are_tried_again_and_met_once_they_are_free(
    session: Session, open_session: OpenSession
):
    jobs = session.insert(3)
    operation = create(session, "cancel", {"state": "ready"})
    with held(open_session(), jobs[1]):
        step(session)
        assert seen(session, operation)["outcomes"] == {"cancelled": 2}
        assert session.value("select round from dtsched.operations") == 1
        finish_round = "update dtsched.operations set next_at = dtsched.now()"
        session.run(finish_round)
        step(session)
        assert session.value("select round from dtsched.operations") == 2
    finish(session)
    assert seen(session, operation) | {"progress": 1} == {
        "state": "completed", "matched": 3, "outcomes": {"cancelled": 3}, "progress": 1, "error": None,
    }  # fmt: skip


def test_jobs_that_stay_held_are_reported_as_busy(session: Session, open_session: OpenSession):
    jobs = session.insert(3)
    with held(open_session(), jobs[0], jobs[2]):
        assert done(session, "delete", {"queue": "default"}) == {"deleted": 1, "busy": 2}


def test_who_would_have_to_be_waited_for_makes_jobs_busy_and_stops_nothing_else(
    session: Session, open_session: OpenSession, worker: Worker
):
    job = worker.value("select dtsched.submit('echo', key => 'mine')")
    worker.claim()
    worker.finish_as("fail", job)
    holder = open_session()
    holder.run("begin")
    holder.run("select dtsched.submit('echo', key => 'mine', queue => 'other')")
    operation = create(session, "retry", FAILED)
    assert step(session) == (operation, "running", 1)
    holder.run("rollback")
    finish(session)
    assert seen(session, operation)["outcomes"] == {"retried": 1}


def test_children_whose_parents_have_their_turn_later_are_retried_in_the_end(session: Session, worker: Worker):
    (parent,) = failed(worker)
    children = [
        session.value("select dtsched.submit('echo', depends_on => %s)", [parent]) for _ in range(3)
    ]  # cancelled by their parent, which has failed
    assert {session.state(child) for child in children} == {"cancelled"}
    assert done(session, "retry", {"state": ["failed", "cancelled"]}, limit=1) == {"retried": 4}
    assert (session.state(parent), session.state(children[0])) == ("ready", "blocked")


def test_a_child_whose_parent_does_not_fit_is_reported_after_one_more_round(session: Session, worker: Worker):
    (parent,) = failed(worker)
    session.value("select dtsched.submit('echo', depends_on => %s, queue => 'mail')", [parent])
    operation = create(session, "retry", {"queue": "mail"})
    assert finish(session) == 2
    assert seen(session, operation)["outcomes"] == {"parents": 1}


def test_a_retry_that_comes_back_to_a_job_leaves_it_alone_when_it_has_moved_to_another_queue(
    session: Session, worker: Worker, open_session: OpenSession
):
    moved, stayed = failed(worker, 2)
    operation = create(session, "retry", FAILED, queues=["default"])
    with held(open_session(), moved, stayed):
        step(session)
    session.run("""select from dtsched.edit(array[%s::bigint], '{"queue": "other"}')""", moved)
    finish(session)
    assert seen(session, operation)["outcomes"] == {"changed": 1, "retried": 1}
    assert session.column("select state from dtsched.jobs order by id") == ["failed", "ready"]


def test_it_is_cancelled_at_the_next_step_and_what_it_did_stays(session: Session, open_session: OpenSession):
    session.insert(4)
    operation = create(session, "cancel", {"state": "ready"})
    session.run("begin")
    step(session, 2)
    other = open_session()
    cancelling = Started(lambda: other.value("select dtsched.cancel_operation(%s)", operation))
    observer = open_session()
    wait_until_blocked(observer, other)
    session.run("commit")
    cancelling.join()
    assert step(session) == (None, None, 0)
    assert seen(session, operation) | {"progress": None} == {
        "state": "cancelled", "matched": 2, "outcomes": {"cancelled": 2}, "progress": None, "error": None,
    }  # fmt: skip
    assert session.states() == {"cancelled": 2, "ready": 2}
    assert session.value("select dtsched.cancel_operation(%s)", operation) == "finished"
    assert session.value("select dtsched.cancel_operation(999)") == "missing"


def test_what_it_cannot_get_over_ends_it_as_failed(session: Session):
    session.insert()
    operation = create(session, "edit", {"state": "ready"}, changes={"priority": 9})
    session.run("""update dtsched.operations set wanted = '{"since": "nonsense"}'""")
    assert step(session) == (operation, "failed", 0)
    assert "nonsense" in seen(session, operation)["error"]
    assert step(session) == (None, None, 0)


def test_who_is_for_some_queues_meets_jobs_of_no_others(session: Session):
    mine, theirs = session.insert(2, queue="mine"), session.insert(2, queue="theirs")
    assert done(session, "cancel", {"state": "ready"}, queues=["mine"]) == {"cancelled": 2}
    assert done(session, "cancel", {"queue": ["theirs"]}, queues=["mine"]) == {}
    assert {session.state(job) for job in mine} == {"cancelled"}
    assert {session.state(job) for job in theirs} == {"ready"}
    seen_by = "select count(*) from dtsched.list_operations(p_queues => %s)"
    create(session, "cancel", FAILED)
    assert [session.value(seen_by, queues) for queues in (["mine", "other"], ["theirs"], None)] == [2, 0, 3]
    pending = create(session, "cancel", FAILED, queues=["mine"])
    assert session.value("select dtsched.cancel_operation(%s, '{theirs}')", pending) == "missing"
    assert seen(session, pending)["state"] == "pending"
    assert session.value("select dtsched.cancel_operation(%s, '{mine}')", pending) == "cancelled"


@pytest.mark.parametrize(
    ("action", "wanted", "more", "says"),
    [
        ("explode", FAILED, {}, 'action must be cancel, retry, delete, edit, run-now or reschedule, not "explode"'),
        ("cancel", {}, {}, "filter is empty, which would mean every job: say which ones, as in state:failed"),
        ("cancel", {"stat": 1}, {}, 'a filter has no member "stat"'),
        ("cancel", {"state": "tired"}, {}, "state must be one of"),
        ("edit", FAILED, {}, "say what to change"),
        ("edit", FAILED, {"changes": {"priority": 11}}, "priority must be"),
        ("cancel", FAILED, {"changes": {"priority": 9}}, "changes go with the action edit, not with cancel"),
        ("reschedule", FAILED, {}, "run_at must be a finite time from 1970 to 9999, not null"),
        ("reschedule", FAILED, {"run_at": "infinity"}, "run_at must be a finite time from 1970 to 9999, not infinity"),
        ("retry", FAILED, {"run_at": "2100-01-01Z"}, "run_at goes with the action reschedule, not with retry"),
    ],
)
def test_what_no_operation_may_be_is_refused(
    session: Session, action: str, wanted: dict[str, Any], more: dict[str, Any], says: str
):
    with pytest.raises(psycopg.Error, match=re.escape(says)) as refused:
        create(session, action, wanted, **more)
    assert refused.value.sqlstate == "JQ001"
    assert session.value("select count(*) from dtsched.operations") == 0


def test_one_that_waits_takes_its_turn_beside_a_long_one(session: Session):
    session.insert(10)
    long, short = create(session, "cancel", {"state": "ready"}), create(session, "cancel", {"queue": "none"})
    assert [step(session, 2)[0] for _ in range(4)] == [long, short, long, long]


def test_without_an_operation_there_is_nothing_to_come_back_for(session: Session):
    ask = "select operation_id, next_seconds from dtsched.step_operation()"
    assert session.rows(ask) == [(None, None)]
    operation = create(session, "cancel", {"state": ["failed"]})
    assert session.rows(ask) == [(operation, None)]


def test_whoever_promotes_is_told_of_an_operation_that_is_under_way(session: Session, open_worker: OpenWorker):
    chores = "select chores from dtsched.promote()"
    assert session.value(chores) == []
    operation = create(session, "cancel", {"queue": "none"})
    assert session.value(chores) == ["operations"]
    session.run("update dtsched.operations set next_at = dtsched.now() + interval '1 hour'")
    assert session.value(chores) == []
    session.value("select dtsched.cancel_operation(%s)", operation)
    session.run("update dtsched.operations set next_at = '-infinity'")
    assert session.value(chores) == []
