"""Which database a command talks to, or which server before one: reached, of the schema this program knows, or refused
in one line."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from dtsched.cli.options import settings_of
from dtsched.connections import connect
from dtsched.errors import DatabaseUnreachable
from dtsched.rest import Server
from dtsched.settings import ITSELF, Settings, is_url
from dtsched.store import Store

T = TypeVar("T")

DATA = Path(".dtsched")
"""Where App(dsn="embedded") keeps its data too."""


class Target(NamedTuple):
    """A DSN, or the URL of a server and the key to it."""

    address: str
    key: str | None


@contextmanager
def reachable(settings: Settings, *, create: bool = False) -> Generator[str]:
    """The DSN to connect to. The embedded server, if that is meant, runs for as long as the context lasts; who only
    reads or changes what is there has no use for a new one, so it is made for those that `create`."""
    if settings.target is None:
        raise DatabaseUnreachable("no database is named: give --dsn or set DTSCHED_DSN, or let `dtsched dev` run one")
    if settings.database is None:
        raise DatabaseUnreachable(ITSELF)
    if settings.database != "embedded":
        yield settings.database
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


@contextmanager
def target_of(dsn: str | None, *, create: bool = False) -> Generator[Target]:
    """What commands are done with that work over both."""
    settings = settings_of(dsn)
    settings.check_url()
    target = settings.target
    if target is not None and is_url(target):
        yield Target(target, settings.key)
        return
    with reachable(settings, create=create) as database:
        yield Target(database, None)


async def require_schema(dsn: str) -> None:
    """Raises DatabaseUnreachable, SchemaMissing or SchemaMismatch: what a server had better say before it serves."""
    async with await connect(dsn, role="cli") as connection:
        await Store(connection).require_contract()


@asynccontextmanager
async def opened(target: Target) -> AsyncGenerator[Store]:
    """Over one connection, or over REST; of the schema that this program knows."""
    if is_url(target.address):
        from dtsched.rest_pools import RestPool  # most have the database

        pool = RestPool(Server(target.address, target.key))
        try:
            async with pool.store() as store:
                await store.require_contract()
                yield store
        finally:
            await pool.close()
        return
    async with await connect(target.address, role="cli") as connection:
        store = Store(connection)
        await store.require_contract()
        yield store


def with_store(
    dsn: str | None, act: Callable[[Store], Awaitable[T]], *, create: bool = False, itself: bool = False
) -> T:
    """What `act` returns, over a connection that is closed again; `itself`: PostgreSQL's, for what has no route."""

    async def connected(target: Target) -> T:
        async with opened(target) as store:
            return await act(store)

    if itself:
        with database(dsn, create=create) as address:
            return asyncio.run(connected(Target(address, None)))
    with target_of(dsn, create=create) as target:
        return asyncio.run(connected(target))
