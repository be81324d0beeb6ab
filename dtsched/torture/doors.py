"""The ways in which jobs are submitted. Each takes what is to be submitted and says what became of each of its jobs;
none of them raises because a database, a network or a server is away.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import msgspec

from dtsched.client import Client
from dtsched.connections import Connection, connect, shut_down
from dtsched.inside import submit_in
from dtsched.jobs import Submitted, check_all
from dtsched.patience import Patience
from dtsched.torture.fates import (
    Fate,
    NotWritten,
    Unknown,
    Written,
    is_expected,
    of_request,
    of_statement,
    of_status,
    told,
)
from dtsched.torture.outbox import TWIN
from dtsched.torture.sentences import encoded, function, insert
from dtsched.torture.workload import Submission, Way

log = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
STATEMENT_MS = 10_000
CONNECTIONS = 8

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}


class Entry(msgspec.Struct):
    """Of the answer to a batch, and a line of the answer to a stream."""

    id: int | None = None
    created: bool = False
    outcome: str | None = None
    code: str | None = None
    line: int | None = None
    stopped_at: int | None = None


class Batch(msgspec.Struct):
    jobs: list[Entry]


class Single(msgspec.Struct):
    id: int


class Problem(msgspec.Struct):
    type: str = ""


class Doors:
    """For one event loop. `urls` may be none: then nothing goes over REST, but by the client of the database. What is
    not answered in time is unknown."""

    def __init__(self, dsn: str, urls: Sequence[str], *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.client = Client(dsn, role="torture submitter", statement_ms=STATEMENT_MS)
        self._own = Connections(dsn, answer_seconds)
        self._apis = Apis(urls, answer_seconds) if urls else None
        self._answer_seconds = answer_seconds
        self._patience = Patience()
        self._ways: Mapping[Way, Callable[[Submission], Coroutine[Any, Any, list[Fate]]]] = {
            "client": self._by_client,
            "client_batch": self._by_client,
            "insert": self._by_statement,
            "function": self._by_statement,
            "outbox": self._by_outbox,
            "rest": self._by_rest if urls else self._by_client,
            "rest_batch": self._by_rest_batch if urls else self._by_client,
            "rest_stream": self._by_stream if urls else self._by_client,
        }

    async def open(self) -> None:
        await self.client.open()

    async def close(self) -> None:
        await self._patience.close(2.0)
        await self.client.close()
        await self._own.close()
        if self._apis is not None:
            await self._apis.close()

    async def submit(self, submission: Submission) -> list[Fate]:
        """In the order of its items."""
        try:
            return await self._ways[submission.way](submission)
        except Exception as error:  # an answer that nobody thought of: it must show, but not end the run
            log.error("%s went through the door %s in an unknown way", submission.key, submission.way, exc_info=error)
            return [Unknown(told(error))] * len(submission.items)

    async def ask(self, question: Coroutine[Any, Any, Mapping[int, str]]) -> Mapping[int, str] | NotWritten | Unknown:
        """What came of an action on jobs."""
        try:
            return await self._patience.ask(question, self._answer_seconds)
        except Exception as error:
            return _fate(error)

    async def _by_client(self, submission: Submission) -> list[Fate]:
        jobs = [item.job for item in submission.items]
        try:
            answers = await self._patience.ask(self.client.submit_many(jobs), self._answer_seconds)
        except Exception as error:
            return [_fate(error)] * len(jobs)
        return [_written(answer) for answer in answers]

    async def _by_statement(self, submission: Submission) -> list[Fate]:
        (item,) = submission.items
        make = insert if submission.way == "insert" else function
        try:
            statement = make(item.job)
            async with self._own.connection() as connection:
                cursor = await connection.execute(statement.text, statement.values)
                (job,) = cast("tuple[int]", await cursor.fetchone())
        except Exception as error:
            return [_fate(error)]
        held = submission.way == "function" and item.job.key is not None  # it may be another job's id
        return [Written(job, None if held else True)]

    async def _by_outbox(self, submission: Submission) -> list[Fate]:
        """A job and a row of one's own in one transaction. What fails before its COMMIT is sent was not written."""
        (item,) = submission.items
        committing = False
        try:
            async with self._own.connection() as connection:
                await connection.execute("begin")
                (answer,) = await submit_in(connection, check_all([item.job]))
                await connection.execute(TWIN, (item.key, answer.id))
                committing = True
                cursor = await connection.execute("commit")
        except Exception as error:
            fate = _fate(error)
            return [fate if committing else NotWritten(fate.reason)]
        # a server that could not commit says so in this one word
        return [_written(answer) if cursor.statusmessage == "COMMIT" else NotWritten(cursor.statusmessage or "")]

    async def _by_rest(self, submission: Submission) -> list[Fate]:
        (item,) = submission.items
        headers = {**JSON, "idempotency-key": item.key}
        answer = await self._post("/v1/jobs", _body(item.job), headers)
        if not isinstance(answer, httpx.Response):
            return [answer]
        job = msgspec.json.decode(answer.content, type=Single)
        return [Written(job.id, answer.status_code == 201)]

    async def _by_rest_batch(self, submission: Submission) -> list[Fate]:
        headers = {**JSON, "idempotency-key": submission.key}
        body = _body({"jobs": [item.job for item in submission.items]})
        answer = await self._post("/v1/jobs/batch", body, headers)
        if not isinstance(answer, httpx.Response):
            return [answer] * len(submission.items)
        entries = msgspec.json.decode(answer.content, type=Batch).jobs
        return [_of_entry(entry) for entry in entries]

    async def _by_stream(self, submission: Submission) -> list[Fate]:
        """Of a stream that ends early, what was not answered is unknown."""
        body = b"".join(_body(item.job) + b"\n" for item in submission.items)
        answer = await self._post("/v1/jobs/batch", body, NDJSON)
        if not isinstance(answer, httpx.Response):
            return [answer] * len(submission.items)
        fates: list[Fate] = [Unknown("the stream ended before its answer")] * len(submission.items)
        for line in answer.content.splitlines():
            entry = msgspec.json.decode(line, type=Entry)
            if entry.line is not None:
                fates[entry.line - 1] = _of_entry(entry)
        return fates

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response | NotWritten | Unknown:
        assert self._apis is not None
        return await self._apis.post(path, body, headers)


class Connections:
    """A few of one's own, in autocommit: one that failed is not used again, one that says nothing is shut down."""

    def __init__(self, dsn: str, answer_seconds: float) -> None:
        self._dsn = dsn
        self._answer_seconds = answer_seconds
        self._seats = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        async with self._seats:
            connection = self._idle.pop() if self._idle else await self._new()
            impatience = asyncio.get_running_loop().call_later(self._answer_seconds, shut_down, connection)
            try:
                yield connection
            except BaseException:
                shut_down(connection)
                await connection.close()
                raise
            finally:
                impatience.cancel()
            self._idle.append(connection)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _new(self) -> Connection:
        return await connect(self._dsn, role="torture submitter", timeout_ms=STATEMENT_MS)


class Apis:
    """The servers of the API, one after the other: after an error the next one is asked."""

    def __init__(self, urls: Sequence[str], answer_seconds: float) -> None:
        timeout = httpx.Timeout(answer_seconds, connect=5.0)
        self._clients = [httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) for url in urls]
        self._turn = 0

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response | NotWritten | Unknown:
        """A success, or what became of a request that was none."""
        client = self._clients[self._turn % len(self._clients)]
        try:
            response = await client.post(path, content=body, headers=dict(headers))
        except httpx.TransportError as error:
            self._turn += 1
            return of_request(error)
        if response.is_success:
            return response
        if response.status_code >= 500:
            self._turn += 1
        return of_status(response.status_code, _problem(response.content))


def _fate(error: Exception) -> NotWritten | Unknown:
    if not is_expected(error):
        raise error
    return of_statement(error)


def _written(answer: Submitted) -> Written:
    return Written(answer.id, answer.created, answer.outcome)


def _of_entry(entry: Entry) -> Fate:
    if entry.id is None:
        return NotWritten(entry.code or "refused")
    return Written(entry.id, entry.created, entry.outcome)


def _body(value: object) -> bytes:
    return encoded(value).encode()


def _problem(body: bytes) -> str:
    """The last word of its type."""
    try:
        return msgspec.json.decode(body, type=Problem).type.rsplit("/", 1)[-1]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "no problem document"
