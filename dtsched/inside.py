"""The schema's functions on a connection of the caller's, inside its transaction."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from dtsched.batches import Refusal, Wrong, answer, encode_part
from dtsched.connections import Row, translated
from dtsched.errors import DtschedError, InvalidInput
from dtsched.jobs import Emitted, Job, NewJob, Submitted
from dtsched.store import COMPLETE, EMIT, JOB, LARGEST_ID, RECORD_STEP, SUBMIT_PARTLY, submission, submitted, to_job


async def submit_in(connection: psycopg.AsyncConnection[Any], jobs: Sequence[NewJob]) -> list[Submitted]:
    """Submits on the caller's own connection, inside its transaction if it is in one."""
    with translated():
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(*submission(jobs, check_tasks=False))
            return submitted(jobs, await cursor.fetchall())


def submit_in_sync(connection: psycopg.Connection[Any], jobs: Sequence[NewJob]) -> list[Submitted]:
    """submit_in() for a synchronous connection."""
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return submitted(jobs, cursor.execute(*submission(jobs, check_tasks=False)).fetchall())


async def submit_partly_in(
    connection: psycopg.AsyncConnection[Any], entries: Sequence[NewJob | Wrong]
) -> list[Submitted | Refusal]:
    """Store.submit_partly() on the caller's own connection, inside its transaction if it is in one."""
    jobs, problems = encode_part(entries)
    with translated():
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(SUBMIT_PARTLY, (jobs, False, problems))
            return [answer(row) for row in await cursor.fetchall()]


def submit_partly_in_sync(
    connection: psycopg.Connection[Any], entries: Sequence[NewJob | Wrong]
) -> list[Submitted | Refusal]:
    """submit_partly_in() for a synchronous connection."""
    jobs, problems = encode_part(entries)
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return [answer(row) for row in cursor.execute(SUBMIT_PARTLY, (jobs, False, problems)).fetchall()]


async def record_step_in(
    connection: psycopg.AsyncConnection[Any], worker_id: UUID, lease_id: int, name: str, result: bytes
) -> None:
    """Store.record_step() on the caller's own connection, in its transaction. DtschedError when it was recorded before:
    then what else the transaction did was done before, too."""
    with translated():
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(RECORD_STEP, (worker_id, lease_id, name, result.decode()))
            _require_first(await cursor.fetchone(), name)


def record_step_in_sync(
    connection: psycopg.Connection[Any], worker_id: UUID, lease_id: int, name: str, result: bytes
) -> None:
    """record_step_in() for a synchronous connection."""
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        _require_first(cursor.execute(RECORD_STEP, (worker_id, lease_id, name, result.decode())).fetchone(), name)


async def emit_in(connection: psycopg.AsyncConnection[Any], name: str, payload: bytes) -> Emitted:
    """Emits on the caller's own connection, inside its transaction if it is in one."""
    with translated():
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(EMIT, (name, payload.decode()))
            return Emitted(*cast("Row", await cursor.fetchone()))


def emit_in_sync(connection: psycopg.Connection[Any], name: str, payload: bytes) -> Emitted:
    """emit_in() for a synchronous connection."""
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return Emitted(*cast("Row", cursor.execute(EMIT, (name, payload.decode())).fetchone()))


async def complete_in(
    connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any], worker_id: UUID, lease_id: int, result: bytes
) -> None:
    """Completes an attempt inside the transaction that the caller's own connection is in."""
    if isinstance(connection, psycopg.Connection):
        raise InvalidInput("this connection is synchronous: use complete_in_sync()", field="connection")
    _require_transaction(connection)
    with translated():
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(COMPLETE, (worker_id, lease_id, result.decode()))


def complete_in_sync(
    connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any], worker_id: UUID, lease_id: int, result: bytes
) -> None:
    """complete_in() for a synchronous connection."""
    if isinstance(connection, psycopg.AsyncConnection):
        raise InvalidInput("this connection is asynchronous: await complete_in()", field="connection")
    _require_transaction(connection)
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(COMPLETE, (worker_id, lease_id, result.decode()))


def _require_transaction(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    if connection.autocommit and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        raise InvalidInput(
            "this connection is in no transaction, so nothing would be completed together with it: "
            "use `with connection.transaction()`",
            field="connection",
        )


def read_job_sync(connection: psycopg.Connection[Any], job_id: int) -> Job | None:
    if job_id > LARGEST_ID:
        return None
    with translated(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        row = cursor.execute(JOB, (job_id,)).fetchone()
    return to_job(row) if row else None


def require_connection(connection: object, *, synchronous: bool) -> None:
    """InvalidInput for one of the other kind."""
    kind = psycopg.Connection if synchronous else psycopg.AsyncConnection
    if not isinstance(connection, kind):
        raise InvalidInput(f"connection must be a psycopg.{kind.__name__} here", field="connection")


def _require_first(row: Row | None, name: str) -> None:
    if row is None or not row[1]:
        raise DtschedError(f"step {name} was recorded before, by another attempt: what this one did is rolled back")
