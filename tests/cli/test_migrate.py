"""`dtsched migrate` on databases in each condition."""

import subprocess

import psycopg
import pytest

from dtsched.cli.psql import find_psql, for_libpq
from tests.cli.command import environment, run, start
from tests.cli.conftest import Cli


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
        submitter.execute("update dtsched.installed set functions_digest = 'of another version'")
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
