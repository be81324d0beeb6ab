"""One direction of a connection through the proxy: it can be silent, slow, and in pieces, and never runs ahead of who
reads it."""

import asyncio
from collections import deque
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Literal, NamedTuple

_MOST_WAITING = 256 * 1024
_AT_ONCE = pack("ii", 1, 0)

Direction = Literal["both", "asked", "answered"]
"""`asked`: what clients say is lost, `answered`: what they are told."""

SILENT = "silent"
"""What the reason begins with for which a way is held by somebody; the others are its own."""


class Pace(NamedTuple):
    seconds: float = 0.0
    piece_bytes: int | None = None
    bytes_per_second: float | None = None

    @property
    def is_full_speed(self) -> bool:
        return self == _FULL_SPEED


_FULL_SPEED = Pace()


class Way:
    """From `source` to `target`; either may still be missing. What waits is passed on in order, and the end last."""

    def __init__(self) -> None:
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self._pace = _FULL_SPEED
        self._reasons: set[str] = set()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._ended = False

    def pass_on(self, data: bytes) -> None:
        if self._reasons or self._waiting or self.target is None or not self._pace.is_full_speed:
            self._keep(data)
        else:
            self.target.write(data)

    def end(self) -> None:
        """The source has closed: the target is closed after all that waits."""
        self._ended = True
        self._deliver()

    def hold(self, reason: str) -> None:
        if not self._reasons and self.source is not None:
            self.source.pause_reading()
        self._reasons.add(reason)

    def release(self, reason: str) -> None:
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons and self.source is not None and not self.source.is_closing():
                self.source.resume_reading()
            self._deliver()

    @property
    def silent(self) -> bool:
        return any(reason.startswith(SILENT) for reason in self._reasons)

    def set_pace(self, pace: Pace) -> None:
        """At full speed, what waits goes at once."""
        self._pace = pace
        if pace.is_full_speed:
            self._waiting = deque((0.0, data) for _, data in self._waiting)
            self._free_at = 0.0
            self._deliver()

    def drop(self) -> None:
        self._waiting.clear()
        self._set_timer(None)

    def _keep(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        size = self._pace.piece_bytes or len(data)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            due = now + self._pace.seconds
            if self._pace.bytes_per_second:
                self._free_at = max(self._free_at, now) + len(piece) / self._pace.bytes_per_second
                due = self._free_at + self._pace.seconds
            self._waiting.append((due, piece))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MOST_WAITING:
            self.hold("slow")
        self._deliver()

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        self._set_timer(None)
        if self.silent or self.target is None or self.target.is_closing():
            return
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self.target.write(piece)
            if self._pace.piece_bytes and self._waiting:  # what is written in one turn of the loop leaves together
                self._set_timer(loop.call_soon(self._deliver))
                return
        if self._waiting:
            self._set_timer(loop.call_at(self._waiting[0][0], self._deliver))
        elif self._ended:
            self.target.close()
        if self._waiting_bytes <= _MOST_WAITING:
            self.release("slow")

    def _set_timer(self, timer: asyncio.TimerHandle | asyncio.Handle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer


def reset(transport: asyncio.Transport | None) -> None:
    """Ends it with a RST, as a machine does that does not know the connection any more."""
    if transport is not None and not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
        transport.abort()
