"""dtsched itself, from this checkout."""

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.peers.adapters.program import main, notes
from dtsched import App, migrations

SLOTS = 100
app = App()


@app.task(queue="bench")
async def noop() -> None:
    notes.run()


@app.task(queue="bench")
async def note(number: int) -> None:
    notes.pick(number)


class Submitter:
    async def many(self, count: int) -> None:
        jobs: list[dict[str, object]] = [{}] * count
        await noop.submit_many(jobs)

    async def one(self, number: int) -> None:
        await note.submit(number)


class Adapter:
    package = "dtsched"
    settings = f"{SLOTS} slots a process, as dtsched bench has; task.submit_many(); all else as it comes"

    async def setup(self, dsn: str) -> None:
        migrations.up(dsn)

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        with app.on_database(dsn):
            async with app:
                yield Submitter()

    async def work(self, dsn: str) -> None:
        gc.collect()
        gc.freeze()  # as `dtsched worker` does
        with app.on_database(dsn):
            await app.run_worker({"bench": SLOTS})


if __name__ == "__main__":
    main(Adapter())
