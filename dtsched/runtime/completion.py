"""Completes an attempt on a connection of the handler's own."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dtsched.inside import complete_in, complete_in_sync
from dtsched.runtime.results import encode_result

if TYPE_CHECKING:
    import psycopg


class Completion:
    """`begun` says that the handler has completed the attempt, in a transaction that may or may not be committed."""

    __slots__ = ("begun", "lease_id", "worker_id")

    def __init__(self, worker_id: UUID, lease_id: int) -> None:
        self.worker_id = worker_id
        self.lease_id = lease_id
        self.begun = False

    async def within(self, connection: "psycopg.AsyncConnection[Any]", result: object) -> None:
        raw = encode_result(result)
        self.begun = True
        await complete_in(connection, self.worker_id, self.lease_id, raw)

    def within_sync(self, connection: "psycopg.Connection[Any]", result: object) -> None:
        raw = encode_result(result)
        self.begun = True
        complete_in_sync(connection, self.worker_id, self.lease_id, raw)
