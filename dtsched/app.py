"""An application: its tasks, how to submit them and how to work on them. The wiring of client and worker is here."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import psycopg

from dtsched.alike import Alike, can_be_alike, check_batch
from dtsched.answers import Retry
from dtsched.batches import Refusal, Wrong, unless_wrong
from dtsched.checks import MAX_RESULT_BYTES, check_event, shown
from dtsched.client import Client, result_of
from dtsched.context import Context
from dtsched.correlation import correlate, correlate_part
from dtsched.errors import InvalidInput, NotFound
from dtsched.inside import (
    emit_in,
    emit_in_sync,
    require_connection,
    submit_in,
    submit_in_sync,
    submit_partly_in,
    submit_partly_in_sync,
)
from dtsched.jobs import (
    ENDED,
    Emitted,
    Job,
    JobState,
    NewJob,
    OnConflict,
    OnFailure,
    ParentEdge,
    Submitted,
    check,
    for_each,
    joined,
)
from dtsched.overview import LogLine, Reason
from dtsched.parents import AnyParent, edges_of
from dtsched.pool import SyncPool
from dtsched.rest import Server
from dtsched.rest_pools import SyncRestPool
from dtsched.schedules import Catchup, NewSchedule, Overlap
from dtsched.settings import ITSELF, Duration, Settings, is_url, load
from dtsched.tasks import Executor, TaskDefinition, TaskRegistry
from dtsched.uniqueness import Unique

if TYPE_CHECKING:
    from dtsched.workflows import Workflow

P = ParamSpec("P")
R = TypeVar("R")

_TASK_OPTIONS = tuple(TaskDefinition.__init__.__kwdefaults__ or ())
_AT_ONE_LOOK = 100  # more of them are seldom small together, and no faster
_STATEMENT_MS = 60_000  # 100,000 jobs in one batch take 4 s, measured


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one submission differs from its task. `at` needs a time zone; durations are seconds, timedeltas or like
    "10m". `depends_on` takes handles, ids and keys, and Parents; `workflow` the id of one. `key_for` says how long a
    key is held: "unfinished" (the default), "kept", or for a duration from the submission on; `on_conflict` what
    becomes of the job that holds it. `backoff` is an object of kind, base, cap and jitter, in seconds."""

    delay: Duration | None = None
    at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    limit_key: str | None = None
    tags: Sequence[str] | None = None
    depends_on: Sequence[AnyParent] | None = None
    on_parent_failure: OnFailure | None = None
    workflow: int | None = None
    max_attempts: int | None = None
    timeout: Duration | None = None
    deadline: datetime | None = None
    expires_in: Duration | None = None
    correlation_id: str | None = None
    key_for: Duration | None = None
    on_conflict: OnConflict | None = None
    backoff: Mapping[str, Any] | None = None


class OptionValues(TypedDict, total=False):
    """The fields of Options, as keyword arguments: a type checker sees a misspelt one."""

    delay: Duration | None
    at: datetime | None
    queue: str | None
    priority: int | None
    key: str | None
    limit_key: str | None
    tags: Sequence[str] | None
    depends_on: Sequence[AnyParent] | None
    on_parent_failure: OnFailure | None
    workflow: int | None
    max_attempts: int | None
    timeout: Duration | None
    deadline: datetime | None
    expires_in: Duration | None
    correlation_id: str | None
    key_for: Duration | None
    on_conflict: OnConflict | None
    backoff: Mapping[str, Any] | None


ManyArgs: TypeAlias = Mapping[str, Any] | tuple[Mapping[str, Any], Options]
"""A job of submit_many(): its arguments by name, alone or with its Options."""


class JobHandle(Generic[R]):
    """A submitted job. `created` is False where the job with the same key was kept, or replaced; `outcome` says which,
    and is "superseded" where this job has taken its key from another."""

    def __init__(self, app: "App", definition: TaskDefinition, submitted: Submitted) -> None:
        self._app = app
        self._definition = definition
        self.id = submitted.id
        self.created = submitted.created
        self.outcome = submitted.outcome

    def __repr__(self) -> str:
        return f"JobHandle({self.id})"

    async def job(self) -> Job:
        return await self._app.client.get(self.id)

    async def state(self) -> JobState:
        return (await self.job()).state

    async def result(self, timeout: float | None = None) -> R:
        """What the handler returned. JobFailed when it did not complete, TimeoutError after `timeout` seconds."""
        return cast("R", self._definition.read_result(await self._app.client.result(self.id, timeout=timeout)))

    def result_sync(self, timeout: float | None = None) -> R:
        return cast("R", self._definition.read_result(self._app.result_sync(self.id, timeout=timeout)))

    def as_parent(self) -> int:
        return self.id

    def logs(self, *, follow: bool = False, after: int = 0, attempt: int | None = None) -> AsyncGenerator[LogLine]:
        """What its handlers have logged, in order, from the line after `after` on; with `follow` until the job has
        ended: `async for line in job.logs(follow=True)`."""
        return self._app.client.logs(self.id, follow=follow, after=after, attempt=attempt)

    async def cancel(self) -> str:
        """cancelled, requested (it runs and is told), finished, or busy (its row is held: try again)."""
        return (await self._app.client.cancel([self.id]))[self.id]

    async def retry(self) -> str:
        """retried, or why not, see Client.retry()."""
        return (await self._app.client.retry([self.id]))[self.id]

    async def why(self) -> list[Reason]:
        """What it waits for, or how it ended; the decisive reason first."""
        return await self._app.client.why(self.id)


class Task(Generic[P, R]):
    """A handler and how its jobs are submitted. Calling it runs the function here and now, without a queue."""

    def __init__(
        self,
        app: "App",
        definition: TaskDefinition,
        options: Options | None = None,
        connection: "psycopg.AsyncConnection[Any] | psycopg.Connection[Any] | None" = None,
    ) -> None:
        self._app = app
        self.definition = definition
        self._options = options or Options()
        self._connection = connection

    def __repr__(self) -> str:
        return f"Task({self.definition.name!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.definition.function(*args, **kwargs)

    def options(self, **changed: Unpack[OptionValues]) -> "Task[P, R]":
        """The same task with Options of this submission."""
        return Task(self._app, self.definition, _changed(self._options, changed), self._connection)

    def on(self, connection: "psycopg.AsyncConnection[Any] | psycopg.Connection[Any]") -> "Task[P, R]":
        """The same task, submitted on the caller's own connection: the job exists when its transaction commits."""
        return Task(self._app, self.definition, self._options, connection)

    @property
    def parents(self) -> Sequence[AnyParent]:
        """What options(depends_on=…) said."""
        return self._options.depends_on or ()

    def new_job(
        self, args: Sequence[object], kwargs: Mapping[str, object], *, depends_on: Sequence[int | str | ParentEdge]
    ) -> NewJob:
        """What submit() would send, with these parents; arguments may be references to their results."""
        options = replace(self._options, depends_on=depends_on or None)
        return self._new_job(self.definition.bind(*args, **kwargs), options)

    def handle_of(self, submitted: Submitted) -> JobHandle[R]:
        return JobHandle(self._app, self.definition, submitted)

    async def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """InvalidInput, before anything is sent, when the arguments do not fit the handler."""
        job = self._new_job(self.definition.bind(*args, **kwargs), self._options)
        return (await self._submit([job]))[0]

    @overload
    async def submit_many(self, jobs: Sequence[ManyArgs], *, partial: Literal[False] = False) -> list[JobHandle[R]]: ...
    @overload
    async def submit_many(
        self, jobs: Sequence[ManyArgs], *, partial: Literal[True]
    ) -> list[JobHandle[R] | Refusal]: ...
    async def submit_many(
        self, jobs: Sequence[ManyArgs], *, partial: bool = False
    ) -> list[JobHandle[R]] | list[JobHandle[R] | Refusal]:
        """All or none; each job is its arguments by name, alone or with its Options. With `partial` those that can be
        are submitted, and in the place of each other one is a Refusal."""
        if partial:
            return await self._submit_partly(self._entries(jobs))
        return await self._submit(self._batch(jobs))

    def submit_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        job = self._new_job(self.definition.bind(*args, **kwargs), self._options)
        return self._submit_sync([job])[0]

    @overload
    def submit_many_sync(self, jobs: Sequence[ManyArgs], *, partial: Literal[False] = False) -> list[JobHandle[R]]: ...
    @overload
    def submit_many_sync(self, jobs: Sequence[ManyArgs], *, partial: Literal[True]) -> list[JobHandle[R] | Refusal]: ...
    def submit_many_sync(
        self, jobs: Sequence[ManyArgs], *, partial: bool = False
    ) -> list[JobHandle[R]] | list[JobHandle[R] | Refusal]:
        if partial:
            return self._submit_partly_sync(self._entries(jobs))
        return self._submit_sync(self._batch(jobs))

    async def _submit(self, jobs: Sequence[NewJob]) -> list[JobHandle[R]]:
        if self._connection is None:
            submitted = await self._app.client.submit_many(jobs, check_tasks=False)
        elif isinstance(self._connection, psycopg.AsyncConnection):
            submitted = await submit_in(self._connection, correlate(check_batch(jobs)))
        else:
            raise InvalidInput("this connection is synchronous: use submit_sync()", field="connection")
        return [JobHandle(self._app, self.definition, one) for one in submitted]

    def _submit_sync(self, jobs: Sequence[NewJob]) -> list[JobHandle[R]]:
        checked = correlate(check_batch(jobs))
        if self._connection is None:
            submitted = self._app.sync_pool().submit_many(checked)
        elif isinstance(self._connection, psycopg.Connection):
            submitted = submit_in_sync(self._connection, checked)
        else:
            raise InvalidInput("this connection is asynchronous: await submit()", field="connection")
        return [JobHandle(self._app, self.definition, one) for one in submitted]

    async def _submit_partly(self, entries: list[NewJob | Wrong]) -> list[JobHandle[R] | Refusal]:
        if self._connection is None:
            async with self._app.client.pool.store() as store:
                answers = await store.submit_partly(entries, check_tasks=False)
        elif isinstance(self._connection, psycopg.AsyncConnection):
            answers = await submit_partly_in(self._connection, entries)
        else:
            raise InvalidInput("this connection is synchronous: use submit_many_sync()", field="connection")
        return self._handles(answers)

    def _submit_partly_sync(self, entries: list[NewJob | Wrong]) -> list[JobHandle[R] | Refusal]:
        if self._connection is None:
            answers = self._app.sync_pool().submit_partly(entries)
        elif isinstance(self._connection, psycopg.Connection):
            answers = submit_partly_in_sync(self._connection, entries)
        else:
            raise InvalidInput("this connection is asynchronous: await submit_many()", field="connection")
        return self._handles(answers)

    def _handles(self, answers: list[Submitted | Refusal]) -> list[JobHandle[R] | Refusal]:
        return [one if isinstance(one, Refusal) else JobHandle[R](self._app, self.definition, one) for one in answers]

    def _entries(self, jobs: Sequence[ManyArgs]) -> list[NewJob | Wrong]:
        return correlate_part(
            [unless_wrong(self._new_job_of, job, job[1].key if isinstance(job, tuple) else None) for job in jobs]
        )

    def _batch(self, jobs: Sequence[ManyArgs]) -> Sequence[NewJob]:
        given = [*jobs]
        return self._alike(given) or for_each(given, self._new_job_of)

    def _alike(self, jobs: Sequence[ManyArgs]) -> Alike | None:
        """None when they differ by more than their args, and when one of them is wrong: for_each() says which."""
        if len(jobs) < 2:
            return None
        try:
            job = check(self._new_job({}, self._options))
            if not can_be_alike(job):  # of a task that is unique each has its key
                return None
            parts = [self._encoded(jobs[start : start + _AT_ONE_LOOK]) for start in range(0, len(jobs), _AT_ONE_LOOK)]
            return Alike(job, parts, len(jobs))
        except InvalidInput:
            return None

    def _encoded(self, jobs: Sequence[ManyArgs]) -> bytes:
        """Their args as a JSON array."""
        definition = self.definition
        return definition.encode_flats(jobs) or joined([definition.encode(_named(args)) for args in jobs])

    def _new_job_of(self, job: ManyArgs) -> NewJob:
        args, options = job if isinstance(job, tuple) else (job, Options())
        given = {name: value for name, value in vars(options).items() if value is not None}
        return self._new_job(self.definition.bind(**_named(args)), replace(self._options, **given))

    def _new_job(self, args: dict[str, Any], options: Options) -> NewJob:
        definition = self.definition
        key = options.key if options.key is not None else definition.key_of(args)
        if not options.depends_on:  # nothing to refer to
            definition.require_no_references(args)
        return new_job(
            definition.name,
            args,
            replace(
                options,
                queue=options.queue if options.queue is not None else definition.queue,
                priority=options.priority if options.priority is not None else definition.priority,
                max_attempts=options.max_attempts if options.max_attempts is not None else definition.max_attempts,
                key=key,
                key_for=options.key_for if options.key_for is not None or key is None else definition.key_for,
                on_conflict=options.on_conflict
                if options.on_conflict is not None or key is None
                else definition.on_conflict,
            ),
            backoff=definition.backoff if options.backoff is None else cast("dict[str, Any]", options.backoff),
        )


class App:
    """Tasks and one database. `dsn` is a PostgreSQL DSN, or "embedded" for a server of its own whose data is kept under
    .dtsched here, or the URL of a server of the REST API, to which `key` is the key; without one, DTSCHED_DSN,
    DTSCHED_URL, DTSCHED_KEY and the other settings decide. Opened by open() or `async with`."""

    def __init__(self, dsn: str | None = None, *, key: str | None = None) -> None:
        self._given_dsn = dsn
        self._given_key = key
        self.registry = TaskRegistry()
        self._settings: Settings | None = None
        self._client: Client | None = None
        self._sync_pool: SyncPool | SyncRestPool | None = None
        self._owned = ExitStack()
        self._lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """Read once, at the first use; an embedded server is started by then."""
        with self._lock:
            if self._settings is None:
                settings = load({"dsn": self._given_dsn, "key": self._given_key})
                if settings.target == "embedded":
                    settings = replace(settings, dsn=self._start_embedded())
                self._settings = settings
            return self._settings

    @property
    def client(self) -> Client:
        if self._client is None:
            raise InvalidInput("the app is not open: use `async with app`, or await app.open() first")
        return self._client

    @overload
    def task(self, function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        executor: Executor | None = None,
        unique: Unique | None = None,
        key_for: Duration | None = None,
        on_conflict: OnConflict | None = None,
        max_crashes: int | None = None,
        result: bool = True,
        max_result: int = MAX_RESULT_BYTES,
        result_ttl: float | str | None = None,
    ) -> "TaskDecorator": ...
    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Makes a handler of a function, async or plain, under its own name or `name`. A first parameter annotated
        Context is given the attempt's context; the others are the job's args, decoded into their annotated types.
        A plain function runs in a thread, which no timeout can stop, or with executor="process" in a process of its
        own, which is killed at the timeout or when the job is cancelled. unique="args" gives each job a key made of
        its args, unique=("user_id",) of these alone; key_for and on_conflict are as in Options, for jobs with a key.
        With result=False nothing is kept of what it returns, else at most `max_result` bytes of JSON; more fails the
        job. `result_ttl` is how long it is kept, "forever" for as long as the job; without it the queue's retention
        says."""
        unknown = next((name for name in options if name not in _TASK_OPTIONS), None)
        if unknown is not None:
            raise InvalidInput(
                f"a task has no option {unknown!r}: known are {', '.join(_TASK_OPTIONS)}", field="options"
            )
        decorator = TaskDecorator(self, options)
        return decorator if function is None else decorator(function)

    def schedule(
        self,
        spec: str,
        *,
        tz: str = "UTC",
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: float | str | None = None,
        limit_key: str | None = None,
        tags: Sequence[str] | None = None,
        catchup: Catchup | None = None,
        catchup_limit: int | None = None,
        overlap: Overlap | None = None,
        tolerance: float | str | None = None,
    ) -> "ScheduleDecorator":
        """Has a task run at the times of `spec`, over @app.task or over a function, which becomes a task: cron with
        five fields, or six with seconds first, @daily and the like, or "every 10m". `name` is by default the task's.
        Workers of this app declare it; docs/schedules.md says what is made up for (`catchup`) and may overlap."""
        return ScheduleDecorator(
            self,
            name,
            {
                "spec": spec,
                "tz": None if tz == "UTC" else tz,
                "queue": queue,
                "priority": priority,
                "max_attempts": max_attempts,
                "timeout": timeout,
                "limit_key": limit_key,
                "tags": None if tags is None else list(tags),
                "catchup": catchup,
                "catchup_limit": catchup_limit,
                "overlap": overlap,
                "tolerance": tolerance,
            },
            {} if args is None else args,
        )

    async def submit(
        self, task: str, args: Mapping[str, Any] | None = None, **options: Unpack[OptionValues]
    ) -> JobHandle[Any]:
        """By name. UnknownTask when this app has no such task."""
        bound = Task[Any, Any](self, self.registry[task], _changed(Options(), options))
        return (await bound.submit_many([{} if args is None else args]))[0]

    def workflow(self, name: str) -> "Workflow":
        """Jobs under one name, submitted together when the block of `async with` ends."""
        from dtsched.workflows import Workflow  # it is made of what is here

        return Workflow(self, name)

    async def emit(
        self, name: str, payload: object = None, *, connection: "psycopg.AsyncConnection[Any] | None" = None
    ) -> Emitted:
        """Says that an event has happened: the first emit of a name wins. Jobs that wait for it go on. On the caller's
        own connection it happens when its transaction commits."""
        raw = check_event(name, payload)
        if connection is None:
            return await self.client.emit(name, payload)
        require_connection(connection, synchronous=False)
        return await emit_in(connection, name, raw)

    def emit_sync(
        self, name: str, payload: object = None, *, connection: "psycopg.Connection[Any] | None" = None
    ) -> Emitted:
        raw = check_event(name, payload)
        if connection is not None:
            require_connection(connection, synchronous=True)
            return emit_in_sync(connection, name, raw)
        return self.sync_pool().emit(name, raw)

    async def open(self) -> None:
        """Does not wait for the database. Closing and opening again is fine."""
        if self._client is None:
            settings = await asyncio.to_thread(lambda: self.settings)
            self._client = Client(settings.require_target(), key=settings.key, statement_ms=_STATEMENT_MS)
            await self._client.open()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        sync_pool, self._sync_pool = self._sync_pool, None
        if sync_pool is not None:
            await asyncio.to_thread(sync_pool.close)
        await asyncio.to_thread(self._owned.close)
        self._settings = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @contextmanager
    def on_database(self, dsn: str) -> Generator[None]:
        """Inside, this app uses that database whatever it was made for: for tests. Not while it is open."""
        if self._client is not None:
            raise InvalidInput("the app is open: close it before it is given another database")
        before = self._given_dsn, self._settings, self._sync_pool
        self._given_dsn, self._settings, self._sync_pool = dsn, None, None
        try:
            yield
        finally:
            sync_pool = self._sync_pool
            self._given_dsn, self._settings, self._sync_pool = before
            self._client = None  # whoever opened it and did not close it has left its event loop by now
            if sync_pool is not None:
                sync_pool.close()

    async def run_worker(self, queues: Mapping[str, int] | None = None) -> None:
        """Works until cancelled, or told to stop by SIGTERM or SIGINT; `queues` says how many jobs of each run at once.
        Without it: `default` and the queues that the app's tasks name, 10 each."""
        from dtsched.runtime.worker import Worker  # submitting programs need not load the engine

        settings = await asyncio.to_thread(lambda: self.settings)
        worker = Worker(self.registry, settings, queues or self.default_queues())
        worker.stop_on_signals()
        await worker.run()

    def default_queues(self) -> dict[str, int]:
        named = {definition.queue for definition in self.registry.values() if definition.queue is not None}
        return dict.fromkeys(sorted(named | {"default"}), 10)

    def sync_pool(self) -> SyncPool | SyncRestPool:
        """What synchronous callers ask; it ends with close() or the program."""
        target, key = self.settings.require_target(), self.settings.key
        with self._lock:
            if self._sync_pool is None:
                self._sync_pool = (
                    SyncRestPool(Server(target, key)) if is_url(target) else SyncPool(target, role="client")
                )
            return self._sync_pool

    def sync_connection(self) -> "AbstractContextManager[psycopg.Connection[Any]]":
        """A connection for a synchronous caller."""
        pool = self.sync_pool()
        if isinstance(pool, SyncRestPool):
            raise InvalidInput(ITSELF, field="dsn")
        return pool.connection()

    def result_sync(self, job_id: int, *, timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        pool = self.sync_pool()
        while True:
            job = pool.job(job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}")
            if job.state in ENDED:
                return result_of(job)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is still {job.state} after {timeout:g} s")
            pool.wait(job_id, None if deadline is None else deadline - time.monotonic())

    def _start_embedded(self) -> str:
        from dtsched import embedded, migrations  # only who asks for a server needs what starts one

        cluster = self._owned.enter_context(embedded.shared(Path(".dtsched")))
        migrations.up(cluster.dsn)
        return cluster.dsn


@dataclass(frozen=True)
class TaskDecorator:
    """What `@app.task(…)` with options is."""

    app: App
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        definition = TaskDefinition(function, **self.options)
        self.app.registry.add(definition)
        return Task[Any, Any](self.app, definition)


@dataclass(frozen=True)
class ScheduleDecorator:
    """What `@app.schedule(…)` is. What it does not say of the jobs is what the task says."""

    app: App
    name: str | None
    fields: Mapping[str, Any]
    args: Mapping[str, Any]

    @overload
    def __call__(self, task: Task[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, task: Callable[Concatenate[Context, P], Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, task: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, task: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, task: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, task: Any, /) -> Any:
        scheduled: Task[Any, Any] = (
            cast("Task[Any, Any]", task) if isinstance(task, Task) else TaskDecorator(self.app)(task)
        )
        definition = scheduled.definition
        of_task = {name: getattr(definition, name) for name in ("queue", "priority", "max_attempts", "backoff")}
        given = {name: value for name, value in self.fields.items() if value is not None}
        schedule = NewSchedule(task=definition.name, args=definition.bind(**_named(self.args)), **{**of_task, **given})
        self.app.registry.add_schedule(self.name if self.name is not None else definition.name, schedule)
        return scheduled


def _changed(options: Options, values: OptionValues) -> Options:
    unknown = next((name for name in values if name not in OptionValues.__annotations__), None)
    if unknown is not None:
        names = ", ".join(OptionValues.__annotations__)
        raise InvalidInput(f"there is no option {unknown!r}: known are {names}", field="options")
    return replace(options, **values)


def _named(args: object) -> dict[str, Any]:
    """Of a caller without a type checker, args may be anything."""
    named = dict(cast("Mapping[object, Any]", args)) if isinstance(args, Mapping) else None
    if named is None or not all(isinstance(name, str) for name in named):
        text = shown(cast("object", args))
        raise InvalidInput(f"args must be an object of named arguments, not {text}", field="args")
    return cast("dict[str, Any]", named)


def new_job(task: str, args: dict[str, Any], options: Options, *, backoff: dict[str, Any] | None = None) -> NewJob:
    """A job out of a task's name, its args and Options."""
    return NewJob(
        task=task,
        args=args,
        queue=options.queue,
        priority=options.priority,
        run_at=options.at,
        delay=_seconds(options.delay),
        max_attempts=options.max_attempts,
        timeout=_seconds(options.timeout),
        key=options.key,
        limit_key=options.limit_key,
        depends_on=None if options.depends_on is None else edges_of(options.depends_on),
        on_parent_failure=options.on_parent_failure,
        workflow=options.workflow,
        tags=None if options.tags is None else _tags(options.tags),
        backoff=backoff,
        deadline=options.deadline,
        expires_in=_seconds(options.expires_in),
        correlation_id=options.correlation_id,
        key_for=_seconds(options.key_for),
        on_conflict=options.on_conflict,
    )


def _seconds(duration: Duration | None) -> float | str | None:
    """What JSON has no word for, in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _tags(given: Sequence[str]) -> list[str]:
    """A string would be taken apart into its letters."""
    if isinstance(given, str):
        raise InvalidInput(f"tags must be a list of strings, not {shown(given)}", field="tags")
    return list(given)
