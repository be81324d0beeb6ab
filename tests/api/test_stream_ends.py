"""How streams end, or do not: the server's end, the database's absence, callers that are gone, slow or many."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dtsched.api.database import Questions
from dtsched.api.feed_streams import FeedStream, FeedStreams
from dtsched.api.gathering import Gatherer
from dtsched.api.streams import HEARTBEAT_SECONDS, MOST_BYTES, Stream, Streams
from dtsched.client import Client
from dtsched.embedded import Cluster
from dtsched.jobs import NewJob
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.api.processes import POOLED, ApiProcess
from tests.api.sse import watching
from tests.api.test_outages import end_within, processes_of
from tests.conftest import Connect
from tests.runtime.workers import one
from tests.support.patience import PATIENCE_SECONDS, five_tries, until, within

JOB = {"task": "echo"}
OF_THE_API = (
    "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'dtsched api'"
)


def open_raw(api: ApiProcess, path: str, *headers: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE_SECONDS)
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode())
    return connection


@five_tries
def test_sigterm_ends_streams_waits_and_polls_in_order(database: str, serve_api: Serve) -> None:
    api = serve_api(database)
    job = api.submit(JOB).json()["id"]
    paths = [f"/v1/jobs/{job}/events", "/v1/queues/default/events", "/v1/events"] * 20
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(open_raw(api, path)) for path in paths]
        waits = [opened.enter_context(open_raw(api, f"/v1/jobs/{job}/result", "Prefer: wait=60")) for _ in range(40)]
        for stream in streams:
            assert b"event-stream" in stream.recv(4096)
        until(lambda: "dtsched_api_waiting_requests 40\n" in api.get("/metrics").text)
        end_within(api, 3)
        for stream in streams:
            assert received(stream).endswith(b": end\n\n\r\n0\r\n\r\n")
        for wait in waits:
            assert received(wait).startswith(b"HTTP/1.1 202")
    assert api.process.returncode == 0
    log = api.log.read_text()
    assert "Traceback" not in log
    assert "graceful shutdown exceeded" not in log


def received(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_sigterm_ends_streams_while_the_database_is_gone(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    job = api.submit(JOB).json()["id"]
    with watching(api, f"/v1/jobs/{job}/events") as changes, watching(api, "/v1/events") as events:
        changes.next()
        events.next("reset")
        cluster.stop("fast")
        end_within(api, 3)
        assert list(changes) == []
    assert api.process.returncode == 0


def test_streams_survive_an_outage_and_are_told_what_they_may_have_missed(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    job = api.submit(JOB).json()["id"]
    with watching(api, f"/v1/jobs/{job}/events") as changes, watching(api, "/v1/events") as events:
        changes.next()
        events.next("reset")
        cluster.stop("fast")
        for path in ("/v1/events", "/v1/queues/default/events", f"/v1/jobs/{job}/events"):
            answer = api.get(path)
            assert problem(answer, 503)["type"] == "/problems/database-unreachable"
            assert answer.headers["retry-after"] == "1"
        cluster.start()
        with within(2):
            assert events.next("reset").data == {}
        second = api.submit(JOB).json()["id"]
        assert events.of_jobs(1) == [(second, "submitted")]
        api.request("POST", f"/v1/jobs/{job}/cancel")
        assert [event.data["state"] for event in changes] == ["cancelled"]


def test_streams_survive_a_lost_listener(database: str, connect: Connect, serve_api: Serve) -> None:
    api = serve_api(database)
    killed = "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'waiting listener'"
    with watching(api, "/v1/events") as events:
        events.next("reset")
        connect().execute(killed)
        events.next("reset")
        job = api.submit(JOB).json()["id"]
        assert events.of_jobs(1) == [(job, "submitted")]


def test_a_frozen_database_does_not_silence_streams(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    with watching(api, "/v1/events") as events:
        events.next("reset")
        frozen = processes_of(cluster)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            with within(5):
                problem(api.get("/v1/events"), 503)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        job = api.submit(JOB).json()["id"]
        assert events.next("submitted", "reset").kind in ("submitted", "reset")
    assert job


def test_waiters_hold_no_connection_to_the_database(database: str, connect: Connect, serve_api: Serve) -> None:
    api = serve_api(database)
    connection = connect()
    job = api.submit(JOB).json()["id"]
    paths = [f"/v1/jobs/{job}/events", "/v1/queues/default/events", "/v1/events"] * 70
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(open_raw(api, path)) for path in paths]
        for _ in range(290):
            opened.enter_context(open_raw(api, f"/v1/jobs/{job}/result", "Prefer: wait=60"))
        for stream in streams:
            stream.recv(4096)
        assert one(connection, OF_THE_API) <= POOLED
        with ThreadPoolExecutor(10) as callers:  # all of the pool is there for others
            answers = callers.map(api.get, ["/v1/jobs?limit=1"] * 20)
            assert {answer.status_code for answer in answers} == {200}
        busy = "select count(*) from pg_stat_activity where application_name = 'dtsched api' and state <> 'idle'"
        until(lambda: one(connection, busy) == 0)


def test_who_hangs_up_is_forgotten_and_the_feed_is_watched_a_while_longer(
    database: str, connect: Connect, serve_api: Serve
) -> None:
    api = serve_api(database)
    connection = connect()
    job = api.submit(JOB).json()["id"]
    buckets = "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 2 and mode = 'ShareLock'"
    feed = "select count(*) from pg_locks where locktype = 'advisory' and objid = dtsched.feed_gate()::bigint::oid"
    with watching(api, f"/v1/jobs/{job}/events") as changes, watching(api, "/v1/events") as events:
        changes.next()
        events.next("reset")
        until(lambda: one(connection, buckets) == 1)
    until(lambda: one(connection, buckets) == 0)
    assert one(connection, feed) == 1
    assert "Traceback" not in api.log.read_text()


def test_a_silent_stream_is_kept_alive_and_no_other() -> None:
    streams = Streams()
    silent, spoken = Stream("job"), Stream("job", lambda: b"never")
    streams.open |= {silent, spoken}
    silent.silent_since -= HEARTBEAT_SECONDS
    streams.beat()
    streams.beat()  # what has not been taken yet is not doubled
    assert silent.put([b""])
    assert list(silent._chunks) == [b":\n\n", b""]  # pyright: ignore[reportPrivateUsage]
    assert not spoken._chunks  # pyright: ignore[reportPrivateUsage]


async def test_who_takes_nothing_is_ended_when_too_much_waits() -> None:
    stream = Stream("everything")
    assert stream.put([b"x" * (MOST_BYTES + 1)])  # one batch of any size
    assert not stream.put([b"y"])
    assert stream.ended
    assert await stream.next() is None


async def test_a_batch_is_taken_up_to_the_limit() -> None:
    stream = Stream("everything")
    assert stream.put([b"x"])
    assert stream.put([b"x" * (MOST_BYTES - 1)])
    assert not stream.put([b"x"])


@pytest.fixture
async def questions(database: str) -> AsyncGenerator[Questions]:
    questions = Questions(Client(database, role="api"), Gatherer(database))
    await questions.open()
    yield questions
    await questions.close()


async def test_a_caller_for_some_queues_is_told_of_those_only(questions: Questions) -> None:
    streams = Streams()
    feed = FeedStreams(questions, streams)
    stream = FeedStream(frozenset({"mail", "sms"}), None, feed)
    feed.add(stream)
    try:
        assert b"reset" in (await stream.next() or b"")
        for queue in ("secret", "mail", "other", "sms"):
            await questions.client.submit(NewJob(task="echo", queue=queue), check_tasks=False)
        told = b""
        while b'"sms"' not in told:
            told += await stream.next() or b""
        assert b'"mail"' in told
        assert b"secret" not in told
        assert b"other" not in told
    finally:
        feed.remove(stream)
        await feed.close()
        await streams.close()
