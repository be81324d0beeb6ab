"""Answers that go on, or are long in coming, when the key that asked for them lets nobody in any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient
from msgspec import structs

from dtsched.api.database import Questions
from dtsched.api.gathering import Gatherer
from dtsched.api.job_streams import JobStream
from dtsched.api.polls import Polls, Tried
from dtsched.api.streams import ADMISSION_SECONDS, Stream, Streams
from dtsched.client import Client
from dtsched.errors import DatabaseUnreachable, NotFound
from dtsched.jobs import NewJob
from dtsched.store import Lease
from tests.api.keyholders import bearer, in_loop, make_key
from tests.api.problems import problem
from tests.conftest import Connect
from tests.runtime.workers import one
from tests.support.patience import PATIENCE_SECONDS, until_async

MAIL = {"task": "echo", "queue": "mail"}


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection:
    return connect()


@pytest.fixture
async def api(database: str) -> AsyncGenerator[AsyncClient]:
    async with in_loop(database) as api:
        yield api


def revoke(connection: psycopg.Connection) -> None:
    connection.execute("update dtsched.api_keys set revoked_at = dtsched.now()")


async def until(connection: psycopg.Connection, query: LiteralString) -> None:
    await until_async(lambda: one(connection, query))


@pytest.mark.parametrize("path", ["/v1/jobs/{}/events", "/v1/queues/mail/events", "/v1/events"])
async def test_a_stream_ends_when_its_key_is_revoked(
    api: AsyncClient, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("dtsched.api.streams.ADMISSION_SECONDS", 0)
    monkeypatch.setattr("dtsched.api.streams._ROUND_SECONDS", 0.01)
    job = one(connection, "select dtsched.submit('echo', queue => 'mail')")
    key = make_key(connection, "watcher", ["read"], ["mail"])
    watching = asyncio.create_task(api.get(path.format(job), headers=bearer(key)))
    await until(connection, "select last_used_at is not null from dtsched.api_keys")
    await asyncio.wait([watching], timeout=0.2)
    assert not watching.done()
    revoke(connection)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await watching
    assert answer.status_code == 200
    assert answer.text.endswith(": end\n\n")
    problem(await api.get(path.format(job), headers=bearer(key)), 401)


async def test_a_stream_is_asked_about_once_a_minute_and_outlives_an_outage() -> None:
    asked: list[str] = []
    streams = Streams()
    let_in, shut_out, young = Stream("job"), Stream("job"), Stream("job")

    async def admitted() -> bool:
        asked.append("asked")
        if len(asked) == 1:
            raise DatabaseUnreachable("the database is gone")
        return len(asked) == 2

    for stream in (let_in, shut_out, young):
        stream.admitted = admitted
        stream.put([b"secret"])
    for stream in (let_in, shut_out):
        stream.admitted_at -= ADMISSION_SECONDS
    streams.open |= {let_in, shut_out, young}
    with pytest.raises(DatabaseUnreachable):
        await streams.admit()
    assert not any(stream.ended for stream in streams.open)
    await streams.admit()
    await streams.admit()
    (ended,) = [stream for stream in streams.open if stream.ended]
    assert await ended.next() is None  # what was put into it is not told any more
    assert (len(asked), young.ended) == (3, False)


async def test_lines_that_come_after_their_key_was_revoked_are_not_submitted(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    key = make_key(connection, "producer", ["submit"], ["mail"])

    async def lines() -> AsyncGenerator[bytes]:
        yield json.dumps(MAIL).encode() + b"\n"
        await until(connection, "select count(*) = 1 from dtsched.jobs")
        revoke(connection)
        yield json.dumps(MAIL).encode() + b"\n"

    headers = {"content-type": "application/x-ndjson", **bearer(key)}
    answer = await api.post("/v1/jobs/batch?check_tasks=false", content=lines(), headers=headers)
    first, last = map(json.loads, answer.text.splitlines())
    assert (first["line"], first["created"]) == (1, True)
    assert (last["stopped_at"], last["code"]) == (2, "unauthorized")
    assert one(connection, "select count(*) from dtsched.jobs") == 1


async def test_a_worker_that_waits_with_a_key_that_is_revoked_claims_nothing(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    key = make_key(connection, "worker", ["worker"], ["mail"])
    worker = await api.post("/v1/workers", json={"name": "w", "queues": ["mail"], "slots": 1}, headers=bearer(key))
    claim = f"/v1/workers/{worker.json()['id']}/claim"
    waiting = asyncio.create_task(api.post(claim, json={"limit": 1, "wait": 20}, headers=bearer(key)))
    # the gate of the queue: a claim has a lock of its own while it takes, and the first one is admitted already
    gate = "select count(*) > 0 from pg_locks where locktype = 'advisory' and classid = dtsched.gate()"
    await until(connection, gate)
    revoke(connection)
    await asyncio.sleep(1)  # so long it may take to count: a look that was admitted before may be under way
    job = one(connection, "select dtsched.submit('echo', queue => 'mail')")
    async with asyncio.timeout(PATIENCE_SECONDS):
        problem(await waiting, 401)
    assert one(connection, "select state from dtsched.jobs where id = %s", job) == "ready"


async def test_a_first_answer_that_is_repeated_shows_nothing_of_a_job_that_left_the_keys_queues(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    key = make_key(connection, "producer", ["submit", "read-args"], ["mail"])
    headers = {"idempotency-key": "once", **bearer(key)}
    job = (await api.post("/v1/jobs", json=MAIL, headers=headers)).json()["id"]
    connection.execute("""select dtsched.edit(array[%s::bigint], '{"queue": "other"}')""", [job])
    connection.execute("select dtsched.cancel(%s::bigint)", [job])
    again = await api.post("/v1/jobs", json=MAIL, headers={"prefer": "wait=1", **headers})
    assert (again.json(), again.headers["idempotency-replayed"]) == ({"id": job}, "true")


async def test_args_that_are_hidden_are_null_in_a_stream_too(database: str) -> None:
    async with Client(database) as client:
        job = await client.get((await client.submit(NewJob(task="echo", args={"value": "secret"}))).id)
    stream = JobStream(job.id, None, shows_args=False)
    stream.tell("1", job)
    told = (await stream.next() or b"").decode()
    assert ('"args":null' in told, "secret" in told) == (True, False)


async def test_a_turn_is_passed_on_by_a_poll_that_fails(database: str, connection: psycopg.Connection) -> None:
    one(connection, "select dtsched.register_http_worker('w', array['mail'], null, 1, interval '30 s')")
    questions = Questions(Client(database, role="api"), Gatherer(database))
    await questions.open()
    polls = Polls(questions, poll_seconds=3600)
    (worker,) = await questions.client.ask(lambda store: store.workers())
    lease = Lease(1, "", 1, "mail", "echo", b"{}", 1, 5, None, None, None)
    outcomes: list[Exception | None] = []

    async def attempt() -> Tried:
        outcome = outcomes.pop(0) if outcomes else worker
        if isinstance(outcome, Exception):
            raise outcome
        return Tried([], worker) if outcome else Tried([lease], None)

    async def never() -> None:
        await asyncio.Event().wait()

    def poll() -> asyncio.Task[tuple[list[Lease], bool]]:
        another = structs.replace(worker, id=uuid4())
        return asyncio.create_task(polls.wait(another, ["mail"], attempt, seconds=60, unless=never()))

    try:
        both = [poll(), poll()]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not at_rest(polls):  # noqa: ASYNC110  (nobody is told)
                await asyncio.sleep(0.01)
            outcomes += [NotFound("there is no worker"), None]
            polls._woken("mail")  # pyright: ignore[reportPrivateUsage]
            answers = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(map(repr, answers)) == sorted(map(repr, [NotFound("there is no worker"), ([lease], False)]))
    finally:
        await polls.close()
        await questions.close()


def at_rest(polls: Polls) -> bool:
    """Two wait, and nothing but a notification gives them a turn."""
    gates, groups = polls._gates.values(), polls._groups.values()  # pyright: ignore[reportPrivateUsage]
    waiting = any(group.pause == 3600 and len(group.waiting) == 2 for group in groups)
    return waiting and any(gate.settled for gate in gates)
