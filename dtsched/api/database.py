"""The client as requests use it: each question is answered, or given up, in time to say so to whoever asked."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from dtsched.client import Client
from dtsched.errors import DatabaseUnreachable
from dtsched.jobs import ENDED, Job
from dtsched.store import Store

T = TypeVar("T")

ANSWER_SECONDS = 4.0
"""Of all questions of one request, so that none takes five seconds, whatever has become of the database."""

_CLOSE_SECONDS = 0.5


class Questions:
    """All that are under way. A database that went silent does not even notice that a question is withdrawn; so each
    runs in a task of its own, and those given up are kept here until they have ended."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stopping = asyncio.Event()
        """Set when the server is told to end: nobody waits for a job any more."""
        self._given_up: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        await self.client.open()

    async def close(self) -> None:
        await self.client.close()
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=_CLOSE_SECONDS)

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
        raise DatabaseUnreachable(f"the database did not answer within {seconds:.1f} s")

    async def wait(self, *events: Coroutine[Any, Any, None], seconds: float) -> None:
        """Until one of these is over, the time is, or the server stops. Raises what an event raises."""
        waiting = [asyncio.create_task(event) for event in events]
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([*waiting, stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for event in waiting:
                if event.done():
                    event.result()
        finally:
            for task in (*waiting, stopping):
                task.cancel()
            await asyncio.wait([*waiting, stopping])

    def _forget(self, asked: asyncio.Task[Any]) -> None:
        self._given_up.discard(asked)
        if not asked.cancelled():
            asked.exception()  # fetched, or asyncio complains: whoever asked has been told already


class Database:
    """What one request may ask."""

    def __init__(self, questions: Questions) -> None:
        self.client = questions.client
        self._questions = questions
        self._deadline: float | None = None

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of one of the client's methods."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + ANSWER_SECONDS
        return await self._questions.ask(question, max(0.0, self._deadline - now))

    async def store(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """The answer of one of the store's methods, or of some."""
        return await self.ask(self.client.ask(question))

    async def wait(self, job_id: int, seconds: float, *, unless: Callable[[], Coroutine[Any, Any, None]]) -> Job:
        """The job when it has ended, or the time is over, or `unless` is, or the server stops. Waiting takes nothing of
        the time for questions, and no connection."""
        job = await self.ask(self.client.get(job_id))
        if job.state in ENDED or seconds == 0:
            return job
        await self._questions.wait(self.client.until_ended(job_id), unless(), seconds=seconds)
        self._deadline = None
        return await self.ask(self.client.get(job_id))
