"""A worker process: wires the parts of the engine together, starts them, and ends them in order."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from math import inf
from time import monotonic
from uuid import uuid4

from dtsched.connections import connect_sync
from dtsched.context import Context
from dtsched.correlation import working_as
from dtsched.jobs import ParentResult
from dtsched.listener import Listener
from dtsched.maintenance.declare import Declare
from dtsched.maintenance.everywhere import Everywhere
from dtsched.maintenance.link import ANSWER_SECONDS, Link
from dtsched.maintenance.loop import repeat
from dtsched.outage import Recovery, first_line
from dtsched.pool import Pool
from dtsched.runtime.attempt import Attempt, correlation_id_of
from dtsched.runtime.claimer import Claimer, Served
from dtsched.runtime.completion import Completion
from dtsched.runtime.deliverer import Deliverer
from dtsched.runtime.drain import Drain
from dtsched.runtime.finisher import Finisher
from dtsched.runtime.hunger import Hunger
from dtsched.runtime.joblogs import kept_with_jobs
from dtsched.runtime.ledger import Ledger
from dtsched.runtime.membership import Membership
from dtsched.runtime.processes import require_importable
from dtsched.runtime.renewer import Renewer
from dtsched.runtime.reports import Reports
from dtsched.runtime.slot import GIVE_UP_SECONDS
from dtsched.runtime.slots import Slots
from dtsched.runtime.steps import Steps
from dtsched.runtime.system import SystemFigures, facts
from dtsched.runtime.watchdog import Watchdog
from dtsched.settings import Settings
from dtsched.store import Claimed, Store, SyncStore, open_store
from dtsched.tasks import TaskRegistry
from dtsched.wakes import parse_wake

_log = logging.getLogger("dtsched.worker")

_FAREWELL_SECONDS = 6.0
_CANCEL_SECONDS = 1.0
_SUSPECTED_SECONDS = 2.0
_LOCK_MS = 500  # one row that somebody holds must not keep all the others waiting
_SHORTEST_ANSWER_SECONDS = 2.0
_STEP_CONNECTIONS = 4


class Worker:
    """`queues` says how many jobs of each may run at once; `drain` ends run() when nothing is left to do now. Made and
    run in one event loop, once."""

    def __init__(
        self,
        registry: TaskRegistry,
        settings: Settings,
        queues: Mapping[str, int],
        *,
        grace_seconds: float = 30.0,
        deaf_seconds: float = 15.0,
        drain: bool = False,
        on_registered: Callable[[], None] = lambda: None,
    ) -> None:
        require_importable(registry)
        self._registry = registry
        self._facts, self._figures = facts(), SystemFigures()
        self._settings = settings
        self._queues = dict(queues)
        self._grace_seconds = grace_seconds
        self._deaf_seconds = deaf_seconds
        self._on_registered = on_registered
        self._name = settings.worker_name or socket.gethostname()
        self._stops = 0
        self._stirred = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._recovery = Recovery()
        dsn = settings.require_dsn()
        self._link = Link(lambda: open_store(dsn, role="claimer", lock_ms=_LOCK_MS))
        self._deliveries = Link(
            lambda: open_store(dsn, role="deliverer", lock_ms=_LOCK_MS),
            name="deliveries",
            answer_seconds=ANSWER_SECONDS / 2,  # the claimer may have to wait for a report that goes over it
        )
        self._maintenance = Link(lambda: open_store(dsn, role="maintenance", lock_ms=_LOCK_MS), name="maintenance")
        self._steps = Pool(dsn, role="steps", size=_STEP_CONNECTIONS, statement_ms=10_000)
        self._everywhere = Everywhere(self._maintenance, settings, worker_id=lambda: self._membership.worker_id)
        self._promote = self._everywhere.promote
        self._ledger = Ledger(self._stirred)
        self._suspected: dict[int, float] = {}
        self._reports = Reports(self._ledger, wake=self._stirred.set)
        self._slots = [
            Slots(
                queue, size, registry, make_context=self._context, read_results=self._results, on_end=self._ledger.end
            )
            for queue, size in queues.items()
        ]
        self._membership = Membership(on_lost=self._lost, on_drain=self._told_to_drain, on_cancel=self._cancel)
        self._renewer = Renewer(
            lambda: SyncStore(
                connect_sync(dsn, role="renewer"), answer_seconds=max(_SHORTEST_ANSWER_SECONDS, settings.lease / 2)
            ),
            worker_id=lambda: self._membership.worker_id,
            lease_seconds=settings.lease,
            read_info=self._info,
            on_answer=self._membership.answered,
            on_recovery=self._recovery.announce,
        )
        self._listener = Listener(
            dsn,
            {
                "dtsched_wake": self._woken,
                "dtsched_pause": self._paused,
                "dtsched_cancel": self._cancel_announced,
                "dtsched_due": lambda _: self._promote.hasten(),
            },
            on_change=self._listener_changed,
            recovery=self._recovery,
        )
        finisher = Finisher(self._ledger, self._reports)
        self._deliverer = Deliverer(self._deliveries, self._ledger, finisher, self._membership)
        self._claimer = Claimer(
            [Served(slots, Hunger(settings.poll)) for slots in self._slots],
            list(registry),
            link=self._link,
            listener=self._listener,
            ledger=self._ledger,
            reports=self._reports,
            finisher=finisher,
            membership=self._membership,
            confirm=lambda: self._membership.confirm(self._renewer.poke),
            join=self._join,
            promote=self._promote,
            taken_away=self._taken_away,
            reconcile_seconds=settings.lease / 5,
            stirred=self._stirred,
            drain=Drain(self._ledger, maintaining=lambda: self._maintenance.busy, stop=self._told_to_drain)
            if drain
            else None,
        )
        self.stuck_slots = 0
        """After run(): handlers that did not heed their cancellation. Only the end of the process ends them."""

    def stop(self) -> None:
        """Claims nothing more, and ends run() when what runs has ended or its grace is over. A second call ends the
        grace."""
        self._stops += 1
        self._stopping.set()
        if self._stops > 1:
            self._hurrying.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT call stop(). For programs whose event loop is the worker's own."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)

    async def run(self) -> None:
        """Raises what connecting and registering raise; once registered it survives the database's absences."""
        self._reports.start()
        with working_as(self._name), kept_with_jobs(self._settings.job_log_level, self._reports.line):
            await self._serve()

    async def _serve(self) -> None:
        try:
            async with self._link.store() as store:
                await store.require_contract()
                await self._join(store)
        except BaseException:
            await self._link.close()
            raise
        loops: list[asyncio.Task[None]] = []
        await self._steps.open()
        try:
            for slots in self._slots:
                slots.start()
            self._renewer.start()
            loops.extend(self._start_loops())
            _log.info("worker %s (%s) serves %s", self._name, self._membership.worker_id, self._queues)
            self._on_registered()
            await self._stopping.wait()
            await self._drain(self._grace_seconds)
        except asyncio.CancelledError:
            await self._drain(0.0)
            raise
        finally:
            await self._end(loops)

    def _start_loops(self) -> list[asyncio.Task[None]]:
        maintenance = {
            "declare": Declare(self._maintenance, self._registry.schedules).run_once,
            "watchdog": Watchdog(
                self._maintenance,
                self._claimer,
                list(self._queues),
                deaf_seconds=self._deaf_seconds,
                reconnect=self._reconnect,
            ).run_once,
        }
        loops = {
            "claimer": repeat(self._claimer.step, name="claimer", recovery=self._recovery),
            "deliverer": repeat(
                self._deliverer.step, name="deliverer", database=self._deliveries.outage, recovery=self._recovery
            ),
            "listener": self._listener.run(),
            **{
                name: repeat(step, name=name, database=self._maintenance.outage, recovery=self._recovery)
                for name, step in maintenance.items()
            },
        }
        own = [asyncio.create_task(loop, name=f"dtsched-{name}") for name, loop in loops.items()]
        return [*own, *self._everywhere.start(self._recovery)]

    async def _join(self, store: Store) -> None:
        """Registers under a new id. What was held under the old one has been taken away, or will be."""
        dropped = self._drop()
        worker_id = uuid4()
        await store.register_worker(
            worker_id,
            self._name,
            list(self._queues),
            list(self._registry),
            slots=sum(self._queues.values()),
            lease_seconds=self._settings.lease,
            info=self._facts,
            declared={name: definition.declaration() for name, definition in self._registry.items()},
        )
        self._membership.begin(worker_id)
        if dropped:
            _log.warning("registered anew as %s, after dropping %d jobs", worker_id, dropped)

    async def _drain(self, grace_seconds: float) -> None:
        _log.info(
            "stopping: nothing more is claimed, what runs (%d) has %g s to end", len(self._running()), grace_seconds
        )
        for slots in self._slots:
            self._ledger.hand_back(slots.stop_accepting())
        self._stirred.set()
        await self._until(lambda: not self._running(), grace_seconds, self._hurrying)
        for slots in self._slots:
            slots.stop("shutdown")
        await self._until(lambda: not self._running(), GIVE_UP_SECONDS + 0.2)
        await self._until(self._owes_nothing, _FAREWELL_SECONDS / 2)
        if not self._owes_nothing():  # the line may have fallen silent: over another one nothing is lost
            self._claimer.reconnect()
            self._deliveries.sever()
            await self._until(self._owes_nothing, _FAREWELL_SECONDS / 2)

    def _owes_nothing(self) -> bool:
        """A claim that is under way may bring jobs yet, to be handed back."""
        return not self._link.busy and not len(self._ledger)

    async def _until(self, reached: Callable[[], bool], seconds: float, sooner: asyncio.Event | None = None) -> None:
        """At most that long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not reached() and loop.time() < deadline and not (sooner and sooner.is_set()):  # noqa: ASYNC110  (once in a worker's life)
            await asyncio.sleep(0.01)

    async def _end(self, loops: Sequence[asyncio.Task[None]]) -> None:
        async with AsyncExitStack() as last:
            last.callback(_log.info, "worker %s ended", self._name)
            last.push_async_callback(self._link.close)
            last.push_async_callback(self._deliveries.close)
            last.push_async_callback(self._maintenance.close)
            last.push_async_callback(self._steps.close)
            last.push_async_callback(self._leave)
            last.push_async_callback(self._renewer.stop)  # first of these: it would find its worker gone
            await self._end_loops(loops)
            self.stuck_slots = sum(await asyncio.gather(*(slots.close(0.5) for slots in self._slots)))

    async def _end_loops(self, loops: Sequence[asyncio.Task[None]]) -> None:
        for loop in loops:
            loop.cancel()
        late = (await asyncio.wait(loops, timeout=_CANCEL_SECONDS))[1] if loops else ()
        if late:  # a cancelled statement waits until the server has answered, and a silent line never does
            self._link.sever()
            self._deliveries.sever()
            self._maintenance.sever()
        await asyncio.gather(*loops, return_exceptions=True)

    async def _leave(self) -> None:
        """Deregisters; if that fails the leases run out by themselves."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS), self._link.store() as store:
                handed_back = await store.deregister_worker(self._membership.worker_id)
        except Exception as error:  # it must not hide how run() has ended
            _log.warning("could not deregister, the leases run out by themselves: %s", first_line(error))
        else:
            if handed_back:
                _log.warning("handed back %d jobs that had begun", handed_back)

    def _running(self) -> list[Attempt]:
        """Without those that were given up on: nobody waits for them."""
        return [attempt for slots in self._slots for attempt in slots.running if not attempt.ended]

    def _context(self, claimed: Claimed, queue: str) -> Context:
        context = Context(
            job_id=claimed.job_id,
            task=claimed.task,
            queue=queue,
            attempt=claimed.attempt,
            max_attempts=claimed.max_attempts,
            worker_id=self._membership.worker_id,
            correlation_id=correlation_id_of(claimed),
            read_parents=self._parents,
            steps=Steps(
                self._steps,
                claimed,
                self._membership.worker_id,
                cancelled=lambda: context.cancelled,
                recovery=self._recovery,
            ),
            completion=Completion(self._membership.worker_id, claimed.lease_id),
            notes=self._reports.of(claimed.lease_id),
        )
        return context

    async def _parents(self, job_id: int) -> list[ParentResult]:
        async with self._maintenance.store() as store:
            return await store.parents(job_id)

    async def _results(self, job_id: int, places: Sequence[int]) -> dict[int, bytes | None]:
        async with self._maintenance.store() as store:
            return await store.parent_results(job_id, places)

    def _info(self) -> Mapping[str, object]:
        return {**self._facts, "system_info": self._figures.read()}

    def _lost(self) -> None:
        _log.error("worker %s was declared lost: dropping what it holds", self._membership.worker_id)
        self._drop()
        self._stirred.set()

    def _drop(self) -> int:
        """Forgets all that is held under this identity. Returns how many jobs that were."""
        for slots in self._slots:
            slots.take_back()
            slots.stop("lost")
        self._reports.clear()
        return self._ledger.drop()

    def _told_to_drain(self) -> None:
        self._stopping.set()  # without stop(), whose second call ends the grace

    def _cancel(self, leases: Sequence[int]) -> None:
        attempts = self._ledger.attempts_of(leases)
        for slots in self._slots:
            if withdrawn := slots.withdraw(attempts):
                self._ledger.hand_back(withdrawn)
            slots.stop("cancelled", attempts)

    def _taken_away(self, leases: Sequence[int]) -> None:
        """By somebody who found that their time was over. A handler that has completed its job itself goes on."""
        attempts = [
            attempt
            for attempt in self._ledger.attempts_of(leases)
            if not attempt.ended and not (attempt.context and attempt.context.completing)
        ]
        attempts = self._without_suspects(attempts)
        if attempts:
            _log.warning(
                "%d attempts were taken away: %s", len(attempts), [one.claimed.job_id for one in attempts][:10]
            )
            self._ledger.settle([attempt.claimed.lease_id for attempt in attempts])
            for slots in self._slots:
                slots.withdraw(attempts)
                slots.stop("lost", attempts)

    def _without_suspects(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """What runs in another process may have completed its job there, and its answer be on the way."""
        now = monotonic()
        suspects = {
            attempt.claimed.lease_id
            for attempt in attempts
            if self._registry[attempt.claimed.task].executor == "process"
        }
        self._suspected = {lease: self._suspected.get(lease, now) for lease in suspects}
        return [
            attempt
            for attempt in attempts
            if now - self._suspected.get(attempt.claimed.lease_id, -inf) >= _SUSPECTED_SECONDS
        ]

    def _woken(self, payload: str) -> None:
        self._claimer.woken(parse_wake(payload))

    def _paused(self, queue: str) -> None:
        """What waits here for a slot is not to start; should this go unheard, it goes back soon by itself."""
        for slots in self._slots:
            if slots.queue == queue:
                self._ledger.hand_back(slots.take_back())

    def _cancel_announced(self, worker_id: str) -> None:
        if worker_id == str(self._membership.worker_id):
            self._renewer.poke()
            self._claimer.look_for_taken()

    def _listener_changed(self) -> None:
        self._claimer.listener_changed()
        if self._listener.connected:
            self._renewer.poke()  # cancellations may have been announced while nobody listened

    def _reconnect(self) -> None:
        self._claimer.reconnect()
        self._deliveries.sever()
        self._listener.reconnect()
