"""Keys: one unfinished job each, whoever races for it, and free again the moment the job has ended."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker

SUBMIT = "select dtsched.submit('echo', key => 'k')"


def test_submitting_a_taken_key_returns_the_job_that_holds_it(session: Session):
    job = session.value(SUBMIT)
    assert session.value(SUBMIT) == job
    assert session.states() == {"ready": 1}


def test_a_plain_insert_of_a_taken_key_is_refused_and_names_the_key(session: Session):
    session.run(SUBMIT)
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        session.run("insert into dtsched.jobs (task, key) values ('echo', 'k')")
    assert refusal.value.diag.message_detail == "Key (key)=(k) already exists."
    assert session.states() == {"ready": 1}


def test_the_same_key_twice_in_one_insert_is_refused(session: Session):
    with pytest.raises(psycopg.errors.UniqueViolation):
        session.run("insert into dtsched.jobs (task, key) values ('echo', 'k'), ('echo', 'k')")
    assert session.states() == {}


def end_completed(worker: Worker, job: int) -> None:
    worker.claim()
    worker.finish(job)


def end_failed(worker: Worker, job: int) -> None:
    worker.claim()
    worker.finish_as("fail", job)


def end_crashed(worker: Worker, job: int) -> None:
    for _ in range(3):
        worker.claim()
        worker.release(started=[job])


def end_cancelled_before_it_started(worker: Worker, job: int) -> None:
    worker.run("select dtsched.cancel(%s)", job)


def end_cancelled_by_its_handler(worker: Worker, job: int) -> None:
    worker.claim()
    worker.finish_as("cancel", job)


def end_cancelled_while_it_ran(worker: Worker, job: int) -> None:
    worker.claim()
    worker.run("select dtsched.cancel(%s)", job)
    worker.finish(job)


@pytest.mark.parametrize(
    "end",
    [
        end_completed,
        end_failed,
        end_crashed,
        end_cancelled_before_it_started,
        end_cancelled_by_its_handler,
        end_cancelled_while_it_ran,
    ],
)
def test_a_key_is_free_once_its_job_has_ended(worker: Worker, end: object):
    assert callable(end)
    job = worker.value(SUBMIT)
    end(worker, job)
    assert worker.state(job) in ("completed", "failed", "cancelled")
    assert worker.value(SUBMIT) != job


def test_a_key_is_free_once_its_job_is_cancelled_with_its_parent(worker: Worker):
    (parent,) = worker.insert()
    job = worker.value("select dtsched.submit('echo', key => 'k', depends_on => %s)", [parent])
    worker.run("select dtsched.cancel(%s)", parent)
    assert worker.state(job) == "cancelled"
    assert worker.value(SUBMIT) != job


@pytest.mark.parametrize("outcome", ["retry", "snooze"])
def test_a_key_is_kept_while_its_job_is_tried_again(worker: Worker, outcome: str):
    job = worker.value(SUBMIT)
    worker.claim()
    worker.finish_as(outcome, job, delay=60)
    assert worker.value(SUBMIT) == job


def test_fifty_submitters_of_ten_keys_agree_on_ten_jobs(database: str, session: Session):
    batches = 4
    winners: dict[str, set[int]] = defaultdict(set)
    errors: list[Exception] = []
    start = threading.Barrier(50)

    def submit(seed: int) -> None:
        keys = [f"key {(seed * 7 + n * 3) % 10}" for n in range(10)]
        with contextlib.closing(Session(database)) as submitter:
            start.wait()
            for _ in range(batches):
                try:
                    ids = submitter.column(
                        "select id from dtsched.submit_many(%s)", Jsonb([{"task": "echo", "key": key} for key in keys])
                    )
                except psycopg.Error as error:
                    errors.append(error)
                    return
                for key, job in zip(keys, ids, strict=True):
                    winners[key].add(job)

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {key: len(jobs) for key, jobs in winners.items()} == {f"key {n}": 1 for n in range(10)}
    assert session.states() == {"ready": 10}


def test_submitters_and_finishers_of_the_same_keys_never_deadlock_nor_share_a_key(
    database: str, open_worker: OpenWorker
):
    """Each key is held by one unfinished job at any time, although its jobs end while others submit it anew."""
    stop = threading.Event()
    errors: list[Exception] = []

    def submit(seed: int) -> None:
        with contextlib.closing(Session(database)) as submitter:
            while not stop.is_set():
                keys = [f"key {(seed + n) % 10}" for n in range(10)]
                try:
                    submitter.rows("select dtsched.submit_many(%s)", Jsonb([{"task": "echo", "key": k} for k in keys]))
                except psycopg.Error as error:
                    errors.append(error)

    submitters = [threading.Thread(target=submit, args=(seed * 3,)) for seed in range(4)]
    for thread in submitters:
        thread.start()
    worker = open_worker()
    finished = 0
    while finished < 500:
        jobs = worker.claim(20)
        finished += len(worker.finish(*jobs)) if jobs else 0
    stop.set()
    for thread in submitters:
        thread.join()
    assert errors == []
    assert (
        worker.value("""
        select count(*) from (
            select key from dtsched.jobs where state in ('ready', 'running') group by key having count(*) > 1) shared
        """)
        == 0
    )


def test_a_submitter_waits_for_a_rival_of_the_same_key_and_then_knows_its_job(
    open_session: OpenSession, session: Session
):
    rival = open_session()
    rival.run("begin")
    job = rival.value(SUBMIT)
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(session.value(SUBMIT)))
    waiting.start()
    rival.run("commit")
    waiting.join()
    assert found == [job]


def test_a_submitter_gets_the_key_that_a_rival_rolled_back(open_session: OpenSession, session: Session):
    rival = open_session()
    rival.run("begin")
    rival_job = rival.value(SUBMIT)
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(session.value(SUBMIT)))
    waiting.start()
    rival.run("rollback")
    waiting.join()
    assert found != [rival_job]
    assert rival.states() == {"ready": 1}


def submit_keys(session: Session, *keys: str) -> list[int]:
    return session.column(
        "select id from dtsched.submit_many(%s)", Jsonb([{"task": "echo", "key": key} for key in keys])
    )


def test_a_submitter_whose_taken_key_went_free_lets_its_others_go_and_starts_over(
    open_session: OpenSession, worker: Worker
):
    """Going back for key a while it has key b, it would deadlock with one that has a and goes on to b."""
    of_b, of_aa, first, second = (open_session() for _ in range(4))
    submit_keys(worker, "a")
    ended = worker.claim()
    for holder, key in ((of_b, "b"), (of_aa, "aa")):
        holder.run("begin")
        submit_keys(holder, key)
    found: list[int] = []
    submitting_first = Started(lambda: found.extend(submit_keys(first, "a", "b")))
    wait_until_blocked(worker, first)  # has seen that a is taken
    worker.finish(*ended)
    submitted: list[int] = []
    submitting_second = Started(lambda: submitted.extend(submit_keys(second, "a", "aa", "b")))
    wait_until_blocked(worker, second)  # has a
    of_b.run("rollback")
    wait_until_blocked(worker, first)
    of_aa.run("rollback")
    submitting_second.join()
    submitting_first.join()
    assert found == [submitted[0], submitted[2]]


def test_under_repeatable_read_a_key_whose_job_has_ended_since_the_snapshot_goes_to_the_new_job(
    session: Session, worker: Worker
):
    old = submit_keys(worker, "k")
    ended = worker.claim()
    session.run("begin isolation level repeatable read")
    session.run("select count(*) from dtsched.jobs")
    worker.finish(*ended)
    new, other = submit_keys(session, "k", "l")
    session.run("commit")
    assert [new, other] != [*old, other]
    assert submit_keys(worker, "k") == [new]
    assert worker.states() == {"completed": 1, "ready": 2}


def test_of_a_free_key_a_held_one_and_one_that_is_no_longer_held_two_are_taken(session: Session):
    (held,) = submit_keys(session, "held")
    session.run("insert into dtsched.keys (key, job_id, until) values ('over', 0, dtsched.now() - interval '1 second')")
    free, of_held, over = submit_keys(session, "free", "held", "over")
    assert of_held == held
    assert len({held, free, over}) == 3
    assert submit_keys(session, "over", "held", "free") == [over, held, free]


def test_a_job_cancelled_while_it_is_submitted_leaves_no_key(session: Session, worker: Worker):
    """With constraints immediate, children are linked before new jobs are routed."""
    (parent,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", parent)
    session.run("begin")
    session.run("set constraints all immediate")
    job = session.value("select dtsched.submit('echo', key => 'k', depends_on => %s)", [parent])
    session.run("commit")
    assert session.state(job) == "cancelled"
    (again,) = submit_keys(session, "k")
    assert session.state(again) == "ready"
