"""Connections for programs that ask now and then: a small pool that opens late and gives up soon."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from dtsched.errors import DatabaseUnreachable
from dtsched.store import Row, Store, as_encoded, connect, parameters


class Pool:
    """Each block of store() has a connection for itself. `statement_ms` bounds a statement, `wait_seconds` a wait."""

    def __init__(
        self, dsn: str, *, role: str, size: int = 10, wait_seconds: float = 3.0, statement_ms: int = 4000
    ) -> None:
        self._dsn = dsn
        self._role = role
        self._pool: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            dsn,
            kwargs={"autocommit": True, **parameters(dsn, role, statement_ms)},
            min_size=0,
            max_size=size,
            open=False,
            timeout=wait_seconds,
            max_idle=60,
            reconnect_timeout=wait_seconds,
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            name=f"dtsched {role}",
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=1.0)

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        """DatabaseUnreachable when there is no connection to be had in time; it says what is wrong."""
        try:
            connection = await self._pool.getconn()
        except PoolTimeout as error:
            raise await self._reason() from error
        try:
            yield Store(connection)
        finally:
            await self._pool.putconn(connection)

    async def _reason(self) -> DatabaseUnreachable:
        """The pool only knows that time ran out; connecting once tells why."""
        try:
            await (await connect(self._dsn, role=self._role)).close()
        except DatabaseUnreachable as error:
            return error
        return DatabaseUnreachable("all connections to the database are taken: try again, or raise the pool's size")


async def _configure(connection: AsyncConnection[Any]) -> None:
    set_json_loads(as_encoded, connection)
