"""A12 on one connection: what is too slow, too much or never read ends, at an exact time, and nothing else does.

The clock is the one that is handed to the connection; the sockets are real.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from litestar.types import HTTPScope, Receive, Send
from uvicorn.server import ServerState

from dtsched.api.bodies import MAX_HEAD_BYTES, MAX_HEADERS
from dtsched.api.protocol import (
    HEAD_SECONDS,
    IDLE_SECONDS,
    LEFTOVER_SECONDS,
    MOST_PIPELINED,
    UNREAD_SECONDS,
    Connection,
    connections_of,
)
from tests.support.patience import PATIENCE_SECONDS, five_tries, timely
from tests.support.patience import until_async as until

GET = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


@dataclass
class Serving:
    port: int
    state: ServerState
    seen: list[HTTPScope]
    going_on: asyncio.Event
    opened: list[asyncio.StreamWriter]

    async def open(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connected, and what was sent has been received."""
        known = set(connections_of(self.state))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        await until(lambda: bool(set(connections_of(self.state)) - known))
        writer.write(sent)
        await asyncio.sleep(0.02)
        return reader, writer

    async def later(self, seconds: float) -> None:
        """The connections look at the clock when so much time is over."""
        now = asyncio.get_running_loop().time()
        for connection in connections_of(self.state):
            connection.look_at_the_clock(now + seconds)
        await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(most: int = 100) -> AsyncGenerator[Serving]:
    """An application that answers /quick without reading, /wait when it is told to, and /large with 50 MB."""
    seen: list[HTTPScope] = []
    going_on = asyncio.Event()

    async def application(scope: HTTPScope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        if scope["path"] == "/wait":
            await going_on.wait()
        size = 50_000_000 if scope["path"] == "/large" else 2
        head: Any = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for part in range(size // 2):
            if part % 500_000 == 0:
                await send(
                    {"type": "http.response.body", "body": b"ok" * min(500_000, size // 2), "more_body": size > 2}
                )
        if size > 2:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    class Small(Connection):
        most_connections = most

    class Application:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await application(scope, receive, send)

    config = uvicorn.Config(Application(), lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Small(config, state, {}), "127.0.0.1", 0)
    try:
        yield (api := Serving(server.sockets[0].getsockname()[1], state, seen, going_on, []))
        for writer in api.opened:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in api.opened), return_exceptions=True)
    finally:
        server.close()
        for connection in connections_of(state):
            connection.transport.abort()
        going_on.set()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def refusal(reader: asyncio.StreamReader, status: int, kind: str) -> dict[str, Any]:
    """The problem with which the connection was ended."""
    given, headers, body = await answer(reader)
    document = json.loads(body)
    assert (given, document["status"], document["type"]) == (status, status, f"/problems/{kind}")
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == document["instance"]
    assert (headers["connection"], headers["cache-control"]) == ("close", "no-store")
    assert await is_closed(reader)
    return document


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read(1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("head", [b"G", b"GET / HTTP/1.1\r\n", GET[:-1]])
@five_tries
async def test_a12_a_head_that_does_not_come_in_time_is_refused(head: bytes) -> None:
    async with serving() as api:
        reader, _ = await api.open(head)
        await api.later(HEAD_SECONDS - 0.1)
        timely(len(connections_of(api.state)) == 1)
        await api.later(HEAD_SECONDS)
        await refusal(reader, 408, "request-timeout")


@five_tries
async def test_a12_a_head_that_trickles_gains_no_time() -> None:
    async with serving() as api:
        reader, writer = await api.open(b"GET / HTTP/1.1\r\n")
        for byte in b"X-Slow: 1\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.002)
        await api.later(HEAD_SECONDS)
        await refusal(reader, 408, "request-timeout")


@five_tries
async def test_a12_whoever_sends_nothing_is_let_go_after_a_while() -> None:
    async with serving() as api:
        silent, _ = await api.open()
        blank, writer = await api.open(b"\r\n\r\n")
        kept, _ = await api.open(GET)
        await answer(kept)
        await api.later(IDLE_SECONDS - 1)
        writer.write(b"\r\n")
        timely(len(connections_of(api.state)) == 3)
        await api.later(IDLE_SECONDS)
        for reader in (silent, blank, kept):
            assert await is_closed(reader)


@five_tries
async def test_a12_whoever_waits_for_an_answer_is_not_let_go() -> None:
    async with serving() as api:
        reader, _ = await api.open(WAIT)
        await api.later(10 * IDLE_SECONDS)
        api.going_on.set()
        assert (await answer(reader))[0] == 200


@five_tries
async def test_a12_the_rest_of_a_body_that_nobody_reads_is_not_waited_for() -> None:
    async with serving() as api:
        reader, writer = await api.open(POST + b"x")
        assert (await answer(reader))[0] == 200
        writer.write(b"x")
        await asyncio.sleep(0.02)
        await api.later(LEFTOVER_SECONDS - 0.5)
        timely(len(connections_of(api.state)) == 1)
        await api.later(LEFTOVER_SECONDS)
        assert await is_closed(reader)


@five_tries
async def test_a12_whoever_does_not_read_the_answer_is_left() -> None:
    async with serving() as api:
        _, writer = await api.open(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: any(connection.flow.write_paused for connection in connections_of(api.state)))
        await api.later(UNREAD_SECONDS - 1)
        timely(len(connections_of(api.state)) == 1)
        await api.later(UNREAD_SECONDS)
        await until(lambda: not connections_of(api.state))
        writer.close()


@five_tries
async def test_a12_whoever_is_refused_and_does_not_read_what_came_before_is_left() -> None:
    async with serving() as api:
        _, writer = await api.open(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: any(connection.flow.write_paused for connection in connections_of(api.state)))
        writer.write(b"GARBAGE\r\n\r\n")
        await until(lambda: all(connection.transport.is_closing() for connection in connections_of(api.state)))
        await api.later(UNREAD_SECONDS - 1)
        timely(len(connections_of(api.state)) == 1)
        await api.later(UNREAD_SECONDS)
        await until(lambda: not connections_of(api.state))
        writer.close()


@five_tries
async def test_a12_when_all_connections_are_in_use_a_new_one_is_told_so() -> None:
    async with serving(most=2) as api:
        busy = [await api.open(WAIT) for _ in range(2)]
        reader, _ = await api.open(GET)
        given, headers, body = await answer(reader)
        assert (given, json.loads(body)["type"]) == (503, "/problems/too-many-connections")
        assert headers["retry-after"] == "1"
        api.going_on.set()
        for waiting, _ in busy:
            assert (await answer(waiting))[0] == 200


@five_tries
async def test_a12_a_hoard_of_idle_connections_makes_room_for_others() -> None:
    async with serving(most=3) as api:
        first, _ = await api.open(GET)
        await answer(first)
        waiting, _ = await api.open(WAIT)
        second, _ = await api.open()
        third, _ = await api.open(GET)
        assert (await answer(third))[0] == 200
        assert await is_closed(first)
        fourth, _ = await api.open(GET)
        assert (await answer(fourth))[0] == 200
        assert await is_closed(second)
        api.going_on.set()
        assert (await answer(waiting))[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /quick HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /quick HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * MAX_HEADERS + b"\r\n",
        b"GET /quick HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100_000,
        b"GET /quick HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000,
        b"\r\n" * 100_000,
    ],
    ids=["address", "header", "headers", "headers without end", "header without end", "blank lines"],
)
@five_tries
async def test_a06_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with serving() as api:
        reader, _ = await api.open(head)
        await refusal(reader, 431, "head-too-large")
        assert api.seen == []


@five_tries
async def test_a06_a_head_of_just_the_size_is_taken() -> None:
    async with serving() as api:
        head = b"GET /quick HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * (MAX_HEADERS - 1) + b"\r\n"
        reader, _ = await api.open(head)
        assert (await answer(reader))[0] == 200
        long = b"a" * (MAX_HEAD_BYTES - len("/quickHostaX"))
        reader, _ = await api.open(b"GET /quick HTTP/1.1\r\nHost: a\r\nX: " + long + b"\r\n\r\n")
        assert (await answer(reader))[0] == 200


@five_tries
async def test_a06_a_body_of_nothing_but_framing_is_refused() -> None:
    async with serving() as api:
        chunked = b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for endless in (b"1;" + b"x" * 300_000, b"0\r\nX: " + b"x" * 300_000):
            reader, _ = await api.open(chunked + endless)
            await refusal(reader, 431, "head-too-large")


@five_tries
async def test_a06_what_follows_a_body_is_no_header() -> None:
    async with serving() as api:
        head = b"POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, _ = await api.open(head + b"1\r\nx\r\n0\r\nAuthorization: b\r\n\r\n")
        await answer(reader)
        assert {name for name, _ in api.seen[0]["headers"]} == {b"host", b"transfer-encoding"}


@five_tries
async def test_a06_requests_one_behind_the_other_are_answered_in_order_and_not_without_end() -> None:
    async with serving() as api:
        reader, _ = await api.open(GET * MOST_PIPELINED)
        for _ in range(MOST_PIPELINED):
            assert (await answer(reader))[0] == 200
        reader, _ = await api.open(WAIT + GET * 5000)
        assert await is_closed(reader)


@five_tries
async def test_a06_garbage_behind_a_request_does_not_pass_for_its_answer() -> None:
    async with serving() as api:
        reader, _ = await api.open(WAIT + b"GARBAGE\r\n\r\n")
        assert await is_closed(reader)
        reader, _ = await api.open(GET)
        await answer(reader)
        reader, _ = await api.open(POST + b"x" * 100 + b"GARBAGE\r\n\r\n")
        assert await is_closed(reader)


@five_tries
async def test_a06_a_body_that_goes_wrong_after_its_answer_has_no_second_one() -> None:
    async with serving() as api:
        reader, writer = await api.open(b"POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await answer(reader))[0] == 200
        writer.write(b"GARBAGE\r\n")
        assert await is_closed(reader)


@five_tries
async def test_a_client_that_would_rather_speak_http2_is_answered_all_the_same() -> None:
    async with serving() as api:
        reader, _ = await api.open(
            b"GET /quick HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        )
        assert (await answer(reader))[0] == 200
        assert await is_closed(reader)
