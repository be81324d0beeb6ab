"""A proxy before the database that can fall silent: nothing is forwarded any more, yet every socket stays open. It can
also hold an answer back for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg
from psycopg.conninfo import make_conninfo


class Proxy:
    """`dsn` leads through it. Silence is for the connections that are open; new ones work, unless refused too."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._roles: dict[asyncio.Task[None], bytes] = {}
        self._silent: set[asyncio.Task[None]] = set()
        self._mute = False
        self._word: bytes | None = None
        self._let_go = asyncio.Event()
        self.held = asyncio.Event()
        self.heard = bytearray()
        """All that has passed."""
        self.dsn = ""

    def silence(self, role: str = "") -> None:
        """The open connections whose application_name holds this word."""
        self._silent |= {task for task, startup in self._roles.items() if role.encode() in startup}

    def silence_for_good(self) -> None:
        """New connections get no answer either."""
        self._mute = True
        self.silence()

    def hold(self, word: bytes) -> None:
        """The next answer in which this word is, and what follows on its line: `held` says that it is there, which is
        after its commit if it is short."""
        self._word = word

    def let_go(self) -> None:
        self._let_go.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        startup = await reader.read(65536)
        self._roles[task] = startup
        if self._mute:
            self._silent.add(task)
        with psycopg.connect(self._server) as connection:
            host, port = connection.info.host, connection.info.port
        if host.startswith("/"):
            from_server, to_server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            from_server, to_server = await asyncio.open_connection(host, port)
        to_server.write(startup)
        try:
            await asyncio.gather(
                self._forward(task, reader, to_server), self._forward(task, from_server, writer), return_exceptions=True
            )
        finally:
            del self._roles[task]
            for end in (writer, to_server):
                end.transport.abort()

    async def _forward(
        self, task: asyncio.Task[None], source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65536):
            self.heard += data
            if self._word is not None and self._word in data:
                self._word = None
                self.held.set()
                await self._let_go.wait()
            if task not in self._silent:
                target.write(data)
        target.transport.abort()


@asynccontextmanager
async def proxy_before(database: str) -> AsyncGenerator[Proxy]:
    proxy = Proxy(database)
    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.handle(reader, writer))
        handlers.add(task)
        task.add_done_callback(handlers.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    proxy.dsn = make_conninfo(database, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
    try:
        yield proxy
    finally:
        listening.close()
        for handler in list(handlers):
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
