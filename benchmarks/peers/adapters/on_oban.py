"""Oban for Python 0.7: https://github.com/oban-bg/oban-py/blob/main/docs/defining_queues.md and production.md there.

It documents no settings for throughput: `limit` is what a queue runs at once, and so what it fetches at once. On
uvloop, as `oban start` is.
"""

# pyright: basic, reportMissingImports=false

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop
from oban import Oban, job, schema

from benchmarks.peers.adapters.program import main, notes

QUEUE = "bench"
LIMIT = 100


@job(queue=QUEUE)
async def noop() -> None:
    notes.run()


@job(queue=QUEUE)
async def note(number: int) -> None:
    notes.pick(number)


class Submitter:
    def __init__(self, oban: Oban) -> None:
        self._oban = oban

    async def many(self, count: int) -> None:
        await self._oban.enqueue_many([noop.new() for _ in range(count)])

    async def one(self, number: int) -> None:
        await self._oban.enqueue(note.new(number=number))


class Adapter:
    package = "oban"
    settings = f"limit {LIMIT}; enqueue_many()"

    async def setup(self, dsn: str) -> None:
        pool = await Oban.create_pool(dsn)
        await schema.install(pool)
        await pool.close()

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        pool = await Oban.create_pool(dsn)
        async with Oban(pool=pool) as oban:
            yield Submitter(oban)
        await pool.close()

    async def work(self, dsn: str) -> None:
        pool = await Oban.create_pool(dsn)
        async with Oban(pool=pool, queues={QUEUE: LIMIT}):
            await asyncio.Event().wait()


if __name__ == "__main__":
    main(Adapter(), run=uvloop.run)
