"""Where two features meet: what one of them drops, moves or locks, the other must not lose."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker


def set_limit(session: Session, key: str, concurrency: int | None = None, rate: float | None = None) -> None:
    session.run("select dtsched.set_limit(%s, %s, %s)", key, concurrency, rate)


def edit(session: Session, job: int, **changes: object) -> str:
    return session.value("select dtsched.edit(%s, %s)", job, Jsonb(changes))


def test_a_job_whose_limit_key_is_edited_while_a_claim_has_a_seat_for_it_gets_no_seat_of_the_new_key(
    session: Session, open_session: OpenSession, open_worker: OpenWorker, worker: Worker
):
    set_limit(worker, "full", 0)
    job, next_in_line = worker.insert_limited("acme", 2)
    # the claim stops when it has taken the job out of parked, and has not locked its row yet
    session.run("""
        create function public.stop() returns trigger language plpgsql as $$
        begin
            perform pg_advisory_xact_lock(77) where current_setting('test.worker', true) <> '';
            return null;
        end $$
        """)
    session.run("create trigger stop after delete on dtsched.parked for each statement execute function public.stop()")
    editor, gate = open_session(), open_session()
    gate.run("select pg_advisory_lock(77)")
    editor.run("begin")
    claim = Started(worker.claim)
    wait_until_blocked(session, worker)
    assert edit(editor, job, limit_key="full") == "edited"
    editor.run("commit")
    gate.run("select pg_advisory_unlock(77)")
    claim.join()
    assert session.value("select count(*) from dtsched.leases where limit_key = 'full'") == 0
    assert session.state(job) == "ready"
    assert list(worker.leases) == [] and worker.claim() == [next_in_line]
