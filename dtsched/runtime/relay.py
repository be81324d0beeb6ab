"""What handlers in processes tell of their jobs, on its way to the worker: frames that go before the outcome's."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeAlias, cast

import msgspec

from dtsched.checks import storable
from dtsched.context import Notes
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.results import shortened

SIZE_BYTES = 4
"""Of the number that each frame begins with."""

NOTE = b"["
"""What a note's frame begins with; an outcome is an object or null."""

_PROGRESS_SECONDS = 0.1
_MOST_LINES = 10_000


class _Progress(msgspec.Struct, frozen=True, array_like=True, tag="progress"):
    percent: float | None
    message: str | None


class _Line(msgspec.Struct, frozen=True, array_like=True, tag="line"):
    level: str
    logger: str | None
    message: str


_Note: TypeAlias = _Progress | _Line

_encode = msgspec.json.Encoder().encode
_decode = cast("Callable[[bytes], _Note]", msgspec.json.Decoder(_Note).decode)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(SIZE_BYTES) + payload


def relay(frame: bytes, notes: Notes) -> None:
    """In the worker."""
    note = _decode(frame)
    if isinstance(note, _Progress):
        notes.progress(note.percent, note.message)
    else:
        notes.line(note.level, note.logger, note.message)


class Sender:
    """In the process: writes all frames, whichever thread tells something. Lines leave at once, lest a crash take them
    along; progress at most ten times a second."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._unsent = bytearray()
        self._attempt: Attempt | None = None
        self._progress: _Progress | None = None
        self._progressed_at = 0.0
        self._timer: threading.Timer | None = None
        self._lines = 0

    def begin(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempt, self._progress, self._lines = attempt, None, 0
            self._progressed_at = 0.0

    def end(self, outcome: bytes) -> None:
        """The outcome, after all that was told before. Of an attempt that is over nothing more is told."""
        with self._lock:
            self._attempt = None
            self._send_progress()
            self._send(outcome)

    def progress(self, attempt: Attempt, percent: float | None, message: str | None) -> None:
        if os.getpid() != self._pid:  # the handler has forked: the channel is not the fork's
            return
        with self._lock:
            if attempt is not self._attempt:
                return
            self._progress = _Progress(percent, message and storable(shortened(message)))
            wait_seconds = self._progressed_at + _PROGRESS_SECONDS - monotonic()
            if wait_seconds <= 0:
                self._send_progress()
            elif self._timer is None:
                timer = threading.Timer(wait_seconds, self._late)
                timer.daemon = True
                with suppress(RuntimeError):  # no thread to be had: it leaves with what is told next
                    timer.start()
                    self._timer = timer

    def line(self, attempt: Attempt, level: str, logger: str | None, message: str) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            if attempt is self._attempt and self._lines < _MOST_LINES:
                self._lines += 1
                self._tell(_encode(_Line(level, logger and storable(logger), storable(shortened(message)))))

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            self._send_progress()

    def _tell(self, payload: bytes) -> None:
        with suppress(OSError):  # the worker is gone, and this process about to be
            self._send(payload)

    def _send_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            self._progressed_at = monotonic()
            self._tell(_encode(progress))

    def _send(self, payload: bytes) -> None:
        """What an exception of a signal handler cuts short, the next call sends."""
        self._unsent += framed(payload)
        while self._unsent:
            sent = self._channel.send(self._unsent)
            del self._unsent[:sent]


class ProcessNotes:
    """What a context in a process is given."""

    def __init__(self, sender: Sender, attempt: Attempt) -> None:
        self._sender = sender
        self._attempt = attempt

    def progress(self, percent: float | None, message: str | None) -> None:
        self._sender.progress(self._attempt, percent, message)

    def line(self, level: str, logger: str | None, message: str) -> None:
        self._sender.line(self._attempt, level, logger, message)
