"""What stands in the place of pools of connections where a server is asked over REST."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from dtsched.batches import Refusal, Wrong
from dtsched.errors import NotFound
from dtsched.jobs import Emitted, Job, NewJob, Submitted
from dtsched.polls import POLL_SECONDS, Polls
from dtsched.remote import RestStore, job_of
from dtsched.rest import Call, Rest, Server, SyncRest
from dtsched.store import LARGEST_ID, Store
from dtsched.submissions import answers_of, batch_call, emit_call, emitted_of, parts_of, spared, submitted_of

_PAUSE_SECONDS = 0.1


class RestPool:
    """In the place of a pool of connections: one client of HTTP, which has a pool of its own."""

    def __init__(self, server: Server) -> None:
        self._rest = Rest(server)
        self.waiting = Polls(self._rest)

    async def open(self) -> None:
        """Does not wait for the server: the first call does."""

    async def close(self) -> None:
        await self._rest.close()

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        yield RestStore(self._rest)


class SyncRestPool:
    """For callers in any thread."""

    def __init__(self, server: Server) -> None:
        self._rest = SyncRest(server)

    def close(self) -> None:
        self._rest.close()

    def submit_many(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        if not jobs:
            return []
        with spared(jobs):
            return submitted_of(self._rest.ask(batch_call(jobs, check_tasks=False)))

    def submit_partly(self, entries: Sequence[NewJob | Wrong]) -> list[Submitted | Refusal]:
        answers: list[Submitted | Refusal] = []
        for part in parts_of(entries):
            answers += answers_of(part, self._rest.ask(batch_call(part, check_tasks=False, partial=True)))
        return answers

    def emit(self, name: str, payload: bytes) -> Emitted:
        return emitted_of(self._rest.ask(emit_call(name, payload)))

    def job(self, job_id: int) -> Job | None:
        try:
            return job_of(self._rest.ask(Call("GET", f"/v1/jobs/{job_id}")).body) if job_id <= LARGEST_ID else None
        except NotFound:
            return None

    def wait(self, job_id: int, seconds: float | None) -> None:
        """For at most that long, or for a while: until the job has ended."""
        if seconds is not None and seconds < 1:  # the server waits for whole seconds
            time.sleep(min(_PAUSE_SECONDS, max(0.0, seconds)))
            return
        began = time.monotonic()
        wait = POLL_SECONDS if seconds is None else min(POLL_SECONDS, int(seconds))
        reply = self._rest.ask(Call("GET", f"/v1/jobs/{job_id}/result", wait=wait))
        if reply.status != 200 and time.monotonic() - began < _PAUSE_SECONDS:  # it is about to stop
            time.sleep(_PAUSE_SECONDS)
