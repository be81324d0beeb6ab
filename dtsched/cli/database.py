"""Which database a command talks to: reached, of the schema this program knows, or refused in one line."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dtsched.cli.options import settings_of
from dtsched.connections import connect
from dtsched.errors import DatabaseUnreachable
from dtsched.settings import Settings
from dtsched.store import Store

T = TypeVar("T")

DATA = Path(".dtsched")
"""Where App(dsn="embedded") keeps its data too."""


@contextmanager
def reachable(settings: Settings, *, create: bool = False) -> Generator[str]:
    """The DSN to connect to. The embedded server, if that is meant, runs for as long as the context lasts; who only
    reads or changes what is there has no use for a new one, so it is made for those that `create`."""
    if settings.dsn is None:
        raise DatabaseUnreachable("no database is named: give --dsn or set DTSCHED_DSN, or let `dtsched dev` run one")
    if settings.dsn != "embedded":
        yield settings.dsn
        return
    if not create and not is_there(DATA):
        raise DatabaseUnreachable(f"there is no embedded database in ./{DATA} yet: `dtsched dev` makes one")
    from dtsched import embedded, migrations  # only who asks for a server needs what starts one

    with embedded.shared(DATA) as cluster:
        migrations.up(cluster.dsn)
        yield cluster.dsn


def is_there(folder: Path) -> bool:
    """A folder with something else in it is for the embedded server to refuse."""
    return folder.is_dir() and any(folder.iterdir())


@contextmanager
def database(dsn: str | None, *, create: bool = False) -> Generator[str]:
    with reachable(settings_of(dsn), create=create) as target:
        yield target


async def require_schema(dsn: str) -> None:
    """Raises DatabaseUnreachable, SchemaMissing or SchemaMismatch: what a server had better say before it serves."""
    async with await connect(dsn, role="cli") as connection:
        await Store(connection).require_contract()


def with_store(dsn: str | None, act: Callable[[Store], Awaitable[T]], *, create: bool = False) -> T:
    """What `act` returns, over a connection that is closed again."""

    async def connected(target: str) -> T:
        async with await connect(target, role="cli") as connection:
            store = Store(connection)
            await store.require_contract()
            return await act(store)

    with database(dsn, create=create) as target:
        return asyncio.run(connected(target))
