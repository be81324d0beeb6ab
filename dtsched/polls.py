"""Waits for the end of jobs over REST, for any number of waiters over few connections."""

import asyncio
from collections.abc import Sequence

from dtsched.errors import NotFound, closed_while_waiting
from dtsched.remote import RestStore
from dtsched.rest import Call, Rest
from dtsched.store import LARGEST_ID

POLL_SECONDS = 20
"""How long the server is to wait before it answers that the job has not ended: proxies cut off what takes 30."""

_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_LONG_POLLS = 32


class Polls:
    """Waits for the end of jobs: some by long requests of their own, which are told at once; when there are many more,
    those ask together, ever so often."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._long_polls = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._crowd: dict[int, list[asyncio.Future[None]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def until_ended(self, job_id: int) -> None:
        """Returns when the job has ended or is gone; raises what asking for it raises."""
        alone = self._long_polls < _LONG_POLLS
        self._long_polls += alone  # here and not in its task: many may come before that begins
        task = asyncio.create_task(self._alone(job_id) if alone else self._together(job_id))
        self._tasks.add(task)
        try:
            await asyncio.wait({task})
            if task.cancelled():
                raise closed_while_waiting()
            task.result()
        finally:
            task.cancel()
            self._tasks.discard(task)
            self._long_polls -= alone

    async def close(self) -> None:
        tasks = [*self._tasks, *([self._asking] if self._asking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _alone(self, job_id: int) -> None:
        if job_id > LARGEST_ID:
            return
        while True:
            try:
                reply = await self._rest.ask(Call("GET", f"/v1/jobs/{job_id}/result", wait=POLL_SECONDS))
            except NotFound:
                return
            if reply.status == 200:
                return
            await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)  # a server that is about to stop answers at once

    async def _together(self, job_id: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._crowd.setdefault(job_id, [])
        waiters.append(waiter)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            await waiter
        finally:
            waiters.remove(waiter)
            if not waiters and self._crowd.get(job_id) is waiters:
                del self._crowd[job_id]

    async def _ask(self) -> None:
        store = RestStore(self._rest)
        pause = _SHORTEST_PAUSE_SECONDS
        while self._crowd:
            await asyncio.sleep(pause)
            try:
                ended = await store.ended(list(self._crowd))
            except Exception as error:  # whoever waits is to know, whatever it is
                self._tell(list(self._crowd), error)
                return
            self._tell(list(ended), None)
            pause = _SHORTEST_PAUSE_SECONDS if ended else min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _tell(self, job_ids: Sequence[int], error: Exception | None) -> None:
        for job_id in job_ids:
            for waiter in self._crowd.pop(job_id, []):
                if not waiter.done():
                    waiter.set_exception(error) if error else waiter.set_result(None)
