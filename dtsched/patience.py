"""Answers in time. A database that went silent does not even notice that a question is withdrawn, so each question runs
in a task of its own, and all are kept until they have ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from dtsched.errors import DatabaseUnreachable

T = TypeVar("T")


class Patience:
    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def ask(self, question: Coroutine[Any, Any, T], seconds: float) -> T:
        """DatabaseUnreachable when the time is up: what was asked for may be done all the same."""
        asking = asyncio.create_task(question)
        self._under_way.add(asking)
        asking.add_done_callback(self._forget)
        try:
            await asyncio.wait({asking}, timeout=seconds)
            if asking.done():
                return asking.result()
        finally:
            asking.cancel()
        late = f"did not answer within {seconds:.1f} s"
        raise DatabaseUnreachable(f"the database {late}", reason=f"it {late}")

    async def close(self, seconds: float) -> None:
        """Gives up what is under way, and waits so long for that. Who is cancelled asks the server to withdraw the
        question, and waits for a server that is silent; who is cancelled once more does not."""
        for _ in range(2):
            for asked in self._under_way:
                asked.cancel()
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=seconds)

    def _forget(self, asked: asyncio.Task[Any]) -> None:
        self._under_way.discard(asked)
        if not asked.cancelled():
            asked.exception()  # fetched, or asyncio complains: whoever asked has been told already
