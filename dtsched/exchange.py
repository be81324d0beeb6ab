"""How an answer of the server is waited for: psycopg's generators, taken further in the very callback in which the
event loop tells that there is something to read.

psycopg wakes a coroutine for each piece instead, and the server sends a large answer in pieces of 8 kB, each of which
finds the reader waiting again: of a thousand jobs with args of 2 kB, that was half of what the worker spent on them.
"""

import asyncio
import select
from collections.abc import Generator
from contextlib import suppress
from typing import Any, Generic

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_R, READY_W, WAIT_R, WAIT_W, Ready, Wait

_AT_ONCE = 16
"""Pieces of up to 16 kB read in one go, before others have their turn."""


class Exchanging(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection that waits so."""

    _exchange: "_Exchange[Any] | None" = None

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        socket = self.pgconn.socket  # raises where there is none any more: nothing has begun then
        try:
            wanted = next(gen)
        except StopIteration as stop:
            answer: RV = stop.value
            return answer
        self._exchange = exchange = _Exchange(gen, wanted, socket)
        try:
            return await exchange.answer
        except asyncio.CancelledError:
            exchange.end()
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise  # of what is answered, lost or closed there is nothing to cancel, nor a socket to ask it of
            return await super().wait(_Cancelled(gen), interval)
        finally:
            exchange.end()
            self._exchange = None

    async def close(self) -> None:
        """Whoever waits meets an outage: of a socket that is closed the event loop tells nothing, not even that."""
        if self._exchange is not None:
            self._exchange.give_up()
        await super().close()


class _Exchange(Generic[RV]):
    """What is under way on a socket until `answer` is there."""

    def __init__(self, steps: PQGen[RV], wanted: Wait, socket: int) -> None:
        self._steps = steps
        self._wanted = 0
        self._socket = socket
        self._readable = select.poll()
        self._readable.register(socket, select.POLLIN)
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[RV] = self._loop.create_future()
        self._watch(wanted)

    def end(self) -> None:
        """Watches the socket no more, which libpq may have closed: epoll does not know it any longer then."""
        watched, self._wanted = self._wanted, 0
        if watched & WAIT_R:
            with suppress(OSError):
                self._loop.remove_reader(self._socket)
        if watched & WAIT_W:
            with suppress(OSError):
                self._loop.remove_writer(self._socket)

    def give_up(self) -> None:
        self.end()
        if not self.answer.done():
            self.answer.set_exception(psycopg.OperationalError("the connection was closed while it was waited for"))

    def _advance(self, ready: Ready) -> None:
        if self.answer.done():
            return
        try:
            wanted = self._steps.send(ready)
            for _ in range(_AT_ONCE):
                if wanted != WAIT_R or not self._readable.poll(0):
                    break
                wanted = self._steps.send(READY_R)
            self._watch(wanted)
        except StopIteration as stop:
            self.end()
            self.answer.set_result(stop.value)
        except Exception as error:
            self.end()  # now: by the next round another may have the number of a socket that libpq has closed
            self.answer.set_exception(error)

    def _watch(self, wanted: int) -> None:
        begun, over = wanted & ~self._wanted, self._wanted & ~wanted
        if begun & WAIT_R:
            self._loop.add_reader(self._socket, self._advance, READY_R)
        if begun & WAIT_W:
            self._loop.add_writer(self._socket, self._advance, READY_W)
        if over & WAIT_R:
            self._loop.remove_reader(self._socket)
        if over & WAIT_W:
            self._loop.remove_writer(self._socket)
        self._wanted = wanted


class _Cancelled(Generator[Wait, Ready | int, RV]):
    """The rest of a generator whose task has been cancelled: psycopg, which is told of it first, has the statement
    cancelled too, reads what is left, and cancels the task then."""

    def __init__(self, rest: PQGen[RV]) -> None:
        self._rest = rest
        self._told = False

    def send(self, value: Ready | int, /) -> Wait:
        if not self._told:
            self._told = True
            raise asyncio.CancelledError
        return self._rest.send(value)

    def throw(self, *error: Any) -> Wait:
        return self._rest.throw(*error)
