"""Reads of single jobs by many requests at the same time: those that come while some are under way are read together.

Thousands who wait for jobs that end together ask for them together too, and would queue for a connection each until
their time is up. Nobody waits for company: while no more than a few statements are under way a job is read at once.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from dtsched.client import Client
from dtsched.errors import DatabaseUnreachable, NotFound
from dtsched.jobs import Job
from dtsched.store import LARGEST_ID

_MOST_JOBS = 50
"""Of a statement: each may have a megabyte of args, and another one of result."""

_MOST_STATEMENTS = 3


class JobReads:
    """Used in one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wanted: deque[tuple[int, asyncio.Future[Job]]] = deque()
        self._reading: set[asyncio.Task[None]] = set()

    async def get(self, job_id: int) -> Job:
        """NotFound when there is none; raises what the database does."""
        if job_id > LARGEST_ID:
            raise _missing(job_id)
        answer: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._wanted.append((job_id, answer))
        if len(self._reading) < _MOST_STATEMENTS:
            reading = asyncio.create_task(self._read(), name="dtsched-job-reads")
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)
        return await answer

    async def close(self) -> None:
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        _fail(self._wanted, _stopped())

    async def _read(self) -> None:
        while wanted := self._next():
            try:
                await self._answer(wanted)
            except asyncio.CancelledError:
                _fail(wanted, _stopped())
                raise
            except Exception as error:  # whoever asked is to know, whatever it is
                _fail(wanted, error)

    def _next(self) -> list[tuple[int, asyncio.Future[Job]]]:
        """Those that are still waited for."""
        wanted: list[tuple[int, asyncio.Future[Job]]] = []
        while self._wanted and len(wanted) < _MOST_JOBS:
            one = self._wanted.popleft()
            if not one[1].done():
                wanted.append(one)
        return wanted

    async def _answer(self, wanted: Sequence[tuple[int, asyncio.Future[Job]]]) -> None:
        ids: dict[int, str | None] = dict.fromkeys(job_id for job_id, _ in wanted)
        found = await self._client.ask(lambda store: store.watched_jobs(ids))
        for job_id, answer in wanted:
            if answer.done():
                continue
            if (read := found.get(job_id)) is None:
                answer.set_exception(_missing(job_id))
            else:
                answer.set_result(read[1])


def _stopped() -> DatabaseUnreachable:
    return DatabaseUnreachable("the server was stopped")


def _missing(job_id: int) -> NotFound:
    return NotFound(f"there is no job {job_id}")


def _fail(wanted: Iterable[tuple[int, asyncio.Future[Job]]], error: Exception) -> None:
    for _, answer in wanted:
        if not answer.done():
            answer.set_exception(error)
