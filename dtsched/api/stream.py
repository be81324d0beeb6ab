"""POST /v1/jobs/batch of application/x-ndjson: jobs line by line without end, in bounded memory, a line for each line.

Reading never waits for the answers to be read: a client may send all that it has before it reads. So a task of its own
writes, and what the connection does not take yet lies in a temporary file.
"""

import asyncio
import logging
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send
from msgspec import UNSET, Struct, UnsetType

from dtsched.api.bodies import MAX_BODY_BYTES, MalformedBody, parse
from dtsched.api.database import Database
from dtsched.api.entries import entry_of
from dtsched.api.problems import INTERNAL, TOO_SLOW, refusal
from dtsched.batches import ProblemCode, Refusal, Wrong
from dtsched.correlation import correlate_part
from dtsched.errors import InvalidInput
from dtsched.jobs import KeyOutcome, NewJob, ParentEdge, Submitted

NDJSON = "application/x-ndjson"
MEDIA_TYPES = frozenset({NDJSON, "application/ndjson", "application/jsonl"})

_LINES = 1000  # are committed at a time,
_BYTES = 4 * 1024 * 1024  # or fewer, if they are large
_LINGER_SECONDS = 0.2  # a line waits no longer for others
_SILENCE_SECONDS = 10.0
_READING_SECONDS = 60.0  # of a client that takes nothing of its answers
_PIECE_BYTES = 64 * 1024
_MEMORY_BYTES = 1024 * 1024

_log = logging.getLogger("dtsched.api")


LineCode: TypeAlias = ProblemCode | Literal["malformed-request", "body-too-large"]


class LineAnswer(Struct, frozen=True):
    """What came of a line, by its number from 1, blank ones counted: the job's id, or why it was refused."""

    line: int
    id: int | UnsetType = UNSET
    created: bool | UnsetType = UNSET
    outcome: KeyOutcome | UnsetType = UNSET
    code: LineCode | UnsetType = UNSET
    error: str | UnsetType = UNSET
    field: str | UnsetType = UNSET


class Stopped(Struct, frozen=True):
    """The last line of a stream that was not read to its end: what came of the line `stopped_at` and of those after it
    is not known, so go on there, with keys where no job may be submitted twice."""

    stopped_at: int
    code: str
    error: str


class Line(NamedTuple):
    """`text` is None where there was more than a job can have."""

    number: int
    text: bytes | None


class Splitter:
    """Takes bytes as they come and gives lines; keeps no more than one."""

    def __init__(self, longest: int = MAX_BODY_BYTES) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._too_long = False
        self.number = 0
        """Of the line that was begun last, or complete."""

    def feed(self, data: bytes) -> list[Line]:
        *complete, rest = data.split(b"\n")
        found = [line for piece in complete if (line := self._end(piece)) is not None]
        self._keep(rest)
        return found

    def finish(self) -> list[Line]:
        """What no line end has followed."""
        line = self._end(b"")
        return [] if line is None else [line]

    def _end(self, piece: bytes) -> Line | None:
        self._keep(piece)
        text = bytes(self._begun).removesuffix(b"\r")
        too_long = self._too_long or len(text) > self._longest
        self._begun.clear()
        self._too_long = False
        self.number += 1
        if too_long:
            return Line(self.number, None)
        return Line(self.number, text) if text.strip() else None

    def _keep(self, piece: bytes) -> None:
        if len(self._begun) + len(piece) > self._longest + 1:  # a carriage return is none of it
            self._too_long = True
            self._begun.clear()
        if not self._too_long:
            self._begun += piece


class Spool:
    """Answers that are still to be sent: in memory, and from a megabyte on in a file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115
        self._read = self._written = 0
        self._stirred = asyncio.Event()
        self._ended = False

    def write(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)
        self._stirred.set()

    def end(self) -> None:
        self._ended = True
        self._stirred.set()

    async def next(self) -> bytes:
        """What comes next; nothing at the end."""
        while self._read == self._written and not self._ended:
            self._stirred.clear()
            await self._stirred.wait()
        self._file.seek(self._read)
        data = self._file.read(_PIECE_BYTES)
        self._read += len(data)
        if self._read == self._written:
            self._file.seek(0)
            self._file.truncate()
            self._read = self._written = 0
        return data

    def close(self) -> None:
        self._file.close()


class _Over(Exception):
    """The stream ends before its end."""

    def __init__(self, code: str, error: str) -> None:
        super().__init__(error)
        self.code = code


class Submitting(NamedTuple):
    """How the lines are submitted: `queues` are those that the caller may submit to, None: all. `admitted` raises
    Refused when its key does not let it in any more."""

    queues: Sequence[str] | None
    check_tasks: bool
    admitted: Callable[[], Awaitable[object]]


class LinesResponse(Response[None]):
    """Reads the request while it is answered; the handler has left its body alone."""

    def __init__(self, database: Database, how: Submitting) -> None:
        super().__init__(None)
        self._database = database
        self._how = how

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return _Exchange(self._database, self._how)


class _Exchange(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, database: Database, how: Submitting) -> None:
        # what a client may still send after the last line would be taken for its next request
        super().__init__(status_code=200, media_type=NDJSON, headers={"connection": "close"})
        self._database = database
        self._how = how

    async def send_body(self, send: Send, receive: Receive) -> None:
        spool = Spool()
        writing = asyncio.create_task(_write(spool, send))
        try:
            await _Reading(self._database, self._how, spool, receive).run()
            spool.end()
            await writing
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            spool.close()


async def _write(spool: Spool, send: Send) -> None:
    more = True
    while more:
        data = await spool.next()
        more = bool(data)
        async with asyncio.timeout(_READING_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": more})


class _Reading:
    """One stream. What of `_lines` is not committed has not been answered."""

    def __init__(self, database: Database, how: Submitting, spool: Spool, receive: Receive) -> None:
        self._database = database
        self._how = how
        self._spool = spool
        self._receive = receive
        self._receiving: asyncio.Task[Any] | None = None
        self._more = True
        self._splitter = Splitter()
        self._lines: list[Line] = []
        self._bytes = 0

    async def run(self) -> None:
        try:
            while self._more:
                await self._take(self._splitter.feed(await self._next()))
            await self._take(self._splitter.finish())
            await self._commit()
        except _Over as over:
            stopped_at = self._lines[0].number if self._lines else self._splitter.number + 1
            self._say([Stopped(stopped_at, over.code, str(over))])
            await self._drain()
        except ConnectionError:
            pass  # nobody listens any more, so what is not committed is dropped
        finally:
            if self._receiving is not None:
                self._receiving.cancel()
                await asyncio.gather(self._receiving, return_exceptions=True)

    async def _take(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._lines.append(line)
            self._bytes += len(line.text or b"")
            if len(self._lines) == _LINES or self._bytes > _BYTES:
                await self._commit()

    async def _next(self) -> bytes:
        """Commits what there is when nothing comes for a moment."""
        silent = 0.0
        while silent < _SILENCE_SECONDS:
            if self._database.stopping:
                raise _Over("server-stopping", "the server is being stopped: go on at another one, or in a moment")
            if (data := await self._received(_LINGER_SECONDS)) is not None:
                return data
            await self._commit()
            silent += _LINGER_SECONDS
        raise _Over(TOO_SLOW.name, f"nothing came for {_SILENCE_SECONDS:g} s")

    async def _received(self, seconds: float) -> bytes | None:
        """None when nothing comes in that time; it is not lost when it comes later."""
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
        await asyncio.wait([self._receiving], timeout=seconds)
        if not self._receiving.done():
            return None
        message, self._receiving = self._receiving.result(), None
        if message["type"] != "http.request":
            raise ConnectionError
        self._more = message["more_body"]
        return message["body"]

    async def _drain(self) -> None:
        """A connection that is closed on what a client still sends loses the answers with it."""
        seconds = _LINGER_SECONDS if self._database.stopping else _SILENCE_SECONDS
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while self._more:
                    await self._received(seconds)

    async def _commit(self) -> None:
        """The lines that there are, in one transaction, and their answers."""
        if not self._lines:
            return
        lines = self._lines
        try:
            entries = correlate_part(await asyncio.to_thread(_entries_of, lines))
            answers = await self._submitted(entries)
        except Exception as error:
            refused = refusal(error)
            if refused.kind is INTERNAL:
                _log.exception("a stream failed at line %d", lines[0].number)
            raise _Over(refused.kind.name, str(refused)) from error
        self._lines, self._bytes = [], 0
        self._say([_answer_of(*one, lines) for one in zip(lines, entries, answers, strict=True)])

    async def _submitted(self, entries: Sequence[NewJob | Wrong]) -> list[Submitted | Refusal]:
        """A flood of nonsense does not reach the database."""
        wrong = [entry.error for entry in entries if isinstance(entry, Wrong)]
        if len(wrong) == len(entries):
            return [Refusal(code="invalid-input", error=str(error), field=error.field) for error in wrong]
        queues, check_tasks, admitted = self._how
        await admitted()  # a stream may outlive its key, and a yes is kept for a second
        return await self._database.anew().store(
            lambda store: store.submit_partly(entries, check_tasks=check_tasks, queues=queues)
        )

    def _say(self, answers: Sequence[LineAnswer | Stopped]) -> None:
        self._spool.write(_encoder.encode_lines(answers))


def _entries_of(lines: Sequence[Line]) -> list[NewJob | Wrong]:
    return [_entry_of(line) for line in lines]


def _entry_of(line: Line) -> NewJob | Wrong:
    if line.text is None:
        return Wrong(_TooLong(f"the line has more than {MAX_BODY_BYTES} bytes"))
    try:
        entry = entry_of(parse(line.text))
    except MalformedBody as error:
        return Wrong(_Unreadable(str(error).replace("the body", "the line")))
    if isinstance(entry, NewJob) and any(
        isinstance(parent, ParentEdge) and parent.entry is not None for parent in entry.depends_on or ()
    ):
        said = "depends_on names an entry, which a stream does not have: name the job by its key or its id"
        return Wrong(InvalidInput(said, field="depends_on"), entry.key)
    return entry


class _Unreadable(InvalidInput):
    """It is no JSON object."""


class _TooLong(InvalidInput):
    """It was not kept."""


def _answer_of(line: Line, entry: NewJob | Wrong, answer: Submitted | Refusal, together: Sequence[Line]) -> LineAnswer:
    if isinstance(answer, Submitted):
        return LineAnswer(line.number, answer.id, answer.created, answer.outcome)
    code: LineCode = answer.code
    if isinstance(entry, Wrong):
        code = _CODES.get(type(entry.error), code)
    return LineAnswer(line.number, code=code, error=_by_line(answer.error, together), field=answer.field or UNSET)


def _by_line(sentence: str, together: Sequence[Line]) -> str:
    """The database numbers those that came together."""
    return _IN_BATCH.sub(lambda found: f"line {together[int(found[1]) - 1].number}", sentence)


_CODES: dict[type[InvalidInput], LineCode] = {
    _Unreadable: "malformed-request",
    _TooLong: "body-too-large",
}
_encoder = msgspec.json.Encoder()
_IN_BATCH = re.compile("job ([0-9]{1,4}) of the batch")
