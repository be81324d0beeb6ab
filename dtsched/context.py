"""What a handler is told about the attempt it runs, and what it may ask."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sized
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    cast,
    get_args,
    overload,
)
from uuid import UUID

from dtsched.checks import shown
from dtsched.errors import InvalidInput
from dtsched.jobs import Emitted, ParentResult
from dtsched.settings import Duration

if TYPE_CHECKING:
    import psycopg

    from dtsched.runtime.steps import Steps

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

_YIELD_SECONDS = 0.005


class Suspended(BaseException):
    """Raised where a handler begins to sleep or to wait for an event: its attempt ends, and the job runs again when
    `step` is over. No Exception, so that a handler that catches those does not keep its slot by it."""

    def __init__(self, step: str) -> None:
        super().__init__(f"the job goes on when {step} is over")
        self.step = step


class Completion(Protocol):
    """How the worker completes an attempt on a connection of the handler's own."""

    lease_id: int
    begun: bool

    async def within(self, connection: "psycopg.AsyncConnection[Any]", result: object) -> None: ...
    def within_sync(self, connection: "psycopg.Connection[Any]", result: object) -> None: ...


class Notes(Protocol):
    """Takes what is told of one attempt, from any thread, and sends it by and by. Neither blocks nor raises."""

    def progress(self, percent: float | None, message: str | None) -> None: ...

    def line(self, level: str, logger: str | None, message: str) -> None: ...


class Context:
    """`attempt` counts from 1. `cancelled` may be read from any thread; an async handler is cancelled besides."""

    __slots__ = (
        "_cancelled",
        "_completion",
        "_read_parents",
        "_steps",
        "attempt",
        "correlation_id",
        "job_id",
        "max_attempts",
        "notes",
        "queue",
        "task",
        "worker_id",
    )

    def __init__(
        self,
        *,
        job_id: int,
        task: str,
        queue: str,
        attempt: int,
        max_attempts: int,
        worker_id: UUID,
        correlation_id: str,
        read_parents: Callable[[int], Awaitable[list[ParentResult]]],
        notes: Notes,
        completion: Completion,
        steps: "Steps | None" = None,
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.worker_id = worker_id
        self.correlation_id = correlation_id
        self.notes = notes
        """For the worker; handlers have progress() and log()."""
        self._read_parents = read_parents
        self._completion = completion
        self._steps = steps
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """The job was cancelled, has run into its timeout, or its worker is stopping: the handler should return.
        Always False with executor="process": the handler is killed instead."""
        return self._cancelled.is_set()

    @property
    def lease_id(self) -> int:
        """With `worker_id` what dtsched.complete() takes, to complete the job by SQL."""
        return self._completion.lease_id

    @property
    def completing(self) -> bool:
        """complete_in() was called."""
        return self._completion.begun

    async def complete_in(self, connection: "psycopg.AsyncConnection[Any]", result: object = None) -> None:
        """Completes the job in the transaction that this connection is in: what the handler has written there and the
        completion commit together or not at all, exactly once. To be called last: until the commit the job is locked.
        What the handler returns then is not looked at; if the transaction is rolled back, the attempt has failed.
        Raises WorkerLost when the attempt was taken away, Conflict when the job was cancelled: let the transaction be
        rolled back. InvalidInput outside of a transaction."""
        await self._completion.within(connection, result)

    def complete_in_sync(self, connection: "psycopg.Connection[Any]", result: object = None) -> None:
        """complete_in() for a plain handler, in a thread or a process."""
        self._completion.within_sync(connection, result)

    def cancel(self) -> None:
        """Called by the worker."""
        self._cancelled.set()

    async def parents(self) -> list[ParentResult]:
        """The jobs this one depended on, with their results, in id order; read from the database at each call.
        DtschedError with executor="process", where there is no connection to the database."""
        return await self._read_parents(self.job_id)

    @overload
    async def step(
        self,
        name: str,
        function: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        connection: "psycopg.AsyncConnection[Any] | None" = None,
    ) -> T: ...
    @overload
    async def step(
        self,
        name: str,
        function: Callable[[*Ts], T],
        /,
        *args: *Ts,
        connection: "psycopg.AsyncConnection[Any] | None" = None,
    ) -> T: ...
    async def step(
        self,
        name: str,
        function: Callable[..., object],
        /,
        *args: object,
        connection: "psycopg.AsyncConnection[Any] | None" = None,
    ) -> object:
        """What function(*args) returned, in this attempt or in an earlier one of this job: once it has returned, and
        that is committed, it is not called again. One that raises is. The value is what JSON keeps of it, in the
        annotated type; a plain function runs in a thread. With a connection, what the function writes there and the
        record of the step are one transaction: exactly once.

        InvalidInput for a name that this attempt has come to before; LeaseLost when the job was given to another
        worker."""
        return await self._durable("step").step(name, function, args, connection)

    def step_sync(
        self,
        name: str,
        function: Callable[[*Ts], T],
        /,
        *args: *Ts,
        connection: "psycopg.Connection[Any] | None" = None,
    ) -> T:
        """step() for handlers in threads."""
        return cast("T", self._durable("step_sync").step_sync(name, function, args, connection))

    async def sleep(self, duration: Duration, *, name: str | None = None) -> None:
        """Ends the attempt here, at no cost, and gives the slot back; the job runs again after that time, from the
        beginning, and then this returns at once. Without names, sleeps are told apart by the order of the calls."""
        await self._durable("sleep").sleep(duration, name)

    def sleep_sync(self, duration: Duration, *, name: str | None = None) -> None:
        """sleep() for handlers in threads."""
        self._durable("sleep_sync").sleep_sync(duration, name)

    async def wait_event(self, event: str, *, timeout: Duration | None = None, name: str | None = None) -> Any:
        """The payload of an event, at once if it has been emitted. Else the attempt ends here, at no cost, and the job
        runs again when the event is emitted or the time is over: EventTimeout then. Either is remembered. `name` is
        that of the step, by default event: and the event's."""
        return await self._durable("wait_event").wait_event(event, timeout, name)

    def wait_event_sync(self, event: str, *, timeout: Duration | None = None, name: str | None = None) -> Any:
        """wait_event() for handlers in threads."""
        return self._durable("wait_event_sync").wait_event_sync(event, timeout, name)

    async def emit(self, name: str, payload: object = None) -> Emitted:
        """Says that an event has happened, at once and whatever becomes of this attempt. The first emit of a name
        wins."""
        return await self._durable("emit").emit(name, payload)

    def emit_sync(self, name: str, payload: object = None) -> Emitted:
        """emit() for handlers in threads."""
        return self._durable("emit_sync").emit_sync(name, payload)

    def _durable(self, method: str) -> "Steps":
        if self._steps is None:
            raise InvalidInput(
                f"job {self.job_id}: {method}() is not for handlers in a process, which have no connection to the "
                'database: leave out executor="process"'
            )
        return self._steps

    def progress(self, share: float | None = None, message: str | None = None) -> None:
        """How far the handler has come, from 0 to 1, None for "who knows", and what it is at. The job shows the latest
        of these a quarter of a second later. From any thread; waits for nothing, and does not fail when the database
        is away. InvalidInput for what is no share."""
        self.notes.progress(_percent(share), _text("message", message))

    def log(self, message: str, *, level: LogLevel = "info") -> None:
        """Keeps a line with the job, as what the handler logs is kept; it goes nowhere else. As progress()."""
        if level not in get_args(LogLevel):
            raise InvalidInput(
                f"level must be {', '.join(get_args(LogLevel))}, not {shown(cast('object', level))}", field="level"
            )
        self.notes.line(level, None, _text("message", message) or "")

    def track(self, parts: Iterable[T] | AsyncIterable[T], *, total: int | None = None) -> "Tracked[T]":
        """The same parts, for `async for` and `for`, with progress() told after each. The loop ends with
        CancelledError when the handler is to stop. `total` is how many there are, if len(parts) does not say."""
        return Tracked(self, parts, total)


class Tracked(Generic[T]):
    """What track() returns."""

    def __init__(self, context: Context, parts: Iterable[T] | AsyncIterable[T], total: int | None) -> None:
        self._context = context
        self._parts = parts
        self._total = len(parts) if total is None and isinstance(parts, Sized) else total

    def __iter__(self) -> Generator[T]:
        if not isinstance(self._parts, Iterable):
            raise InvalidInput("these parts are asynchronous: use `async for`", field="parts")
        done = 0
        for part in self._parts:
            self._tell(done)
            if self._context.cancelled:
                raise asyncio.CancelledError
            yield part
            done += 1
        self._tell(done)

    async def __aiter__(self) -> AsyncGenerator[T]:
        done = 0
        yielded_at = monotonic()
        async for part in self._each():
            self._tell(done)
            if monotonic() - yielded_at > _YIELD_SECONDS:
                await asyncio.sleep(0)  # where a cancellation arrives, also if the handler awaits nothing else
                yielded_at = monotonic()
            yield part
            done += 1
        self._tell(done)

    async def _each(self) -> AsyncGenerator[T]:
        if isinstance(self._parts, AsyncIterable):
            async for part in self._parts:
                yield part
        else:
            for part in self._parts:
                yield part

    def _tell(self, done: int) -> None:
        total = self._total
        if total is None:
            self._context.progress(None, str(done))
        else:
            self._context.progress(min(1.0, done / total) if total > 0 else 1.0, f"{done} of {total}")


def _percent(share: float | None) -> float | None:
    given = cast("object", share)  # of a caller without a type checker
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise InvalidInput(f"progress must be a share from 0 to 1, or None, not {shown(given)}", field="share")
    if not -1e-9 <= given <= 1 + 1e-9:
        raise InvalidInput(
            f"progress must be a share from 0 to 1, as 0.4 is for 40 %, not {shown(given)}", field="share"
        )
    return min(100.0, max(0.0, round(100.0 * given, 1)))


def _text(field: str, value: str | None) -> str | None:
    if value is not None and not isinstance(cast("object", value), str):
        raise InvalidInput(f"{field} must be text, not {shown(cast('object', value))}", field=field)
    return value
