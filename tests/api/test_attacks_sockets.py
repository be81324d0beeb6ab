"""A06 by raw sockets against a server process: bytes that are no request, no body or too much of one are refused with a
problem, or the connection is closed; the server is not brought down, does not grow, and answers others meanwhile.

Where the rest of A06 is: bodies of POST /v1/jobs, compressed bodies and wrong lengths in test_hostile_bodies.py; heads
and times of one connection in test_attacks_connections.py; what schemathesis makes up in test_schemathesis.py.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator

import httpx
import psycopg
import pytest

from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.api.test_hostile_bodies import HEAD, MIB, connected
from tests.support.bad_input import TASK, declare, written
from tests.support.patience import PATIENCE_SECONDS, Stopwatch, five_tries, timely, within

BODY = json.dumps({"task": TASK}).encode()
POST = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
BATCH = HEAD.replace(b"/v1/jobs", b"/v1/jobs/batch")
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


NO_REQUESTS: dict[str, bytes] = {
    "NUL": b"\0" * 1000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 by name": b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "another protocol": b"EHLO localhost\r\n",
    "a method that is none": b"JEFF /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the address": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "raw UTF-8 in the address": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a blank in the address": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no address": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT localhost:5432 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "NUL in the name of a header": GET + b"X\0: a\r\n\r\n",
    "a control character in a header": GET + b"X: a\x0bb\r\n\r\n",
    "a bare CR in a header": GET + b"X: a\rY: b\r\n\r\n",
    "bare LF": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a blank before the colon": GET + b"X : a\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "a length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
    "chunks and a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + chunked(BODY),
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "a length of 2^64": HEAD + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
    "chunks by another name": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + chunked(BODY),
    "chunks behind a tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + chunked(BODY),
    "chunks of gzip": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(BODY),
    "gzip": HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + BODY,
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "chunks in HTTP/1.0": b"POST /v1/jobs HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(BODY),
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk of 2^64": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}",
    "a chunk that is longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk with bare LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "5,000 headers": GET + b"X: a\r\n" * 5000 + b"\r\n",
    "a header of 1 MB": GET + b"X: " + b"a" * MIB + b"\r\n\r\n",
    "an address of 1 MB": b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "only blank lines": b"\r\n" * 100_000,
}

TOO_MUCH: dict[str, tuple[bytes, bytes, int]] = {
    "1,000,000 members": (
        BATCH,
        b'{"jobs":[{"task":"echo","args":{' + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}}]}",
        400,
    ),
    "almost 500,000 members": (
        BATCH,
        b'{"jobs":[{"task":"echo","args":{' + b",".join(b'"%d":1' % n for n in range(499_990)) + b"}}]}",
        422,
    ),
    "1,000,000 jobs": (BATCH, b'{"jobs":[' + b",".join([b"{}"] * 1_000_000) + b"]}", 400),
    "almost 500,000 jobs": (BATCH, b'{"jobs":[' + b",".join([b"{}"] * 499_990) + b"]}", 422),
    "1,000,000 members beside jobs": (BATCH, b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}", 400),
    "a batch 100,000 deep": (BATCH, b'{"jobs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "a batch of 8,000,000 brackets": (BATCH, b"[" * 8_000_000 + b"]" * 8_000_000, 400),
    "a batch of one number of 16 MB": (BATCH, b'{"jobs":[' + b"9" * 16_000_000 + b"]}", 400),
    "a batch of over 16 MiB": (BATCH, b" " * (16 * MIB + 1), 413),
}


@pytest.fixture(scope="module", autouse=True)
def declared(refusing_database: str) -> None:
    with psycopg.connect(refusing_database, autocommit=True) as connection:
        declare(connection)


@contextlib.contextmanager
def meanwhile(ask: Callable[[], float]) -> Generator[list[float]]:
    """How long others waited for an answer, again and again."""
    took: list[float] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            took.append(ask())
            time.sleep(0.02)

    asking = threading.Thread(target=run)
    asking.start()
    try:
        yield took
    finally:
        over.set()
        asking.join()


def exchange(api: ApiProcess, request: bytes) -> bytes:
    """All that the server answers to it until it closes or has nothing more to say; nothing when it just closes."""
    answer = b""
    with connected(api) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        connection.settimeout(20)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while more := connection.recv(65536):
                answer += more
                head, _, body = answer.partition(b"\r\n\r\n")
                if b"content-length: %d\r\n" % len(body) in head + b"\r\n":
                    break
    return answer


def as_response(answer: bytes) -> httpx.Response:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    return httpx.Response(int(first.split(" ")[1]), headers=[(name, value) for name, value in headers], content=body)


def test_a06_what_is_no_request_is_refused_and_nothing_of_it_is_done(
    refusing_api: ApiProcess, refusing_database: str
) -> None:
    with psycopg.connect(refusing_database, autocommit=True) as connection:
        before = written(connection)
        memory = refusing_api.rss_bytes()
        for name, request in NO_REQUESTS.items():
            answer = exchange(refusing_api, request)
            if answer:
                assert 400 <= problem(as_response(answer), as_response(answer).status_code)["status"] < 500, name
        assert written(connection) == before
    assert refusing_api.rss_bytes() - memory < 50 * MIB
    assert "Traceback" not in refusing_api.log.read_text()


def test_a06_most_of_it_is_told_why(refusing_api: ApiProcess) -> None:
    told = {
        name: as_response(exchange(refusing_api, NO_REQUESTS[name])).json()["type"]
        for name in ("TLS", "two hosts", "a length and chunks", "gzip", "a negative chunk", "no host", "5,000 headers")
    }
    assert told == {
        "TLS": "/problems/malformed-request",
        "two hosts": "/problems/malformed-request",
        "a length and chunks": "/problems/malformed-request",
        "gzip": "/problems/malformed-request",
        "a negative chunk": "/problems/malformed-request",
        "no host": "/problems/forbidden",
        "5,000 headers": "/problems/head-too-large",
    }


def test_a06_a_request_hidden_in_another_is_not_found(refusing_api: ApiProcess, refusing_database: str) -> None:
    """Two readings of one message are how a request is smuggled past whoever stands before the server."""
    hidden = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    hidden += b"%d\r\n\r\n%b" % (len(BODY), BODY)
    with psycopg.connect(refusing_database, autocommit=True) as connection:
        before = written(connection)
        for head in (
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(hidden)),
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(hidden),
            b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            answer = exchange(refusing_api, HEAD + head + hidden)
            assert answer.count(b"HTTP/1.1 ") <= 1
            assert not answer or as_response(answer).status_code == 400
        assert written(connection) == before


@five_tries
def test_a06_large_bodies_take_no_lasting_memory_and_nobody_waits_for_them(refusing_api: ApiProcess) -> None:
    def ask() -> float:
        with Stopwatch() as passed:
            assert refusing_api.get("/livez").status_code == 200
        return passed.seconds

    for _ in range(2):  # what the process allocates once and for all
        exchange(refusing_api, BATCH + b"Content-Length: %d\r\n\r\n" % MIB + b" " * MIB)
    memory = refusing_api.rss_bytes()
    with meanwhile(ask) as took:
        for name, (head, body, status) in TOO_MUCH.items():
            answer = exchange(refusing_api, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert answer, name
            assert problem(as_response(answer), status), name
    assert refusing_api.rss_bytes() - memory < 50 * MIB
    timely(max(took) < 2, took)


def test_a06_a_body_in_chunks_of_a_byte_is_read_all_the_same(refusing_api: ApiProcess) -> None:
    bytes_of_it = [BODY[n : n + 1] for n in range(len(BODY))]
    answer = exchange(refusing_api, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*bytes_of_it))
    assert as_response(answer).status_code == 201


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;"]
)
@five_tries
def test_a12_a_body_that_stops_coming_is_given_up_after_two_seconds(refusing_api: ApiProcess, framing: bytes) -> None:
    began = time.monotonic()
    with within(4):
        answer = as_response(exchange(refusing_api, HEAD + framing))
    assert problem(answer, 408)["type"] == "/problems/request-timeout"
    assert time.monotonic() - began > 1.9


def test_a12_slow_heads_are_ended_while_others_are_answered(refusing_api: ApiProcess) -> None:
    slow = [connected(refusing_api) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        assert refusing_api.get("/livez").status_code == 200
        with within(10):
            for connection in slow:
                connection.settimeout(PATIENCE_SECONDS)
                assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in slow:
            connection.close()
