"""Laying the schema: again without effect, by whoever owns the database, and taking it away."""

from __future__ import annotations

import contextlib
from importlib.resources import files
from pathlib import Path
from typing import LiteralString, cast

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dtsched import migrations
from dtsched.embedded import Cluster
from tests.sql.sessions import Session, Worker
from tests.support.servers import Databases
from tests.support.snapshot import snapshot

ROLES = "select rolname from pg_roles where rolname like 'dtsched\\_%' and not rolcanlogin"


def test_migrating_up_again_has_no_effect(database: str):
    with contextlib.closing(Session(database)) as session:
        session.insert(3)
        contents = "select (select array_agg(id) from dtsched.jobs), (select at from dtsched.installed)"
        before = session.rows(contents), snapshot(database)
        assert migrations.up(database).current
        assert (session.rows(contents), snapshot(database)) == before


def test_migrating_up_lays_functions_that_were_changed_anew(database: str):
    laid = snapshot(database)
    with contextlib.closing(Session(database)) as session:
        session.run("drop function dtsched.has_ready(text[])")
        session.run("drop trigger route_new_jobs on dtsched.jobs")
        session.run("grant execute on all functions in schema dtsched to public")
        session.run("update dtsched.installed set functions_digest = 'of another version'")
    migrations.up(database)
    assert snapshot(database) == laid


def test_a_limit_that_is_being_set_while_0007_is_laid_counts_what_runs_uncounted(empty_database: str):
    lay_up_to(empty_database, "0006")
    with (
        contextlib.closing(Session(empty_database)) as setting,
        contextlib.closing(Session(empty_database)) as claiming,
    ):
        claiming.run(
            "insert into dtsched.leases (id, job_id, worker_id, queue, counted)"
            " select id, id, gen_random_uuid(), queue, false from (values (7, 'mail'), (8, 'post')) as made (id, queue)"
        )
        setting.run("begin")
        setting.run("""insert into dtsched.queues (name, settings) values ('mail', '{"limit": 1}')""")
        waited: list[str] = []

        def commit(why: str) -> None:
            waited.append(why)
            if len(waited) == 1:
                setting.run("commit")

        assert migrations.up(empty_database, tell=commit).current
        assert waited
        assert claiming.rows("select name, uncounted from dtsched.queues") == [("mail", [7])]


def lay_up_to(dsn: str, revision: str) -> None:
    """The tables as they were, without any function."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("dtsched.schema")))))
    with engine.begin() as connection:
        connection.exec_driver_sql("create schema dtsched")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_migrating_down_leaves_nothing_and_up_lays_it_again(database: str):
    laid = snapshot(database)
    migrations.down(database)
    with contextlib.closing(Session(database)) as session:
        assert session.value("select to_regnamespace('dtsched')") is None
    migrations.up(database)
    assert snapshot(database) == laid


def test_the_script_for_psql_lays_the_same(database: str, empty_database: str):
    with contextlib.closing(Session(empty_database)) as session:
        session.connection.execute(cast("LiteralString", migrations.sql()))
    assert snapshot(empty_database) == snapshot(database)


def test_an_owner_who_may_not_create_roles_is_warned_and_can_use_the_schema(empty_cluster: Cluster):
    """On a server of its own: roles are cluster-wide, and elsewhere they are there already."""
    with contextlib.closing(Session(empty_cluster.dsn)) as superuser:
        superuser.run("create role plain login password 'plain'")
        superuser.run("create database by_python owner plain")
        superuser.run("create database by_psql owner plain")
        superuser.run("create database by_superuser")
    by_python = make_conninfo(empty_cluster.dsn, user="plain", password="plain", dbname="by_python")
    assert migrations.up(by_python).current
    with contextlib.closing(Worker(by_python)) as worker:
        assert worker.column(ROLES) == []
        (job,) = worker.insert()
        assert worker.claim() == [job]
        assert worker.finish(job)

    by_psql = make_conninfo(empty_cluster.dsn, user="plain", password="plain", dbname="by_psql")
    assert [warning.partition(" (")[0] for warning in warnings_of_the_script(by_psql)] == [
        f"role dtsched_{role} is missing and may not be created here"
        for role in ("submit", "worker", "monitor", "reader", "operator", "api")
    ]

    migrations.up(make_conninfo(empty_cluster.dsn, dbname="by_superuser"))
    with contextlib.closing(Session(by_python)) as session:
        assert len(session.column(ROLES)) == 6


def warnings_of_the_script(dsn: str) -> list[str]:
    warnings: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "")

    with contextlib.closing(Session(dsn)) as session:
        session.connection.add_notice_handler(note)
        session.connection.execute(cast("LiteralString", migrations.sql()))
    return warnings


def test_a_database_of_any_encoding_will_do(server: str, databases: Databases):
    name = sql.Identifier("dtsched_test_encoding")
    with contextlib.closing(Session(server)) as session:
        session.connection.execute(
            sql.SQL("create database {} encoding 'SQL_ASCII' locale 'C' template template0").format(name)
        )
        try:
            assert migrations.up(databases.dsn("dtsched_test_encoding")).current
        finally:
            session.connection.execute(sql.SQL("drop database {} with (force)").format(name))
