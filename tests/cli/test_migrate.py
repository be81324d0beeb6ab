"""`dtsched migrate` on databases in each condition."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dtsched import migrations
from dtsched.cli.psql import find_psql, for_libpq
from dtsched.errors import SchemaInUse
from tests.cli.command import environment, run, start
from tests.cli.conftest import Cli
from tests.support.servers import temporary_cluster

OF_ANOTHER_VERSION = "update dtsched.installed set functions_digest = 'of another version'"
WAITING = """
    select from pg_locks lock join pg_stat_activity session using (pid)
    where session.application_name = %s and session.datname = current_database() and not lock.granted"""


def test_up_lays_the_schema_once_and_then_has_no_effect(empty_database: str) -> None:
    env = {"DTSCHED_DSN": empty_database}
    before = run("migrate", "status", "--json", env=env)
    assert (before.code, before.json["current"]) == (7, False)
    assert run("migrate", "up", "--json", env=env).json["current"] is True
    assert run("submit", "echo", env=env).code == 0
    assert run("migrate", "up", env=env).code == 0
    assert run("migrate", "status", env=env).code == 0
    assert len(run("list", "--json", env=env).json["jobs"]) == 1


def test_down_wants_a_yes_and_then_removes_everything(cli: Cli, database: str) -> None:
    assert cli("migrate", "down").code == 2
    assert cli("list").code == 0
    assert cli("migrate", "down", "--yes").code == 0
    assert cli("list").code == 7
    with psycopg.connect(database) as connection:
        assert connection.execute("select to_regnamespace('dtsched')").fetchone() == (None,)


def test_up_lets_others_through_while_an_open_transaction_uses_the_tables(empty_database: str) -> None:
    env = {"DTSCHED_DSN": empty_database}
    assert run("migrate", "up", env=env).code == 0
    with (
        psycopg.connect(empty_database, application_name="the long report") as reader,
        psycopg.connect(empty_database, autocommit=True) as submitter,
    ):
        submitter.execute(OF_ANOTHER_VERSION)
        reader.execute("insert into dtsched.jobs (task) values ('echo')")
        submitter.execute("set statement_timeout = '15s'")
        migrating = start("migrate", "up", "--wait", "3s", env=env)
        try:
            while migrating.poll() is None:
                submitter.execute("insert into dtsched.jobs (task) values ('echo')")
        finally:
            migrating.kill()
            _, said = migrating.communicate()
        assert migrating.returncode == 1
        assert "waiting for that to end" in said
        assert said.count("the long report") > 1
        assert run("migrate", "status", env=env).code == 7
    assert run("migrate", "up", env=env).code == 0


def test_functions_are_laid_beside_a_transaction_that_has_read_everything(empty_database: str) -> None:
    migrations.up(empty_database)
    with psycopg.connect(empty_database) as dump, psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(OF_ANOTHER_VERSION)
        tables = connection.execute(
            "select string_agg('dtsched.' || relname, ', ') from pg_class "
            "where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p')"
        ).fetchone()
        assert tables is not None
        dump.execute(f"lock table {tables[0]} in access share mode".encode())
        assert migrations.up(empty_database, patience_seconds=0).current


def test_who_wants_a_table_that_a_migration_has_and_has_one_that_it_wants_is_not_ended(empty_database: str) -> None:
    """Even where he has waited for longer: a third lets the migration go on in between."""
    migrations.up(empty_database)
    with (
        psycopg.connect(empty_database, application_name="the user") as user,
        psycopg.connect(empty_database) as third,
        psycopg.connect(empty_database, autocommit=True) as connection,
    ):

        def until_waiting(name: str) -> None:
            while connection.execute(WAITING, (name,)).fetchone() is None:
                time.sleep(0.01)

        connection.execute(OF_ANOTHER_VERSION)
        third.execute("lock table dtsched.queues in row exclusive mode")
        user.execute("lock table dtsched.tasks in row exclusive mode")
        with ThreadPoolExecutor(2) as threads:
            migration = threads.submit(migrations.up, empty_database, patience_seconds=30)
            until_waiting("dtsched migrate")
            submission = threads.submit(user.execute, "insert into dtsched.jobs (task) values ('echo')")
            until_waiting("the user")
            third.rollback()
            submission.result()
            user.commit()
            assert migration.result().current


def test_a_prepared_transaction_in_the_way_is_named(empty_database: str) -> None:
    migrations.up(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(OF_ANOTHER_VERSION)
        connection.execute("begin; insert into dtsched.jobs (task) values ('echo'); prepare transaction 'left behind'")
        with pytest.raises(SchemaInUse, match="prepared transaction 'left behind'"):
            migrations.up(empty_database, patience_seconds=0)
        connection.execute("commit prepared 'left behind'")
        assert migrations.up(empty_database, patience_seconds=0).current


def test_an_autovacuum_in_the_way_is_ended() -> None:
    """It would take an hour as it is told to here."""
    with temporary_cluster({"autovacuum_naptime": "1s"}) as cluster:
        migrations.up(cluster.dsn)
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            connection.execute(
                "alter table dtsched.jobs_0 set (autovacuum_vacuum_insert_threshold = 0, "
                "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_limit = 1, "
                "autovacuum_vacuum_cost_delay = 100)"
            )
            connection.execute("insert into dtsched.jobs (task) select 'echo' from generate_series(1, 20000)")
            while connection.execute("select from pg_stat_progress_vacuum").fetchone() is None:
                time.sleep(0.05)
            connection.execute(OF_ANOTHER_VERSION)
        assert migrations.up(cluster.dsn, patience_seconds=0).current


def test_check_is_1_when_an_invariant_is_broken(cli: Cli, database: str) -> None:
    assert cli("migrate", "check", "--json").json == []
    job_id = int(cli("submit", "echo").out)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("delete from dtsched.ready")
    broken = cli("migrate", "check", "--json")
    assert broken.code == 1
    assert [row["job_id"] for row in broken.json] == [job_id]


def test_the_printed_script_lays_the_schema_by_psql_alone(empty_database: str) -> None:
    variables, rest = for_libpq(empty_database)
    subprocess.run(
        [find_psql(), *rest, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"],
        env=environment(**variables),
        input=run("migrate", "sql").out,
        capture_output=True,
        text=True,
        check=True,
    )
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select dtsched.submit('echo')").fetchone() == (1,)


@pytest.mark.parametrize("command", ["version", "list", "migrate status", "migrate check", "migrate up"])
def test_json_on_stdout_is_one_document(cli: Cli, command: str) -> None:
    assert isinstance(cli(*command.split(), "--json").json, (dict, list))
