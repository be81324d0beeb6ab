"""Bodies and connections made to break the server: each is refused with a problem, none is an error of the server."""

from __future__ import annotations

import gzip
import json
import socket

import psycopg

from tests.api.hostile_bodies import BODIES
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.support.bad_input import TASK, declare, written
from tests.support.patience import PATIENCE_SECONDS, within

MIB = 1024 * 1024
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_every_hostile_body_is_refused_with_a_problem_and_leaves_nothing(
    refusing_api: ApiProcess, refusing_database: str
) -> None:
    with psycopg.connect(refusing_database, autocommit=True) as connection:
        declare(connection)
        before = written(connection)
        memory_before = refusing_api.rss_bytes()
        answers = {name: refusing_api.send(body) for name, (body, _) in BODIES.items()}

        expected = {name: status for name, (_, status) in BODIES.items()}
        assert {name: answer.status_code for name, answer in answers.items()} == expected
        for answer in answers.values():
            detail = problem(answer, answer.status_code)["detail"]
            assert len(detail) < 400
            assert "\n" not in detail
        assert written(connection) == before
    assert refusing_api.rss_bytes() - memory_before < 50 * MIB
    assert "Traceback" not in refusing_api.log.read_text()


def test_what_is_unusual_but_sound_is_taken_and_kept_as_it_was(refusing_api: ApiProcess) -> None:
    values: list[object] = [
        "\\u0000",
        "😀",
        "\x7f\u2028",
        "1e131071",
        "[" * 1000,
        1e22,
        5e-308,
        10**308,
        -(2**63),
        0.1,
        True,
        {"": []},
    ]
    answer = refusing_api.send(json.dumps({"task": TASK, "args": {"value": values}}).encode())
    assert answer.status_code == 201
    assert answer.json()["args"]["value"] == values


def test_of_a_member_that_is_given_twice_the_last_one_counts(refusing_api: ApiProcess) -> None:
    answer = refusing_api.send(b'{"task":"echo","priority":1,"args":{"value":1,"value":2},"priority":2}')
    assert (answer.json()["priority"], answer.json()["args"]) == (2, {"value": 2})


def test_a_head_is_answered_as_get_without_the_body(refusing_api: ApiProcess) -> None:
    with connected(refusing_api) as connection:
        connection.sendall(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 18" in head
    assert body == b""


def test_a_compressed_body_is_not_unpacked(refusing_api: ApiProcess) -> None:
    bomb = gzip.compress(b" " * 100 * MIB)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    memory_before = refusing_api.rss_bytes()
    assert status_of(refusing_api, head + bomb) == 415
    assert refusing_api.rss_bytes() - memory_before < 50 * MIB


def test_100_mb_are_not_read_into_memory(refusing_api: ApiProcess) -> None:
    memory_before = refusing_api.rss_bytes()
    with connected(refusing_api) as connection:
        connection.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n")
        try:
            for _ in range(100):
                connection.sendall(b" " * MIB)
        except OSError:
            pass  # the server has answered and closed
    assert refusing_api.rss_bytes() - memory_before < 50 * MIB
    assert refusing_api.get("/livez").status_code == 200


def test_a_client_that_asks_first_is_refused_before_it_sends(refusing_api: ApiProcess) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n"
    assert status_of(refusing_api, head) == 413


def test_chunks_beyond_the_limit_are_refused(refusing_api: ApiProcess) -> None:
    chunk = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    assert status_of(refusing_api, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n") == 413


def test_a_body_that_trickles_in_is_given_up(refusing_api: ApiProcess) -> None:
    with connected(refusing_api) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        with within(12):
            assert b" 408 " in connection.recv(4096).split(b"\r\n")[0]


def test_bodies_that_are_not_what_their_head_says_do_no_harm(refusing_api: ApiProcess) -> None:
    for request in (
        HEAD + b"Content-Length: -1\r\n\r\n{}",
        HEAD + b"Content-Length: 1e3\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
        b"POST /v1/jobs HTTP/1.1\r\n\r\n",
        b"POST /v1/jobs HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ):
        assert status_of(refusing_api, request, end=True) < 500
    with connected(refusing_api) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")  # and away
    assert refusing_api.get("/livez").status_code == 200
    assert "Traceback" not in refusing_api.log.read_text()


def status_of(api: ApiProcess, request: bytes, *, end: bool = False) -> int:
    """Of the answer to a raw request; `end` says that no more of it will come."""
    with connected(api) as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    return int(answer.split(b" ")[1]) if answer else 400  # closed without a word: refused too


def connected(api: ApiProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE_SECONDS)
