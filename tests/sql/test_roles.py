"""F57 and the roles of the schema: what each may do is as tests/sql/rights.txt has it, what it may not is refused in fact,
and what the owner does to the tables by hand is found by dtsched.check()."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg import sql

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker
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
        sql.SQL("create trigger mine after insert on {} for each row execute function suppress_redundant_updates_trigger()").format(its),
        sql.SQL("create rule mine as on insert to {} do instead nothing").format(its),
        sql.SQL("create table dtsched.mine partition of {} default").format(its),
        sql.SQL("create table own.mine ({} {} references {})").format(first, sql.SQL(cast("LiteralString", key_type)), its),
        sql.SQL("create table own.mine () inherits ({})").format(its),
        sql.SQL("create table own.mine (like {})").format(its),
        sql.SQL("create table own.mine (its {})").format(its),
        sql.SQL("grant select on {} to current_user").format(its),
        sql.SQL("drop table {}").format(its),
    ]  # fmt: skip


# Refused before anybody's rights are looked at: no primary key to refer to, a partition to inherit from, a job without a task.
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
