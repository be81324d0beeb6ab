"""Submitting and watching jobs from a program of one's own: checks first, then asks the store."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from dtsched.alike import check_batch
from dtsched.api_keys import KeyRecord, MadeKey, checked_key, new_key
from dtsched.batches import Refusal, check_each
from dtsched.checks import check_event, check_name
from dtsched.correlation import correlate, correlate_part
from dtsched.edits import checked_changes
from dtsched.errors import DatabaseUnreachable, JobFailed, NotFound, ResultExpired, closed_while_waiting
from dtsched.filters import Filter, parse_filter
from dtsched.jobs import ENDED, Emitted, Job, NewJob, Submitted, check, check_all
from dtsched.limits import checked_limit, checked_settings
from dtsched.overview import (
    AttemptRecord,
    HeldLimits,
    JobPage,
    LimitRecord,
    LogLine,
    Queue,
    Reason,
    Retention,
    StepRecord,
    WorkflowRecord,
)
from dtsched.polls import Polls
from dtsched.pool import Pool
from dtsched.rest import Server
from dtsched.rest_pools import RestPool
from dtsched.schedules import NewSchedule, Schedule, check_change, check_schedule, check_schedule_name
from dtsched.settings import Duration, is_url, load
from dtsched.store import Pruned, Store
from dtsched.waiting import Waiting

T = TypeVar("T")

TURN_SECONDS = 30.0
"""So long at most one of thousands waits for its turn to ask: a database that is frozen takes seconds for each."""

_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_PAGE = 1000


class Client:
    """Opened by open() or `async with`. Safe for any number of tasks at once. `statement_ms` bounds each statement,
    `wait_seconds` the wait for a connection.

    `dsn` may be the URL of a server instead, like https://jobs.example.org, which is asked over REST with the API key
    `key`, or else DTSCHED_KEY; then at most 10,000 jobs are submitted at once, and the others say nothing."""

    def __init__(
        self,
        dsn: str,
        *,
        key: str | None = None,
        role: str = "client",
        pool_size: int = 10,
        statement_ms: int = 4000,
        wait_seconds: float = 3.0,
    ) -> None:
        self.pool: Pool | RestPool
        self._waiting: Waiting | Polls
        if is_url(dsn):
            self.pool = RestPool(Server(dsn, load().key if key is None else key))
            self._waiting = self.pool.waiting
        else:
            self.pool = Pool(dsn, role=role, size=pool_size, wait_seconds=wait_seconds, statement_ms=statement_ms)
            self._waiting = Waiting(dsn, lambda ids: self.ask(lambda store: store.ended(ids)))
        # thousands may learn at once that their jobs have ended: they ask in turns, and leave connections to the others
        self._turns = asyncio.Semaphore(max(1, pool_size // 2))
        self._closed = False

    @property
    def connections(self) -> Pool:
        """Of a client of the database."""
        if not isinstance(self.pool, Pool):
            raise TypeError("a client of a server over REST has no connections to a database")
        return self.pool

    @property
    def waiting(self) -> Waiting:
        """Of a client of the database: over REST others wait, in the server."""
        if not isinstance(self._waiting, Waiting):
            raise TypeError("a client of a server over REST has no listener of its own")
        return self._waiting

    async def open(self) -> None:
        """Does not wait for the database: the first call does."""
        self._closed = False
        await self.pool.open()

    async def close(self) -> None:
        """Whoever waits for a job meets an outage."""
        self._closed = True
        await self._waiting.close()
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

    @overload
    async def submit_many(
        self, jobs: Sequence[NewJob], *, check_tasks: bool = True, partial: Literal[False] = False
    ) -> list[Submitted]: ...
    @overload
    async def submit_many(
        self, jobs: Sequence[NewJob], *, check_tasks: bool = True, partial: Literal[True]
    ) -> list[Submitted | Refusal]: ...
    async def submit_many(
        self, jobs: Sequence[NewJob], *, check_tasks: bool = True, partial: bool = False
    ) -> list[Submitted] | list[Submitted | Refusal]:
        """All or none, in the order given; or with `partial` those that can be, and a Refusal in the place of each
        other one. `check_tasks` refuses names that no worker has ever declared."""
        if partial:
            entries = correlate_part(check_each(jobs))
            async with self.pool.store() as store:
                return await store.submit_partly(entries, check_tasks=check_tasks)
        checked = correlate(check_batch(jobs))
        async with self.pool.store() as store:
            return await store.submit_many(checked, check_tasks=check_tasks)

    async def get(self, job_id: int) -> Job:
        async with self.pool.store() as store:
            job = await store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    async def list_jobs(self, wanted: Filter | str = "", *, before: int | None = None, limit: int = 100) -> JobPage:
        """Newest first, at most 200 a page; `before` is the `next` of the page before. `wanted` is in the filter
        language, as "state:failed queue:mail since:1h", or what parse_filter() has made of it."""
        parsed = parse_filter(wanted) if isinstance(wanted, str) else wanted
        async with self.pool.store() as store:
            return await store.list_jobs(parsed, before=before, limit=limit)

    async def jobs_of_keys(self, keys: Sequence[str]) -> dict[str, int]:
        """The job that holds each of these keys."""
        async with self.pool.store() as store:
            return await store.jobs_of_keys(keys)

    async def cancel(self, job_ids: Sequence[int]) -> dict[int, str]:
        """What came of each: cancelled, requested (it runs and is told), finished, busy (try again) or missing."""
        async with self.pool.store() as store:
            return await store.cancel(job_ids)

    async def retry(self, job_ids: Sequence[int]) -> dict[int, str]:
        """Failed and cancelled jobs get all their attempts again. What came of each: retried, unfinished, finished (it
        has completed), key_held, parents (one of them did not complete: retry it too), deadline, busy or missing."""
        return await self.ask(lambda store: store.retry(job_ids))

    async def run_now(self, job_ids: Sequence[int]) -> dict[int, str]:
        """What waits for a time waits no longer. What came of each: ready, blocked (its parents have not ended),
        running, finished, busy or missing."""
        return await self.ask(lambda store: store.run_now(job_ids))

    async def reschedule(self, job_ids: Sequence[int], run_at: datetime) -> dict[int, str]:
        """`run_at` needs a time zone. What came of each: scheduled, ready, blocked, running, finished, busy or
        missing."""
        checked = check(NewJob(task="any", run_at=run_at)).run_at or run_at
        return await self.ask(lambda store: store.reschedule(job_ids, checked))

    async def delete(self, job_ids: Sequence[int]) -> dict[int, str]:
        """With results and attempts; what waits is cancelled first. What came of each: deleted, running, busy or
        missing."""
        return await self.ask(lambda store: store.delete(job_ids))

    async def why(self, job_id: int) -> list[Reason]:
        """Why a job is where it is: what it waits for, or how it ended; the decisive reason first."""
        reasons = await self.ask(lambda store: store.why(job_id))
        if not reasons:
            raise NotFound(f"there is no job {job_id}")
        return reasons

    async def attempts(self, job_id: int) -> list[AttemptRecord]:
        """Those that did not simply succeed, newest first, at most 200."""
        return await self.ask(lambda store: store.attempts(job_id))

    async def steps(self, job_id: int) -> list[StepRecord]:
        """Steps, sleeps and waits for events that it has come to, in the order in which they began."""
        return await self.ask(lambda store: store.steps(job_id))

    async def workflow(self, workflow_id: int) -> WorkflowRecord:
        async with self.pool.store() as store:
            found = await store.workflow(workflow_id)
        if found is None:
            raise NotFound(f"there is no workflow {workflow_id}")
        return found

    async def submit_workflow(self, workflow: int | str, jobs: Sequence[NewJob]) -> tuple[int, list[Submitted]]:
        """All or none: the jobs, and with a name instead of an id the workflow that they are to belong to."""
        checked = correlate(check_all(jobs))
        return await self.ask(lambda store: store.submit_workflow(workflow, checked, check_tasks=False))

    async def cancel_workflow(self, workflow_id: int) -> dict[int, str]:
        """What came of each job that had not ended, as of cancel(). NotFound when there is no such workflow."""
        async with self.pool.store() as store:
            return await store.cancel_workflow(workflow_id)

    async def retry_workflow(self, workflow_id: int) -> dict[int, str]:
        """What came of each failed or cancelled job. NotFound when there is no such workflow."""
        async with self.pool.store() as store:
            return await store.retry_workflow(workflow_id)

    async def emit(self, name: str, payload: object = None) -> Emitted:
        """Says that an event has happened: the first emit of a name wins. Jobs that wait for it go on."""
        raw = check_event(name, payload)
        async with self.pool.store() as store:
            return await store.emit(name, raw)

    async def set_queue(self, queue: str, settings: Mapping[str, object]) -> dict[str, Any]:
        """Changes the settings that are named, None takes one away; returns all that the queue has then. Durations may
        be like "10m", rates like "100/m". dtsched.set_queue() has the list."""
        check_name("queue", queue)
        checked = checked_settings(settings)
        async with self.pool.store() as store:
            return await store.set_queue(queue, checked)

    async def queues(self, name: str | None = None) -> list[Queue]:
        """All that have a row, wait for something or are served, by name; or the one."""
        return await self.ask(lambda store: store.queues(name))

    async def pause(self, queue: str) -> bool:
        """Nothing of it starts until resume(); what runs goes on. False when it was paused already."""
        check_name("queue", queue)
        return await self.ask(lambda store: store.pause(queue))

    async def resume(self, queue: str) -> bool:
        """Closes its circuit breaker too. False when it was not paused."""
        check_name("queue", queue)
        return await self.ask(lambda store: store.resume(queue))

    async def retention(self, queue: str | None = None) -> list[Retention]:
        """Of one queue, or of each that says something of its own and, last, of all others."""
        return await self.ask(lambda store: store.retention(queue))

    async def set_retention(self, members: Mapping[str, float | str | None], queue: str | None = None) -> None:
        """How long ended jobs of a queue are kept, or of all queues that say nothing: completed, failed, cancelled and
        results, each in seconds or like "30d", "forever", or None for the default."""
        kept = checked_settings({"retention": members})["retention"]
        await self.ask(lambda store: store.set_retention(kept, queue))

    async def prune(self) -> Pruned:
        """Deletes all ended jobs that are past their retention, now; `more` is False. In many short transactions."""
        done = await self.ask(lambda store: store.prune(everywhere=True))
        jobs, results, partitions = done.jobs, done.results, done.partitions
        while done.more:
            if not done.jobs:
                await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)  # a worker is at it
            done = await self.ask(lambda store: store.prune())
            jobs, results, partitions = jobs + done.jobs, results + done.results, partitions + done.partitions
        return Pruned(jobs, results, partitions, more=False)

    async def set_limit(
        self, key: str, concurrency: int | None = None, rate: float | str | None = None, burst: int | None = None
    ) -> LimitRecord:
        """How many jobs of a limit key run at once and start a second. What is None is as the queue of a job says."""
        checked = checked_limit(key, concurrency, rate, burst)
        async with self.pool.store() as store:
            return await store.set_limit(checked)

    async def effective_limits(self, key: str, *, queue: str = "default") -> HeldLimits:
        """What holds for a limit key among the jobs of a queue: its own limits, else the queue's, else one at once."""
        checked_limit(key)
        check_name("queue", queue)
        async with self.pool.store() as store:
            return await store.effective_limits(key, queue)

    async def limits(self, key: str | None = None, *, after: str | None = None, limit: int = 200) -> list[LimitRecord]:
        """Keys that have limits of their own, jobs that run, or jobs that wait; by key, at most 200 a page."""
        async with self.pool.store() as store:
            return await store.limits(key, after=after, limit=limit)

    async def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        queues: Sequence[str] | None = None,
        expires_in: Duration | None = None,
    ) -> MadeKey:
        """A key for the REST API; `queues` None: for all. Its text is told here and never again. Conflict when the name
        has two active keys already."""
        key = checked_key(name, scopes, queues, expires_in)
        text, presented = new_key()
        return MadeKey(text, await self.ask(lambda store: store.create_key(key, presented)))

    async def keys(self) -> list[KeyRecord]:
        """By name and age, without what opens the API."""
        return await self.ask(lambda store: store.keys())

    async def revoke_key(self, key: str) -> list[KeyRecord]:
        """Ends the key of this id, or all keys of this name, within a second. NotFound when there is none."""
        return await self.ask(lambda store: store.revoke_key(key))

    async def schedules(self) -> list[Schedule]:
        """By name."""
        return await self.ask(lambda store: store.schedules())

    async def schedule(self, name: str) -> Schedule:
        check_schedule_name(name)
        found = await self.ask(lambda store: store.schedules(name))
        if not found:
            raise NotFound(f'there is no schedule "{name}"')
        return found[0]

    async def save_schedule(self, name: str, schedule: NewSchedule) -> bool:
        """Makes it, or gives the one of that name this definition. True when it is new."""
        checked = check_schedule(name, schedule)
        return await self.ask(lambda store: store.save_schedule(name, checked))

    async def change_schedule(self, name: str, **fields: Any) -> Schedule:
        """What is not named stays as it is, None is the default; `fields` are those of NewSchedule."""
        changes = check_change(await self.schedule(name), fields)
        await self.ask(lambda store: store.change_schedule(name, changes))
        return await self.schedule(name)

    async def run_schedule(self, name: str) -> Submitted:
        """Submits its job now, also while it is paused. With overlap skip, the unfinished one that there is."""
        return await self.ask(lambda store: store.run_schedule(name))

    async def pause_schedule(self, name: str) -> bool:
        """False when it was paused already."""
        return await self.ask(lambda store: store.pause_schedule(name))

    async def resume_schedule(self, name: str) -> bool:
        """It fires from its next time on. False when it was not paused."""
        return await self.ask(lambda store: store.resume_schedule(name))

    async def unschedule(self, name: str) -> None:
        """What it has submitted goes on. Conflict while the code of running workers declares it."""
        await self.ask(lambda store: store.unschedule(name))

    async def edit(self, job_ids: Sequence[int], changes: Mapping[str, Any]) -> dict[int, str]:
        """Changes jobs that wait, have failed or were cancelled: args or merge_args, queue, priority, max_attempts,
        timeout, tags, limit_key, deadline. What came of each: edited, running, finished (it has completed), too_large,
        busy (try again) or missing."""
        checked = checked_changes(changes)
        async with self.pool.store() as store:
            return await store.edit(job_ids, checked)

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """The answer to one question, over a connection that it has for itself."""
        async with self.pool.store() as store:
            return await question(store)

    async def wait(self, job_id: int, *, timeout: float | None = None) -> Job:
        """The job once it has ended. TimeoutError after `timeout` seconds, NotFound when there is none. Waiting holds
        no connection of the pool."""
        job = await self._get_in_turn(job_id)
        if job.state in ENDED:
            return job
        try:
            async with asyncio.timeout(timeout):
                await self.until_ended(job_id)
        except TimeoutError as error:
            job = await self._get_in_turn(job_id)
            raise TimeoutError(f"job {job_id} is still {job.state} after {timeout:g} s") from error
        return await self._get_in_turn(job_id)

    async def _get_in_turn(self, job_id: int) -> Job:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            late = f"did not answer those who asked before within {TURN_SECONDS:g} s"
            raise DatabaseUnreachable(f"the database {late}", reason=f"it {late}") from error
        try:
            return await self.get(job_id)
        finally:
            self._turns.release()

    async def until_ended(self, job_id: int) -> None:
        """Returns when the job has ended, or is not there; for as long as whoever calls cares to wait."""
        if self._closed:  # between two questions of somebody who waits: nobody would end that wait any more
            raise closed_while_waiting()
        await self._waiting.until_ended(job_id)

    async def logs(
        self, job_id: int, *, follow: bool = False, after: int = 0, attempt: int | None = None
    ) -> AsyncGenerator[LogLine]:
        """What its handlers have logged, in order, from the line after `after` on; with `follow` until the job has
        ended. NotFound when there is none, or not any more."""
        ended = asyncio.create_task(self.until_ended(job_id)) if follow else None
        pause = _SHORTEST_PAUSE_SECONDS
        try:
            while True:
                job = await self.get(job_id)  # first: what has ended by then adds no line
                page: list[LogLine] | None = None
                while page is None or len(page) == _PAGE:
                    page = await self._page(job_id, after, attempt)
                    for line in page:
                        yield line
                        after = line.line
                if ended is None or job.state in ENDED:
                    return
                pause = _SHORTEST_PAUSE_SECONDS if page else min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if not ended.done():
                    await asyncio.wait([ended], timeout=pause)
                else:
                    await ended  # raises what has kept it from waiting
                    await asyncio.sleep(pause)
        finally:
            if ended is not None:
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)

    async def _page(self, job_id: int, after: int, attempt: int | None) -> list[LogLine]:
        async with self.pool.store() as store:
            return await store.logs(job_id, after=after, limit=_PAGE, attempt=attempt)

    async def result(self, job_id: int, *, timeout: float | None = None) -> Any:
        """What the handler returned. JobFailed when the job failed or was cancelled, ResultExpired when that is not
        kept any more, TimeoutError as wait() does."""
        return result_of(await self.wait(job_id, timeout=timeout))


def result_of(job: Job) -> Any:
    """The result of a job that has ended. ResultExpired when it is not kept any more."""
    if job.state != "completed":
        raise JobFailed(f"job {job.id} ({job.task}) {job.state}: {job.error or 'no reason was given'}", state=job.state)
    if job.result_expired_at is not None:
        raise ResultExpired(
            f"job {job.id} ({job.task}) completed, and its result expired at {job.result_expired_at.isoformat(' ')}",
            at=job.result_expired_at,
        )
    return job.result
