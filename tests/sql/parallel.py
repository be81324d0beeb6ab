"""Runs things at the same time, and stops them at a chosen point by a lock that they run into."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.sql.sessions import Session
from tests.support.patience import PATIENCE_SECONDS


def in_parallel(*actions: Callable[[], object]) -> None:
    """Runs the actions in threads that start together; the first error is raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        start.wait()
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Started:
    """An action that runs in a thread; `join` waits for it and raises what it raised."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error


def wait_until_blocked(observer: Session, *sessions: Session) -> None:
    """Returns when each of the sessions waits for a lock."""
    pids = [session.connection.info.backend_pid for session in sessions]
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = "select count(*) from pg_stat_activity where pid = any (%s) and wait_event_type = 'Lock'"
    while observer.value(waiting, pids) < len(pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {pids} have come to wait for a lock")
        time.sleep(0.01)
