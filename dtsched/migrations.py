"""Lays the schema in a database: alembic for the tables, then functions, triggers and grants, in one transaction.

Functions are the repeatable part: each `up` lays them anew from their files, so a database at the head always has the
functions of the installed package. Workers of the version before go on: an incompatible function gets a new name.
"""

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, LiteralString, TypeVar, cast

import psycopg
import sqlalchemy
import sqlalchemy.exc
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.sql import SQL, Identifier

from dtsched.connections import open_sync, parameters, unreachable
from dtsched.errors import DatabaseUnreachable, SchemaInUse
from dtsched.store import CONTRACT, check_contract

_LOCK = 7245263114  # one migration at a time per database; any number does that nothing else uses
# what somebody else has put in a schema of the session's path would be called with the rights of whoever migrates
_SEARCH_PATH = "set local search_path = pg_catalog, pg_temp"
_LOCK_TIMEOUT = "set local lock_timeout = '1s'"
_PAUSE_SECONDS = 2.0
_TABLES: LiteralString = """
    select relname
    from pg_class
    where relnamespace = to_regnamespace('dtsched') and relkind in ('r', 'p') and not relispartition
    order by oid
"""
_DEADLOCK_MS = "select setting::integer from pg_settings where name = 'deadlock_timeout'"
_SET_MS = "select set_config(%s, %s, true)"
_KEPT_WAITING_MS = 800
_HOLDERS: LiteralString = """
    with held as (
        select lock.pid, lock.virtualtransaction
        from pg_locks lock
        join pg_class relation on relation.oid = lock.relation
        where lock.granted and relation.relnamespace = to_regnamespace('dtsched')
    )
    select holder
    from (
        select session.xact_start, format('session %s (%s)', session.pid, concat_ws(', ',
            nullif(session.application_name, ''), nullif(session.backend_type, 'client backend'), session.usename,
            session.state, 'since ' || to_char(session.xact_start, 'YYYY-MM-DD HH24:MI:SS')))
        from pg_stat_activity session
        where session.datname = current_database() and session.pid <> pg_backend_pid()
            and (session.xact_start < clock_timestamp() - interval '1 second') is not false
            and session.pid in (select pid from held)
        union all
        select prepared.prepared, format('the prepared transaction %L (%s, since %s)', prepared.gid, prepared.owner,
            to_char(prepared.prepared, 'YYYY-MM-DD HH24:MI:SS'))
        from pg_prepared_xacts prepared
        where prepared.database = current_database()
            and exists (
                select
                from pg_locks own
                join held using (virtualtransaction)
                where own.transactionid = prepared.transaction and own.pid is null and held.pid is null)
    ) transaction (began_at, holder)
    order by began_at
    limit 3
"""

T = TypeVar("T")


class _InUse(Exception):
    """Not all tables were free in the time that others may be kept waiting."""


_IN_USE = (_InUse, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a database stands. `revision` is None when nothing is laid; `current`: `up` would change nothing."""

    revision: str | None
    head: str
    contract: int
    current: bool


def _nobody(_: str) -> None:
    pass


def up(dsn: str, *, patience_seconds: float = 60.0, tell: Callable[[str], None] = _nobody) -> Status:
    """Lays the newest schema; without effect when it is there. Serialised against others by an advisory lock.

    Whoever waits for a table for himself has all that comes later wait behind him. So the tables are waited for less
    than a second, all together, and tried again after a pause, until `patience_seconds` are over: then SchemaInUse is
    raised, and nothing has changed. `tell` hears meanwhile who uses the tables. Functions alone are laid beside whoever
    only reads."""

    def lay(connection: sqlalchemy.Connection) -> Status:
        driver = _driver(connection)
        driver.execute("create schema if not exists dtsched")
        _run_script(driver, _ownership())
        found = _status(connection)
        if found.revision != found.head:
            _take_tables(driver, "access exclusive")
            command.upgrade(_config(connection), "head")
        if not found.current:
            _run_script(driver, _functions())
            _take_tables(driver, "share row exclusive")
            _run_script(driver, _rest())
            driver.execute(
                """
                insert into dtsched.installed (contract, functions_digest) values (%s, %s)
                on conflict (one) do update
                set contract = excluded.contract, functions_digest = excluded.functions_digest, at = now()
                """,
                (CONTRACT, _digest()),
            )
        return _status(connection)

    return _insist(dsn, lay, patience_seconds, tell)


def down(dsn: str, *, patience_seconds: float = 60.0, tell: Callable[[str], None] = _nobody) -> None:
    """Removes the schema with every job in it. Waits as up() does."""

    def remove(connection: sqlalchemy.Connection) -> None:
        _take_tables(_driver(connection), "access exclusive")
        _driver(connection).execute("drop schema if exists dtsched cascade")

    _insist(dsn, remove, patience_seconds, tell)


def status(dsn: str) -> Status:
    with _connection(dsn) as connection:
        return _status(connection)


def sql() -> str:
    """All that `up` runs on an empty database, as one script for psql, without alembic's bookkeeping."""
    return "\n".join(
        [
            "begin;",
            f"{_SEARCH_PATH};",
            "create schema if not exists dtsched;",
            _ownership(),
            (_schema() / "functions" / "now.sql").read_text(),
            *(path.read_text() for path in sorted((_schema() / "versions").glob("*.sql"))),
            _functions(),
            _rest(),
            "commit;",
        ]
    )


def check(dsn: str) -> list[tuple[str, int | None, str]]:
    """What dtsched.check() finds wrong: (invariant, job id if it is about one, detail); nothing when all is well."""
    with _connection(dsn) as connection:
        check_contract(_status(connection).contract)
        rows = _driver(connection).execute("select invariant, job_id, detail from dtsched.check()").fetchall()
        return cast("list[tuple[str, int | None, str]]", rows)


def run_scripts(*patterns: str) -> None:
    """For a revision: runs the files of the schema that fit each pattern, in the order of their names."""
    driver = _driver(op.get_bind())
    for pattern in patterns:
        for path in sorted(_schema().glob(pattern)):
            _run_script(driver, path.read_text())


def _insist(
    dsn: str, change: Callable[[sqlalchemy.Connection], T], patience_seconds: float, tell: Callable[[str], None]
) -> T:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with _connection(dsn) as connection:
                _driver(connection).execute(_LOCK_TIMEOUT)
                return change(connection)
        except _IN_USE as error:
            holders = _holders(dsn)
            if time.monotonic() >= deadline:
                raise SchemaInUse(
                    f"the schema cannot be changed while its tables are in use, after {patience_seconds:g} s still by "
                    f"{holders}: end that transaction, or come back when it is over"
                ) from error
        tell(f"the tables are in use by {holders}: waiting for that to end")
        time.sleep(_PAUSE_SECONDS)


def _holders(dsn: str) -> str:
    """Whose transactions have used the tables for a while."""
    with _connection(dsn) as connection:
        rows = _driver(connection).execute(_HOLDERS).fetchall()
    return ", ".join(str(row[0]) for row in rows) or "a transaction that has ended since"


@contextmanager
def _connection(dsn: str) -> Generator[sqlalchemy.Connection]:
    """One transaction, alone among migrations."""
    settings = parameters(dsn, "migrate")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: open_sync(dsn, settings, autocommit=False)
    )
    try:
        with engine.begin() as connection:
            _driver(connection).execute(_SEARCH_PATH)
            _driver(connection).execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
            yield connection
    except _IN_USE:
        raise
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseUnreachable(
            f"the database does not let this user do that ({error.diag.message_primary}): migrate as its owner"
        ) from error
    except sqlalchemy.exc.OperationalError as error:
        if isinstance(error.orig, _IN_USE):
            raise error.orig from error
        raise unreachable(error) from error
    finally:
        engine.dispose()


def _driver(connection: sqlalchemy.Connection) -> psycopg.Connection[tuple[object, ...]]:
    return cast("psycopg.Connection[tuple[object, ...]]", connection.connection.dbapi_connection)


def _config(connection: sqlalchemy.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_schema()))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _take_tables(
    driver: psycopg.Connection[tuple[object, ...]], mode: Literal["access exclusive", "share row exclusive"]
) -> None:
    """Until the end of the transaction. Raises one of _IN_USE."""
    names = [str(name) for (name,) in driver.execute(_TABLES).fetchall()]
    if not names:
        return
    tables = SQL(", ").join(Identifier("dtsched", name) for name in names)
    row = driver.execute(_DEADLOCK_MS).fetchone()
    deadlock_ms = cast("int", row[0]) if row else 0

    # In this mode they are waited for at nobody's cost but vacuums'. The server ends an autovacuum that has kept
    # somebody waiting for a deadlock_timeout, and no other begins on what is held so.
    driver.execute(_SET_MS, ("lock_timeout", f"{deadlock_ms + 1000}ms"))
    driver.execute(SQL("lock table {} in share update exclusive mode").format(tables))

    # All within less than a deadlock_timeout: who waits for one of them, and holds another that is waited for here,
    # goes on before the server looks for a deadlock and ends him.
    driver.execute(_SET_MS, ("lock_timeout", "0"))
    driver.execute(_SET_MS, ("statement_timeout", f"{min(_KEPT_WAITING_MS, 8 * deadlock_ms // 10)}ms"))
    try:
        driver.execute(SQL("lock table {} in {} mode").format(tables, SQL(mode)))
    except psycopg.errors.QueryCanceled as error:
        raise _InUse from error
    driver.execute("set local statement_timeout to default")
    driver.execute(_LOCK_TIMEOUT)


def _run_script(driver: psycopg.Connection[tuple[object, ...]], script: str) -> None:
    driver.execute(cast("LiteralString", script))  # our own files, without parameters: many statements in one go


def _schema() -> Path:
    return Path(str(files("dtsched.schema")))


def _ownership() -> str:
    return (_schema() / "ownership.sql").read_text()


def _functions() -> str:
    functions = [path.read_text() for path in sorted((_schema() / "functions").glob("*.sql"))]
    return "\n".join(["set local check_function_bodies = off;", *functions])  # they call one another


def _rest() -> str:
    return "\n".join((_schema() / name).read_text() for name in ("triggers.sql", "grants.sql"))


def _digest() -> str:
    return hashlib.sha256(f"{_functions()}\n{_rest()}".encode()).hexdigest()


def _status(connection: sqlalchemy.Connection) -> Status:
    driver = _driver(connection)
    head = ScriptDirectory.from_config(_config()).get_current_head() or ""
    revision = contract = digest = None
    if driver.execute("select to_regclass('dtsched.alembic_version')").fetchone() != (None,):
        row = driver.execute("select version_num from dtsched.alembic_version").fetchone()
        revision = cast("str", row[0]) if row else None
    if driver.execute("select to_regclass('dtsched.installed')").fetchone() != (None,):
        row = driver.execute("select contract, functions_digest from dtsched.installed").fetchone()
        contract, digest = row or (None, None)
    return Status(
        revision=revision,
        head=head,
        contract=cast("int", contract or 0),
        current=revision == head and digest == _digest(),
    )
