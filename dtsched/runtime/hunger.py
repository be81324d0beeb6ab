"""When to poll a queue next, and when to be woken instead. Pure decisions; the claimer acts on them.

A queue found empty three times running makes the worker hungry: it takes locks that make submissions notify.
Submissions that began before may have missed them, so it polls on until those have ended (the xid is settled) and a
claim made after that is empty too; then it sleeps on notifications, with a slow poll beneath. Woken, and at the end of
the queue, it looks once more a moment later: what it has claimed comes first. A worker with a backlog, or one that
claims again and again, lets the locks go: NOTIFY under load would halve the submissions of everybody.
"""

from enum import Enum, auto

from dtsched.outage import jittered
from dtsched.wakes import Entry

_EMPTY_POLLS = 3
_SHORTEST_SECONDS = 0.002
_LONGEST_SECONDS = 0.25
_FULL_CLAIMS = 2
_FED_CLAIMS = 4
_RUSH_SECONDS = 0.01
_AGAIN_SECONDS = 0.02
_FULL_HOUSE_SECONDS = 0.25


class Wish(Enum):
    NOTHING = auto()
    GO_HUNGRY = auto()
    LET_GO = auto()


class Hunger:
    """Of one queue. Times are monotonic seconds."""

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._empty = 0  # polls in a row that found nothing
        self._fed = 0  # claims in a row that brought something, each begun soon after the one before
        self._fed_at = 0.0
        self._begun_at = 0.0
        self._full = 0  # claims in a row that brought all they asked for
        self._pause = _SHORTEST_SECONDS
        self._woken = False
        self._told: Entry | None = None
        self._looked = True  # the last claim was for everything
        self._settled = False
        self._no_room_since: float | None = None
        self.next_poll = 0.0
        self.xid: int | None = None

    @property
    def dozing(self) -> bool:
        """It sleeps on notifications, and none has come: its next poll is a mere precaution."""
        return self._settled and not self._woken

    @property
    def unsettled(self) -> int | None:
        """The xid that must be settled before an empty claim may be trusted."""
        return None if self._settled else self.xid

    def check_room_at(self, now: float) -> float | None:
        """When no_room() has to be asked; None while it would change nothing."""
        if self.xid is None:
            return None
        return now if self._no_room_since is None else self._no_room_since + _FULL_HOUSE_SECONDS

    def wake(self, entry: Entry | None = None) -> None:
        """Something may have come, perhaps no more than one `entry`; also during a claim, whose snapshot may have been
        too early to see it."""
        self._told = entry if self.dozing else None
        self._woken = True
        self.next_poll = 0.0

    def claiming(self, now: float) -> Entry | None:
        """A claim begins. The entry that it may be content with: nothing else has been heard of while it slept. Never
        twice running: what nobody tells of, as a job that somebody has had locked, would wait for the stream to end."""
        entry = self._told if self._looked else None
        self._told = None
        self._looked = entry is None
        self._begun_at = now
        self._woken = False
        self._no_room_since = None
        return entry

    def claimed(self, asked: int, got: int, now: float, *, settled: bool, at_once: int | None = None) -> Wish:
        """What a claim brought, with which so many could begin at once (None: all); `settled` as read before it."""
        if got:
            wish = self._was_fed(
                now, full=got >= asked, short=got < (asked if at_once is None else min(asked, at_once))
            )
        else:
            wish = self._was_empty(now, settled=settled)
        if self._woken:
            self.next_poll = 0.0
        return wish

    def in_vain(self, now: float) -> None:
        """None could begin at once, and nothing was to be fetched ahead. Once one could, there may be something."""
        self.next_poll = now

    def no_room(self, now: float) -> Wish:
        """Every slot is taken, so nothing is polled: a worker that stays like this must not be notified."""
        if self._no_room_since is None:
            self._no_room_since = now
        return (
            Wish.LET_GO if self.xid is not None and now - self._no_room_since >= _FULL_HOUSE_SECONDS else Wish.NOTHING
        )

    def went_hungry(self, xid: int | None, now: float) -> None:
        """The locks are held since before `xid`; None: no connection holds them, so only the slow poll is left."""
        self.xid = xid
        self._settled = False
        self._pause = _SHORTEST_SECONDS
        self.next_poll = now + (_SHORTEST_SECONDS if xid is not None else jittered(self._poll_seconds))

    def let_go(self) -> None:
        """The locks are gone, given back or lost with their connection."""
        self.xid = None
        self._settled = False
        self._empty = self._fed = self._full = 0

    def _was_fed(self, now: float, *, full: bool, short: bool) -> Wish:
        self._empty = 0
        self._fed = self._fed + 1 if self._begun_at - self._fed_at <= _RUSH_SECONDS else 1
        self._fed_at = now
        self._full = self._full + 1 if full else 0
        backlog = self._full >= _FULL_CLAIMS or self._fed >= _FED_CLAIMS
        if self.xid is not None and backlog:
            self.next_poll = now
            return Wish.LET_GO
        self.next_poll = now + _AGAIN_SECONDS if short and self._settled else now
        return Wish.NOTHING

    def _was_empty(self, now: float, *, settled: bool) -> Wish:
        self._fed = self._full = 0
        self._empty += 1
        if self.xid is None:
            self.next_poll = now + _SHORTEST_SECONDS * self._empty
            return Wish.GO_HUNGRY if self._empty >= _EMPTY_POLLS else Wish.NOTHING
        if settled or self._settled:
            self._settled = True
            self.next_poll = now + jittered(self._poll_seconds)
        else:
            self._pause = min(_LONGEST_SECONDS, self._pause * 2)
            self.next_poll = now + self._pause
        return Wish.NOTHING
