"""What every scenario starts from, and what must hold when its players are through, whatever the order was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, LiteralString, cast
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.isolation.engine import Arena, Play, Values
from tests.sql.sessions import Session
from tests.sql.test_state_edges import DELETED, NEW, documented_edges

LEASE = "100 s"
PREEMPTIONS = int(os.environ.get("DTSCHED_TEST_PREEMPTIONS", "1"))  # 2: some minutes
DEADLOCK = "40P01"

# A function of the language SQL is planned anew at each call, which takes twenty times as long as to run this one.
PREPARE_CHECK = """
    do $$ begin
        execute 'prepare verify as ' || (select prosrc from pg_proc where oid = 'dtsched.check()'::regprocedure);
    end $$
    """
TRACE = """
    select from_state, to_state, lag(to_state) over (partition by job_id order by id) as before
    from dtsched.job_events
    """
OVERRUN = """
    select lease.limit_key, count(*)
    from dtsched.leases lease
    join dtsched.limits own on own.limit_key = lease.limit_key
    group by lease.limit_key, own.concurrency
    having count(*) > coalesce(own.concurrency, 1)
    """


class Duels(Session):
    """A connection that prepares and judges, and the arena whose players fight."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.take_over_the_clock()
        self.stop_the_clock()
        self.run("select dtsched.trace(true)")
        self.run(cast(LiteralString, (Path(__file__).parent / "arena.sql").read_text()))
        self.run("set search_path = pg_catalog, dtsched, pg_temp")
        self.run("set enable_nestloop = off")
        self.run(PREPARE_CHECK)
        self.run("reset enable_nestloop")
        self.run("set dtsched.sweep = '0'")
        self.arena = Arena(dsn)
        self.edges = documented_edges()

    def close(self) -> None:
        self.arena.close()
        super().close()

    def fight(
        self,
        setup: Callable[[Duels], Values],
        *sessions: Sequence[str],
        holds: Callable[[Duels, Play], None] | None = None,
        refused: Collection[str] = (),
        within_limits: bool = True,
    ) -> int:
        """Plays two sessions in all orders, three with few turns taken away; and two stopped half way, with one.

        Returns how many orders there were. `refused` are the SQLSTATEs that a player may be refused with, `holds` says
        what must hold beyond what always does.
        """

        def begin() -> Values:
            self.run("select public.begin_play()")
            return setup(self)

        def judge(play: Play) -> None:
            assert DEADLOCK not in play.errors, "deadlock"
            assert {error for error in play.errors if error is not None} <= set(refused)
            self.is_sound()
            assert not within_limits or self.rows(OVERRUN) == [], "more run of a limit key than may"
            if holds is not None:
                holds(self, play)
            self.nothing_is_lost()

        turns = PREEMPTIONS + 2 - len(sessions)
        plays = self.arena.explore(
            begin, judge, *sessions, stops=False, preemptions=None if len(sessions) == 2 else turns + 2
        )
        if turns > 0:
            plays += self.arena.explore(begin, judge, *sessions, stops=True, preemptions=turns)
        return plays

    def is_sound(self) -> None:
        assert self.rows("execute verify") == []
        for left, entered, before in self.rows(TRACE):
            assert left == before, f"the trace has a gap: {before} -> {left}"
            assert (left or NEW, entered or DELETED) in self.edges

    def nothing_is_lost(self) -> None:
        assert self.rows("select * from public.work_off()") == [], "these never end"
        self.is_sound()

    # what scenarios start from

    def worker(self, *, slots: int = 10) -> UUID:
        return self.value("select public.worker(%s, %s)", LEASE, slots)

    def submit(self, **fields: object) -> int:
        return self.value("select id from dtsched.submit_many(%s, false)", Jsonb([{"task": "echo"} | fields]))

    def claim(self, worker: UUID, limit: int = 100) -> list[int]:
        """The leases."""
        return self.column("select lease_id from dtsched.claim(%s, 'default', %s)", worker, limit)

    def lose(self, worker: UUID) -> None:
        self.run("select public.lose(%s)", worker)

    def events(self, job: int, state: str) -> int:
        """How often it came into that state."""
        return self.value("select count(*) from dtsched.job_events where job_id = %s and to_state = %s", job, state)

    def state_of(self, job: int) -> str | None:
        return next(iter(self.column("select state from dtsched.jobs where id = %s", job)), None)


def opened(dsn: str) -> contextlib.closing[Duels]:
    return contextlib.closing(Duels(dsn))


def accepted(play: Play, *steps: tuple[int, int]) -> list[Any]:
    """What these statements of these players returned together."""
    return [value for player, statement in steps for value in play.column(player, statement)]


def transaction(*statements: str) -> tuple[str, ...]:
    """A session that begins with the first of these, and ends in a step of its own: with its locks held in between."""
    first, *more = statements
    return (f"begin; {first}", *more, "commit")
