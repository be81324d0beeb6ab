"""The one LISTEN connection of a process, and what lives on its session: the locks that say "this worker is hungry".

Payloads are untrusted hints: anybody in the database may send them. Whoever listens must do without as well, by a slow
poll, because a notification sent while the connection was down is gone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import PGnotify

from dtsched.connections import Connection, answering, is_pooled, open_connection, parameters
from dtsched.outage import Outage, Recovery

_log = logging.getLogger("dtsched.listener")

BUCKETS = 256
"""Into so many the ids of jobs are sorted that somebody waits for, as dtsched.announce_ended() does."""

_PROBE_SECONDS = 15.0
_POOLED_SECONDS = 60.0


@dataclass(frozen=True)
class _Request:
    """A statement for the listening session, and who waits for its single value."""

    statement: LiteralString
    parameters: tuple[object, ...]
    answer: asyncio.Future[object]


class Listener:
    """Calls `channels[channel](payload)` in the event loop for each notification, and `on_change()` whenever the
    connection has come or gone: what was sent in between is lost. `generation` counts the connections; locks of one
    end with it. `role` is shown in pg_stat_activity."""

    def __init__(
        self,
        dsn: str,
        channels: Mapping[str, Callable[[str], None]],
        *,
        on_change: Callable[[], None] = lambda: None,
        role: str = "listener",
        recovery: Recovery | None = None,
    ) -> None:
        self._dsn = dsn
        self._role = role
        self._channels = dict(channels)
        self._on_change = [on_change]
        self._recovery = recovery or Recovery()
        self._requests: deque[_Request] = deque()
        self._stirred = asyncio.Event()
        self._unwanted = False
        self._failure: Exception | None = None
        self.generation = 0
        self.connected = False
        self.pooled = False
        """There is a pooler in between, and never a connection."""

    def join(self, channel: str, receive: Callable[[str], None], on_change: Callable[[], None]) -> None:
        """For another user of the same connection, before it is opened."""
        self._channels[channel] = receive
        self._on_change.append(on_change)

    async def run(self) -> None:
        """Listens until cancelled; an outage costs a log line and a pause, which ends with the `recovery`."""
        outage = Outage(_log, "listener")
        while True:
            since = self._recovery.count
            try:
                await self._listen(outage)
            except Exception as error:  # a listener that ends on an unforeseen error leaves its worker deaf
                if not isinstance(error, (psycopg.Error, OSError)) and not outage.ongoing:
                    _log.exception("listening failed")
                await self._recovery.wait(outage.failed(error), since=since)

    async def hungry(self, queues: Sequence[str]) -> int | None:
        """From now on submissions to these queues notify. The xid to wait for with settled(); None without a
        connection."""
        xid = await self._ask("select dtsched.hungry(%s)", (list(queues),))
        return xid if isinstance(xid, int) and self.connected else None

    async def sated(self, queues: Sequence[str]) -> None:
        """Takes one hungry() with the same queues back."""
        await self._ask("select dtsched.sated(%s)", (list(queues),))

    async def watch_ended(self, buckets: Sequence[int]) -> bool:
        """From now on the ends of jobs are announced whose ids modulo BUCKETS are among these. False: try again."""
        return await self._ask("select dtsched.watch_ended(%s)", (list(buckets),)) is True and self.connected

    async def unwatch_ended(self, buckets: Sequence[int]) -> None:
        """Takes one watch_ended() with the same buckets back."""
        await self._ask("select dtsched.unwatch_ended(%s)", (list(buckets),))

    async def watch_feed(self) -> bool:
        """From now on, as long as this connection lasts, what happens to jobs is written into the feed. To be asked
        once a connection. False: try again."""
        return await self._ask("select dtsched.watch_feed()", ()) is not None and self.connected

    async def unwatch_feed(self) -> None:
        await self._ask("select dtsched.unwatch_feed()", ())

    def reconnect(self) -> None:
        """Throws the connection away and opens a new one."""
        self._unwanted = True
        self._stirred.set()

    async def _ask(self, statement: LiteralString, parameters: tuple[object, ...]) -> object:
        """The statement's single value, run on the listening session; None when there is none to be had."""
        return await self._request(statement, parameters) if self.connected else None

    def _request(self, statement: LiteralString, parameters: tuple[object, ...] = ()) -> asyncio.Future[object]:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(statement, parameters, answer))
        self._stirred.set()
        return answer

    async def _listen(self, outage: Outage) -> None:
        # a database in SQL_ASCII lets anybody send a payload in no encoding: asked for another one, the server would
        # end the connection, and psycopg's own handler fails on it
        settings = parameters(self._dsn, self._role)
        settings["client_encoding"] = "SQL_ASCII"
        async with await open_connection(self._dsn, settings) as connection:
            if is_pooled(connection):
                outage.over()
                await self._do_without(connection)
                return
            connection.pgconn.notify_handler = self._dispatch
            with answering(connection):
                await connection.execute("set idle_session_timeout = 0")
                for channel in self._channels:
                    await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            outage.over()
            self.pooled = False
            self.generation += 1
            self._set_connected(True)
            try:
                await self._serve(connection)
            finally:
                self._set_connected(False)

    async def _do_without(self, connection: Connection) -> None:
        """The session is not ours alone: what others listen to would come here, and a lock would stay behind."""
        await connection.close()
        if not self.pooled:
            self.pooled = True
            _log.warning(
                "a connection pooler stands before the database, so nothing is listened to: what comes is found by "
                "polling. A DSN that leads to the server itself ends that"
            )
        await asyncio.sleep(_POOLED_SECONDS)

    async def _serve(self, connection: Connection) -> None:
        """The only user of the connection from here on: dispatches notifications, runs requests, probes a silent
        line."""
        while not self._unwanted:
            await self._until_stirred(connection)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            while self._requests:
                await self._answer(connection, self._requests[0])
                self._requests.popleft()
        self._unwanted = False

    async def _until_stirred(self, connection: Connection) -> None:
        loop, socket = asyncio.get_running_loop(), connection.fileno()
        loop.add_reader(socket, self._arrived, connection, socket)
        probe = loop.call_later(_PROBE_SECONDS, self._request, "select 1")
        try:
            await self._stirred.wait()
        finally:
            probe.cancel()
            if self._failure is None:
                loop.remove_reader(socket)  # psycopg waits on the same socket while it runs a statement
        self._stirred.clear()

    def _arrived(self, connection: Connection, socket: int) -> None:
        """Tells in the callback of the socket: to wake a task first would keep the job waiting that has come."""
        try:
            connection.pgconn.consume_input()
            while notified := connection.pgconn.notifies():
                self._dispatch(notified)
        except Exception as error:  # for who serves
            # forgotten now: by the next round another may have the number of a socket that libpq has closed
            asyncio.get_running_loop().remove_reader(socket)
            self._failure = error
            self._stirred.set()

    async def _answer(self, connection: Connection, request: _Request) -> None:
        with answering(connection):
            cursor = await connection.execute(request.statement, request.parameters)
            row = await cursor.fetchone()
        if not request.answer.done():
            request.answer.set_result(row[0] if row else None)

    def _dispatch(self, notified: PGnotify) -> None:
        receive = self._channels.get(notified.relname.decode(errors="replace"))
        if receive is not None:
            receive(notified.extra.decode(errors="replace"))

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        for request in self._requests:
            if not request.answer.done():
                request.answer.set_result(None)
        self._requests.clear()
        for on_change in self._on_change:
            on_change()
