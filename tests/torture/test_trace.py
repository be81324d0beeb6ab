"""While traced, every lease that comes or goes is written down, and every change of a worker's expiry; else nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest

from tests.sql.sessions import Session, Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database, lease="1 hour")) as worker:
        worker.run("select dtsched.trace(true)")
        yield worker


def lease_events(session: Session) -> list[tuple[str, int, str | None]]:
    events = session.rows("select kind, job_id, who from dtsched.lease_events order by id")
    return [(kind, job, who) for kind, job, who in events]


def worker_events(session: Session) -> list[tuple[str, str | None]]:
    return [(kind, who) for kind, who in session.rows("select kind, who from dtsched.worker_events order by id")]


def test_a_lease_that_is_granted_and_finished_leaves_two_events(worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.finish(job)

    assert lease_events(worker) == [("granted", job, "claim"), ("released", job, "finish")]
    assert worker.column("select distinct worker_expires_at > at from dtsched.lease_events") == [True]


def test_a_release_says_which_function_was_called_however_deep_it_happened(worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.release(started=[job])
    worker.claim()
    worker.value("select dtsched.deregister_worker(%s)", worker.id)

    assert [who for kind, _, who in lease_events(worker) if kind == "released"] == ["release", "deregister_worker"]


@pytest.mark.parametrize(
    "line",
    [
        "PL/pgSQL function dtsched.{}(uuid,bigint[]) line 12 at PERFORM",
        "PL/pgSQL-Funktion {}(uuid) Zeile 3 bei SQL-Anweisung",
        "fonction PL/pgSQL dtsched.{}(uuid), ligne 3, à instruction SQL",
        "PL/pgSQL関数{}(uuid)の3行目 - SQL文",
    ],
)
def test_the_outermost_function_is_found_in_any_language(worker: Worker, line: str) -> None:
    inner = 'SQL statement "select dtsched.claim(1)"'
    stack = "\n".join([line.format("record_leases"), inner, line.format("finish_2"), inner, line.format("work")])

    assert worker.value("select dtsched.called(%s)", stack) == "work"
    assert worker.value("select dtsched.called(%s)", line.format("record_workers") + "\n" + inner) is None


def test_a_lease_that_rescue_takes_shows_that_its_worker_was_lost(worker: Worker, database: str) -> None:
    (job,) = worker.insert()
    worker.claim()
    with contextlib.closing(Worker(database, lease="1 s")) as witness:
        worker.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = %s", worker.id)
        witness.run("update dtsched.workers set unbroken_since = '2020-01-01' where id = %s", witness.id)
        witness.rescue()

    assert lease_events(worker)[-1] == ("released", job, "rescue")
    ((expired, lost),) = worker.rows(
        "select worker_expires_at < at, worker_lost_at is not null from dtsched.lease_events where kind = 'released'"
    )
    assert (expired, lost) == (True, True)
    assert [event for event in worker_events(worker) if event[0] in ("lost", "gone")] == [("lost", "rescue")]


def test_a_lease_that_somebody_deletes_by_hand_names_no_function(worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.run("begin")
    worker.run("delete from dtsched.leases")

    assert lease_events(worker)[-1] == ("released", job, None)
    worker.run("rollback")


def test_the_life_of_a_worker_is_written_down(worker: Worker, database: str) -> None:
    with contextlib.closing(Worker(database, lease="2 s")) as other:
        other.rows("select * from dtsched.renew(%s)", other.id)
        other.value("select dtsched.deregister_worker(%s)", other.id)

    assert worker_events(worker) == [
        ("registered", "register_worker"),
        ("renewed", "renew"),
        ("gone", "deregister_worker"),
    ]


def test_the_events_of_all_three_tables_are_in_one_order(worker: Worker) -> None:
    worker.insert()
    worker.finish(*worker.claim())

    happened = worker.column("""
        select what from (
            select id, 'job ' || to_state as what from dtsched.job_events
            union all select id, 'lease ' || kind from dtsched.lease_events
        ) event order by id""")
    assert happened[0] == "job ready"
    assert happened[-2:] == ["lease released", "job completed"]


def test_without_the_trace_there_is_no_trigger_and_no_event(worker: Worker) -> None:
    worker.run("select dtsched.trace(false)")
    worker.insert()
    worker.finish(*worker.claim())

    assert worker.value("select count(*) from dtsched.lease_events") == 0
    assert worker.value("select count(*) from dtsched.worker_events") == 0
    assert worker.column("select tgname from pg_trigger where tgname ~ '^trace' and not tgisinternal") == []
