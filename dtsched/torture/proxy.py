"""The proxy between the processes of a run and their database, in a process of its own:

    python -P -m dtsched.torture.proxy

It listens on a free port of 127.0.0.1 and says which on its standard output. What it is to do it is told on its
standard input, a JSON document a line; it ends when that is closed. `wire.py` is the other end of this conversation.

    {"port": 40001}
    > {"id": 1, "do": "to", "host": "127.0.0.1", "port": 5432}
    < {"id": 1, "answer": null}
    > {"id": 2, "do": "cut", "role": "claimer"}
    < {"id": 2, "answer": 3}

What one fault does is told with its name in `by`, and heal() with that name ends that alone: others go on.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple, cast

import uvloop

from dtsched.torture.links import Link, Whom, concerned
from dtsched.torture.pgwire import Opening, opening
from dtsched.torture.ways import Direction, Pace, Way, reset


class _Silence(NamedTuple):
    whom: Whom
    direction: Direction
    by: str


class _Slowness(NamedTuple):
    pace: Pace
    whom: Whom


class _CommitCut(NamedTuple):
    share: float
    whom: Whom
    calls: frozenset[str]
    dice: Random


class Proxy:
    """Its public methods are what it can be told; they know nothing of how it is told."""

    def __init__(self) -> None:
        self._links: set[Link] = set()
        self._server: tuple[str, int] = ("127.0.0.1", 0)
        self._silences: list[_Silence] = []
        self._refusals: set[str] = set()
        self._slownesses: dict[str, _Slowness] = {}
        self._commit_cuts: dict[str, _CommitCut] = {}
        self._flaps: dict[str, asyncio.Task[None]] = {}
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._totals: Counter[str] = Counter()
        self._openings: set[asyncio.Task[None]] = set()

    def to(self, host: str, port: int) -> None:
        """Where new connections lead; what is open stays where it is."""
        self._server = host, port

    def silence(
        self,
        role: str = "",
        pid: int | None = None,
        direction: Direction = "both",
        new_ones_too: bool = False,
        by: str = "",
    ) -> int:
        whom = Whom(role, pid)
        meant = concerned(self._links, whom)
        for link in meant:
            link.silence(direction, by)
        if new_ones_too:
            self._silences.append(_Silence(whom, direction, by))
        self._counts[by]["silenced"] += len(meant)
        return len(meant)

    def refuse(self, by: str = "") -> None:
        self._refusals.add(by)

    def cut(self, role: str = "", pid: int | None = None, by: str = "") -> int:
        meant = concerned(self._links, Whom(role, pid))
        for link in meant:
            self._cut(link, by)
        return len(meant)

    def slow(
        self,
        seconds: float,
        piece_bytes: int | None = None,
        bytes_per_second: float | None = None,
        role: str = "",
        pid: int | None = None,
        by: str = "",
    ) -> None:
        """Of several that concern a connection, the last one holds."""
        self._slownesses.pop(by, None)
        self._slownesses[by] = _Slowness(Pace(seconds, piece_bytes, bytes_per_second), Whom(role, pid))
        self._set_paces()

    def cut_on_commit(
        self, share: float, calls: list[str], role: str = "", pid: int | None = None, seed: int = 0, by: str = ""
    ) -> None:
        """Of the commits in which one of these was done; see pgwire.py for what a commit is."""
        self._commit_cuts[by] = _CommitCut(share, Whom(role, pid), frozenset(calls), Random(seed))

    def flap(self, on: float, off: float, how: Literal["cut", "silence"] = "cut", by: str = "") -> None:
        """So many seconds nothing passes, so many everything, and so on."""
        self._stop_flapping(by)
        self._flaps[by] = asyncio.create_task(self._flap(on, off, how, by))

    def heal(self, by: str | None = None) -> dict[str, int]:
        """What `by` has done, or all have; returns how often."""
        done: Counter[str] = Counter()
        for one in list(self._named()) if by is None else [by]:
            self._stop_flapping(one)
            self._restore(one)
            self._commit_cuts.pop(one, None)
            self._slownesses.pop(one, None)
            done += self._counts.pop(one, Counter())
        self._set_paces()
        return dict(done)

    def figures(self) -> dict[str, Any]:
        """Since the beginning; `open` is by application_name."""
        return {
            **self._totals,
            "round_trips": self._totals["round_trips"] + sum(link.talk.round_trips for link in self._links),
            "cpu_seconds": time.process_time(),
            "open": dict(Counter(link.application for link in self._links)),
        }

    def _named(self) -> set[str]:
        silent = {silence.by for silence in self._silences}
        return {*self._counts, *self._refusals, *self._slownesses, *self._commit_cuts, *self._flaps, *silent}

    async def _flap(self, on: float, off: float, how: Literal["cut", "silence"], by: str) -> None:
        while True:
            if how == "cut":
                self.refuse(by=by)
                self.cut(by=by)
            else:
                self.silence(new_ones_too=True, by=by)
            self._counts[by]["flaps"] += 1
            await asyncio.sleep(off)
            self._restore(by)
            await asyncio.sleep(on)

    def _restore(self, by: str) -> None:
        self._silences = [silence for silence in self._silences if silence.by != by]
        self._refusals.discard(by)
        for link in list(self._links):
            link.unsilence(by)

    def _stop_flapping(self, by: str) -> None:
        if (task := self._flaps.pop(by, None)) is not None:
            task.cancel()

    def _set_paces(self) -> None:
        paces = dict.fromkeys(self._links, Pace())
        for slowness in self._slownesses.values():
            paces.update(dict.fromkeys(concerned(paces, slowness.whom), slowness.pace))
        for link, pace in paces.items():
            link.set_pace(pace)

    def _set_pace(self, link: Link) -> None:
        paces = [slowness.pace for slowness in self._slownesses.values() if concerned([link], slowness.whom)]
        link.set_pace(paces[-1] if paces else Pace())

    def _cut(self, link: Link, by: str) -> None:
        if link in self._links:
            self._counts[by]["cut"] += 1
            self.ended(link)
            link.reset()

    # What its connections tell it.

    def accepts(self) -> bool:
        for by in self._refusals:
            self._counts[by]["refused"] += 1
        return not self._refusals

    def begun(self, link: Link, first: Opening, data: bytes) -> None:
        """The client has said who it is."""
        link.begin(first.application)
        self._links.add(link)
        self._totals["opened"] += 1
        for silence in self._silences:
            if concerned([link], silence.whom):
                link.silence(silence.direction, silence.by)
                self._counts[silence.by]["silenced"] += 1
        self._set_pace(link)
        self._dial(link, data)

    def cancels(self, link: Link, data: bytes) -> None:
        """A connection that only asks for a statement to be cancelled."""
        link.begin("")
        self._dial(link, data)

    def _dial(self, link: Link, data: bytes) -> None:
        link.asked.hold("opening")
        link.asked.pass_on(data)
        task = asyncio.create_task(self._open(link))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _open(self, link: Link) -> None:
        host, port = self._server
        loop = asyncio.get_running_loop()
        try:
            if host.startswith("/"):
                await loop.create_unix_connection(lambda: _Server(self, link), f"{host}/.s.PGSQL.{port}")
            else:
                await loop.create_connection(lambda: _Server(self, link), host, port)
        except OSError:
            self._totals["unanswered"] += 1
            self.ended(link)
            link.reset()
        else:
            link.asked.release("opening")

    def asked(self, link: Link, data: bytes) -> None:
        self._totals["bytes"] += len(data)
        link.talk.asked(data)
        link.asked.pass_on(data)

    def answered(self, link: Link, data: bytes) -> None:
        self._totals["bytes"] += len(data)
        commits = link.talk.answered(data)
        if commits and (by := self._who_cuts(link, commits)) is not None:
            self._counts[by]["commits_cut"] += 1
            self._cut(link, by)
        else:
            link.answered.pass_on(data)

    def _who_cuts(self, link: Link, commits: list[set[str]]) -> str | None:
        for by, cut in self._commit_cuts.items():
            if concerned([link], cut.whom):
                for done in commits:
                    if not cut.calls.isdisjoint(done):
                        self._counts[by]["commits"] += 1
                        if cut.dice.random() < cut.share:
                            return by
        return None

    def ended(self, link: Link) -> None:
        if link in self._links:
            self._links.discard(link)
            self._totals["round_trips"] += link.talk.round_trips


class _End(asyncio.Protocol):
    """What both ends of a link have in common. `_told` is the way that leads here, `_telling` the one from here."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.link: Link | None = None

    def _joins(self, link: Link, transport: asyncio.Transport, telling: Way, told: Way) -> None:
        self.link, self._told, self._telling = link, told, telling
        telling.source = told.target = transport

    def pause_writing(self) -> None:
        self._told.hold("ahead")

    def resume_writing(self) -> None:
        self._told.release("ahead")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.link is not None:
            self._proxy.ended(self.link)
            self._told.drop()
            if exc is not None:
                reset(self._telling.target)
            elif self._telling.target is not None:
                self._telling.end()
            elif self._told.source is not None:
                self._told.source.close()


class _Client(_End):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        if not self._proxy.accepts():
            reset(transport)
            return
        self._opening: bytes | None = b""
        link = Link(transport.get_extra_info("peername")[1])
        self._joins(link, transport, link.asked, link.answered)

    def data_received(self, data: bytes) -> None:
        if self.link is None:
            return
        if self._opening is None:
            self._proxy.asked(self.link, data)
            return
        self._opening += data
        try:
            self._open(self.link)
        except ValueError:
            reset(self._transport)

    def _open(self, link: Link) -> None:
        assert self._opening is not None
        while (first := opening(self._opening)) is not None:
            if first.kind == "encryption":
                self._opening = self._opening[first.size :]
                self._transport.write(b"N")
                continue
            start, rest = self._opening[: first.size], self._opening[first.size :]
            self._opening = None
            if first.kind == "cancel":
                self._proxy.cancels(link, start)
            else:
                self._proxy.begun(link, first, start)
            if rest:
                self._proxy.asked(link, rest)
            return


class _Server(_End):
    def __init__(self, proxy: Proxy, link: Link) -> None:
        super().__init__(proxy)
        self._of = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._joins(self._of, cast("asyncio.Transport", transport), self._of.answered, self._of.asked)
        client = self._of.asked.source
        if client is None or client.is_closing():
            reset(self._of.answered.source)

    def data_received(self, data: bytes) -> None:
        self._proxy.answered(self._of, data)


_ACTS = ("to", "silence", "refuse", "cut", "slow", "cut_on_commit", "flap", "heal", "figures")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    proxy = Proxy()
    server = await loop.create_server(lambda: _Client(proxy), "127.0.0.1", 0, backlog=1000)
    _tell({"port": server.sockets[0].getsockname()[1]})
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    acts: dict[str, Callable[..., object]] = {name: getattr(proxy, name) for name in _ACTS}
    while line := await orders.readline():
        order: dict[str, Any] = json.loads(line)
        number, act = order.pop("id"), order.pop("do")
        try:
            _tell({"id": number, "answer": acts[act](**order)})
        except Exception as error:  # whoever has told us wants to know
            _tell({"id": number, "error": repr(error)})


def _tell(message: dict[str, object]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever has started us ends us, by closing our standard input
    uvloop.run(serve())


if __name__ == "__main__":
    main()
