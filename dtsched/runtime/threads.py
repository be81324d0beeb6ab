"""Runs plain handlers in threads: one thread a slot, so there are never more threads than slots.

A thread cannot be killed. A handler that outlives its timeout keeps its thread, and with it its slot, until it
really ends.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue


@dataclass(frozen=True)
class Raised:
    """What a call raised. Carried as a value: a future refuses StopIteration, and SystemExit in one would end the
    loop."""

    error: BaseException


@dataclass(frozen=True)
class _Call:
    function: Callable[[], object]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[object]"
    variables: Variables


class HandlerThread:
    """Started at the first call. A daemon: a handler that never ends must not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, function: Callable[[], object]) -> "asyncio.Future[object]":
        """The future brings what the function returned, or Raised. The function sees the caller's context variables."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()  # may fail for want of memory: the next call tries again
            self._thread = thread
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        self._calls.put(_Call(function, loop, answer, copy_context()))
        return answer

    def close(self) -> None:
        """Ends the thread after the call it is in."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                value = call.variables.run(call.function)
            except BaseException as error:  # SystemExit too: here it would end the thread without a word
                value = Raised(error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                call.loop.call_soon_threadsafe(_deliver, call.answer, value)


def _deliver(answer: "asyncio.Future[object]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)
