"""Connections for programs that ask now and then: few, opened when they are wanted, and an outage is told at once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic
from typing import NamedTuple

from dtsched.errors import DatabaseUnreachable
from dtsched.store import Store, connect, is_outage

_TRUSTED_SECONDS = 1.0  # a connection that was idle for longer is probed: the database may have gone meanwhile
_IDLE_SECONDS = 60.0


class _Idle(NamedTuple):
    store: Store
    since: float


class Pool:
    """Each block of store() has a connection for itself. `statement_ms` bounds a statement, `wait_seconds` a wait."""

    def __init__(
        self, dsn: str, *, role: str, size: int = 10, wait_seconds: float = 3.0, statement_ms: int = 4000
    ) -> None:
        self._dsn = dsn
        self._role = role
        self._wait_seconds = wait_seconds
        self._statement_ms = statement_ms
        self._seats = asyncio.Semaphore(size)
        self._idle: list[_Idle] = []
        self._closed = True

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
            raise DatabaseUnreachable(
                "all connections to the database are taken: try again, or raise the pool's size"
            ) from error
        try:
            store = await self._take()
            try:
                yield store
            finally:
                await self._give_back(store)
        finally:
            self._seats.release()

    async def _take(self) -> Store:
        await self._close_idle(before=monotonic() - _IDLE_SECONDS)
        while self._idle:
            store, since = self._idle.pop()
            if monotonic() - since < _TRUSTED_SECONDS or await _answers(store):
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


async def _answers(store: Store) -> bool:
    try:
        await store.probe()
    except Exception as error:
        if is_outage(error):
            return False
        raise
    return True
