"""awa 0.6, whose engine is written in Rust: https://github.com/hardbyte/awa/blob/main/docs/configuration.md

"For very high-throughput no-op queues" it names 1,024 permits ("Hot-Queue Claim Control"); jobs are submitted by the
direct COPY ("Producer path choice"). All else as it comes.
"""

# pyright: basic, reportMissingImports=false

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from awa import AsyncClient

from benchmarks.peers.adapters.program import main, notes

QUEUE = "bench"
PERMITS = 1024
CONNECTIONS = 20


@dataclass
class Noop:
    pass


@dataclass
class Note:
    number: int


class Submitter:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def many(self, count: int) -> None:
        await self._client.enqueue_many_copy([Noop()] * count, queue=QUEUE)

    async def one(self, number: int) -> None:
        await self._client.insert(Note(number), queue=QUEUE)


class Adapter:
    package = "awa-pg"
    settings = f"{PERMITS} permits, {CONNECTIONS} connections; enqueue_many_copy()"

    async def setup(self, dsn: str) -> None:
        async with AsyncClient(dsn) as client:
            await client.migrate()
            await client.install_queue_storage()  # else the first worker's start does it

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        async with AsyncClient(dsn) as client:
            yield Submitter(client)

    async def work(self, dsn: str) -> None:
        client = AsyncClient(dsn, max_connections=CONNECTIONS)

        @client.task(Noop, queue=QUEUE)
        async def noop(_: object) -> None:
            notes.run()

        @client.task(Note, queue=QUEUE)
        async def note(job) -> None:
            notes.pick(job.args.number)

        await client.start([(QUEUE, PERMITS)])
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(Adapter())
