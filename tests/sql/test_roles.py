"""F57 and the roles of the schema: what each may do is as tests/sql/rights.txt has it, what it may not is refused, and
what the owner does to the tables by hand is found by dtsched.check()."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker
from tests.sql.test_state_edges import documented_edges, observed_edges
from tests.sql.test_state_matrix import STATES, a_job_that_is
from tests.support.rights import FILE, ROLES, rights

OURS = [role for role in ROLES if role != "public"]
RecordProperty = Any

SUBMITTED_BY_INSERT = {
    "queue", "task", "args", "priority", "run_at", "max_attempts", "timeout", "key", "limit_key", "depends_on", "tags",
    "key_until", "on_parent_failure", "workflow_id", "deadline",
}  # fmt: skip


def test_every_right_of_every_role_is_one_that_is_written_down(session: Session) -> None:
    found, cells = rights(session.connection)
    assert cells > 10_000
    assert found == FILE.read_text(), "look at what has changed, then: python -m tests.support.rights"


def test_nobody_may_create_or_touch_and_only_submitters_insert(session: Session) -> None:
    """What the file must never say, whatever else it is renewed to say."""
    lines = [line.split(maxsplit=3) for line in rights(session.connection)[0].splitlines() if line[:1] not in ("", "#")]
    assert not [line for line in lines if line[0] == "public"]
    kept = {(role, privilege, kind) for role, privilege, kind, _ in lines if kind != "function"}
    assert kept - {(role, "usage", "schema") for role in OURS} == {
        ("dtsched_submit", "insert", "column"),
        ("dtsched_submit", "select", "column"),
        ("dtsched_submit", "usage", "sequence"),
    }
    inserted = {name for _, privilege, kind, name in lines if (privilege, kind) == ("insert", "column")}
    assert inserted == {f"jobs.{name}" for name in SUBMITTED_BY_INSERT}


@contextlib.contextmanager
def acting_as(role: str, session: Session) -> Generator[None]:
    session.run("select set_config('role', %s, false)", role)
    try:
        yield
    finally:
        session.run("reset role")


def attempts_on(table: str, columns: list[str], key_type: str) -> list[sql.Composed]:
    """What somebody who may make temporary tables, and tables in a schema of its own, could do to a table of ours."""
    its = sql.Identifier("dtsched", table)
    first, last = sql.Identifier(columns[0]), sql.Identifier(columns[-1])
    its_key = sql.SQL(cast("LiteralString", key_type))
    return [
        sql.SQL("select * from {}").format(its),
        sql.SQL("select {} from {} limit 0").format(last, its),
        sql.SQL("insert into {} default values").format(its),
        sql.SQL("insert into {} ({}) values (null)").format(its, last),
        sql.SQL("update {} set {} = default").format(its, first),
        sql.SQL("update {} set {} = null where false").format(its, last),
        sql.SQL("delete from {}").format(its),
        sql.SQL("delete from {} where false").format(its),
        sql.SQL("truncate {}").format(its),
        sql.SQL("copy {} from stdin").format(its),
        sql.SQL("copy {} to stdout").format(its),
        sql.SQL("do 'begin lock table {} in access exclusive mode; end'").format(its),
        sql.SQL("alter table {} disable trigger all").format(its),
        sql.SQL("alter table {} owner to current_user").format(its),
        sql.SQL("create trigger mine after insert on {} execute function tsvector_update_trigger()").format(its),
        sql.SQL("create rule mine as on insert to {} do instead nothing").format(its),
        sql.SQL("create table dtsched.mine partition of {} default").format(its),
        sql.SQL("create table own.mine ({} {} references {})").format(first, its_key, its),
        sql.SQL("create table own.mine () inherits ({})").format(its),
        sql.SQL("create table own.mine (like {})").format(its),
        sql.SQL("create table own.mine (its {})").format(its),
        sql.SQL("grant select on {} to current_user").format(its),
        sql.SQL("drop table {}").format(its),
    ]  # fmt: skip


# Refused before anybody's rights are looked at: no primary key to refer to, a partition to inherit from, no task.
IMPOSSIBLE = ("42704", "42809", "42P16", "23502")


@pytest.mark.parametrize("role", OURS)
def test_f57_whatever_a_role_does_to_a_table_by_hand_is_refused(
    role: str, session: Session, record_property: RecordProperty
) -> None:
    session.insert()
    session.connection.execute(sql.SQL("create schema own authorization {}").format(sql.Identifier(role)))
    tables = session.rows("""
        select relname, array_agg(attname::text order by attnum),
            (array_agg(format_type(atttypid, atttypmod) order by attnum))[1]
        from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p')
        group by relname
        """)
    attempts = [attempt for table in tables for attempt in attempts_on(*table)]
    assert len(attempts) > 900
    outcomes: Counter[str] = Counter()
    with acting_as(role, session):
        for attempt in attempts:
            outcomes[outcome(attempt, session)] += 1
    assert set(outcomes) <= {"42501", *IMPOSSIBLE}
    assert outcomes["42501"] > 0.98 * len(attempts)
    record_property("refused", len(attempts))


def outcome(attempt: sql.Composed, session: Session) -> str:
    """The refusal's SQLSTATE, or the statement that was not refused."""
    try:
        session.connection.execute(attempt)
    except psycopg.Error as error:
        return error.sqlstate or str(error)
    return attempt.as_string()


def calls(session: Session) -> list[tuple[str, str, bool]]:
    """Every function: its signature, a call of it with nothing but nulls, and whether it is a trigger's."""
    return session.rows("""
        select oid::regprocedure::text,
            format('select dtsched.%I(%s)', proname,
                (select string_agg(format('null::%s', format_type(argument, null)), ', ' order by n)
                 from unnest(proargtypes::oid[]) with ordinality as argument (argument, n))),
            prorettype = 'trigger'::regtype
        from pg_proc
        where pronamespace = 'dtsched'::regnamespace
        """)


@pytest.mark.parametrize("role", OURS)
def test_f57_functions_that_are_not_a_roles_cannot_be_called_nor_made_its_triggers(role: str, session: Session) -> None:
    given = {line.split(maxsplit=3)[3] for line in FILE.read_text().splitlines() if line.startswith(f"{role} ")}
    names = {name.partition("(")[0] for name in given}
    session.connection.execute(sql.SQL("create schema own authorization {}").format(sql.Identifier(role)))
    refused = 0
    with acting_as(role, session):
        session.run("create table own.mine (id bigint, key text)")
        for signature, call, is_trigger in calls(session):
            if signature.removeprefix("dtsched.").partition("(")[0].strip('"') in names:
                continue
            name = signature.partition("(")[0]
            attempt = f"create trigger t after insert on own.mine execute function {name}()" if is_trigger else call
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
                session.connection.execute(attempt.encode())
            refused += 1
    assert refused > 150


MISUSE = ("22", "23", "JQ", "P0001")


@pytest.mark.parametrize("role", OURS)
def test_f57_functions_that_are_given_nothing_but_nulls_do_no_harm(role: str, worker: Worker) -> None:
    """Or do what they do without being told anything, such as looking for what is due."""
    for state in ("completed", "failed", "cancelled", "running", "blocked", "scheduled", "ready"):
        a_job_that_is(state, worker, {"key": None})
    unforeseen: list[tuple[str, str | None]] = []
    jobs = "select md5(string_agg(job::text, ',' order by id)) from dtsched.jobs job"
    before = worker.value(jobs)
    with acting_as(role, worker):
        for signature, call, _ in calls(worker):
            if worker.value("select has_function_privilege(%s, 'execute')", signature):
                try:
                    worker.connection.execute(call.encode())
                except psycopg.Error as error:
                    if not (error.sqlstate or "").startswith(MISUSE):
                        unforeseen.append((signature, error.sqlstate))
    assert unforeseen == []
    assert worker.value(jobs) == before
    assert worker.rows("select * from dtsched.check()") == []


def test_f57_a_lease_that_is_forged_ends_nothing(worker: Worker, open_worker: OpenWorker) -> None:
    other = open_worker()
    (job,) = other.insert()
    other.claim()
    theirs = other.leases[job]
    before = worker.rows("select * from dtsched.jobs")
    forged: list[tuple[UUID, int]] = [
        (worker.id, theirs),
        (uuid4(), theirs),
        (UUID(int=0), theirs),
        *((other.id, theirs + by) for by in (-1, 1, 2**31, 2**62)),
        (other.id, 0),
        (other.id, -1),
    ]
    with acting_as("dtsched_worker", worker):
        for who, lease in forged:
            others = Jsonb([{"lease": lease, "outcome": "fail", "error": {"type": "E", "message": "m"}}])
            assert worker.column("select dtsched.finish(%s, %s)", who, [lease]) == []
            assert worker.column("select dtsched.finish(%s, '{}', null, %s)", who, others) == []
            worker.run("select dtsched.release(%s, %s, %s)", who, [lease], [lease])
            assert worker.column("select dtsched.held(%s, %s)", who, [lease]) == []
            for statement in (
                b"select dtsched.complete(%s, %s, '1')",
                b"select dtsched.record_step(%s, %s, 'step', '1')",
                b"select dtsched.start_sleep(%s, %s, 'step', 60)",
                b"select dtsched.await_event(%s, %s, 'step', 'event', 60)",
            ):
                with pytest.raises(psycopg.Error) as refused:
                    worker.connection.execute(statement, [who, lease])
                assert refused.value.sqlstate in ("JQ005", "JQ006")
    assert worker.rows("select * from dtsched.jobs") == before
    assert other.finish(job) == [theirs]


def by_hand(state: str) -> list[str]:
    """What the owner might do to the only job there is."""
    return [
        *(f"update dtsched.jobs set state = '{to}' where queue = 'here'" for to in STATES if to != state),
        "delete from dtsched.jobs where queue = 'here'",
        "truncate dtsched.jobs",
    ]


@pytest.mark.parametrize("state", STATES)
def test_f57_what_the_owner_does_to_a_job_by_hand_is_found(state: str, worker: Worker) -> None:
    """By check(), or, where nothing else is kept of a job, by an edge in the trace that there is not."""
    worker.run("select dtsched.trace(true)")
    a_job_that_is(state, worker, {})
    allowed = documented_edges()
    for statement in by_hand(state):
        worker.run("begin")
        worker.connection.execute(statement.encode())
        found = worker.rows("select * from dtsched.check()") or observed_edges(worker) - allowed
        worker.run("rollback")
        assert found, statement
