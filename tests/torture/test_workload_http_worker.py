"""A worker over HTTP whose answers are lost, whose server goes away, and who is taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.types.json import Jsonb

from dtsched.torture.history import Record, Recorder, read
from dtsched.torture.http_worker import HttpWorker, Servers, cancel
from tests.runtime.workers import one, state_of, until
from tests.support.rest import serving

Connect = Callable[[], psycopg.Connection]

SEED = 42


class Relay:
    """Before a server: the answer to the next request that holds a word is lost, and the connection with it."""

    def __init__(self) -> None:
        self.url = ""
        self.lost = 0
        self._word: bytes | None = None

    def lose(self, word: bytes) -> None:
        self._word = word

    async def handle(self, server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(server)
        answers, requests = await asyncio.open_connection(parts.hostname, parts.port)
        losing = False

        async def back() -> None:
            while data := await answers.read(65536):
                if losing:
                    self.lost += 1
                    break
                writer.write(data)

        backward = asyncio.create_task(back())
        try:
            while data := await reader.read(65536):
                if self._word is not None and self._word in data:
                    self._word, losing = None, True
                requests.write(data)
                if losing:
                    await backward
                    break
        finally:
            await cancel(backward)
            writer.transport.abort()
            requests.transport.abort()


@asynccontextmanager
async def relay_before(server: str) -> AsyncGenerator[Relay]:
    relay = Relay()
    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(relay.handle(server, reader, writer))
        handlers.add(task)
        task.add_done_callback(handlers.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        listening.close()
        for handler in list(handlers):
            await cancel(handler)


@asynccontextmanager
async def at_work(folder: Path, *urls: str) -> AsyncGenerator[HttpWorker]:
    recorder = Recorder(folder, "http_worker")
    worker = HttpWorker(Servers(list(urls)), recorder, SEED, "test", 2)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.leave()
        await cancel(running)
        recorder.close()


def submit(connection: psycopg.Connection, name: str) -> int:
    return one(
        connection,
        "insert into dtsched.jobs (task, queue, args) values ('over_http', 'http', %s) returning id",
        Jsonb({"name": name, "payload": None}),
    )


def told(folder: Path, op: str) -> list[tuple[str, object]]:
    return [(record.phase, record.note.get("outcome")) for record in records(folder, op)]


def records(folder: Path, op: str) -> list[Record]:
    return [record for record in read(folder) if record.op == op]


async def test_a_finish_whose_answer_is_lost_is_told_again_and_counts_once(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    with serving(database) as url:
        async with relay_before(url) as relay, at_work(tmp_path, relay.url):
            await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
            relay.lose(b'"outcome"')
            job = submit(connection, "unknown-a.0-1")  # of no kind that has another behaviour than to return
            await until(lambda: [phase for phase, _ in told(tmp_path, "finish")][-1:] == ["ok"])
    assert relay.lost == 1
    assert [phase for phase, _ in told(tmp_path, "finish")] == ["invoke", "info", "invoke", "ok"]
    assert [record.note["again"] for record in records(tmp_path, "finish")] == [False, False, True, True]
    assert state_of(connection, job) == "completed"
    assert one(connection, "select attempt from dtsched.jobs") == 1
    assert len(records(tmp_path, "start")) == 1


async def test_a_server_that_is_gone_is_left_for_another_one(database: str, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    job = submit(connection, "unknown-a.0-1")
    with serving(database) as url:
        async with at_work(tmp_path, "http://127.0.0.1:1", url):
            await until(lambda: state_of(connection, job) == "completed")
    assert one(connection, "select count(*) from dtsched.workers where lost_at is null") == 0


async def test_a_worker_that_was_taken_for_dead_drops_what_it_does_and_registers_anew(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    with serving(database) as url:
        async with at_work(tmp_path, url):
            await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
            connection.execute("update dtsched.workers set lost_at = dtsched.now(), expires_at = dtsched.now()")
            await until(lambda: one(connection, "select count(*) from dtsched.workers where lost_at is null") == 1)
            job = submit(connection, "unknown-a.0-1")
            await until(lambda: state_of(connection, job) == "completed")


async def test_a_job_that_is_cancelled_while_it_runs_is_finished_so(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    with serving(database) as url:
        async with at_work(tmp_path, url):
            job = submit(connection, "long-a.0-1")
            await until(lambda: len(records(tmp_path, "start")) == 1)
            assert one(connection, "select outcome from dtsched.cancel(array[%s]::bigint[])", job) == "requested"
            await until(lambda: state_of(connection, job) == "cancelled")
    assert told(tmp_path, "end") == [("ok", "cancelled")]
    assert told(tmp_path, "finish") == [("invoke", "cancel"), ("ok", "cancel")]
