"""What a handler is told about the attempt it runs, and what it may ask."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sized
from time import monotonic
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar, cast, get_args
from uuid import UUID

from dtsched.errors import InvalidInput
from dtsched.jobs import ParentResult, shown

T = TypeVar("T")

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

_YIELD_SECONDS = 0.005


class Notes(Protocol):
    """Takes what is told of one attempt, from any thread, and sends it by and by. Neither blocks nor raises."""

    def progress(self, percent: float | None, message: str | None) -> None: ...

    def line(self, level: str, logger: str | None, message: str) -> None: ...


class Context:
    """`attempt` counts from 1. `cancelled` may be read from any thread; an async handler is cancelled besides."""

    __slots__ = (
        "_cancelled",
        "_read_parents",
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
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """The job was cancelled, has run into its timeout, or its worker is stopping: the handler should return.
        Always False with executor="process": the handler is killed instead."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Called by the worker."""
        self._cancelled.set()

    async def parents(self) -> list[ParentResult]:
        """The jobs this one depended on, with their results, in id order; read from the database at each call.
        DtschedError with executor="process", where there is no connection to the database."""
        return await self._read_parents(self.job_id)

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
