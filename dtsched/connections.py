"""Connections: how each of ours is opened (in autocommit), what its failures mean, and how a silent one is ended.

Behind a pooler like PgBouncer in transaction mode, each transaction may come to another session of the server, which
others use too. Nothing is prepared there and nothing set for longer than a transaction, and no lock is held: what is
bounded brings its bounds along, and nobody listens.
"""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format
from psycopg.types.json import set_json_loads

from dtsched.errors import BY_SQLSTATE, Conflict, DatabaseUnreachable, DtschedError, InvalidInput, SchemaMissing
from dtsched.exchange import Exchanging
from dtsched.settings import ITSELF, is_url

Row = tuple[Any, ...]


class Connection(Exchanging):
    bounds: bytes | None = None
    """Behind a pooler: what each statement is to be sent together with."""


_SETTINGS: dict[str, Any] = {
    "connect_timeout": 5,
    "client_encoding": "UTF8",
    # a peer that is gone without a word is noticed within 15 s
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 14_000,
}

# a refused connection has no SQLSTATE
_REFUSED = re.compile('authentication failed|no password supplied|role ".*" does not exist|no pg_hba.conf entry')
_PROBLEM = re.compile("job ([0-9]{1,9}): (.*)")
_STARTING = re.compile("the database system is (starting up|shutting down|in recovery mode)")
_NO_OPTIONS = re.compile("unsupported startup parameter")
_SERVED_BY = "select pg_backend_pid()"
_ANSWER_SECONDS = 5.0
_NO_DATABASE = re.compile('database ".*" does not exist')


async def connect(dsn: str, *, role: str, timeout_ms: int | None = None, lock_ms: int | None = None) -> Connection:
    """An autocommit connection; `role` is shown in pg_stat_activity, `timeout_ms` is its statement_timeout, `lock_ms`
    its lock_timeout."""
    with translated():
        connection = await open_connection(dsn, parameters(dsn, role, timeout_ms, lock_ms))
    decode_nothing(connection)
    if is_pooled(connection):
        connection.bounds = _bounds(timeout_ms, lock_ms)
    return connection


def connect_sync(dsn: str, *, role: str) -> psycopg.Connection[Row]:
    with translated():
        connection = open_sync(dsn, parameters(dsn, role), autocommit=True)
    decode_nothing(connection)
    return connection


async def open_connection(dsn: str, settings: dict[str, Any]) -> Connection:
    """With what parameters() has returned. Raises what psycopg raises."""
    try:
        connection = await Connection.connect(dsn, autocommit=True, **settings)
    except psycopg.OperationalError as error:
        if not _NO_OPTIONS.search(str(error)):
            raise
        connection = await Connection.connect(dsn, autocommit=True, **without_options(dsn, settings))
    try:
        with answering(connection):
            row = await (await connection.execute(_SERVED_BY)).fetchone()
    except BaseException:
        await connection.close()
        raise
    _note_pooler(connection, row)
    return connection


def open_sync(dsn: str, settings: dict[str, Any], *, autocommit: bool) -> psycopg.Connection[Row]:
    """open_connection() for a synchronous one."""
    try:
        connection = psycopg.connect(dsn, autocommit=autocommit, **settings)
    except psycopg.OperationalError as error:
        if not _NO_OPTIONS.search(str(error)):
            raise
        connection = psycopg.connect(dsn, autocommit=autocommit, **without_options(dsn, settings))
    timer = threading.Timer(_ANSWER_SECONDS, shut_down, [connection])
    timer.daemon = True
    try:
        with suppress(RuntimeError):  # no thread to be had
            timer.start()
        row = connection.execute(_SERVED_BY).fetchone()
        if not autocommit:
            connection.rollback()
    except BaseException:
        connection.close()
        raise
    finally:
        timer.cancel()
    _note_pooler(connection, row)
    return connection


def is_pooled(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> bool:
    """Somebody stands between it and the server; of one that is opened here."""
    return connection.prepare_threshold is None


def _note_pooler(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any], served_by: Row | None) -> None:
    """A pooler makes up what it says of the server's process when it greets: cancellations are to come to itself."""
    if served_by != (connection.info.backend_pid,):
        connection.prepare_threshold = None  # what is prepared in one session is unknown, or another thing, in the next


def without_options(dsn: str, settings: dict[str, Any]) -> dict[str, Any]:
    """For a pooler that refuses them: those that the user gives remain."""
    given = parse_dsn(dsn).get("options")
    return {**settings, "options": given} if given else {n: v for n, v in settings.items() if n != "options"}


def _bounds(timeout_ms: int | None, lock_ms: int | None) -> bytes:
    """As parameters() sets them for a session, for the transaction."""
    settings = {"idle_in_transaction_session_timeout": "60s"}
    if timeout_ms is not None:
        settings["statement_timeout"] = str(timeout_ms)
    if lock_ms is not None:
        settings["lock_timeout"] = str(lock_ms)
    return b"select " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items()).encode()


def decode_nothing(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Leaves JSON as it comes: whoever needs it decodes it into the type it wants."""
    set_json_loads(_as_encoded, connection)
    connection.adapters.register_loader("jsonb", _Encoded)


def parameters(dsn: str, role: str, timeout_ms: int | None = None, lock_ms: int | None = None) -> dict[str, Any]:
    """What every connection of ours adds to the user's DSN."""
    given = parse_dsn(dsn)
    options = f"{given.get('options') or ''} -c idle_in_transaction_session_timeout=60s"
    options += r" -c default_transaction_isolation=read\ committed"  # claims refuse anything else
    if timeout_ms is not None:
        options += f" -c statement_timeout={timeout_ms}"
    if lock_ms is not None:
        options += f" -c lock_timeout={lock_ms}"
    settings = {name: value for name, value in _SETTINGS.items() if name not in given}
    return {**settings, "application_name": f"dtsched {role}", "options": options.strip()}


def parse_dsn(dsn: str) -> dict[str, Any]:
    """The driver's own complaint shows the whole DSN, and with it the password: it goes no further."""
    if is_url(dsn):
        raise InvalidInput(ITSELF, field="dsn")
    try:
        return conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        if dsn == "embedded":
            raise InvalidInput(
                'only App("embedded") and the command line start an embedded database: use app.client, or its DSN',
                field="dsn",
            ) from None
        raise InvalidInput(
            "the DSN (DTSCHED_DSN or --dsn) cannot be read: write it like postgresql://user@host:5432/database",
            field="dsn",
        ) from None


def is_outage(error: BaseException) -> bool:
    """The connection, or the database behind it, is of no use any more: open another one, later."""
    if isinstance(error, (DatabaseUnreachable, OSError, TimeoutError, psycopg.InterfaceError)):
        return True
    if not isinstance(error, psycopg.OperationalError):
        # a server that has become a standby, or a session ended for being idle
        return isinstance(error, psycopg.Error) and error.sqlstate in ("25006", "25P03")
    state = error.sqlstate
    return state is None or (state[:2] in ("08", "53", "57", "58", "XX") and state != "57014")


def is_transient(error: BaseException) -> bool:
    """The same statement may succeed on the same connection: deadlock, serialization, lock or statement timeout."""
    return isinstance(error, psycopg.Error) and error.sqlstate in ("40001", "40P01", "55P03", "57014")


def is_busy(error: BaseException) -> bool:
    """Somebody holds a row that was waited for."""
    return isinstance(error, psycopg.Error) and error.sqlstate == "55P03"


def unreachable(error: BaseException) -> DatabaseUnreachable:
    """One line that says what to do; never the DSN, which may hold a password."""
    # an @ in a password is taken for the end of it, and what follows for a host
    text = re.sub(r"""[^\s"']*@""", "…@", " ".join(str(error).split()))
    state = getattr(error, "sqlstate", None)
    if state in ("28P01", "28000") or _REFUSED.search(text):
        return DatabaseUnreachable(
            "the database refused the user or password: check DTSCHED_DSN (or --dsn)",
            reason="it refused the user or password",
        )
    if state == "3D000" or _NO_DATABASE.search(text):
        return DatabaseUnreachable(
            "there is no database of that name on the server: create it, or check DTSCHED_DSN (or --dsn)",
            reason="there is none of that name on the server",
        )
    if state == "53300":
        return DatabaseUnreachable(
            "the database has no connection to spare: raise max_connections or use fewer processes",
            reason="it has no connection to spare",
        )
    starting = _STARTING.search(text)
    return DatabaseUnreachable(
        f"the database cannot be reached: start it, or check DTSCHED_DSN (or --dsn): {text[:200]}",
        reason=f"it is {starting[1]}" if starting else "nobody answers where it should be",
    )


def forbidden(error: psycopg.Error) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        f"the database does not let this user do that ({_message(error)}): grant it one of the roles dtsched_submit, "
        "dtsched_worker, dtsched_monitor, dtsched_reader, dtsched_operator and dtsched_api, or use the schema's owner",
        reason="it does not let the user of this server do that",
    )


@contextmanager
def translated() -> Generator[None]:
    """The schema's SQLSTATEs as errors of ours. Outages in use stay psycopg's OperationalError: loops retry them."""
    try:
        yield
    except psycopg.OperationalError as error:
        if error.sqlstate in BY_SQLSTATE:
            raise _ours(error) from error
        if error.sqlstate is None or error.sqlstate[:2] in ("28", "3D", "53"):
            raise unreachable(error) from error
        if error.sqlstate[:2] == "54":  # too large, too deep: the server is well
            raise InvalidInput(_message(error)) from error
        raise
    except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        if "dtsched" in str(error):
            raise SchemaMissing("the schema dtsched is missing or too old here: run `dtsched migrate up`") from error
        raise
    except psycopg.errors.InsufficientPrivilege as error:
        raise forbidden(error) from error
    except psycopg.errors.SequenceGeneratorLimitExceeded as error:  # in the class of values that cannot be stored
        raise DatabaseUnreachable(
            f"the database has given out its last id ({_message(error)}): see docs/backups.md",
            reason="it has given out its last id",
        ) from error
    except psycopg.Error as error:
        if error.sqlstate in BY_SQLSTATE:
            raise _ours(error) from error
        # without a SQLSTATE it is psycopg that cannot send the value
        if isinstance(error, psycopg.DataError) or (error.sqlstate or "").startswith("23"):
            raise InvalidInput(_message(error)) from error
        raise


def shut_down(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Whoever waits for an answer meets an outage; also when the other end is a black hole."""
    if not connection.closed:
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(connection: psycopg.AsyncConnection[Any], seconds: float = _ANSWER_SECONDS) -> Generator[None]:
    """What takes longer meets an outage. A cancelled statement would wait for the silent server as long again."""
    timer = asyncio.get_running_loop().call_later(seconds, shut_down, connection)
    try:
        yield
    finally:
        timer.cancel()


def _as_encoded(raw: str | bytes) -> bytes:
    return raw.encode() if isinstance(raw, str) else raw


class _Encoded(Loader):
    """jsonb in binary, which is its text after a byte for the version: the args of each job that a worker claims."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        raw = bytes(data)
        if raw[0] != 1:
            raise psycopg.DataError(f"jsonb of version {raw[0]} is not known here, 1 is")
        return raw[1:]


def _ours(error: psycopg.Error) -> DtschedError:
    kind = BY_SQLSTATE[error.sqlstate or ""]
    if issubclass(kind, InvalidInput):
        return kind(_message(error), field=error.diag.column_name or None, problems=_problems(error))
    if issubclass(kind, Conflict):
        return kind(_message(error), problems=_problems(error))
    return kind(_message(error))


def _problems(error: psycopg.Error) -> dict[int, str]:
    """What dtsched.refuse() says of each job of a batch."""
    lines = map(_PROBLEM.fullmatch, (error.diag.message_detail or "").splitlines())
    return {int(line[1]): line[2] for line in lines if line}


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)
