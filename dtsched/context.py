"""What a handler is told about the attempt it runs, and what it may ask."""

import threading
from collections.abc import Awaitable, Callable
from uuid import UUID

from dtsched.jobs import ParentResult


class Context:
    """`attempt` counts from 1. `cancelled` may be read from any thread; an async handler is cancelled besides."""

    __slots__ = (
        "_cancelled",
        "_read_parents",
        "attempt",
        "correlation_id",
        "job_id",
        "max_attempts",
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
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.worker_id = worker_id
        self.correlation_id = correlation_id
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
