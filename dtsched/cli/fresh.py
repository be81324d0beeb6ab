"""A database for a demo or a measurement: thrown away afterwards, or an empty one of the user's."""

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from dtsched import embedded, migrations
from dtsched.cli.reading import read
from dtsched.connections import connect
from dtsched.errors import Conflict


class Found(Struct, frozen=True):
    name: str


RELATION = """
    select format('%I.%I', space.nspname, relation.relname) as name
    from pg_catalog.pg_class relation
    join pg_catalog.pg_namespace space on space.oid = relation.relnamespace
    where relation.relkind in ('r', 'p', 'f', 'm', 'v', 'S')
        and space.nspname !~ '^pg_' and space.nspname not in ('information_schema', 'dtsched')
        and not exists (select from pg_catalog.pg_depend part where part.objid = relation.oid and part.deptype = 'e')
    limit 1
"""
LAID = "select 'dtsched.jobs' as name where to_regclass('dtsched.jobs') is not null"
ROW = """
    (select 'a job in dtsched.jobs' as name from dtsched.jobs limit 1)
    union all
    (select 'a worker in dtsched.workers' from dtsched.workers limit 1)
"""


@contextmanager
def fresh_database(dsn: str | None) -> Generator[str]:
    """Migrated and without jobs. Raises Conflict when the one named has been used for anything."""
    if dsn is None or dsn == "embedded":
        with embedded.temporary() as cluster:
            migrations.up(cluster.dsn)
            yield cluster.dsn
    else:
        asyncio.run(refuse_used(dsn))
        migrations.up(dsn)
        yield dsn


async def refuse_used(dsn: str) -> None:
    """A database in which only the schema was laid is as good as a new one."""
    async with await connect(dsn, role="cli") as connection:
        found = await read(connection, Found, RELATION)
        if not found and await read(connection, Found, LAID):
            found = await read(connection, Found, ROW)
    if found:
        raise Conflict(f"an empty database is wanted, and there is {found[0].name}: name another, or leave --dsn out")


@contextmanager
def temporary_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="dtsched-") as folder:
        yield Path(folder)
