"""The one conversation with the database about jobs: what is done goes out and what comes next comes in, in one
round trip.

All queues share one connection, so between two rounds no claim of this worker is in flight. What is in its name
then, but not in its ledger, is a claim whose answer was lost with a connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import NamedTuple

from dtsched.connections import is_transient
from dtsched.errors import WorkerLost
from dtsched.listener import Listener
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round, wait
from dtsched.maintenance.promote import Promote
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.drain import Drain
from dtsched.runtime.finisher import HELD_SECONDS, Finisher
from dtsched.runtime.hunger import Hunger, Wish
from dtsched.runtime.ledger import Ledger
from dtsched.runtime.membership import Membership
from dtsched.runtime.reports import Reports
from dtsched.runtime.slots import Slots
from dtsched.store import Claimed, Store
from dtsched.wakes import Wake

_log = logging.getLogger("dtsched.claimer")

_LINGER_SECONDS = 0.005
_ANY_LEASE = 2**63 - 1
_FEW = 10
_QUIET_ROUNDS = 5


class Served(NamedTuple):
    """A queue that this worker serves."""

    slots: Slots
    hunger: Hunger


class Room(NamedTuple):
    """How many jobs are wanted of a queue, and how many of them would begin at once."""

    wanted: int
    startable: int


class Claimer:
    """`confirm` asks the database whether this worker is lost; `join` registers it under a new identity if it is.
    `taken_away` is told the leases that the database has given to others."""

    def __init__(
        self,
        served: Sequence[Served],
        tasks: Sequence[str],
        *,
        link: Link,
        listener: Listener,
        ledger: Ledger,
        reports: Reports,
        finisher: Finisher,
        membership: Membership,
        confirm: Callable[[], Awaitable[None]],
        join: Callable[[Store], Awaitable[None]],
        promote: Promote,
        taken_away: Callable[[Sequence[int]], None],
        reconcile_seconds: float,
        stirred: asyncio.Event,
        drain: Drain | None = None,
    ) -> None:
        self._served = served
        self._tasks = list(tasks)
        self._link = link
        self._listener = listener
        self._ledger = ledger
        self._reports = reports
        self._membership = membership
        self._confirm = confirm
        self._join = join
        self._promote = promote
        self._taken_away = taken_away
        self._reconcile_seconds = reconcile_seconds
        self._stirred = stirred
        self._drain = drain
        self._finisher = finisher
        self._reconcile_at = 0.0
        self._release_at = 0.0
        self._connection = 0
        self._connected_at = 0.0
        self._unwanted = False
        self.claimed_at = monotonic()

    async def step(self) -> Round:
        """One round, as soon as there is something to say."""
        await self._until_due()
        if self._unwanted:
            self._unwanted = False
            await self._link.close()
        try:
            async with self._link.store() as store:
                return Round(await self.run_once(store), 0)
        except WorkerLost:
            await self._confirm()
            return Round(0, 0.05)
        except Exception as error:
            self._reconcile_at = 0.0  # it may have claimed something all the same
            if not is_transient(error):
                raise
            return Round(0, 0.01)

    async def run_once(self, store: Store) -> int:
        """Jobs finished, claimed and handed back."""
        if self._membership.lost:
            await self._join(store)
        if self._reports.due_at <= monotonic() or self._ledger.started:  # before they are handed back
            await self._reports.flush(store, self._membership.worker_id)
        handed_back = await self._hand_back(store)
        await self._reconcile(store)
        await self._finisher.look_again(store, self._membership.worker_id)
        await self._let_go_where_full()
        if self._all_doze() or self._may_be_drained():
            return handed_back + await self._poll(store)
        served, asked = self._next_served()
        if served is not None:
            return handed_back + await self._work(store, served, asked)
        if batch := self._ledger.take_outcomes():
            return handed_back + await self._finisher.finish(store, self._membership.worker_id, batch)
        return handed_back

    def listener_changed(self) -> None:
        """The locks that said "hungry" are gone with their connection, and perhaps notifications too."""
        for served in self._served:
            served.hunger.let_go()
            served.hunger.wake()
        self._stirred.set()

    def woken(self, wake: Wake) -> None:
        for served in self._served:
            if served.slots.queue == wake.queue:
                served.hunger.wake(wake.entry)
                self._stirred.set()

    def look_for_taken(self) -> None:
        """Leases of this worker may have been taken away: the next round asks, and comes at once."""
        self._reconcile_at = 0.0
        self._stirred.set()

    def reconnect(self) -> None:
        """The next round goes over a new connection, which knows nothing of what this one has read. The round under
        way may be waiting for an answer that will not come: it is over."""
        self._unwanted = True
        self._link.sever()
        self._stirred.set()

    @property
    def has_room(self) -> bool:
        return any(served.slots.room() > 0 for served in self._served)

    async def _until_due(self) -> None:
        while True:
            self._stirred.clear()
            seconds = self._due_at() - monotonic()
            if seconds <= 0:
                return
            await wait(self._stirred, seconds)

    def _due_at(self) -> float:
        """When the next round has something to do, as monotonic seconds."""
        if self._unwanted or self._membership.lost or self._ledger.has_deferred:
            return 0.0
        due = self._reconcile_at if self._drain is None else min(self._reconcile_at, self._drain.due_at)
        due = min(due, self._reports.due_at)
        if self._ledger.never_started or self._ledger.started:
            due = min(due, self._release_at)
        backlogged = False
        for slots, hunger in self._served:
            backlogged = backlogged or slots.backlogged
            if slots.room() > 0:
                due = min(due, hunger.next_poll)
            elif (check_at := hunger.check_room_at(monotonic())) is not None:
                due = min(due, check_at)
            if (hoarded_until := slots.hoarded_until()) is not None:
                due = min(due, hoarded_until)
        if (deliver_at := self._ledger.deliver_at(_LINGER_SECONDS if backlogged else 0.0)) is not None:
            due = min(due, deliver_at)
        return due

    def _next_served(self) -> tuple[Served | None, int]:
        """The queue that has been due longest, and how many jobs it wants."""
        now = monotonic()
        due = [(served, served.slots.room()) for served in self._served if served.hunger.next_poll <= now]
        wanting = [(served, room) for served, room in due if room > 0]
        return min(wanting, key=lambda one: one[0].hunger.next_poll, default=(None, 0))

    async def _work(self, store: Store, served: Served, asked: int) -> int:
        slots, hunger = served
        entry = hunger.claiming(monotonic())
        settled = hunger.unsettled is not None and await store.settled(hunger.unsettled)
        batch = self._ledger.take_outcomes()
        if self._ledger.behind:  # no more comes than goes, or what a stop would throw away grows without end
            asked = min(asked, len(batch))
        worker_id = self._membership.worker_id
        try:
            if self._reports.concern(batch):
                await self._reports.flush(store, worker_id)
            room = Room(asked, slots.startable)
            claimed, refused = await store.work(
                worker_id, batch, slots.queue, asked, self._tasks, slots=room.startable, entry=entry
            )
        except Exception as error:
            if not batch or not self._finisher.is_about_rows(error):
                self._ledger.put_back(batch)
                raise
            return await self._finisher.recover(store, worker_id, batch, error)
        except BaseException:
            self._ledger.put_back(batch)
            raise
        self._finisher.delivered(batch, refused)
        self._begin(slots, claimed)
        await self._let_begin(len(claimed))
        await self._took(served, room, len(claimed), settled=settled)
        return len(batch) + len(claimed)

    def _all_doze(self) -> bool:
        """Nothing is known to be there, and it is time to make sure."""
        return (
            not self._ledger.has_outcomes
            and all(hunger.dozing and slots.room() > 0 for slots, hunger in self._served)
            and min(hunger.next_poll for _, hunger in self._served) <= monotonic()
        )

    def _may_be_drained(self) -> bool:
        """This worker is to end when nothing is left, and holds nothing: it asks for all queues at once."""
        return self._drain is not None and self._drain.due_at <= monotonic()

    async def _poll(self, store: Store) -> int:
        rooms = {slots.queue: Room(slots.room(), slots.startable) for slots, _ in self._served}
        for _, hunger in self._served:
            hunger.claiming(monotonic())
        if self._drain is not None:
            self._drain.polling()
        self._promote.begun_elsewhere()
        next_seconds, chores, claimed, refused = await store.poll(self._membership.worker_id, rooms, self._tasks)
        self._promote.done_elsewhere(next_seconds, chores)
        for slots, _ in self._served:
            self._begin(slots, claimed[slots.queue])
        count = sum(map(len, claimed.values()))
        await self._let_begin(count)
        for served in self._served:
            queue = served.slots.queue
            await self._took(served, rooms[queue], len(claimed[queue]), settled=False)
        if self._drain is not None:
            self._drain.polled(next_seconds, refused=refused)
        return count

    async def _let_begin(self, count: int) -> None:
        """A few handlers begin before the next round does; many would keep it waiting."""
        if 0 < count <= _FEW:
            await asyncio.sleep(0)

    async def _took(self, served: Served, room: Room, claimed: int, *, settled: bool) -> None:
        slots, hunger = served
        if room.wanted > room.startable >= claimed:
            slots.fetch_no_further()
        if claimed or room.startable > 0:
            wish = hunger.claimed(room.wanted, claimed, monotonic(), settled=settled, at_once=room.startable)
            await self._act(served, wish)
        else:
            hunger.in_vain(monotonic())

    def _begin(self, slots: Slots, claimed: Sequence[Claimed]) -> None:
        if not claimed:
            return
        now = monotonic()
        attempts = [Attempt(job, now) for job in claimed]
        self._ledger.add(attempts)
        self.claimed_at = now
        self._reconcile_at = min(self._reconcile_at, now + self._reconcile_seconds)
        if slots.closed:  # told to stop while the claim was on its way
            self._ledger.hand_back(attempts)
        else:
            slots.feed(attempts)

    async def _act(self, served: Served, wish: Wish) -> None:
        queues = [served.slots.queue]
        if wish is Wish.GO_HUNGRY:
            served.hunger.went_hungry(await self._listener.hungry(queues), monotonic())
        elif wish is Wish.LET_GO:
            served.hunger.let_go()
            await self._listener.sated(queues)

    async def _let_go_where_full(self) -> None:
        for served in self._served:
            if served.slots.room() == 0:
                await self._act(served, served.hunger.no_room(monotonic()))

    async def _hand_back(self, store: Store) -> int:
        now = monotonic()
        for slots, _ in self._served:
            if (hoarded_until := slots.hoarded_until()) is not None and hoarded_until <= now:
                self._ledger.hand_back(slots.take_back())
        never_started, started = list(self._ledger.never_started), list(self._ledger.started)
        if self._release_at > now or not (never_started or started):
            return 0
        self._release_at = now + HELD_SECONDS  # also if it fails: the rest of the round must not wait for it
        over = await store.release(self._membership.worker_id, never_started, started)
        self._ledger.settle(over)
        if len(over) == len(never_started) + len(started):
            self._release_at = 0.0
        return len(over)

    async def _reconcile(self, store: Store) -> None:
        """Hands back what a lost answer left in this worker's name: after each reconnection, and again and again,
        because a claim that was under way on a lost connection may commit at any time later. Less often by a worker
        that has had nothing to do, on one connection, for a while."""
        now = monotonic()
        if self._connection != self._link.opened:
            self._connected_at = now
        elif self._reconcile_at > now:
            return
        quiet = not len(self._ledger) and now - self._connected_at > _QUIET_ROUNDS * self._reconcile_seconds
        self._reconcile_at = now + self._reconcile_seconds * (_QUIET_ROUNDS if quiet else 1)
        forgotten = await store.reconcile(self._membership.worker_id, self._ledger.leases, _ANY_LEASE)
        if forgotten:
            _log.warning("handed back %d jobs whose claim was never answered", len(forgotten))
        if len(self._ledger) and (taken := await store.taken_away(self._membership.worker_id, self._ledger.leases)):
            self._taken_away(taken)
        self._connection = self._link.opened
