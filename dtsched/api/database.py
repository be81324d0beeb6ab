"""The client as requests use it: each question is answered, or given up, in time to say so to whoever asked."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from dtsched.client import Client
from dtsched.errors import DatabaseUnreachable

T = TypeVar("T")

ANSWER_SECONDS = 4.0
"""Under the five seconds that no request takes longer than, whatever has become of the database."""

_CLOSE_SECONDS = 0.5


class Database:
    """A database that has gone silent does not even notice that a question is withdrawn. So questions run in tasks of
    their own: those that came too late are kept here until they have ended."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._given_up: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        await self.client.open()

    async def close(self) -> None:
        await self.client.close()
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=_CLOSE_SECONDS)

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of one of the client's methods. DatabaseUnreachable after ANSWER_SECONDS: what was asked may yet
        be done."""
        asking = asyncio.create_task(question)
        try:
            await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
            if asking.done():
                return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
                self._given_up.add(asking)
                asking.add_done_callback(self._forget)
        raise DatabaseUnreachable(f"the database did not answer within {ANSWER_SECONDS:g} s")

    def _forget(self, asked: asyncio.Task[Any]) -> None:
        self._given_up.discard(asked)
        if not asked.cancelled():
            asked.exception()  # fetched, so that asyncio does not complain: whoever asked has been told already
