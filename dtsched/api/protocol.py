"""Connections: what comes too slowly, is too large, or is not HTTP, is refused here, before it is a request that
anybody could answer.

Of uvicorn's protocols this builds on the one over llhttp: it is the stricter one (a request with both Content-Length
and Transfer-Encoding is refused, not interpreted), and the faster one.
"""

import asyncio
import logging
import resource
from typing import Literal, cast
from uuid import uuid4

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from dtsched.api.bodies import MAX_HEAD_BYTES, MAX_HEADERS
from dtsched.api.front_door import BODY_IS_THERE, MARKS, REQUEST_ID
from dtsched.api.problems import (
    CONNECTIONS,
    HEAD_TOO_LARGE,
    MALFORMED,
    MEDIA_TYPE,
    TOO_SLOW,
    Refused,
    document,
    headers,
)
from dtsched.correlation import correlated

HEAD_SECONDS = 2.0
"""From the first byte of a request to the end of its headers."""

IDLE_SECONDS = 75.0
"""Between requests: longer than clients keep their connections, so that it is they who close them."""

LEFTOVER_SECONDS = 10.0
"""What is given to the rest of a body whose request has been answered already."""

UNREAD_SECONDS = 30.0
"""After which a client that does not read what it asked for is left."""

MOST_CONNECTIONS = 10_000
MOST_PIPELINED = 16

_SPARED_FILES = 100  # what else has a file: the database, the log, the loop
_LINGER_SECONDS = 1.0  # closing on what a client still sends would lose the answer with it

_log = logging.getLogger("dtsched.api")


class Connection(HttpToolsProtocol):
    most_connections = MOST_CONNECTIONS

    _phase: Literal["idle", "head", "body"] = "idle"
    _since = 0.0
    """When the phase began, or the answer was complete; by the clock of the loop."""
    _deaf = False
    """It was refused: nothing is read any more."""
    _told = False
    """The parser made something of what came last."""
    _untold_bytes = 0
    """What came since the parser last made something of it."""
    _head_bytes = 0
    _unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self.most_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.parser is None:
            return
        self._unset_keepalive_if_required()
        self._told = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # the parser reads nothing behind it
        except httptools.HttpParserError as error:
            known = error.__context__
            self._refuse(
                known if isinstance(known, Refused) else Refused(MALFORMED, "this is not a request of HTTP/1.1")
            )
            return
        self._untold_bytes = 0 if self._told else self._untold_bytes + len(data)
        if self._untold_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._since, self._head_bytes = "head", self.loop.time(), 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == "head":  # what follows a body is no header, though it be called so
            super().on_header(name, value)
            self._head_bytes += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._told = True
        self._judge()
        super().on_headers_complete()
        self._phase = "body"  # and no sooner: an address that cannot be read is still the head's fault

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._told = True
        super().on_message_complete()
        cast("dict[str, dict[str, object]]", self.scope).setdefault("extensions", {})[BODY_IS_THERE] = {}
        self._phase, self._since = "idle", self.loop.time()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def look_at_the_clock(self, now: float) -> None:
        """To be called a few times a second with the time of the loop: ends what takes too long."""
        if self._unread_since is not None and now - self._unread_since > UNREAD_SECONDS:
            self.transport.abort()  # also one that is closed already, which waits until all of it is taken
            return
        if self._deaf or self.transport.is_closing():
            return
        if self.flow.read_paused:  # it is not the client that is slow
            self._since = now
        waited = now - self._since
        if self._phase == "head" and waited > HEAD_SECONDS:
            self._refuse(Refused(TOO_SLOW, f"the head of the request did not arrive within {HEAD_SECONDS:g} s"))
        elif self._is_answered() and waited > (IDLE_SECONDS if self._phase == "idle" else LEFTOVER_SECONDS):
            self.transport.close()

    def _is_answered(self) -> bool:
        return not self.pipeline and (not self._has_cycle() or self.cycle.response_complete)

    def _has_cycle(self) -> bool:
        return getattr(self, "cycle", None) is not None  # uvicorn's type does not say that there may be none yet

    def _judge(self) -> None:
        """Raises Refused for a head that llhttp takes."""
        assert self.parser is not None
        names = [name for name, _ in self.headers]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        version = self.parser.get_http_version()
        if self._head_bytes > MAX_HEAD_BYTES or len(names) > MAX_HEADERS:
            raise _head_too_large()
        if len(self.pipeline) >= MOST_PIPELINED:
            raise Refused(MALFORMED, f"more than {MOST_PIPELINED} requests wait on this connection to be answered")
        if version not in ("1.0", "1.1"):
            raise Refused(MALFORMED, "this is not a request of HTTP/1.1")
        if names.count(b"host") > 1:
            raise Refused(MALFORMED, "there is more than one Host header")
        if codings and (codings != [b"chunked"] or version == "1.0"):
            raise Refused(MALFORMED, "the Transfer-Encoding is not one that is read here: send the body as it is")

    def _make_room(self) -> None:
        """Closes the connection that has been idle for the longest; when none is, the new one has to go."""
        idle = [other for other in connections_of(self.server_state) if other is not self and other._is_idle()]
        if idle:
            min(idle, key=lambda other: other._since).transport.close()
        else:
            self._refuse(Refused(CONNECTIONS, f"this server serves {self.most_connections} connections at a time"))

    def _is_idle(self) -> bool:
        return self._phase == "idle" and self._is_answered() and not self._deaf and not self.transport.is_closing()

    def _refuse(self, refused: Refused) -> None:
        """Answers with a problem and ends the connection; only ends it where that would pass for the answer to another
        request that is under way."""
        self._deaf = True
        in_body, answered = self._phase == "body", self._is_answered()
        may_answer = not (self.pipeline or self.cycle.response_started) if in_body else answered
        if self._has_cycle() and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not may_answer:
            self.transport.close()
            return
        request_id = uuid4().hex
        with correlated(request_id):
            _log.info("a connection is refused: %d, %s", refused.kind.status, refused)
        self.transport.write(self._answer(refused, request_id))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _answer(self, refused: Refused, request_id: str) -> bytes:
        body = msgspec.json.encode(document(refused, request_id))
        fields = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (REQUEST_ID.encode(), request_id.encode()),
            *((name.encode(), value.encode()) for name, value in headers(refused).items()),
            *MARKS,
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        return STATUS_LINE[refused.kind.status] + lines + b"\r\n" + body


def connections_of(state: ServerState) -> list[Connection]:
    every = cast("set[object]", state.connections)  # uvicorn's type names protocols that need not be there
    return [connection for connection in every if isinstance(connection, Connection)]


def most_connections() -> int:
    """As many as there may be files, for which the process first takes all it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + _SPARED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft) - _SPARED_FILES)


def _head_too_large() -> Refused:
    return Refused(HEAD_TOO_LARGE, f"the head has more than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS} headers")
