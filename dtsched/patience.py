"""Answers in time. A database that went silent does not even notice that a question is withdrawn, so each question runs
in a task of its own, and those given up are kept until they have ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from dtsched.errors import DatabaseUnreachable

T = TypeVar("T")


class Patience:
    def __init__(self) -> None:
        self._given_up: set[asyncio.Task[Any]] = set()

    async def ask(self, question: Coroutine[Any, Any, T], seconds: float) -> T:
        """DatabaseUnreachable when the time is up: what was asked for may be done all the same."""
        asking = asyncio.create_task(question)
        try:
            await asyncio.wait({asking}, timeout=seconds)
            if asking.done():
                return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
                self._given_up.add(asking)
                asking.add_done_callback(self._forget)
        late = f"did not answer within {seconds:.1f} s"
        raise DatabaseUnreachable(f"the database {late}", reason=f"it {late}")

    async def close(self, seconds: float) -> None:
        """Waits so long for what was given up."""
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=seconds)

    def _forget(self, asked: asyncio.Task[Any]) -> None:
        self._given_up.discard(asked)
        if not asked.cancelled():
            asked.exception()  # fetched, or asyncio complains: whoever asked has been told already
