"""The feed of what happens to jobs, and the figures of queues, for all who watch queues: read once for all of them.

`place` is how far the feed has been read, and the Last-Event-ID of every stream here: any server goes on from it.
While somebody watches, and a minute longer, so that who reconnects has missed nothing, this process holds the lock that
has the feed written (see dtsched.watch_feed). Where nobody can vouch for the time since a place, `reset` is sent.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import monotonic

import msgspec

from dtsched.api.database import ANSWER_SECONDS, Questions
from dtsched.api.streams import Stream, Streams, encoded, heartbeat
from dtsched.connections import is_outage
from dtsched.errors import DatabaseUnreachable
from dtsched.maintenance.loop import wait
from dtsched.outage import Outage
from dtsched.overview import FeedEvent, FeedPage, Queue

_log = logging.getLogger("dtsched.api")

POLL_SECONDS = 0.25
POLL_SECONDS_A_STREAM = 0.0005
"""Sending one chunk takes about a sixth of that: those who watch leave the rest of the time to others."""

FIGURES_SECONDS = 2.0
LINGER_SECONDS = 60.0
MOST_EVENTS = 5000
"""Of one reading: where more has happened, `reset` says so."""

_LONGEST_PLACE = 16_384
_PLACES_A_ROUND = 20
_AT_ONCE = 50
_PIECE_BYTES = 64 * 1024
_RESET = b"{}"

Queues = frozenset[str] | None
"""Those that a stream is about; None: all."""


class FeedStream(Stream):
    __slots__ = ("joined", "knows_figures", "queues", "since")

    def __init__(self, queues: Queues, since: str | None, feed: "FeedStreams") -> None:
        """`since`: the Last-Event-ID, which may be anything."""
        super().__init__("queue" if queues and len(queues) == 1 else "everything", lambda: feed.beat(self))
        self.queues = queues
        self.since = since if since and len(since) <= _LONGEST_PLACE and since.isascii() and "\0" not in since else None
        self.joined = False
        self.knows_figures = False


class FeedStreams:
    def __init__(self, questions: Questions, streams: Streams) -> None:
        self._questions = questions
        self._streams = streams
        self._of: dict[Queues, set[FeedStream]] = {}
        self._joining: list[FeedStream] = []
        self._place: str | None = None
        self._figures: dict[str, bytes] = {}
        self._watched: int | None = None  # the listener's connection on which the lock is held
        self._stirred = asyncio.Event()
        self._figures_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, stream: FeedStream) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read(), name="dtsched-feed"),
                asyncio.create_task(self._read_figures(), name="dtsched-figures"),
            ]
        self._streams.add(stream)
        self._joining.append(stream)
        self._stirred.set()
        self._figures_wanted.set()

    def require_listening(self) -> None:
        """DatabaseUnreachable where nothing will ever be told."""
        if self._questions.client.waiting.listener.pooled:
            raise DatabaseUnreachable(
                "nothing can be watched through a connection pooler: give this server a DSN that leads to the "
                "database itself",
                reason="a connection pooler stands before it, and nothing can be watched through that",
            )

    def remove(self, stream: FeedStream) -> None:
        self._streams.remove(stream)
        if not stream.joined:
            self._joining.remove(stream)
            return
        group = self._of[stream.queues]
        group.discard(stream)
        if not group:
            del self._of[stream.queues]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def beat(self, stream: FeedStream) -> bytes:
        return heartbeat(self._place if stream.joined else None)

    async def _read(self) -> None:
        outage = Outage(_log, "reading the feed", longest_seconds=1.0)
        while True:
            self._stirred.clear()
            if not self._of and not self._joining:
                await self._idle()
            began = monotonic()
            try:
                if await self._watch():
                    await self._read_once()
                outage.over()
            except Exception as error:  # whoever watches goes on watching, whatever it is
                if not is_outage(error) and not outage.ongoing:
                    _log.exception("reading the feed failed")
                await asyncio.sleep(outage.failed(error))
                continue
            pause = max(POLL_SECONDS, POLL_SECONDS_A_STREAM * sum(map(len, self._of.values())))
            await asyncio.sleep(max(0.0, began + pause - monotonic()))

    async def _idle(self) -> None:
        """Until somebody watches. Whoever comes back within a minute has missed nothing."""
        self._place = None
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._stirred.wait()
        except TimeoutError:
            if self._watched is not None:
                listener, self._watched = self._questions.client.waiting.listener, None
                await listener.unwatch_feed()
            await self._stirred.wait()

    async def _watch(self) -> bool:
        """Nothing is read without the lock: it would look as if nothing happened."""
        listener = self._questions.client.waiting.listener
        connection = listener.generation
        if not listener.connected:
            self._watched = None
            if listener.pooled:  # who asks again is told why
                for stream in [*self._joining, *self._joined()]:
                    stream.end()
        elif self._watched != connection and await listener.watch_feed() and listener.generation == connection:
            self._watched = connection
        return self._watched is not None

    async def _read_once(self) -> None:
        joining = self._joining[:]
        page = await self._page(self._place)
        if not page.told or len(page.events) > MOST_EVENTS:
            await self._reset(self._joined(), page.upto)
        else:
            await self._tell(self._joined(), page.events, page.upto)
        self._place = page.upto
        for since in list(dict.fromkeys(stream.since for stream in joining))[:_PLACES_A_ROUND]:
            missed = None if since is None else await self._page(since, page.upto)
            news = [stream for stream in joining if stream.since == since and stream in self._joining]
            if missed is None or not missed.told or len(missed.events) > MOST_EVENTS:
                await self._reset(news, page.upto)
            else:
                await self._tell(news, missed.events, page.upto)
            for stream in news:
                if stream not in self._joining:
                    continue  # it has gone while others were told
                self._joining.remove(stream)
                self._of.setdefault(stream.queues, set()).add(stream)
                stream.joined = True

    async def _page(self, since: str | None, upto: str | None = None) -> FeedPage:
        client = self._questions.client
        reading = client.ask(lambda store: store.read_feed(since, upto, limit=MOST_EVENTS))
        return await self._questions.ask(reading, ANSWER_SECONDS)

    def _joined(self) -> list[FeedStream]:
        return [stream for group in self._of.values() for stream in group]

    async def _reset(self, streams: Sequence[FeedStream], place: str) -> None:
        chunk = [encoded("reset", _RESET, place)]
        await self._put((stream, chunk) for stream in streams)

    async def _put(self, news: Iterable[tuple[FeedStream, list[bytes]]]) -> None:
        """Some at a time: requests of others are answered in between."""
        for number, (stream, chunks) in enumerate(news, 1):
            self._streams.put(stream, chunks)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _tell(self, streams: Sequence[FeedStream], events: Sequence[FeedEvent], place: str) -> None:
        """The place comes with the last event only: a reading that has been sent in part is sent again."""
        if not events or not streams:
            return
        told = [(event.queue, event.event, _said(event)) for event in events]
        chunks: dict[Queues, list[bytes]] = {}
        for queues in {stream.queues for stream in streams}:
            mine = [(event, said) for queue, event, said in told if queues is None or queue in queues]
            chunks[queues] = _pieces(mine, place)
        await self._put((stream, chunks[stream.queues]) for stream in streams if chunks[stream.queues])

    async def _read_figures(self) -> None:
        outage = Outage(_log, "reading the figures of queues", longest_seconds=FIGURES_SECONDS)
        while True:
            self._figures_wanted.clear()
            if not self._of and not self._joining:
                self._figures.clear()
                await self._figures_wanted.wait()
            began = monotonic()
            try:
                client = self._questions.client
                await self._tell_figures(await self._questions.ask(client.queues(), ANSWER_SECONDS))
                outage.over()
            except Exception as error:
                if not is_outage(error) and not outage.ongoing:
                    _log.exception("reading the figures of queues failed")
                await asyncio.sleep(outage.failed(error))
                continue
            took = monotonic() - began
            await asyncio.sleep(max(FIGURES_SECONDS / 10, 5 * took))  # after that, whoever comes is told at once
            pause = max(FIGURES_SECONDS, 10 * took, 4 * POLL_SECONDS_A_STREAM * len(self._joined()))
            await wait(self._figures_wanted, pause)

    async def _tell_figures(self, queues: Iterable[Queue]) -> None:
        figures = {queue.name: encoded("queue", msgspec.json.encode(queue)) for queue in queues}
        changed = {name: said for name, said in figures.items() if self._figures.get(name) != said}
        self._figures = figures
        news: list[tuple[FeedStream, list[bytes]]] = []
        for stream in self._joined():
            said = changed if stream.knows_figures else figures
            mine = [chunk for name, chunk in said.items() if stream.queues is None or name in stream.queues]
            stream.knows_figures = True
            if mine:
                news.append((stream, mine))
        await self._put(news)


def _said(event: FeedEvent) -> bytes:
    fields = ("id", "queue", "task", "state", "attempt", "at")
    return msgspec.json.encode({name: getattr(event, name) for name in fields})


def _pieces(events: Sequence[tuple[str, bytes]], place: str) -> list[bytes]:
    """Of a size that can be sent one by one."""
    pieces: list[bytes] = []
    piece = bytearray()
    for number, (event, said) in enumerate(events, 1):
        piece += encoded(event, said, place if number == len(events) else None)
        if len(piece) > _PIECE_BYTES or number == len(events):
            pieces.append(bytes(piece))
            piece.clear()
    return pieces
