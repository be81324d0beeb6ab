"""POST /v1/jobs/batch of lines: a job a line, without end, in bounded memory, and a line for each line."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import time
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from dtsched.api.bodies import MAX_BODY_BYTES
from dtsched.api.stream import Line, Splitter, Spool
from dtsched.embedded import Cluster
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.conftest import Connect
from tests.support.patience import PATIENCE_SECONDS, within

Answers = list[dict[str, Any]]
ECHO = b'{"task":"echo"}\n'


@pytest.fixture
def served(database: str, serve_api: Serve) -> ApiProcess:
    return serve_api(database)


def send(api: ApiProcess, content: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    headers = {"content-type": "application/x-ndjson", **headers}
    return httpx.post(f"{api.url}/v1/jobs/batch", content=content, headers=headers, timeout=60)


def lines_of(answer: httpx.Response) -> Answers:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_each_line_is_answered_in_order_and_blank_ones_are_passed_over(served: ApiProcess, connect: Connect) -> None:
    declared = connect()
    declared.execute("insert into dtsched.tasks (name) values ('echo')")
    body = b"\n".join(
        [
            b'{"task":"echo","key":"a"}\r',
            b"",
            b'{"task":"echo","priority":11}',
            b'{"task":"ehco"}',
            b'{"task"',
            b"[1]",
            b'{"task":"echo","priority":"high"}',
            b'{"task":"echo","key":"a"}',
            b'{"task":"echo","depends_on":["a"]}',
            b'{"task":"echo","depends_on":[{"entry":1}]}',
            b'{"task":"echo","colour":1}',
            b'{"task":"echo"}',
        ]
    )
    answers = lines_of(send(served, body))
    first, *_, kept, child, entry, _, last = answers
    assert [answer["line"] for answer in answers] == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert (first["created"], first["outcome"]) == (True, "created")
    assert kept == {"line": 8, "id": first["id"], "created": False, "outcome": "kept"}
    assert answers[1] == {
        "line": 3,
        "code": "invalid-input",
        "error": "priority must be 1 to 10, not 11",
        "field": "priority",
    }
    codes = [answer.get("code") for answer in answers]
    assert codes[2:6] == ["unknown-task", "malformed-request", "malformed-request", "invalid-input"]
    assert answers[3]["error"].startswith("the line is not valid JSON")
    assert "which a stream does not have" in entry["error"]
    assert last["created"]
    rows = declared.execute("select id, depends_on from dtsched.jobs order by id").fetchall()
    assert rows == [(first["id"], None), (child["id"], [first["id"]]), (last["id"], None)]


def test_a_refusal_names_other_lines_by_their_numbers(served: ApiProcess) -> None:
    body = b'\n\n{"task":"a b","key":"k"}\n{"task":"echo","depends_on":["k"]}\n'
    answers = lines_of(send(served, ECHO * 1000 + body))
    assert answers[-1] == {
        "line": 1004,
        "code": "parent-refused",
        "field": "depends_on",
        "error": "depends_on names line 1003, which is refused itself",
    }


def test_the_jobs_of_a_stream_have_the_id_of_the_request_or_their_own(served: ApiProcess, connect: Connect) -> None:
    send(served, ECHO + b'{"task":"echo","correlation_id":"mine"}', **{"x-request-id": "stream-7"})
    assert connect().execute("select correlation_id from dtsched.jobs order by id").fetchall() == [
        ("stream-7",),
        ("mine",),
    ]


def test_a_line_may_be_as_large_as_a_job_and_no_larger(served: ApiProcess) -> None:
    longest = b'{"task":"echo","args":{"a":"%s"}}'
    fits = longest % (b"x" * (1024 * 1024 - 100))
    padded = fits + b" " * (MAX_BODY_BYTES - len(fits))
    answers = lines_of(send(served, b"\n".join([padded, padded + b" ", ECHO])))
    assert [answer.get("code") for answer in answers] == [None, "body-too-large", None]


@pytest.mark.parametrize("media_type", ["application/ndjson", "application/jsonl; charset=utf-8"])
def test_other_names_of_the_same_are_understood(served: ApiProcess, media_type: str) -> None:
    assert len(lines_of(send(served, ECHO, **{"content-type": media_type}))) == 1


def test_an_empty_stream_has_an_empty_answer(served: ApiProcess) -> None:
    assert lines_of(send(served, b"\n\n")) == []


def test_what_a_stream_cannot_have_is_refused_before_it_begins(served: ApiProcess) -> None:
    assert problem(send(served, ECHO, **{"idempotency-key": "k"}), 400)["errors"][0]["field"] == "idempotency-key"
    problem(send(served, ECHO, **{"content-encoding": "gzip"}), 415)


def test_a_client_that_reads_nothing_until_it_has_sent_everything_is_answered_and_memory_is_bounded(
    served: ApiProcess, connect: Connect
) -> None:
    count = 60_000
    nonsense = b'{"task":"a b"}\n' * 100
    lines_of(send(served, ECHO * 2000))
    before = served.rss_bytes()
    answers = lines_of(send(served, itertools.repeat(nonsense, count // 100)))
    assert served.rss_bytes() - before < 16 * 1024 * 1024
    assert [answer["line"] for answer in answers] == list(range(1, count + 1))
    assert {answer["code"] for answer in answers} == {"invalid-input"}
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (2000,)


def test_a_line_is_committed_and_answered_when_no_other_comes(served: ApiProcess, connect: Connect) -> None:
    with open_stream(served) as stream:
        for number in (1, 2):
            stream.send(chunk(ECHO))
            assert read_until(stream, b'"outcome"').count(b'"created":true') == 1
            assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (number,)


def test_a_client_that_goes_away_leaves_what_was_committed(served: ApiProcess, connect: Connect) -> None:
    with open_stream(served) as stream:
        stream.send(chunk(ECHO * 1000))
        read_until(stream, b'"line":1000,')
        stream.send(chunk(b'{"task":"lost"}'))
    time.sleep(0.5)  # longer than a line waits for others
    assert connect().execute("select task, count(*) from dtsched.jobs group by 1").fetchall() == [("echo", 1000)]
    assert "Traceback" not in served.log.read_text()
    assert served.submit({"task": "echo"}).status_code == 201


def test_when_the_database_goes_the_last_line_says_where_to_go_on(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    with open_stream(api) as stream:
        stream.send(chunk(ECHO * 1000))
        read_until(stream, b'"line":1000,')
        cluster.stop("immediate")
        stream.send(chunk(b"\n" + ECHO * 1000))
        last = read_until(stream, b"}\n").splitlines()[-2:]
        stopped = json.loads(next(line for line in last if b"stopped_at" in line))
        assert (stopped["stopped_at"], stopped["code"]) == (1002, "database-unreachable")
        cluster.start()
        stream.send(b"0\r\n\r\n")
        assert stream.recv(100).endswith(b"0\r\n\r\n")
    with contextlib.closing(psycopg.connect(cluster.dsn)) as connection:
        assert connection.execute("select count(*) from dtsched.jobs").fetchone() == (1000,)


def test_a_server_that_is_stopped_says_where_to_go_on(served: ApiProcess) -> None:
    with open_stream(served) as stream:
        stream.send(chunk(ECHO))
        read_until(stream, b'"outcome"')
        with within(3):
            served.process.send_signal(signal.SIGTERM)
            assert b'"stopped_at":2,"code":"server-stopping"' in read_until(stream, b"stopped_at")
            served.process.wait(timeout=PATIENCE_SECONDS)
    assert served.process.returncode == 0


@pytest.mark.parametrize("pieces", [[b"a\nb\n", b"c"], [b"a", b"\nb", b"\n", b"c"], [b"a\r\nb\r\nc\r\n"]])
def test_lines_are_those_that_were_sent_however_they_arrive(pieces: list[bytes]) -> None:
    splitter = Splitter(longest=3)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()
    assert [(line.number, (line.text or b"").strip()) for line in lines] == [(1, b"a"), (2, b"b"), (3, b"c")]


def test_a_line_that_is_too_long_is_not_kept() -> None:
    splitter = Splitter(longest=3)
    assert splitter.feed(b"abc\nabcde\nab") == [Line(1, b"abc"), Line(2, None)]
    assert splitter.feed(b"cde") + splitter.feed(b"f" * 10) == []
    assert splitter.feed(b"\nx\n") == [Line(3, None), Line(4, b"x")]


async def test_a_spool_gives_what_it_was_given_in_order() -> None:
    spool = Spool()
    given = [bytes([65 + n]) * 300_000 for n in range(8)]
    for data in given[:4]:
        spool.write(data)
    found = b"".join([await spool.next() for _ in range(5)])
    for data in given[4:]:
        spool.write(data)
    spool.end()
    while data := await spool.next():
        found += data
    assert found == b"".join(given)
    spool.close()


@contextlib.contextmanager
def open_stream(api: ApiProcess) -> Generator[socket.socket]:
    head = b"POST /v1/jobs/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE_SECONDS) as stream:
        stream.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        yield stream


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_until(stream: socket.socket, found: bytes) -> bytes:
    received = b""
    while found not in received:
        data = stream.recv(65536)
        assert data, received
        received += data
    return received
