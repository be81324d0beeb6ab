"""Workers that wait over HTTP for something to do, any number of them, without a connection to the database each.

Polls for the same queues and tasks are a group. A group is given a turn, that is one of its polls tries to claim, when
one of its queues is notified (the server goes hungry in the place of them all, see dtsched.hungry()), and beneath that
at slow intervals, because a notification may be lost. A poll whose turn brought something passes it on to two others,
so a burst of jobs wakes as many as it feeds, and one job does not wake a thousand.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from dtsched.api.database import Questions
from dtsched.listener import Listener
from dtsched.maintenance.loop import Round, repeat
from dtsched.outage import jittered
from dtsched.overview import WorkerRecord
from dtsched.store import Lease
from dtsched.wakes import parse_wake

_SHORTEST_SECONDS = 0.01
_LONGEST_SECONDS = 0.25
_KEEP_SECONDS = 1.0  # a queue that nobody waits for is let go after this, not between two polls
_FULL_SECONDS = 5.0  # a worker that polls without a free slot: what frees one may happen at another server
_IDLE_SECONDS = 3600.0
_GROUPS_PER_SECOND = 50


class Tried(NamedTuple):
    """What a claim brought, and if that is nothing, the worker as it is."""

    leases: list[Lease]
    worker: WorkerRecord | None


Try = Callable[[], Awaitable[Tried]]
GroupKey = tuple[tuple[str, ...], tuple[str, ...] | None]


@dataclass(eq=False)
class _Poll:
    """`turn`: it may claim; `over`: it is not to, any more."""

    worker_id: UUID
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    turn: bool = False
    over: bool = False

    def take_turn(self) -> None:
        self.turn = True
        self.stirred.set()

    def end(self) -> None:
        self.over = True
        self.stirred.set()


@dataclass(eq=False)
class _Group:
    """Those that wait, the longest waiting first. `members` counts those that are claiming too; `owed`: a turn came
    while nobody waited, and whoever waits next has it, because the claims under way may have looked too early."""

    queues: tuple[str, ...]
    waiting: dict[_Poll, None] = field(default_factory=dict[_Poll, None])
    members: int = 0
    owed: bool = False
    look_at: float = 0.0
    pause: float = _SHORTEST_SECONDS

    def give_turn(self) -> None:
        if not self.waiting:
            self.owed = True
            return
        poll = next(iter(self.waiting))
        del self.waiting[poll]
        poll.take_turn()

    def wait(self, poll: _Poll) -> None:
        self.waiting[poll] = None
        if self.owed:
            self.owed = False
            self.give_turn()

    def leave(self, poll: _Poll) -> None:
        self.waiting.pop(poll, None)
        if poll.turn:  # it was given one and did not use it
            poll.turn = False
            self.give_turn()


@dataclass(eq=False)
class _Gate:
    """Of a queue for which this server is hungry. Once `settled`, whatever is submitted to it notifies."""

    xid: int
    settled: bool = False
    unused_since: float | None = None


class Polls:
    """Used in one event loop; connects when somebody waits for the first time."""

    def __init__(self, questions: Questions, *, poll_seconds: float) -> None:
        self._questions = questions
        self._poll_seconds = poll_seconds
        questions.client.waiting.join("dtsched_wake", self._woken, self._listener_changed)
        self._groups: dict[GroupKey, _Group] = {}
        self._gates: dict[str, _Gate] = {}
        self._polls: dict[UUID, _Poll] = {}
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def wait(
        self,
        worker: WorkerRecord,
        queues: Collection[str],
        attempt: Try,
        *,
        seconds: float,
        unless: Coroutine[Any, Any, None],
    ) -> tuple[list[Lease], bool]:
        """What an attempt has claimed, none when the time is over, the server stops, or the same worker polls again;
        and whether `unless` is over, that is nobody waits for the answer. Nothing is tried then any more, but a claim
        may have been under way. `worker` is as it was after a claim that brought nothing; `queues` are those served."""
        self._start()
        poll = _Poll(worker.id)
        if (before := self._polls.get(worker.id)) is not None:
            before.end()
        self._polls[worker.id] = poll
        gone = asyncio.create_task(unless)
        gone.add_done_callback(lambda _: poll.end())
        timer = asyncio.get_running_loop().call_later(seconds, poll.end)
        if self._questions.stopping.is_set():
            poll.end()
        group = self._join(queues, worker.tasks)
        try:
            return await self._until_fed(poll, group, worker, attempt), gone.done()
        finally:
            timer.cancel()
            gone.cancel()
            await asyncio.wait([gone])
            self._leave(poll, group)

    def has_room(self, worker_id: UUID) -> None:
        """A lease of this worker has ended here."""
        if (poll := self._polls.get(worker_id)) is not None:
            poll.take_turn()

    def end(self, worker_id: UUID) -> None:
        if (poll := self._polls.get(worker_id)) is not None:
            poll.end()

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for poll in self._polls.values():
            poll.end()

    async def _until_fed(self, poll: _Poll, group: _Group, worker: WorkerRecord, attempt: Try) -> list[Lease]:
        while True:
            self._queue_up(poll, group, worker)
            await poll.stirred.wait()
            poll.stirred.clear()
            if poll.over:
                return []
            group.waiting.pop(poll, None)
            poll.turn = False
            try:
                leases, seen = await attempt()
            except BaseException:
                group.give_turn()  # what it was given the turn for is still there
                raise
            if leases:
                group.give_turn()
                group.give_turn()
                return leases
            worker = seen or worker
            if _is_full(worker):
                group.give_turn()  # somebody else may have room

    def _queue_up(self, poll: _Poll, group: _Group, worker: WorkerRecord) -> None:
        """One that can take nothing must not have the turns of those that can."""
        if _is_full(worker):
            asyncio.get_running_loop().call_later(jittered(_FULL_SECONDS), poll.take_turn)
        else:
            group.wait(poll)

    def _join(self, queues: Collection[str], tasks: Collection[str] | None) -> _Group:
        key = (tuple(sorted(queues)), None if tasks is None else tuple(sorted(tasks)))
        group = self._groups.setdefault(key, _Group(key[0]))
        group.members += 1
        if group.members == 1:
            self._stirred.set()
        return group

    def _leave(self, poll: _Poll, group: _Group) -> None:
        group.leave(poll)
        group.members -= 1
        if not group.members:
            self._groups = {key: one for key, one in self._groups.items() if one is not group}
            self._stirred.set()
        if self._polls.get(poll.worker_id) is poll:
            del self._polls[poll.worker_id]

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(repeat(self._step, name="polls", poke=self._stirred), name="dtsched-polls"),
                asyncio.create_task(self._end_with_server(), name="dtsched-polls-end"),
            ]

    @property
    def _listener(self) -> Listener:
        return self._questions.client.waiting.listener

    async def _end_with_server(self) -> None:
        await self._questions.stopping.wait()
        for poll in self._polls.values():
            poll.end()

    async def _step(self) -> Round:
        """Goes hungry where somebody waits, sees whether submissions of before have ended, and gives turns."""
        await self._go_hungry()
        await self._settle()
        now = monotonic()
        turns = 0
        for group in self._groups.values():
            if group.look_at <= now:
                self._look(group, now)
                turns += 1
        await self._let_go(now)
        due = [group.look_at for group in self._groups.values()]
        due += [gate.unused_since + _KEEP_SECONDS for gate in self._gates.values() if gate.unused_since is not None]
        return Round(turns, max(0.001, min(due, default=now + _IDLE_SECONDS) - monotonic()))

    def _look(self, group: _Group, now: float) -> None:
        """Whatever was submitted before the queues' gates were settled is found by a turn that comes after that."""
        gates = [self._gates.get(queue) for queue in group.queues]
        hears = all(gate is not None and gate.settled for gate in gates)
        if hears or not self._listener.connected:
            group.pause = max(self._poll_seconds, len(self._groups) / _GROUPS_PER_SECOND)
            group.look_at = now + jittered(group.pause)
        else:
            group.look_at = now + group.pause
            group.pause = min(_LONGEST_SECONDS, 2 * group.pause)
        group.give_turn()

    async def _go_hungry(self) -> None:
        wanted = {queue for group in self._groups.values() for queue in group.queues}
        for queue in sorted(wanted - self._gates.keys()):
            generation = self._listener.generation
            xid = await self._listener.hungry([queue])
            if xid is not None and generation == self._listener.generation:
                self._gates[queue] = _Gate(xid)

    async def _settle(self) -> None:
        for gate in [gate for gate in self._gates.values() if not gate.settled]:
            gate.settled = await self._questions.client.ask(lambda store, xid=gate.xid: store.settled(xid))

    async def _let_go(self, now: float) -> None:
        wanted = {queue for group in self._groups.values() for queue in group.queues}
        for queue, gate in list(self._gates.items()):
            if queue in wanted:
                gate.unused_since = None
            elif gate.unused_since is None:
                gate.unused_since = now
            elif now - gate.unused_since >= _KEEP_SECONDS and self._gates.get(queue) is gate:
                del self._gates[queue]
                await self._listener.sated([queue])

    def _woken(self, payload: str) -> None:
        """Anybody may send anything."""
        queue = parse_wake(payload).queue
        for group in self._groups.values():
            if queue in group.queues:
                group.give_turn()

    def _listener_changed(self) -> None:
        """The locks have gone with the last connection, and with it what was notified meanwhile."""
        self._gates.clear()
        for group in self._groups.values():
            group.look_at, group.pause = 0.0, _SHORTEST_SECONDS
        self._stirred.set()


def _is_full(worker: WorkerRecord) -> bool:
    return worker.state == "draining" or worker.running >= worker.slots
