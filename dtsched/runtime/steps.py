"""What a handler remembers from attempt to attempt: its steps, its sleeps and the events it waits for.

Read and written over connections of their own, which all handlers of a worker share. While the database is away, a
handler waits here for it: nothing it has done is forgotten unless its lease is lost.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints
from uuid import UUID

import msgspec

from dtsched.checks import check_event, check_step
from dtsched.connections import is_outage, is_transient
from dtsched.context import Suspended
from dtsched.errors import DtschedError, EventTimeout, InvalidInput, LeaseLost
from dtsched.inside import record_step_in, record_step_in_sync, require_connection
from dtsched.jobs import Emitted
from dtsched.outage import Outage, Recovery
from dtsched.pool import Pool
from dtsched.runtime.results import UnstorableResult, encode_result
from dtsched.settings import Duration, parse_duration
from dtsched.store import Claimed, Store
from dtsched.tasks import result_type

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
_log = logging.getLogger("dtsched.steps")

_SHORTEST_BUSY_SECONDS = 0.01
_LONGEST_BUSY_SECONDS = 0.5


class Steps:
    """Of one attempt. The methods named _sync are for threads; made in the event loop."""

    def __init__(
        self, pool: Pool, claimed: Claimed, worker_id: UUID, *, cancelled: Callable[[], bool], recovery: Recovery
    ) -> None:
        self._pool = pool
        self._recovery = recovery
        self._job_id = claimed.job_id
        self._lease = (worker_id, claimed.lease_id)
        self._cancelled = cancelled
        self._loop = asyncio.get_running_loop()
        self._met: set[str] = set()
        self._begun: set[str] | None = None
        self._sleeps = 0
        self._lost: LeaseLost | None = None

    async def step(
        self,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
        connection: "psycopg.AsyncConnection[Any] | None",
    ) -> object:
        self._meet(name)
        try:
            if (kept := await self._recall(name)) is None:
                kept = await self._do(name, function, args, connection)
        except BaseException:
            self._met.discard(name)  # it is not remembered: the handler may try it again
            raise
        return _decoded(name, function, kept)

    async def _do(
        self,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
        connection: "psycopg.AsyncConnection[Any] | None",
    ) -> bytes:
        if connection is None:
            return await self._record(name, _encoded(name, await _called(function, args)))
        require_connection(connection, synchronous=False)
        async with connection.transaction():
            raw = _encoded(name, await _called(function, args))
            await record_step_in(connection, *self._lease, name, raw)
        return raw

    def step_sync(
        self,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
        connection: "psycopg.Connection[Any] | None",
    ) -> object:
        self._meet(name)
        try:
            if (kept := self._from_thread(self._recall(name))) is None:
                kept = self._do_sync(name, function, args, connection)
        except BaseException:
            self._met.discard(name)
            raise
        return _decoded(name, function, kept)

    def _do_sync(
        self,
        name: str,
        function: Callable[..., object],
        args: tuple[object, ...],
        connection: "psycopg.Connection[Any] | None",
    ) -> bytes:
        if connection is None:
            return self._from_thread(self._record(name, _encoded(name, function(*args))))
        require_connection(connection, synchronous=True)
        with connection.transaction():
            raw = _encoded(name, function(*args))
            record_step_in_sync(connection, *self._lease, name, raw)
        return raw

    async def sleep(self, duration: Duration, name: str | None) -> None:
        name, seconds = self._numbered(name), parse_duration(duration, field="duration")
        self._meet(name)
        if not await self._ask(lambda store: store.start_sleep(*self._lease, name, seconds)):
            raise Suspended(name)

    def sleep_sync(self, duration: Duration, name: str | None) -> None:
        self._from_thread(self.sleep(duration, name))

    async def wait_event(self, event: str, timeout: Duration | None, name: str | None) -> Any:
        check_step("event", event)
        step = name if name is not None else f"event:{event}"[:255]
        seconds = None if timeout is None else parse_duration(timeout, field="timeout")
        self._meet(step)
        outcome, payload = await self._asked_for(step, event, seconds)
        if outcome == "wait":
            raise Suspended(step)
        if outcome == "timeout":
            raise EventTimeout(f"event {event} did not come in time")
        return msgspec.json.decode(payload or b"null")

    def wait_event_sync(self, event: str, timeout: Duration | None, name: str | None) -> Any:
        return self._from_thread(self.wait_event(event, timeout, name))

    async def _asked_for(self, step: str, event: str, seconds: float | None) -> tuple[str, bytes | None]:
        """Asks again for as long as somebody is emitting it in a transaction that has not ended."""
        pause = _SHORTEST_BUSY_SECONDS
        while True:
            outcome, payload = await self._ask(lambda store: store.await_event(*self._lease, step, event, seconds))
            if outcome != "busy":
                return outcome, payload
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_BUSY_SECONDS)

    async def emit(self, name: str, payload: object) -> Emitted:
        raw = check_event(name, payload)
        return await self._ask(lambda store: store.emit(name, raw))

    def emit_sync(self, name: str, payload: object) -> Emitted:
        return self._from_thread(self.emit(name, payload))

    def _meet(self, name: str) -> None:
        if self._lost is not None:
            raise self._lost
        check_step("name", name)
        if name in self._met:
            raise InvalidInput(
                f"this attempt has come to {name!r} before: give each step, sleep and wait a name of its own, "
                f"as in {name + ':1'!r}",
                field="name",
            )
        self._met.add(name)

    def _numbered(self, name: str | None) -> str:
        if name is not None:
            return name
        self._sleeps += 1
        return f"sleep:{self._sleeps}"

    async def _recall(self, name: str) -> bytes | None:
        if self._begun is None:  # asked once: a job that has no steps yet need not ask for each
            self._begun = await self._ask(lambda store: store.begun_steps(self._job_id))
        if name not in self._begun:
            return None
        return await self._ask(lambda store: store.recall_step(self._job_id, name))

    async def _record(self, name: str, raw: bytes) -> bytes:
        return await self._ask(lambda store: store.record_step(*self._lease, name, raw))

    async def _ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Tries until the database has answered, or the handler is told to stop. All questions may be asked twice."""
        outage = Outage(_log, f"job {self._job_id} waits for the database")
        while True:
            since = self._recovery.count
            try:
                async with self._pool.store() as store:
                    answer = await question(store)
            except LeaseLost as error:
                self._lost = error
                raise
            except Exception as error:
                if self._cancelled() or not (is_outage(error) or is_transient(error)):
                    raise
                await self._recovery.wait(outage.failed(error), since=since)
            else:
                outage.over()
                return answer

    def _from_thread(self, asking: Coroutine[Any, Any, T]) -> T:
        """Waits in this thread for what the event loop does."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            asking.close()
            raise InvalidInput(
                "what is named _sync is for handlers in threads: in an async handler, await the other one"
            )
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result()


async def _called(function: Callable[..., object], args: tuple[object, ...]) -> object:
    """A plain function runs in a thread, as plain handlers do."""
    direct = inspect.iscoroutinefunction(function)
    value = function(*args) if direct else await asyncio.to_thread(function, *args)
    return await cast("Awaitable[object]", value) if inspect.isawaitable(value) else value


def _encoded(name: str, value: object) -> bytes:
    if inspect.iscoroutine(value):
        value.close()
        raise InvalidInput(f"step {name}: step_sync() takes plain functions, and this one is async", field="function")
    try:
        return encode_result(value)
    except UnstorableResult as error:
        raise InvalidInput(f"step {name}: {error}", field="result") from error


def _decoded(name: str, function: Callable[..., object], raw: bytes) -> object:
    """Also what was just returned goes this way: a later attempt gets no other value than the first."""
    value = msgspec.json.decode(raw)
    try:
        return msgspec.convert(value, _promised(function), str_keys=True)
    except msgspec.ValidationError as error:
        raise DtschedError(f"step {name}: its result is not what its annotation says: {error}") from error


def _promised(function: Callable[..., object]) -> Any:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    try:
        return result_type(get_type_hints(function, include_extras=True).get("return", Any))
    except (TypeError, NameError, AttributeError):  # an object that is called, or annotations out of reach
        return Any
