"""Fifty submitters fight for ten keys, while workers run what they submit: nothing deadlocks, and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

SUBMITTERS = 50
KEYS = 10
ROUNDS = 2


def work_until(stop: threading.Event, worker: Worker) -> None:
    """Completes, fails, snoozes and hands back what it claims, and goes on until it is told to stop."""
    turn = 0
    while not stop.is_set():
        jobs = worker.claim(5)
        turn += 1
        match jobs and turn % 4:
            case 0:
                worker.release(started=jobs)
            case 1:
                worker.finish_as("snooze", *jobs)
            case 2:
                worker.finish_as("fail", *jobs)
            case 3:
                worker.finish(*jobs)
            case _:
                pass


@pytest.mark.parametrize("mode", ["keep", "replace", "reject", "supersede"])
def test_fifty_submitters_of_ten_keys_beside_workers_lose_nothing_and_share_no_key(
    mode: str, database: str, open_worker: OpenWorker, session: Session
):
    made: list[int] = []
    refused: list[str | None] = []
    outcomes: set[str] = set()

    def submit(seed: int) -> None:
        with contextlib.closing(Session(database)) as submitter:
            for n in range(ROUNDS):
                keys = [f"key {(seed * 7 + n + each * 3) % KEYS}" for each in range(1 if n % 3 else KEYS)]
                jobs: list[dict[str, Any]] = [
                    {"task": "echo", "key": key, "on_conflict": mode, "args": {"n": n}} for key in keys
                ]
                try:
                    rows = submitter.rows("select id, outcome from dtsched.submit_many(%s)", Jsonb(jobs))
                except psycopg.Error as error:
                    refused.append(error.sqlstate)
                    continue
                outcomes.update(outcome for _, outcome in rows)
                made.extend(job for job, outcome in rows if outcome in ("created", "superseded"))

    stop = threading.Event()
    workers = [open_worker() for _ in range(2)]
    working = [Started(lambda worker=worker: work_until(stop, worker)) for worker in workers]
    try:
        in_parallel(*[lambda seed=seed: submit(seed) for seed in range(SUBMITTERS)])
    finally:
        stop.set()
        for one in working:
            one.join()
    assert session.rows("select * from dtsched.check()") == []
    assert set(refused) <= ({"JQ003"} if mode == "reject" else set())
    assert (
        outcomes
        <= {
            "keep": {"created", "kept"},
            "replace": {"created", "replaced", "superseded"},
            "reject": {"created"},
            "supersede": {"created", "superseded", "replaced"},
        }[mode]
    )
    assert sorted(made) == session.column("select id from dtsched.jobs order by id")
    for worker in workers:
        worker.finish(*worker.leases)  # release() leaves alone what somebody holds
        worker.finish(*worker.drain())
    assert set(session.states()) <= {"completed", "failed", "cancelled"}
    assert session.column("select key from dtsched.keys") == []


MODES = ["replace", "supersede"]


def submit_in(session: Session, mode: str, *keys: str, **fields: Any) -> list[int]:
    return session.column(
        "select id from dtsched.submit_many(%s)",
        Jsonb([{"task": "echo", "key": key, "on_conflict": mode, **fields} for key in keys]),
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_submitter_waits_for_who_finishes_the_holder_and_then_makes_a_new_job(
    mode: str, open_session: OpenSession, session: Session, worker: Worker
):
    (old,) = submit_in(session, mode, "k")
    worker.claim()
    worker.run("begin")
    worker.finish(old)
    found: list[int] = []
    submitting = Started(lambda: found.extend(submit_in(session, mode, "a", "k")))
    wait_until_blocked(open_session(), session)
    worker.run("commit")
    submitting.join()
    assert found[1] != old
    assert session.states() == {"completed": 1, "ready": 2}


@pytest.mark.parametrize("mode", MODES)
def test_whoever_holds_the_row_of_the_holder_may_submit_a_key_that_the_submitter_has_taken(
    mode: str, open_session: OpenSession, session: Session, worker: Worker
):
    """The submitter has key a and waits for the holder of k; who has that holder's row comes to want a."""
    (old,) = submit_in(session, mode, "k")
    worker.claim()
    worker.run("begin")
    worker.run("select from dtsched.jobs where id = %s for no key update", old)
    submitting = Started(lambda: submit_in(session, mode, "a", "k"))
    wait_until_blocked(open_session(), session)
    submit_in(worker, mode, "a")
    worker.run("commit")
    submitting.join()
    assert session.value("select count(*) from dtsched.keys") == 2


@pytest.mark.parametrize("mode", MODES)
def test_taking_the_key_of_a_blocked_job_beside_the_end_of_its_parent_which_another_job_is_to_depend_on(
    mode: str, open_session: OpenSession, session: Session, worker: Worker
):
    """Who finishes the parent holds it and waits for the blocked job; the new child is linked to it at the commit."""
    (parent,) = worker.insert()
    (old,) = submit_in(session, "supersede", "k", depends_on=[parent])
    assert worker.claim() == [parent]
    session.run("begin")
    new, child = session.column(
        "select id from dtsched.submit_many(%s)",
        Jsonb([{"task": "echo", "key": "k", "on_conflict": mode}, {"task": "child", "depends_on": [parent]}]),
    )
    finishing = Started(lambda: worker.finish(parent))
    wait_until_blocked(open_session(), worker)
    session.run("commit")
    finishing.join()
    assert worker.state(old) == ("ready" if mode == "replace" else "cancelled")
    assert sorted(worker.claim()) == [new, child]


def test_a_submission_gives_up_when_the_holders_row_is_held_for_longer_than_its_lock_timeout(
    session: Session, worker: Worker
):
    (old,) = submit_in(session, "replace", "k")
    worker.run("begin")
    worker.run("select from dtsched.jobs where id = %s for no key update", old)
    session.run("set lock_timeout = '100ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable, match="somebody holds its row: try again"):
        submit_in(session, "replace", "k")
    worker.run("rollback")
    assert submit_in(session, "replace", "k") == [old]


@pytest.mark.parametrize("mode", MODES)
def test_one_that_was_claimed_or_superseded_before_its_row_was_had_is_looked_at_again(
    mode: str, open_session: OpenSession, session: Session, worker: Worker
):
    (old,) = submit_in(session, mode, "k")
    worker.run("begin")
    assert worker.claim() == [old]
    found: list[int] = []
    submitting = Started(lambda: found.extend(submit_in(session, mode, "k")))
    wait_until_blocked(open_session(), session)
    worker.run("commit")
    submitting.join()
    assert found != [old]
    assert session.states() == {"running": 1, "ready": 1}
    assert session.rows("select gave_up_key, cancel_requested_at is not null from dtsched.leases") == [
        (True, mode == "supersede")
    ]
