"""Submitting and watching jobs from a program of one's own: checks first, then asks the store."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from dtsched.errors import JobFailed, NotFound
from dtsched.jobs import ENDED, Job, NewJob, Submitted, check_all
from dtsched.pool import Pool

_SHORTEST_POLL = 0.02
_LONGEST_POLL = 0.5


class Client:
    """Opened by open() or `async with`. Safe for any number of tasks at once. `statement_ms` bounds each statement."""

    def __init__(self, dsn: str, *, role: str = "client", pool_size: int = 10, statement_ms: int = 4000) -> None:
        self.pool = Pool(dsn, role=role, size=pool_size, statement_ms=statement_ms)

    async def open(self) -> None:
        """Does not wait for the database: the first call does."""
        await self.pool.open()

    async def close(self) -> None:
        await self.pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def require_contract(self) -> None:
        """SchemaMissing or SchemaMismatch when the database is not migrated for this program."""
        async with self.pool.store() as store:
            await store.require_contract()

    async def submit(self, job: NewJob, *, check_tasks: bool = True) -> Submitted:
        return (await self.submit_many([job], check_tasks=check_tasks))[0]

    async def submit_many(self, jobs: Sequence[NewJob], *, check_tasks: bool = True) -> list[Submitted]:
        """All or none, in the order given. `check_tasks` refuses names that no worker has ever declared."""
        checked = check_all(jobs)
        async with self.pool.store() as store:
            return await store.submit_many(checked, check_tasks=check_tasks)

    async def get(self, job_id: int) -> Job:
        async with self.pool.store() as store:
            job = await store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    async def list_jobs(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        task: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Newest first, at most 200; `before` is the id that the last page ended with."""
        async with self.pool.store() as store:
            return await store.list_jobs(state=state, queue=queue, task=task, before=before, limit=limit)

    async def jobs_of_keys(self, keys: Sequence[str]) -> dict[str, int]:
        """The unfinished job of each key that is held."""
        async with self.pool.store() as store:
            return await store.jobs_of_keys(keys)

    async def cancel(self, job_ids: Sequence[int]) -> dict[int, str]:
        """What came of each: cancelled, requested (it runs and is told), finished, busy (try again) or missing."""
        async with self.pool.store() as store:
            return await store.cancel(job_ids)

    async def wait(self, job_id: int, *, timeout: float | None = None) -> Job:
        """The job once it has ended. TimeoutError after `timeout` seconds, NotFound when there is none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _SHORTEST_POLL
        while (job := await self.get(job_id)).state not in ENDED:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {job_id} is still {job.state} after {timeout:g} s")
            await asyncio.sleep(min(pause, left))
            pause = min(_LONGEST_POLL, pause * 1.5)
        return job

    async def result(self, job_id: int, *, timeout: float | None = None) -> Any:
        """What the handler returned. JobFailed when the job failed or was cancelled, TimeoutError as wait() does."""
        return result_of(await self.wait(job_id, timeout=timeout))


def result_of(job: Job) -> Any:
    """The result of a job that has ended."""
    if job.state != "completed":
        raise JobFailed(f"job {job.id} ({job.task}) {job.state}: {job.error or 'no reason was given'}", state=job.state)
    return job.result
