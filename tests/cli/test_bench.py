"""`dtsched bench` on few jobs: its counts are the tables', and it measures no database that may forget."""

import psycopg

from tests.cli.command import run


def test_it_finishes_every_job_once_and_says_how_fast(empty_database: str) -> None:
    ended = run("bench", "--jobs", "3001", "--json", "--dsn", empty_database, seconds=120)
    assert ended.code == 0, ended.err
    figures = ended.json
    assert (figures["counts"]["completed"], figures["counts"]["attempts"], figures["faults"]) == (3001, 3001, [])
    assert figures["finished_per_second"] > 0
    assert figures["submitted_per_second"] > 0
    assert figures["durability"]["fsync"] == figures["durability"]["synchronous_commit"] == "on"
    with psycopg.connect(empty_database) as connection:
        completed = connection.execute("select count(*) from dtsched.jobs where state = 'completed'").fetchone()
    assert completed == (3001,)


def test_a_database_that_may_forget_is_not_measured(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set synchronous_commit = off".encode())
    ended = run("bench", "--jobs", "10", "--dsn", empty_database)
    assert ended.code == 1
    assert "synchronous_commit is off" in ended.err
