"""Connections for programs that ask now and then: few, opened when they are wanted, and an outage is told at once.

Synchronous callers share psycopg_pool's. It tells an outage only when its patience is over, and not what it is, which a
request that must be answered within seconds cannot use; so asynchronous callers have a pool of ours.
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from dtsched.batches import Refusal, Wrong
from dtsched.connections import connect, connect_sync, decode_nothing, is_outage, is_pooled, parameters, without_options
from dtsched.errors import AllConnectionsTaken
from dtsched.inside import emit_in_sync, read_job_sync, submit_in_sync, submit_partly_in_sync
from dtsched.jobs import Emitted, Job, NewJob, Submitted
from dtsched.store import Store

_TRUSTED_SECONDS = 1.0  # a connection that was idle for longer is probed: the database may have gone meanwhile
_IDLE_SECONDS = 60.0
_SIZE = 10
_WAIT_SECONDS = 3.0
_POLL_SECONDS = 0.1
_ALL_TAKEN = "all connections to the database are taken: try again, or raise the pool's size"


class _Idle(NamedTuple):
    store: Store
    since: float


class Pool:
    """Each block of store() has a connection for itself. `statement_ms` bounds a statement, `wait_seconds` a wait."""

    def __init__(
        self, dsn: str, *, role: str, size: int = _SIZE, wait_seconds: float = _WAIT_SECONDS, statement_ms: int = 4000
    ) -> None:
        self._dsn = dsn
        self._role = role
        self._wait_seconds = wait_seconds
        self._statement_ms = statement_ms
        self.size = size
        self._seats = asyncio.Semaphore(size)
        self._used = 0
        self._idle: list[_Idle] = []
        self._closed = True

    @property
    def used(self) -> int:
        """How many blocks have a connection, or are about to."""
        return self._used

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def open(self) -> None:
        """Does not wait for the database: the first block of store() does."""
        self._closed = False

    async def close(self) -> None:
        """Connections in use are closed when they come back."""
        self._closed = True
        await self._close_idle()

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        """DatabaseUnreachable when there is no connection to be had; it says what is wrong."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._seats.acquire()
        except TimeoutError as error:
            raise AllConnectionsTaken(_ALL_TAKEN, reason="all connections to it are taken") from error
        self._used += 1
        try:
            store = await self._take()
            try:
                yield store
            finally:
                await self._give_back(store)
        finally:
            self._used -= 1
            self._seats.release()

    async def _take(self) -> Store:
        await self._close_idle(before=monotonic() - _IDLE_SECONDS)
        while self._idle:
            store, since = self._idle.pop()
            if (monotonic() - since < _TRUSTED_SECONDS and store.quiet) or await _answers(store):
                return store
            await store.close()
            await self._close_idle()
        return Store(await connect(self._dsn, role=self._role, timeout_ms=self._statement_ms))

    async def _give_back(self, store: Store) -> None:
        if store.usable and not self._closed:
            self._idle.append(_Idle(store, monotonic()))
        else:
            await store.close()
            await self._close_idle()  # if it broke, so did they, trusted or not

    async def _close_idle(self, *, before: float = float("inf")) -> None:
        while self._idle and self._idle[0].since < before:
            await self._idle.pop(0).store.close()


class SyncPool:
    """For callers in any thread. The first connection is opened in the caller's own: a program that submits once starts
    no threads, and one that cannot reach its database is told so at once."""

    def __init__(self, dsn: str, *, role: str) -> None:
        self._dsn = dsn
        self._role = role
        self._lock = threading.Lock()
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        self._reached = self._pooled = False
        self._pid = os.getpid()

    @contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """DatabaseUnreachable when there is none to be had; it says what is wrong."""
        if (pool := self._shared()) is None:
            with connect_sync(self._dsn, role=self._role) as connection:
                self._reached, self._pooled = True, is_pooled(connection)
                yield connection
            return
        try:
            connection = pool.getconn(timeout=_WAIT_SECONDS)
        except PoolTimeout as error:
            connect_sync(self._dsn, role=self._role).close()  # says why, when it is not that all are taken
            raise AllConnectionsTaken(_ALL_TAKEN, reason="all connections to it are taken") from error
        try:
            yield connection
        finally:
            pool.putconn(connection)

    def submit_many(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        with self.connection() as connection:
            return submit_in_sync(connection, jobs)

    def submit_partly(self, entries: Sequence[NewJob | Wrong]) -> list[Submitted | Refusal]:
        with self.connection() as connection:
            return submit_partly_in_sync(connection, entries)

    def emit(self, name: str, payload: bytes) -> Emitted:
        with self.connection() as connection:
            return emit_in_sync(connection, name, payload)

    def job(self, job_id: int) -> Job | None:
        with self.connection() as connection:
            return read_job_sync(connection, job_id)

    def wait(self, job_id: int, seconds: float | None) -> None:
        """For a while, before the job is looked at again."""
        time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            _close(pool, self._pid)

    def _shared(self) -> "ConnectionPool[psycopg.Connection[Any]] | None":
        with self._lock:
            if self._pid != os.getpid():  # forked: those connections are the parent's, and so are the threads
                self._pid, self._pool = os.getpid(), None
            if self._pool is None and self._reached:
                self._pool = ConnectionPool(
                    self._dsn,
                    kwargs=self._settings(),
                    min_size=0,
                    max_size=_SIZE,
                    max_idle=_IDLE_SECONDS,
                    configure=decode_nothing,
                    check=ConnectionPool.check_connection,
                    open=True,
                )
                weakref.finalize(self, _close, self._pool, self._pid)  # its threads end with the program
            return self._pool

    def _settings(self) -> dict[str, Any]:
        settings = parameters(self._dsn, self._role)
        if self._pooled:
            settings = {**without_options(self._dsn, settings), "prepare_threshold": None}
        return {"autocommit": True, **settings}


def _close(pool: "ConnectionPool[psycopg.Connection[Any]]", pid: int) -> None:
    if pid == os.getpid():
        pool.close()


async def _answers(store: Store) -> bool:
    try:
        await store.probe()
    except Exception as error:
        if is_outage(error):
            return False
        raise
    return True
