"""The client as requests use it: each question is answered, or given up, in time to say so to whoever asked."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.types import Scope
from msgspec import structs

from dtsched.api.gathering import ANSWER_SECONDS, Gatherer
from dtsched.api.job_reads import JobReads
from dtsched.client import Client
from dtsched.jobs import ENDED, Job
from dtsched.overview import AuditEntry
from dtsched.patience import Patience
from dtsched.store import Store

T = TypeVar("T")

READ_MS = 2000
"""Of a statement of a request that only reads."""

_READERS = 6
_READER_WAIT_SECONDS = 1.0
_CLOSE_SECONDS = 0.3
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


_DATABASE = "database"


class Questions:
    """All that are under way, and whoever waits for a job. Requests that only read have connections of their own
    (`reader`), so that however much they ask, what writes finds one free."""

    def __init__(self, client: Client, gatherer: Gatherer, *, reader: Client | None = None) -> None:
        self.client = client
        self.reader = client if reader is None else reader
        self.gatherer = gatherer
        self.job_reads = JobReads(self.reader)
        self.stopping = asyncio.Event()
        """Set when the server is told to end: nobody waits for a job any more."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._patience = Patience()

    @property
    def waiting(self) -> int:
        """How many wait for something."""
        return len(self._waiting)

    async def open(self) -> None:
        await self.client.open()
        await self.gatherer.open()
        await self.reader.open()

    async def close(self) -> None:
        await self.gatherer.close()
        await self.job_reads.close()
        await self.client.close()
        await self.reader.close()
        await self._patience.close(_CLOSE_SECONDS)

    async def ask(self, question: Coroutine[Any, Any, T], seconds: float) -> T:
        """DatabaseUnreachable when the time is up: what was asked for may be done all the same."""
        return await self._patience.ask(question, seconds)

    async def wait(self, *events: Coroutine[Any, Any, None], seconds: float) -> None:
        """Until one of these is over, the time is, or the server stops. Raises what an event raises."""
        if self.stopping.is_set():
            for event in events:
                event.close()
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _set, over)
        waiting = [asyncio.create_task(event) for event in events]
        for event in waiting:
            event.add_done_callback(lambda _: _set(over))
        self._waiting.add(over)
        try:
            await over
            for event in waiting:
                if event.done():
                    event.result()
        finally:
            self._waiting.discard(over)
            timer.cancel()
            for event in waiting:
                event.cancel()
            await asyncio.wait(waiting)

    def let_go(self) -> None:
        """Of all who wait."""
        for over in self._waiting:
            _set(over)


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def reader_of(dsn: str) -> Client:
    return Client(dsn, role="api", pool_size=_READERS, statement_ms=READ_MS, wait_seconds=_READER_WAIT_SECONDS)


class Database:
    """What one request may ask."""

    def __init__(self, questions: Questions, *, spent: float = 0.0) -> None:
        """`spent` seconds of its time for questions are gone already."""
        self.client = questions.client
        self.gatherer = questions.gatherer
        self._questions = questions
        self._record: AuditEntry | None = None
        self._spent = spent
        self._deadline: float | None = None

    def recorded(self, record: AuditEntry | None) -> "Database":
        """The same, for a change of which the audit is to say this."""
        self._record = record
        return self

    def reading(self) -> "Database":
        """The same, for a request that only reads."""
        self.client = self._questions.reader
        return self

    def note(self, *, target: object = None, **detail: object) -> None:
        """For the audit: no args and no secrets. Called while the change is under way, or before."""
        if self._record is not None:
            self._record = structs.replace(
                self._record,
                target=self._record.target if target is None else str(target),
                detail={**self._record.detail, **detail},
            )

    def anew(self) -> "Database":
        """With all of the time again, for a request that has begun to answer."""
        return Database(self._questions)

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of one of the client's methods."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + ANSWER_SECONDS - self._spent
        return await self._questions.ask(question, max(0.0, self._deadline - now))

    async def store(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """The answer of one of the store's methods, or of some."""
        return await self.ask(self.client.ask(question))

    async def again(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """store(), after waiting for something else: with all the time there is."""
        self._deadline = None
        return await self.store(question)

    async def change(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """store() for what changes something, in one transaction with its line in the audit: what raises has changed
        nothing, and leaves none."""

        async def record(store: Store) -> T:
            async with store.transaction():
                answer = await question(store)
                if self._record is not None:
                    await store.note_audit(self._record)
            return answer

        return await self.store(record)

    @property
    def stopping(self) -> bool:
        """The server is told to end: nobody should wait for anything any more."""
        return self._questions.stopping.is_set()

    async def until(
        self,
        question: Callable[[Store], Awaitable[T]],
        reached: Callable[[T], bool],
        seconds: float,
        *,
        unless: Callable[[], Coroutine[Any, Any, None]],
    ) -> T:
        """The answer once it is the one that is waited for, or the time is over, or `unless` is, or the server stops:
        asked again at growing intervals."""
        answer = await self.store(question)
        if reached(answer) or seconds == 0:
            return answer

        async def reach() -> None:
            pause = _SHORTEST_PAUSE_SECONDS
            while True:
                await asyncio.sleep(pause)
                if reached(await self.client.ask(question)):
                    return
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

        await self._questions.wait(reach(), unless(), seconds=seconds)
        self._deadline = None
        return await self.store(question)

    async def wait(self, job_id: int, seconds: float, *, unless: Callable[[], Coroutine[Any, Any, None]]) -> Job:
        """The job when it has ended, or the time is over, or `unless` is, or the server stops: then as it was in the
        beginning, because thousands who asked once more would hold up its end. Waiting takes nothing of the time for
        questions, and no connection."""
        job = await self.ask(self._questions.job_reads.get(job_id))
        if job.state in ENDED or seconds == 0:
            return job
        await self._questions.wait(self._questions.client.until_ended(job_id), unless(), seconds=seconds)
        if self.stopping:
            return job
        self._deadline = None
        return await self.ask(self._questions.job_reads.get(job_id))


def set_database(connection: ASGIConnection[Any, Any, Any, Any], database: Database) -> None:
    """The one that the handler is given."""
    connection.scope["state"][_DATABASE] = database


def has_database(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    return _DATABASE in connection.scope["state"]


def database_of(scope: Scope) -> Database:
    return scope["state"][_DATABASE]
