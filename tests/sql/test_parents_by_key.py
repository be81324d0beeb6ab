"""Jobs that are submitted with keys among depends_on: which job each key stands for, and what is refused."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker


def submit_many(session: Session, *jobs: dict[str, Any]) -> list[int]:
    return session.column("select id from dtsched.submit_many(%s)", Jsonb([{"task": "echo", **job} for job in jobs]))


def parents_of(session: Session, job: int) -> list[int]:
    return session.value("select depends_on from dtsched.jobs where id = %s", job)


def refused(session: Session, *jobs: dict[str, Any]) -> str:
    """The sentence; nothing may be left of the batch."""
    with pytest.raises(psycopg.Error) as refusal:
        submit_many(session, *jobs)
    assert (refusal.value.sqlstate, refusal.value.diag.column_name) == ("JQ001", "depends_on")
    assert session.value("select count(*) from dtsched.jobs where key is distinct from 'held'") == 0
    return refusal.value.diag.message_primary or ""


def test_a_graph_is_submitted_in_one_batch_and_runs_in_its_order(session: Session, worker: Worker) -> None:
    report, load, extract = submit_many(
        session,
        {"key": "report", "depends_on": ["load", "extract"]},
        {"key": "load", "depends_on": ["extract"]},
        {"key": "extract"},
    )
    assert parents_of(session, report) == [load, extract]
    assert parents_of(session, load) == [extract]
    for job in (extract, load, report):
        assert worker.claim() == [job]
        worker.finish(job)


def test_ids_and_keys_may_stand_together_in_any_order(session: Session, worker: Worker) -> None:
    one, held = submit_many(session, {}, {"key": "held"})
    mine, child = submit_many(session, {"key": "mine"}, {"depends_on": ["held", one, "mine", "held"]})
    assert parents_of(session, child) == [held, one, mine, held]


def test_a_key_of_digits_is_a_key(session: Session) -> None:
    (first,) = submit_many(session, {"key": "7000"})
    (child,) = submit_many(session, {"depends_on": ["7000"]})
    assert parents_of(session, child) == [first]


def test_a_key_of_the_batch_that_is_held_stands_for_its_holder(session: Session) -> None:
    (holder,) = submit_many(session, {"key": "held"})
    kept, child = submit_many(session, {"key": "held", "depends_on": ["held"]}, {"depends_on": ["held"]})
    assert (kept, parents_of(session, child)) == (holder, [holder])


def test_a_key_that_an_ended_job_had_stands_for_nobody(session: Session, worker: Worker) -> None:
    (job,) = submit_many(session, {"key": "held"})
    worker.claim()
    worker.finish(job)
    assert refused(session, {"depends_on": ["held"]}) == (
        'depends_on names the key "held", which no unfinished job has: give the id of the job'
    )


def test_the_newer_holder_counts_in_a_snapshot_that_still_shows_the_older_one(
    open_session: OpenSession, worker: Worker
) -> None:
    session = open_session()
    (older,) = submit_many(session, {"key": "k"})
    session.run("begin isolation level repeatable read")
    session.run("select count(*) from dtsched.jobs")
    worker.claim()
    worker.finish(older)
    newer, child = submit_many(session, {"key": "k"}, {"depends_on": ["k"]})
    assert parents_of(session, child) == [newer]
    session.run("rollback")


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ([{}, {"depends_on": ["a"]}, {"depends_on": ["b"]}], 'job 2: depends_on names the key "a", which no'),
        ([{"key": "a", "depends_on": ["a"]}], 'circle, in which jobs wait for each other for ever: "a"'),
        ([{}, {"key": "a", "depends_on": ["a"]}], "job 2: depends_on goes in a circle"),
        ([{"key": "a", "depends_on": ["b"]}, {"key": "b", "depends_on": ["a"]}], 'for ever: "a", "b"'),
        (
            [
                {"key": "z", "depends_on": ["a"]},
                {"key": "a", "depends_on": ["b", "e"]},
                {"key": "b", "depends_on": ["c"]},
                {"key": "c", "depends_on": ["d", "e"]},
                {"key": "d", "depends_on": ["a"]},
                {"key": "e"},
            ],
            "job 2: depends_on goes in a circle",
        ),
        ([{"key": "a", "depends_on": ["b"]}, {"key": "a"}, {"key": "b", "depends_on": ["a"]}], "job 1: depends_on"),
        ([{"depends_on": [""]}], "depends_on must be at most 100000 job ids and keys"),
        ([{"depends_on": ["k" * 256]}], "depends_on must be at most 100000 job ids and keys"),
        ([{"depends_on": ["a\n"]}], "depends_on must be at most 100000 job ids and keys"),
    ],
)  # fmt: skip
def test_what_could_never_run_is_refused(session: Session, jobs: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        submit_many(session, *jobs)
    assert refusal.value.sqlstate == "JQ001"
    assert says in (refusal.value.diag.message_primary or "")
    assert session.rows("select from dtsched.jobs union all select from dtsched.keys") == []


def test_a_circle_of_four_is_named_by_three_of_them(session: Session) -> None:
    jobs = [{"key": f"k{n}", "depends_on": [f"k{(n + 1) % 4}"]} for n in range(4)]
    assert refused(session, *jobs) == (
        'job 1: depends_on goes in a circle, in which jobs wait for each other for ever: "k0", "k1", "k2" and 1 more'
    )


def test_a_job_that_is_not_made_because_its_key_is_held_closes_no_circle(session: Session) -> None:
    (holder,) = submit_many(session, {"key": "held"})
    _, child = submit_many(session, {"key": "held", "depends_on": ["b"]}, {"key": "b", "depends_on": ["held"]})
    assert parents_of(session, child) == [holder]


@pytest.mark.parametrize("step", [1, -1])
def test_a_chain_of_5000_is_submitted_either_way_round(session: Session, step: int) -> None:
    count = 5000
    jobs = [{"key": str(n), "depends_on": [str(n - step)] if 0 <= n - step < count else []} for n in range(count)]
    assert len(submit_many(session, *jobs)) == count
    assert session.states() == {"ready": 1, "blocked": count - 1}
