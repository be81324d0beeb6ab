"""What a client over REST makes of answers that a server gives seldom, and of those of somebody else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from dtsched import Client, DatabaseUnreachable, NewJob
from dtsched.rest import Call, Rest, Server, SyncRest


class Given(NamedTuple):
    status: int
    body: str
    media_type: str = "application/json"


UNDER_WAY = Given(409, '{"type": "/problems/request-under-way", "detail": "a request with this key is under way"}')
SUBMITTED = Given(201, '{"jobs": [{"id": 7, "created": true, "outcome": "created"}]}')
GREETING = Given(200, "<html>Log in to the network</html>", "text/html")


@contextlib.contextmanager
def answering(*answers: Given) -> Generator[tuple[str, list[str | None]]]:
    """A server's URL, and the Idempotency-Keys of what it was asked: it gives these answers one after the other."""
    left, asked = list(answers), list[str | None]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            asked.append(self.headers.get("idempotency-key"))
            status, body, media_type = left.pop(0)
            self.send_response(status)
            for name, value in (("content-type", media_type), ("retry-after", "0"), ("content-length", len(body))):
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


async def test_who_meets_its_own_request_under_way_asks_for_its_answer_again() -> None:
    """As after a connection that broke while the server was submitting."""
    with answering(UNDER_WAY, SUBMITTED) as (url, asked):
        async with Client(url) as client:
            assert (await client.submit(NewJob(task="echo"))).id == 7
        assert asked[0] is not None
        assert asked == [asked[0]] * 2
    with answering(UNDER_WAY, SUBMITTED) as (url, asked):
        with contextlib.closing(SyncRest(Server(url, None))) as rest:
            assert rest.ask(Call("POST", "/v1/jobs/batch", b"{}", once="k")).status == 201
        assert asked == ["k", "k"]
    with answering(*[UNDER_WAY] * 4) as (url, asked), contextlib.closing(SyncRest(Server(url, None))) as rest:
        with pytest.raises(DatabaseUnreachable, match="could not do it now: a request with this key is under way"):
            rest.ask(Call("POST", "/v1/jobs/batch", b"{}", once="k"))
        assert len(asked) == 4


async def asked_in_a_loop(url: str) -> object:
    rest = Rest(Server(url, None))
    try:
        return await rest.ask(Call("GET", "/v1/queues"))
    finally:
        await rest.close()


async def asked_in_a_thread(url: str) -> object:
    with contextlib.closing(SyncRest(Server(url, None))) as rest:
        return rest.ask(Call("GET", "/v1/queues"))


@pytest.mark.parametrize("ask", [asked_in_a_loop, asked_in_a_thread])
async def test_an_answer_that_is_none_of_the_api_is_told_as_such(ask: Callable[[str], Awaitable[object]]) -> None:
    with answering(GREETING) as (url, _), pytest.raises(DatabaseUnreachable, match="not as the API of a dtsched"):
        await ask(url)
