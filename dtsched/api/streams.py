"""Server-sent events: what is still to be sent to whom, and how it is sent.

A stream holds no connection to the database: the readers of this process (job_streams, feed_streams) put into it what
they have read for all of them. It is bounded: who reads too slowly is ended, and goes on where it was by asking again
with Last-Event-ID.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from dtsched.api.front_door import method_of
from dtsched.connections import is_outage

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
RETRY_MS = 1000
MOST_BYTES = 4 * 1024 * 1024
"""Of what one caller has not taken yet. Callers of the same stream share what is put into it."""

ADMISSION_SECONDS = 60.0
"""After which it is asked again whether a stream's key lets it in."""

_ROUND_SECONDS = 1.0
_AT_ONCE = 50
_log = logging.getLogger("dtsched.api")
_HEAD = b"retry: %d\n\n" % RETRY_MS


def encoded(event: str, data: bytes, place: str | None = None) -> bytes:
    """`data` is JSON, and so one line. `place` becomes the caller's Last-Event-ID."""
    at = b"" if place is None else b"id: %s\n" % place.encode()
    return b"event: %s\ndata: %s\n%s\n" % (event.encode(), data, at)


def heartbeat(place: str | None = None) -> bytes:
    """A comment; with a place it also moves the Last-Event-ID, which is no event either."""
    return b":\n\n" if place is None else b":\nid: %s\n\n" % place.encode()


class Stream:
    """What one caller is still to be sent. `kind` is for the figures, `beat` makes what keeps a silent stream alive."""

    __slots__ = ("_beat", "_bytes", "_chunks", "_ended", "_waiter", "admitted", "admitted_at", "kind", "silent_since")

    def __init__(self, kind: str, beat: Callable[[], bytes] = heartbeat) -> None:
        self.kind = kind
        self.silent_since = self.admitted_at = monotonic()
        self.admitted: Callable[[], Awaitable[bool]] | None = None
        """Asks whether whoever opened it is let in still. None: everybody is."""
        self._beat = beat
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        return self._ended

    def put(self, chunks: Iterable[bytes]) -> bool:
        """All or none. False: too much waits already, and the stream is ended."""
        more = list(chunks)
        size = sum(map(len, more))
        if self._ended:
            return True
        if self._chunks and self._bytes + size > MOST_BYTES:
            self._clear()
            self.end()
            return False
        self._chunks.extend(more)
        self._bytes += size
        self._wake()
        return True

    def replace(self, chunk: bytes) -> None:
        """In the place of all that has not been sent."""
        self._clear()
        self.put([chunk])

    def beat(self) -> None:
        if not self._chunks:
            self.put([self._beat()])

    def end(self) -> None:
        """After what has been put."""
        self._ended = True
        self._wake()

    def cut(self) -> None:
        """Ends it, with nothing more of what has been put."""
        self._clear()
        self.end()

    async def next(self) -> bytes | None:
        """None at the end."""
        while not self._chunks:
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk)
        self.silent_since = monotonic()
        return chunk

    def _clear(self) -> None:
        self._chunks.clear()
        self._bytes = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Streams:
    """All that are open in this process."""

    def __init__(self) -> None:
        self.open: set[Stream] = set()
        self.ended_as_slow = 0
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, stream: Stream) -> None:
        self.open.add(stream)
        if self._stopped:
            stream.end()
        elif not self._tasks:
            self._tasks = [
                asyncio.create_task(self._beat(), name="dtsched-heartbeats"),
                asyncio.create_task(self._admit(), name="dtsched-stream-admission"),
            ]

    def remove(self, stream: Stream) -> None:
        self.open.discard(stream)

    def put(self, stream: Stream, chunks: Iterable[bytes]) -> None:
        if not stream.put(chunks):
            self.ended_as_slow += 1

    def beat(self) -> None:
        """A heartbeat for those that have been silent for long enough."""
        due = monotonic() - HEARTBEAT_SECONDS
        for stream in self.open:
            if stream.silent_since <= due:
                stream.beat()

    async def admit(self) -> None:
        """Ends those whose key does not let them in any more: one question at a time, so that thousands of streams are
        in nobody's way. What cannot be told now is asked in the next round."""
        due = monotonic() - ADMISSION_SECONDS
        for number, stream in enumerate([stream for stream in self.open if stream.admitted_at <= due], 1):
            if stream.admitted is not None and not await stream.admitted():
                stream.cut()
            stream.admitted_at = monotonic()
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # most answers are kept ones, which are waited for by nobody

    def stop(self) -> None:
        """Ends all, and those that come from now on."""
        self._stopped = True
        for stream in self.open:
            stream.end()

    async def close(self) -> None:
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            self.beat()

    async def _admit(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            try:
                await self.admit()
            except Exception as error:  # the other streams are to be asked about all the same, in the next round
                if not is_outage(error):
                    _log.exception("asking whether streams are let in failed")


class EventStream(ASGIResponse):
    """Sends a stream until it ends or the caller hangs up: `opened` is called before, `closed` after."""

    _should_set_content_length = False

    def __init__(
        self,
        stream: Stream,
        *,
        admitted: Callable[[], Awaitable[bool]],
        opened: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        # a proxy that buffers would keep events to itself
        super().__init__(media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        stream.admitted = admitted
        self._stream = stream
        self._opened = opened
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.start_response(send)
        if method_of(scope) == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        self._opened()
        try:
            await self._send_events(receive, send)
        finally:
            self._closed()

    async def _send_events(self, receive: Receive, send: Send) -> None:
        hung_up = asyncio.create_task(_hung_up(receive))
        hung_up.add_done_callback(lambda _: self._stream.end())
        try:
            chunk: bytes | None = _HEAD
            while chunk is not None and not hung_up.done():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await self._stream.next()
            await send({"type": "http.response.body", "body": b": end\n\n", "more_body": False})
        finally:
            hung_up.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
