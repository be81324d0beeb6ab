"""Renews the worker's leases from a thread and over a connection of its own: a blocked event loop must not lose
them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from uuid import UUID

from dtsched.connections import is_outage
from dtsched.outage import Outage, jittered
from dtsched.store import Renewal, SyncStore

_log = logging.getLogger("dtsched.renewer")

_LONGEST_PAUSE_SECONDS = 2.0


class Renewer:
    """Renews every fifth of a lease, and at once when poked. Answers arrive in the event loop that called start(), and
    so does the news that the database is back, `on_recovery`: this is the loop of a worker that looks for it most
    often. `read_info` is asked at each renewal, and must neither raise nor take long."""

    def __init__(
        self,
        open_store: Callable[[], SyncStore],
        *,
        worker_id: Callable[[], UUID],
        lease_seconds: float,
        read_info: Callable[[], Mapping[str, object]],
        on_answer: Callable[[UUID, Renewal], None],
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        self._open_store = open_store
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._read_info = read_info
        self._on_answer = on_answer
        self._on_recovery = on_recovery
        self._store: SyncStore | None = None
        self._poked = threading.Event()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._variables = copy_context()
        self._thread = threading.Thread(
            target=lambda: self._variables.run(self._run), name="dtsched-renewer", daemon=True
        )

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._variables = copy_context()  # by which its log lines, and those of its answers, name the worker
        self._thread.start()

    def poke(self) -> None:
        self._poked.set()

    async def stop(self, seconds: float = 2.0) -> None:
        """Ends the thread, or leaves it behind if the database does not answer it in that time: it is a daemon."""
        self._stopped = True
        self.poke()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, seconds)

    def run_once(self) -> Renewal:
        if self._store is None:
            self._store = self._open_store()
        worker_id = self._worker_id()
        renewal = self._store.renew(worker_id, self._read_info())
        self._call(lambda: self._on_answer(worker_id, renewal))
        return renewal

    def _run(self) -> None:
        interval = self._lease_seconds / 5
        outage = Outage(_log, "renewer", longest_seconds=min(interval, _LONGEST_PAUSE_SECONDS))
        renewed_at = monotonic()
        away = warned = False
        while not self._stopped:
            self._poked.clear()
            try:
                self.run_once()
            except Exception as error:  # a renewer that ends loses every lease of a healthy worker
                self._drop_store()
                if not is_outage(error) and not outage.ongoing:
                    _log.exception("renewing failed")
                away, pause = True, outage.failed(error)
                if monotonic() - renewed_at > self._lease_seconds and not warned:
                    warned = True
                    _log.warning(
                        "no renewal for a whole lease: the database decides whose jobs they are when it is back"
                    )
            else:
                outage.over()
                if away:
                    self._call(self._on_recovery)
                renewed_at, away, warned, pause = monotonic(), False, False, jittered(interval)
            self._poked.wait(pause)
        self._drop_store()

    def _call(self, report: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the worker has ended
                self._loop.call_soon_threadsafe(report)

    def _drop_store(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            with suppress(Exception):  # it failed already
                store.close()
