"""One client's connection through the proxy, whose it is, and what can be done to it."""

from collections.abc import Iterable
from typing import NamedTuple

import psutil

from dtsched.torture.pgwire import Conversation
from dtsched.torture.ways import SILENT, Direction, Pace, Way, reset


class Whom(NamedTuple):
    """A word of the connection's application_name, and the process that has opened it."""

    role: str = ""
    pid: int | None = None


class Link:
    """One client's connection."""

    def __init__(self, port: int) -> None:
        self.application = ""
        self.asked, self.answered = Way(), Way()
        self.talk = Conversation()
        self._port = port
        self._pids: dict[int, bool] = {}

    def begin(self, application: str) -> None:
        self.application = application
        self._words = frozenset(application.split())

    def plays(self, role: str) -> bool:
        return not role or role in self._words

    def is_known_of(self, pid: int) -> bool:
        return pid in self._pids

    def learn(self, pid: int, ports: set[int]) -> None:
        """Of what process the ports are."""
        self._pids[pid] = self._port in ports

    def is_of(self, pid: int) -> bool:
        return self._pids[pid]

    def silence(self, direction: Direction, by: str) -> None:
        for way in self._ways(direction):
            way.hold(SILENT + by)

    def unsilence(self, by: str) -> None:
        for way in self._ways("both"):
            way.release(SILENT + by)

    def reset(self) -> None:
        for way in self._ways("both"):
            way.drop()
            reset(way.source)

    def set_pace(self, pace: Pace) -> None:
        for way in self._ways("both"):
            way.set_pace(pace)

    def _ways(self, direction: Direction) -> list[Way]:
        return {"both": [self.asked, self.answered], "asked": [self.asked], "answered": [self.answered]}[direction]


def concerned(links: Iterable[Link], whom: Whom) -> list[Link]:
    """Those of them that are meant. Whose a connection is, is asked for all of them together: the answer takes as long
    as there are connections on the machine, and nothing passes the proxy meanwhile."""
    playing = [link for link in links if link.plays(whom.role)]
    if whom.pid is None:
        return playing
    if unknown := [link for link in playing if not link.is_known_of(whom.pid)]:
        ports = _ports(whom.pid)
        for link in unknown:
            link.learn(whom.pid, ports)
    return [link for link in playing if link.is_of(whom.pid)]


def _ports(pid: int) -> set[int]:
    """Of a process' own TCP connections."""
    try:
        return {one.laddr.port for one in psutil.Process(pid).net_connections("tcp") if one.laddr}
    except psutil.Error:
        return set()
