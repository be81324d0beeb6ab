"""Sessions that are closed when the test ends, and the check that every test of the SQL ends with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import pytest

from tests.sql.sessions import Session, Worker

OpenSession = Callable[[], Session]
OpenWorker = Callable[..., Worker]


@pytest.fixture
def sessions(database: str) -> Generator[contextlib.ExitStack]:
    """Whatever a test did, once its sessions are closed dtsched.check() must find nothing wrong."""
    with contextlib.ExitStack() as sessions:
        yield sessions
    with contextlib.closing(Session(database)) as session:
        assert session.rows("select * from dtsched.check()") == []


@pytest.fixture
def open_session(database: str, sessions: contextlib.ExitStack) -> OpenSession:
    return lambda: sessions.enter_context(contextlib.closing(Session(database)))


@pytest.fixture
def open_worker(database: str, sessions: contextlib.ExitStack) -> OpenWorker:
    """Opens a session of a registered worker: `open_worker(lease="1 s", tasks=["echo"])`."""

    def open_worker(
        *, lease: str = "1 hour", queues: list[str] | None = None, tasks: list[str] | None = None
    ) -> Worker:
        worker = Worker(database, lease=lease, queues=queues, tasks=tasks)
        return sessions.enter_context(contextlib.closing(worker))

    return open_worker


@pytest.fixture
def session(open_session: OpenSession) -> Session:
    return open_session()


@pytest.fixture
def worker(open_worker: OpenWorker) -> Worker:
    return open_worker()
