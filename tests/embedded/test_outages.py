"""What a server has acknowledged is there after every kind of stop, and at the same address."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from dtsched import embedded


def insert(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table if not exists seen (at timestamptz default clock_timestamp())")
        connection.execute("insert into seen default values")


def count(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from seen").fetchone()
        assert row
        return row[0]


@pytest.mark.parametrize("mode", ["fast", "immediate", "smart"])
def test_a_stopped_server_comes_back_with_its_data_at_the_same_address(folder: Path, mode: embedded.StopMode) -> None:
    with embedded.temporary(base=folder) as cluster:
        insert(dsn := cluster.dsn)
        cluster.stop(mode)
        with pytest.raises(psycopg.OperationalError):
            count(dsn)
        cluster.start()
        assert (count(dsn), cluster.dsn) == (1, dsn)


def test_a_killed_server_comes_back_with_every_commit(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        for outage in range(5):
            insert(cluster.dsn)
            cluster.kill()
            assert cluster.pid is None
            cluster.start()
            assert count(cluster.dsn) == outage + 1


def test_starting_and_stopping_twice_changes_nothing(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        server = cluster.pid
        cluster.start()
        assert cluster.pid == server
        cluster.stop()
        cluster.stop()
        cluster.kill()


def test_a_number_in_postmaster_pid_that_is_now_another_process_is_not_believed(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        insert(cluster.dsn)
        owner = cluster.data_dir.stat()
        file = cluster.data_dir / "postmaster.pid"
        last_words = file.read_text()
        cluster.kill()
        with subprocess.Popen(["sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None) as other:
            file.write_text(f"{other.pid}\n" + last_words.partition("\n")[2])
            os.chown(file, owner.st_uid, owner.st_gid)
            try:
                cluster.start()
                assert other.poll() is None
            finally:
                other.kill()
        assert count(cluster.dsn) == 1
