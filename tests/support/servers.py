"""Chooses the server the tests run on, and clones databases on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dtsched import embedded

# As in the README: whichever is set decides, otherwise Docker if an engine answers, otherwise the embedded server.
SERVER_DSN = "DTSCHED_TEST_DSN"
BIN_DIR = "DTSCHED_TEST_PG_BIN"
IMAGE = "postgres:18"
# The scenarios with prepared transactions need slots for them, which a server has only if told at its start. The log is
# small because it may lie in memory.
SETTINGS = {"max_prepared_transactions": "10", "max_wal_size": "256MB"}


@contextlib.contextmanager
def test_server() -> Generator[str]:
    """The DSN of a superuser on a server of which the tests may make databases and roles."""
    if dsn := os.environ.get(SERVER_DSN):
        yield dsn
    elif BIN_DIR not in os.environ and _docker_answers():
        with _container() as dsn:
            yield dsn
    else:
        with temporary_cluster() as cluster:
            _take_password_quickly(cluster.dsn)
            yield cluster.dsn


def temporary_cluster(settings: Mapping[str, str] = SETTINGS) -> contextlib.AbstractContextManager[embedded.Cluster]:
    return embedded.temporary(settings=settings, bin_dir=other_programs())


def other_programs() -> Path | None:
    """Instead of the embedded ones."""
    bin_dir = os.environ.get(BIN_DIR)
    return Path(bin_dir) if bin_dir else None


def _take_password_quickly(dsn: str) -> None:
    """The same password, hashed once and not 4,096 times: that is most of what a connection costs whoever opens it, and
    the tests open some ten thousand."""
    password, salt = (urlsplit(dsn).password or "").encode(), secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    of_server = hmac.digest(salted, b"Server Key", "sha256")
    told, known, proof = (base64.b64encode(part).decode() for part in (salt, stored, of_server))
    verifier = f"SCRAM-SHA-256$1:{told}${known}:{proof}"
    with psycopg.connect(dsn) as connection:
        connection.execute(sql.SQL("alter role current_user password {}").format(sql.Literal(verifier)))


class Databases:
    """Makes, clones and drops databases of one server over one connection."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._connection = psycopg.connect(server, autocommit=True)
        self._clone: LiteralString = "create database {} template {}"
        if _lies_in_memory(self._connection):
            # Half the work of writing its pages to the log; elsewhere each of some 600 files would wait for the disk.
            self._clone += " strategy file_copy"
        self._unwanted: list[str] = []

    def close(self) -> None:
        self._drop_unwanted()
        self._connection.close()

    def dsn(self, name: str) -> str:
        if "://" in self._server:
            return urlsplit(self._server)._replace(path=f"/{name}").geturl()
        return make_conninfo(self._server, dbname=name)

    def create(self) -> str:
        name = _new_name()
        self._run("create database {}", name)
        return name

    def seal(self, name: str) -> None:
        """A database that somebody is connected to can't be cloned."""
        self._run("alter database {} allow_connections false", name)

    def clone(self, template: str) -> str:
        self._drop_unwanted()
        name = _new_name()
        self._run(self._clone, name, template)
        return name

    def drop(self, name: str) -> None:
        """Soon: the server sleeps a tenth of a second for every session that is still about to end."""
        self._unwanted.append(name)

    def _drop_unwanted(self) -> None:
        while self._unwanted:
            self._run("drop database {} with (force)", self._unwanted.pop())

    def _run(self, statement: LiteralString, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _lies_in_memory(connection: psycopg.Connection) -> bool:
    row = connection.execute("select current_setting('cluster_name') = 'dtsched'").fetchone()
    return row == (True,) and tempfile.gettempdir().startswith("/dev/shm/")


def _new_name() -> str:
    return f"dtsched_test_{secrets.token_hex(6)}"


def _docker_answers() -> bool:
    address = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    with socket.socket(socket.AF_UNIX if address.scheme == "unix" else socket.AF_INET) as engine:
        engine.settimeout(2)
        try:
            engine.connect(address.path if address.scheme == "unix" else (address.hostname, address.port))
            engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in engine.recv(64)
        except OSError:
            return False


@contextlib.contextmanager
def _container() -> Generator[str]:
    from testcontainers.postgres import PostgresContainer

    command = " ".join(f"-c {name}={value}" for name, value in {"max_connections": "200", **SETTINGS}.items())
    with PostgresContainer(IMAGE, driver=None).with_command(f"postgres {command}") as container:
        yield container.get_connection_url()
