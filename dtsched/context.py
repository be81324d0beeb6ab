"""What a handler is told about the attempt it runs, and what it may ask."""

import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from dtsched.jobs import ParentResult

if TYPE_CHECKING:
    import psycopg


class Completion(Protocol):
    """How the worker completes an attempt on a connection of the handler's own."""

    lease_id: int
    begun: bool

    async def within(self, connection: "psycopg.AsyncConnection[Any]", result: object) -> None: ...
    def within_sync(self, connection: "psycopg.Connection[Any]", result: object) -> None: ...


class Context:
    """`attempt` counts from 1. `cancelled` may be read from any thread; an async handler is cancelled besides."""

    __slots__ = (
        "_cancelled",
        "_completion",
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
        completion: Completion,
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.worker_id = worker_id
        self.correlation_id = correlation_id
        self._read_parents = read_parents
        self._completion = completion
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
