"""Group commit: jobs that several requests submit at the same time go to the database in one statement.

Nobody waits for company: while no statement is under way a job is sent at once, alone, and those that come while one is
are sent together when it has ended. Each is answered after the commit of its own, and as if it had been alone.

Only plain jobs are gathered, which wait for nobody: not for who holds a key, nor for the rows of jobs they depend on.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from dtsched.batches import Answered
from dtsched.connections import is_outage
from dtsched.errors import DatabaseUnreachable
from dtsched.jobs import NewJob
from dtsched.patience import Patience
from dtsched.pool import Pool

ANSWER_SECONDS = 4.0
"""Of all questions of one request, so that none takes five seconds, whatever has become of the database."""

_MOST_JOBS = 500
_MOST_BYTES = 4 * 1024 * 1024
_LARGEST_JOB_BYTES = 64 * 1024
_CONNECTIONS = 3  # one is used; the others for when it does not answer any more
_CLOSE_SECONDS = 0.3


@dataclass(eq=False)
class _Entry:
    job: bytes
    queues: Sequence[str] | None
    answer: asyncio.Future[Answered]


class Gatherer:
    """Used in one event loop, between open() and close()."""

    def __init__(self, dsn: str) -> None:
        self._pool = Pool(dsn, role="api", size=_CONNECTIONS)
        self._patience = Patience()
        self._waiting: deque[_Entry] = deque()
        self._stirred = asyncio.Event()
        self._idle = asyncio.Event()
        self._alone: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._pool.open()
        self._task = asyncio.create_task(self._run(), name="dtsched-gatherer")

    async def close(self) -> None:
        """What was taken on is answered first, if the database does so soon."""
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._idle.wait()
            for task in (self._task, *self._alone):
                task.cancel()
            await asyncio.gather(self._task, *self._alone, return_exceptions=True)
            _fail(self._waiting, DatabaseUnreachable("the server was stopped"))
        await self._pool.close()
        await self._patience.close(_CLOSE_SECONDS)

    async def submit(self, job: NewJob, queues: Sequence[str] | None) -> Answered | None:
        """What came of it, or None: it is not one to be gathered. `queues` are those that its submitter may submit to.
        DatabaseUnreachable when the time for an answer is up: it may be submitted all the same."""
        if job.key is not None or job.depends_on or job.workflow is not None:
            return None
        encoded = msgspec.json.encode(job)
        if len(encoded) > _LARGEST_JOB_BYTES:
            return None
        loop = asyncio.get_running_loop()
        entry = _Entry(encoded, queues, loop.create_future())
        timer = loop.call_later(ANSWER_SECONDS, _give_up, entry)
        self._waiting.append(entry)
        self._idle.clear()
        self._stirred.set()
        try:
            return await entry.answer
        finally:
            timer.cancel()

    async def _run(self) -> None:
        while True:
            self._idle.set()
            await self._stirred.wait()
            self._stirred.clear()
            while entries := self._next():
                await self._send(entries)

    def _next(self) -> list[_Entry]:
        """Those that still want an answer."""
        entries: list[_Entry] = []
        size = 0
        while self._waiting and len(entries) < _MOST_JOBS and size < _MOST_BYTES:
            entry = self._waiting.popleft()
            if not entry.answer.done():
                entries.append(entry)
                size += len(entry.job)
        return entries

    async def _send(self, entries: Sequence[_Entry]) -> None:
        try:
            answers = await self._patience.ask(self._submit(entries), ANSWER_SECONDS)
        except asyncio.CancelledError:
            _fail(entries, DatabaseUnreachable("the server was stopped"))
            raise
        except Exception as error:
            if is_outage(error) or len(entries) == 1:  # after an outage nobody knows whether they were committed
                _fail(entries, error)
            else:
                self._send_alone(entries)
            return
        for entry, answer in zip(entries, answers, strict=True):
            if not entry.answer.done():
                entry.answer.set_result(answer)

    async def _submit(self, entries: Sequence[_Entry]) -> list[Answered]:
        async with self._pool.store() as store:
            return await store.submit_gathered([entry.job for entry in entries], [entry.queues for entry in entries])

    def _send_alone(self, entries: Sequence[_Entry]) -> None:
        """The statement has failed, so nothing of it was written: one of them may be the cause, or nobody."""

        async def each() -> None:
            for entry in entries:
                if not entry.answer.done():
                    await self._send([entry])

        task = asyncio.create_task(each(), name="dtsched-gatherer-alone")
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)


def _fail(entries: Sequence[_Entry] | deque[_Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.answer.done():
            entry.answer.set_exception(error)


def _give_up(entry: _Entry) -> None:
    _fail([entry], DatabaseUnreachable(f"the database did not answer within {ANSWER_SECONDS:.1f} s"))
