"""Chancy 0.26: https://tkte.ch/chancy/"""

# pyright: basic, reportMissingImports=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chancy import Chancy, Queue, Worker, job

from benchmarks.peers.adapters.program import main, notes

QUEUE = "bench"
CONCURRENCY = 100


@job(queue=QUEUE)
async def noop() -> None:
    notes.run()


@job(queue=QUEUE)
async def note(*, number: int) -> None:
    notes.pick(number)


class Submitter:
    def __init__(self, chancy: Chancy) -> None:
        self._chancy = chancy

    async def many(self, count: int) -> None:
        async for _ in self._chancy.push_many([noop.job] * count, batch_size=count):
            pass

    async def one(self, number: int) -> None:
        await self._chancy.push(note.job.with_kwargs(number=number))


class Adapter:
    package = "chancy"
    settings = f"AsyncExecutor, concurrency {CONCURRENCY}, eager_polling; push_many()"

    async def setup(self, dsn: str) -> None:
        async with Chancy(dsn) as chancy:
            await chancy.migrate()
            await chancy.declare(
                Queue(
                    QUEUE,
                    concurrency=CONCURRENCY,
                    executor="chancy.executors.asyncex.AsyncExecutor",
                    polling_interval=1,
                    eager_polling=True,
                )
            )

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        async with Chancy(dsn) as chancy:
            yield Submitter(chancy)

    async def work(self, dsn: str) -> None:
        async with Chancy(dsn) as chancy, Worker(chancy) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    main(Adapter())
