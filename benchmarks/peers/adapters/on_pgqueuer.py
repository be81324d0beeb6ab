"""PgQueuer 1.6, as its guide to performance has it: https://janbjorge.github.io/pgqueuer/guides/performance-tuning/

Autovacuum tuned, asyncpg (twice as fast as psycopg by its own benchmark), one direct connection for the worker, large
batches for short jobs, and uvloop, on which `pgq run` runs where it is installed. Its tables are durable by default.
"""

# pyright: basic, reportMissingImports=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers.adapters.program import main, notes

BATCH = 1000


class Submitter:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def many(self, count: int) -> None:
        await self._queries.enqueue(["noop"] * count, [None] * count, [0] * count)

    async def one(self, number: int) -> None:
        await self._queries.enqueue("note", str(number).encode())


class Adapter:
    package = "pgqueuer"
    settings = f"asyncpg, uvloop, batch_size {BATCH}, pgq autovac; enqueue() of many"

    async def setup(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        await queries.optimize_autovacuum()
        await connection.close()

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        connection = await asyncpg.connect(dsn)
        yield Submitter(Queries(AsyncpgDriver(connection)))
        await connection.close()

    async def work(self, dsn: str) -> None:
        queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn)))

        @queuer.entrypoint("noop")
        async def noop(_: Job) -> None:
            notes.run()

        @queuer.entrypoint("note")
        async def note(job: Job) -> None:
            notes.pick(int(job.payload or b"0"))

        await queuer.run(batch_size=BATCH)


if __name__ == "__main__":
    main(Adapter(), run=uvloop.run)
