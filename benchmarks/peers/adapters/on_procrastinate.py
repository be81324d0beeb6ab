"""procrastinate 3.10, with the concurrency of the example in its guide:
https://procrastinate.readthedocs.io/en/stable/howto/production/concurrency.html
"""

# pyright: basic, reportMissingImports=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from benchmarks.peers.adapters.program import main, notes

QUEUE = "bench"
CONCURRENCY = 30


class Submitter:
    def __init__(self, app: App) -> None:
        self._noop = app.tasks["noop"]
        self._note = app.tasks["note"]

    async def many(self, count: int) -> None:
        await self._noop.batch_defer_async(*[{}] * count)

    async def one(self, number: int) -> None:
        await self._note.defer_async(number=number)


class Adapter:
    package = "procrastinate"
    settings = f"concurrency {CONCURRENCY}; batch_defer()"

    async def setup(self, dsn: str) -> None:
        async with _app(dsn).open_async() as app:
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def submitter(self, dsn: str) -> AsyncGenerator[Submitter]:
        async with _app(dsn).open_async() as app:
            yield Submitter(app)

    async def work(self, dsn: str) -> None:
        async with _app(dsn).open_async() as app:
            await app.run_worker_async(queues=[QUEUE], concurrency=CONCURRENCY)


def _app(dsn: str) -> App:
    app = App(connector=PsycopgConnector(conninfo=dsn))

    @app.task(name="noop", queue=QUEUE)
    async def noop() -> None:
        notes.run()

    @app.task(name="note", queue=QUEUE)
    async def note(number: int) -> None:
        notes.pick(number)

    return app


if __name__ == "__main__":
    main(Adapter())
