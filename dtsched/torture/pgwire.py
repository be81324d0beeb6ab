"""As much of PostgreSQL's protocol (version 3) as the proxy has to understand: who opens a connection, and when what
its client said has been committed. Bytes in, facts out; nothing here does I/O.

What counts as a commit. dtsched speaks in single statements in autocommit: the server commits when it comes to the
client's Sync, and says so with ReadyForQuery `I`. So of each round trip between two ReadyForQuery, one is a commit if
it ended outside a transaction, without an error, and

  * a CommandComplete in it said COMMIT, or INSERT, UPDATE, DELETE, MERGE, COPY or SELECT INTO; or
  * one of its statements calls a function of dtsched that is known to write, by its name in the text.

The second is by names because a function that writes is called by a SELECT like any other. Such a call may find nothing
to do, as a poll does, and counts all the same. ROLLBACK does not count, nor what a failed transaction's COMMIT is told.
"""

import re
from collections import deque
from functools import lru_cache
from struct import Struct
from typing import Literal, NamedTuple

_HEADER = Struct("!BI").unpack_from
_TLS, _GSS, _CANCEL = 80877103, 80877104, 80877102
_HEAD = 4096
"""So much of a message is looked at: of a Bind, the names and not the values."""
_CALLS = re.compile(rb"\bdtsched\.([a-z_0-9]+)\s*\(")
_PARSE, _BIND, _SYNC, _COMPLETE, _ERROR = b"PBSCE"
_WRITING = (b"COMMIT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY", b"SELECT INTO")


class Opening(NamedTuple):
    """How a connection begins. `size` is how many bytes that took; `application` is only a startup's."""

    kind: Literal["startup", "cancel", "encryption"]
    size: int
    application: str = ""


def opening(data: bytes | bytearray) -> Opening | None:
    """None: there is more to come. ValueError for what is no such protocol."""
    if len(data) < 8:
        return None
    size, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if not 8 <= size <= 10_000:
        raise ValueError("this is not PostgreSQL's protocol")
    if len(data) < size:
        return None
    if code == _CANCEL:
        return Opening("cancel", size)
    if code in (_TLS, _GSS):
        return Opening("encryption", size)
    words = bytes(data[8:size]).split(b"\0")
    given = dict(zip(words[::2], words[1::2], strict=False))
    return Opening("startup", size, given.get(b"application_name", b"").decode(errors="replace"))


class _Frames:
    """Cuts a stream into messages, and gives the beginnings of those of the kinds that are wanted."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = frozenset(wanted)
        self._rest = b""
        self._skip = 0

    def of(self, data: bytes) -> list[tuple[int, bytes]]:
        if self._rest:
            data = self._rest + data
        found: list[tuple[int, bytes]] = []
        at, end = self._skip, len(data)
        while at + 5 <= end:
            kind, size = _HEADER(data, at)
            if kind in self._wanted:
                upto = at + 1 + min(size, _HEAD)
                if upto > end:
                    break
                found.append((kind, data[at + 5 : upto]))
            at += 1 + size
        self._rest = data[at:] if at < end else b""
        self._skip = max(0, at - end)
        return found


class Conversation:
    """One connection, from the end of its startup on."""

    def __init__(self) -> None:
        self._asked = _Frames(b"QPBS")
        self._answered = _Frames(b"CEZ")
        self._statements: dict[bytes, frozenset[str]] = {}
        self._asking: set[str] = set()
        self._round_trips: deque[set[str]] = deque()
        self._done: set[str] = set()
        """Since the transaction began."""
        self._failed = False
        """The round trip; a transaction in which one has failed cannot be committed."""
        self.round_trips = 0

    def asked(self, data: bytes) -> None:
        """From the client."""
        for kind, body in self._asked.of(data):
            if kind == _BIND:
                self._asking |= self._statements.get(body.split(b"\0", 2)[1], frozenset())
            elif kind == _SYNC:
                self._round_trips.append(self._asking)
                self._asking = set()
            elif kind == _PARSE:
                name, _, text = body.partition(b"\0")
                self._statements[name] = calls(text)
            else:
                self._round_trips.append(set(calls(body)))

    def answered(self, data: bytes) -> list[set[str]]:
        """From the server: of each commit that these bytes tell of, what was done in it, which are the functions of
        dtsched that were called and, in capitals, the commands that wrote."""
        commits: list[set[str]] = []
        for kind, body in self._answered.of(data):
            if kind == _COMPLETE:
                if body.startswith(_WRITING):
                    self._done.add(body.split(b" ", 1)[0].rstrip(b"\0").decode())
                elif body == b"ROLLBACK\0":
                    self._failed = True
            elif kind == _ERROR:
                self._failed = True
            else:
                self.round_trips += 1
                if self._round_trips:
                    self._done |= self._round_trips.popleft()
                if body == b"I":
                    if self._done and not self._failed:
                        commits.append(self._done)
                    self._done = set()
                self._failed = False
        return commits


@lru_cache(maxsize=1000)
def calls(text: bytes) -> frozenset[str]:
    """The functions of dtsched that a statement calls."""
    return frozenset(name.decode() for name in _CALLS.findall(text))
