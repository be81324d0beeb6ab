"""Server-sent events: what is still to be sent to whom, and how it is sent.

A stream holds no connection to the database: the readers of this process (job_streams, feed_streams) put into it what
they have read for all of them. It is bounded: who reads too slowly is ended, and goes on where it was by asking again
with Last-Event-ID.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from dtsched.api.front_door import method_of

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
RETRY_MS = 1000
MOST_BYTES = 4 * 1024 * 1024
"""Of what one caller has not taken yet. Callers of the same stream share what is put into it."""

_ROUND_SECONDS = 1.0
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

    __slots__ = ("_beat", "_bytes", "_chunks", "_ended", "_waiter", "kind", "silent_since")

    def __init__(self, kind: str, beat: Callable[[], bytes] = heartbeat) -> None:
        self.kind = kind
        self.silent_since = monotonic()
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
        self._beating: asyncio.Task[None] | None = None

    def add(self, stream: Stream) -> None:
        self.open.add(stream)
        if self._stopped:
            stream.end()
        elif self._beating is None:
            self._beating = asyncio.create_task(self._beat(), name="dtsched-heartbeats")

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

    def stop(self) -> None:
        """Ends all, and those that come from now on."""
        self._stopped = True
        for stream in self.open:
            stream.end()

    async def close(self) -> None:
        self.stop()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            self.beat()


class EventStream(ASGIResponse):
    """Sends a stream until it ends or the caller hangs up: `opened` is called before, `closed` after."""

    _should_set_content_length = False

    def __init__(self, stream: Stream, *, opened: Callable[[], None], closed: Callable[[], None]) -> None:
        # a proxy that buffers would keep events to itself
        super().__init__(media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
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
