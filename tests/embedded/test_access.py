"""Nobody gets in without the password, nobody else reads the files, and nobody makes the server forgetful."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dtsched import embedded


def test_only_the_password_opens_the_server(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        for host in ("127.0.0.1", str(cluster.data_dir)):
            psycopg.connect(cluster.dsn, host=host).close()
            for password in ("postgres", ""):
                wrong = make_conninfo(cluster.dsn, host=host, password=password)
                with pytest.raises(psycopg.OperationalError, match="password"):
                    psycopg.connect(wrong)


def test_the_server_listens_on_loopback_only(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        port = f"{conninfo_to_dict(cluster.dsn)['port']}"
        listening = "0A"
        tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        sockets = [line.split() for line in tables.splitlines() if ":" in line]
        addresses = {socket[1] for socket in sockets if socket[3] == listening and int(socket[1][-4:], 16) == int(port)}
        assert addresses == {f"0100007F:{int(port):04X}"}


def test_no_other_user_can_read_what_the_server_keeps(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        home = cluster.data_dir.parent
        assert stat.S_IMODE(cluster.data_dir.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in home.iterdir() if file.is_file()} == {0o600}
        assert not home.stat().st_mode & 0o066
        assert {file.stat().st_uid for file in home.iterdir() if file.is_file()} == {os.geteuid()}


def test_the_password_is_on_no_command_line(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        password = f"{conninfo_to_dict(cluster.dsn)['password']}".encode()
        assert len(password) >= 20
        assert not [file for file in Path("/proc").glob("[0-9]*/cmdline") if password in file.read_bytes()]


def test_durability_cannot_be_switched_off(folder: Path) -> None:
    wishes = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_prepared_transactions": "7"}
    with (
        embedded.temporary(base=folder, settings=wishes) as cluster,
        psycopg.connect(cluster.dsn) as connection,
    ):
        found = connection.execute("select name, setting from pg_settings where name = any(%s)", [list(wishes)])
        assert dict(found.fetchall()) == dict.fromkeys(wishes, "on") | {"max_prepared_transactions": "7"}
