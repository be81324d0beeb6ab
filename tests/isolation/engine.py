"""Plays a few sessions against each other in every order that a bound allows, on a real server.

A session is a list of statements; a transaction that one of them begins stays open until another ends it. On top of
that every write inside a statement stops it twice: before it reads its rows, with its snapshot taken, and after. So a
player can be left half way through a function, and the others see what it has locked and not yet committed.

The first play goes by the default: whoever is at it goes on until it ends or waits for another. Then each choice of
each play is made otherwise, as long as no play takes the turn away from somebody who could have gone on more often than
the bound says (Musuvathi and Qadeer, "Iterative context bounding for systematic testing", 2007). Without stops and
without a bound these are all interleavings of the statements.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer

PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.002  # a statement that has said nothing for so long may be waiting for a lock; twice as long each time
LONGEST_LOOK_SECONDS = 0.25
GATE = 7_700_000  # the advisory locks that players stop at: GATE + player, number of the stop
EVER = 1_000_000  # more stops than anybody comes to

Values = dict[str, Any]
Rows = list[tuple[Any, ...]]

# What only counts or watches: no decision is made by it.
NO_STOP = ("tallies", "stats_1m", "job_events", "ages", "installed", "feed", "prunable", "unsuccessful")
STOP_BY_ROW = ("keys",)  # whose order matters where one statement takes several


class Refused(Exception):
    """A play ended otherwise than it may; says which, step by step, so that it can be played again."""


@dataclass
class Choice:
    """Who could go on, who did, and whether that took the turn away from somebody."""

    able: tuple[int, ...]
    chosen: int
    current: int | None

    def preempts(self, player: int) -> bool:
        return self.current is not None and self.current != player and self.current in self.able


@dataclass
class Play:
    """What came of one order: per player the rows of its statements and the SQLSTATE that ended it, if one did; who had
    to wait for another; and when each statement began and ended, as (what, player, number of the statement)."""

    values: Values
    choices: list[Choice] = field(default_factory=list[Choice])
    story: list[str] = field(default_factory=list[str])
    rows: list[list[Rows]] = field(default_factory=list["list[Rows]"])
    errors: list[str | None] = field(default_factory=list["str | None"])
    waited: set[int] = field(default_factory=set[int])
    log: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(choice.chosen for choice in self.choices)

    def ended_before(self, player: int, statement: int, other: int, others_statement: int = 0) -> bool:
        """Whether a statement was over when the other one began."""
        end, begin = ("end", player, statement), ("begin", other, others_statement)
        return end in self.log and self.log.index(end) < self.log.index(begin)

    def column(self, player: int, statement: int) -> list[Any]:
        return [row[0] for row in self.rows[player][statement]] if len(self.rows[player]) > statement else []


class Player:
    """One connection, which a statement is sent to without waiting for its end.

    `stop` is the last stop it came to, counted over all its plays, and `gate` the one it may not pass."""

    def __init__(self, dsn: str, number: int) -> None:
        self.number = number
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.add_notice_handler(self._hear)
        self.connection.execute("select set_config('isolation.player', '', false)")
        self.pid = self.connection.info.backend_pid
        self.stop, self.gate = 0, 1
        self.begin([])

    def begin(self, statements: Sequence[bytes]) -> None:
        self.statements = list(statements)
        self.rows: list[Rows] = []
        self.error: str | None = None
        self.error_text = ""
        self.is_busy = self.is_stopped = self.is_blocked = False
        self.at = ""
        self.passed: list[str] = []

    @property
    def is_able(self) -> bool:
        return self.is_stopped or (not self.is_busy and len(self.statements) > 0)

    @property
    def is_under_way(self) -> bool:
        return self.is_busy and not self.is_stopped

    def mogrify(self, statement: str, values: Values) -> bytes:
        return psycopg.ClientCursor(self.connection).mogrify(cast(LiteralString, statement), values).encode()

    def send(self) -> str:
        statement = self.statements.pop(0)
        self.is_busy = True
        self._result: pq.abc.PGresult | None = None
        self.connection.pgconn.send_query(statement)
        return statement.decode()

    def listen(self, seconds: float) -> None:
        """Until it stops or its statement ends, but for no longer than that."""
        connection = self.connection.pgconn
        end = time.monotonic() + seconds
        while self.is_under_way:
            if not select.select([connection.socket], [], [], max(0.0, end - time.monotonic()))[0]:
                return
            connection.consume_input()
            self._take_results()

    def _take_results(self) -> None:
        connection = self.connection.pgconn
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                self._end()
                return
            if result.status == pq.ExecStatus.FATAL_ERROR:
                self.error = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"?????").decode()
                self.error_text = result.error_message.decode().strip()
            self._result = result

    def _end(self) -> None:
        self.is_busy = self.is_stopped = self.is_blocked = False
        rows: Rows = []
        if self._result is not None and self._result.status == pq.ExecStatus.TUPLES_OK:
            transformer = Transformer(self.connection)
            transformer.set_pgresult(self._result)
            rows = transformer.load_rows(0, self._result.ntuples, tuple)
        self.rows.append(rows)
        if self.error is not None:
            self.statements = []
            if self.connection.info.transaction_status != pq.TransactionStatus.IDLE:
                self.connection.execute("rollback")

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        said = notice.message_primary or ""
        if said.startswith("stop "):
            _, stop, at = said.split(" ", 2)
            self.stop = int(stop)
            self.is_stopped = self.stop == self.gate
            if self.is_stopped:
                self.at = at
            else:
                self.passed.append(at)


@dataclass
class Arena:
    """A database in which players are stopped, and the connections to it. `schema` is whose tables stop them."""

    dsn: str
    players_count: int = 3
    schema: str = "dtsched"

    def __post_init__(self) -> None:
        self.keeper = psycopg.connect(self.dsn, autocommit=True)
        self.keeper.execute((Path(__file__).parent / "stops.sql").read_bytes())
        self.keeper.execute(
            "select public.lay_stops(%s, %s, %s, %s)",
            (self.schema, self.players_count, list(NO_STOP), list(STOP_BY_ROW)),
        )
        self.players = [Player(self.dsn, number) for number in range(self.players_count)]
        for player in self.players:
            self.keeper.execute("select pg_advisory_lock(%s, %s)", (GATE + player.number, player.gate))

    def close(self) -> None:
        for player in self.players:
            player.connection.close()
        self.keeper.close()

    def explore(
        self,
        setup: Callable[[], Values],
        judge: Callable[[Play], None],
        *sessions: Sequence[str],
        stops: bool,
        preemptions: int | None,
    ) -> int:
        """Plays every order; returns how many there were. `setup` is called before each, `judge` after it."""
        frontier: list[tuple[int, ...]] = [()]
        count = 0
        while frontier:
            begun = frontier.pop()
            play = self.play(setup(), sessions, begun, stops=stops)
            count += 1
            try:
                judge(play)
            except (AssertionError, psycopg.Error) as error:
                raise Refused(f"{error}\nplay {count}, order {play.order}:\n" + "\n".join(play.story)) from error
            frontier += self._others(play, len(begun), preemptions)
        return count

    def _others(self, play: Play, decided: int, preemptions: int | None) -> list[tuple[int, ...]]:
        """The orders that leave this one at a choice that was not given."""
        others: list[tuple[int, ...]] = []
        spent = 0
        for at, choice in enumerate(play.choices):
            if at >= decided:
                others += [
                    (*play.order[:at], other)
                    for other in choice.able
                    if other != choice.chosen and (preemptions is None or spent + choice.preempts(other) <= preemptions)
                ]
            spent += choice.preempts(choice.chosen)
        return others

    def play(
        self, values: Values, sessions: Sequence[Sequence[str]], begun: Sequence[int] = (), *, stops: bool
    ) -> Play:
        """One order: the choices `begun`, then the default, and that too where a choice is none any more."""
        play = Play(values)
        players = self.players[: len(sessions)]
        for player, statements in zip(players, sessions, strict=True):
            who = str(player.number) if stops else ""
            player.connection.execute("reset all")
            player.connection.execute(
                "select set_config('isolation.player', %s, false), set_config('dtsched.sweep', '86400', false)", (who,)
            )
            player.begin([player.mogrify(statement, values) for statement in statements])
        current: int | None = None
        while True:
            able = tuple(player.number for player in players if player.is_able)
            if not able:
                if not any(player.is_busy for player in players):
                    break
                self._settle(players, play, patient=True)  # all wait for each other: until one gives up
                continue
            given = begun[len(play.choices) :]
            wanted = given[0] if given else current
            chosen = wanted if wanted in able else able[0]
            turns = next((turns for turns, other in enumerate(given) if other != chosen), EVER)
            play.choices.append(Choice(able, chosen, current))
            self._go(players[chosen], play, turns=max(turns, 1))
            self._settle(players, play)
            current = chosen
        for player in players:
            if player.connection.info.transaction_status != pq.TransactionStatus.IDLE:
                player.connection.execute("rollback")
        play.rows = [player.rows for player in players]
        play.errors = [player.error for player in players]
        return play

    def _go(self, player: Player, play: Play, *, turns: int) -> None:
        """Past the stops that lie before so many choices of it: nobody else has a turn there."""
        was_stopped, player.is_stopped = player.is_stopped, False
        if was_stopped:
            play.story.append(f"{player.number}: on from {player.at}")
        self._shut(player, player.stop + turns)
        if not was_stopped:
            play.log.append(("begin", player.number, len(player.rows)))
            play.story.append(f"{player.number}: {' '.join(player.send().split())}")

    def _shut(self, player: Player, stop: int) -> None:
        """From here on it comes no further than to that stop."""
        if stop != player.gate:
            gate, (was, player.gate) = GATE + player.number, (player.gate, stop)
            self.keeper.execute("select pg_advisory_lock(%s, %s), pg_advisory_unlock(%s, %s)", (gate, stop, gate, was))

    def _settle(self, players: Sequence[Player], play: Play, *, patient: bool = False) -> None:
        """Until nobody is under way who does not wait for another; `patient`: and until somebody could be."""
        end = time.monotonic() + PATIENCE_SECONDS
        look_seconds = LOOK_SECONDS
        while True:
            under_way = [player for player in players if player.is_under_way]
            for player in under_way:
                player.listen(0 if player.is_blocked else look_seconds)
            look_seconds = min(2 * look_seconds, LONGEST_LOOK_SECONDS)
            waiting = self._waiting([player for player in under_way if player.is_under_way])
            for player in under_way:
                player.listen(0)  # what it has said before it came to wait
                self._note_passed(player, play)
                if not player.is_under_way:
                    self._say(player, play)
                    continue
                player.is_blocked = player.pid in waiting
                if player.is_blocked:
                    play.waited.add(player.number)
                    self._shut(player, player.stop + 1)  # who goes on then is a choice again
            moving = [player for player in under_way if player.is_under_way]
            if not moving:
                return
            if all(player.is_blocked for player in moving) and (not patient or any(p.is_able for p in players)):
                return
            if time.monotonic() > end:
                raise TimeoutError("\n".join(play.story))
            if patient:
                time.sleep(LOOK_SECONDS)

    def _note_passed(self, player: Player, play: Play) -> None:
        """Each stop that it has run past was a choice: it might have been left there."""
        able = play.choices[-1].able
        play.choices += [Choice(able, player.number, player.number) for _ in player.passed]
        play.story += [f"{player.number}: on from {at}" for at in player.passed]
        player.passed.clear()

    def _say(self, player: Player, play: Play) -> None:
        if player.is_stopped:
            player.is_blocked = False
        elif player.error is not None:
            play.log.append(("end", player.number, len(player.rows) - 1))
            play.story.append(f"   {player.number} failed: {player.error_text}")
        else:
            play.log.append(("end", player.number, len(player.rows) - 1))
            play.story.append(f"   {player.number} got {player.rows[-1]}")

    def _waiting(self, players: Sequence[Player]) -> set[int]:
        """Those that wait for a lock which is not a stop of ours."""
        if not players:
            return set()
        rows = self.keeper.execute(
            """
            select pid from pg_locks
            where not granted and pid = any (%s) and not (locktype = 'advisory' and classid between %s and %s)
            """,
            ([player.pid for player in players], GATE, GATE + self.players_count),
        )
        return {pid for (pid,) in rows}
