"""What faults of group B have in common: how they find jobs in flight, and what they do to sessions and settings."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql

from dtsched.torture.faults.base import Stage

MEMBERS = "dtsched%"
"""The application_name of every session of ours."""

_LOOK_SECONDS = 0.02
_TERMINATE: LiteralString = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and application_name like %s"""

Answer = TypeVar("Answer")


async def busy(stage: Stage, *, least: int = 1, seconds: float = 3.0) -> list[int]:
    """The jobs in flight, as soon as there are so many of them; fewer, even none, when the time is over."""
    deadline = monotonic() + seconds
    while len(jobs := stage.in_flight()) < least and monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    return jobs


def terminate(stage: Stage, like: str = MEMBERS) -> int:
    """Ends the sessions whose application_name is like that; how many they were."""
    with stage.connect(application="torture fault") as connection:
        return terminate_on(connection, like)


def terminate_on(connection: psycopg.Connection, like: str = MEMBERS) -> int:
    row = connection.execute(_TERMINATE, (like,)).fetchone()
    assert row is not None
    return row[0]


async def when_it_answers(
    stage: Stage, act: Callable[[psycopg.Connection], Answer], *, seconds: float = 30.0
) -> Answer:
    """Does it over a connection of its own and in a thread, and again until the database has taken it."""

    def once() -> Answer:
        with stage.connect(application="torture fault") as connection:
            return act(connection)

    deadline = monotonic() + seconds
    while True:
        try:
            return await asyncio.to_thread(once)
        except (psycopg.OperationalError, OSError, ValueError):  # ValueError: the access to a server in the making
            if monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


class Defaults:
    """Settings that every new session of the database begins with, for a while."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def set(self, stage: Stage, settings: Mapping[str, str]) -> None:
        """Members get them at once: their sessions are ended."""
        with stage.connect(application="torture fault") as connection:
            self._names = [*settings]
            for name, value in settings.items():
                connection.execute(_of_database(connection, "alter database {} set {} = {}", name, sql.Literal(value)))
            terminate_on(connection)

    async def reset(self, stage: Stage) -> None:
        if self._names:
            await when_it_answers(stage, self._reset)
            self._names = []

    def _reset(self, connection: psycopg.Connection) -> None:
        for name in self._names:
            connection.execute(_of_database(connection, "alter database {} reset {}", name))
        terminate_on(connection)


def _of_database(
    connection: psycopg.Connection, statement: LiteralString, name: str, *more: sql.Composable
) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(connection.info.dbname), sql.Identifier(*name.split(".")), *more)
