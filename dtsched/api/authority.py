"""Who is let in to what: each request is put to dtsched.authorize(), which decides, before anything of it is read.

A yes is kept for a second, so that a stream of submissions does not ask for each: that a key was revoked or expired, or
that there is a key now where there was none, counts within that second. A no is never kept, and neither is any answer
to a key that is for some queues only: what that may depends on the job.
"""

import asyncio
import re
from collections import OrderedDict
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from dtsched.api.callers import NOBODY, Caller, queue_forbidden, scope_missing, set_admission, set_caller
from dtsched.api.database import Database, Questions, set_database
from dtsched.api.documentation import Access, operation_of
from dtsched.api.front_door import header_lines
from dtsched.api.problems import QUEUE_FORBIDDEN, UNAUTHORIZED, Refused
from dtsched.api.rates import FAILED_AUTHENTICATIONS, Guessers, address_of
from dtsched.api.requests import job_id_of
from dtsched.api_keys import Permit, Presented, Scope, read_key
from dtsched.checks import check_name
from dtsched.errors import InvalidInput, NotFound
from dtsched.settings import Rate

KEPT_SECONDS = 1.0
_MOST_KEPT = 1000

_BEARER = re.compile("bearer +(.*)", re.IGNORECASE | re.DOTALL)
_NO_JOB = 0
_NO_QUEUE = ""

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


class Reach(NamedTuple):
    """What an address is about: a job, a queue, everything (`whole`), or what its handler narrows down itself."""

    queue: str | None = None
    job_id: int | None = None
    whole: bool = False


class Question(NamedTuple):
    presented: Presented | None
    scope: Scope
    reach: Reach


class Answered(NamedTuple):
    permit: Permit
    asked_at: float


class Authority:
    """`keyless`: whoever has no key is let in, as long as no key was ever made."""

    def __init__(self, questions: Questions, *, keyless: bool, wrong_keys: Rate = FAILED_AUTHENTICATIONS) -> None:
        self._questions = questions
        self._keyless = keyless
        self._kept: dict[tuple[Presented | None, Scope], tuple[Caller, float]] = {}
        self._asking: dict[Question, asyncio.Task[Answered]] = {}
        self._right: OrderedDict[Presented, None] = OrderedDict()
        self._guessers = Guessers(wrong_keys)

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Of all routes. Raises what the request is refused with."""
        operation = operation_of(handler.opt)
        if operation is None or operation.access.scope is None:  # without an operation: the framework's OPTIONS
            set_caller(connection, NOBODY)
            return
        question = Question(
            self._presented(connection), operation.access.scope, _reach(operation.access, handler, connection)
        )
        set_caller(connection, await self._admitted(question, connection))
        set_admission(connection, partial(self._admitted, question))

    async def _admitted(self, question: Question, connection: Connection) -> Caller:
        """The time that the question took is no more there for those of the handler, but the time until it asks is not
        counted: it may wait for a body."""
        caller = self._recall(question)
        if caller is None:
            began = monotonic()
            caller = await self._ask(Database(self._questions), question, connection)
            set_database(connection, Database(self._questions, spent=monotonic() - began))
        return caller

    def _presented(self, connection: Connection) -> Presented | None:
        """None without a key. What the database need not be asked about is refused at once."""
        given = header_lines(connection.scope, "authorization")
        found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        presented = read_key(found[1]) if found else None
        if presented is None and (found or len(given) > 1 or not self._keyless):
            raise _unknown()
        return presented

    def _recall(self, question: Question) -> Caller | None:
        caller, until = self._kept.get((question.presented, question.scope), (None, 0.0))
        return caller if monotonic() < until else None

    async def _ask(self, database: Database, question: Question, connection: Connection) -> Caller:
        if question.presented is not None and question.presented not in self._right:
            self._guessers.refuse(address_of(connection))
        permit, asked_at = await self._permit(database, question)
        self._judge(question.presented, permit, connection)
        if permit.verdict != "ok":
            raise _refusal(permit, question, connection)
        caller = Caller(permit.name, permit.scopes, permit.queues)
        if caller.queues is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[question.presented, question.scope] = caller, asked_at + KEPT_SECONDS
        return caller

    def _judge(self, presented: Presented | None, permit: Permit, connection: Connection) -> None:
        """A key that was right once is asked about whatever others guess from the same address."""
        if presented is None:
            return
        if permit.verdict == "unknown":
            self._right.pop(presented, None)
            self._guessers.note_failed_authentication(address_of(connection))
        else:
            self._right[presented] = None
            if len(self._right) > _MOST_KEPT:
                self._right.popitem(last=False)

    async def _permit(self, database: Database, question: Question) -> Answered:
        """Requests that ask the same at the same time share a yes."""
        under_way = self._asking.get(question)
        if under_way is not None:
            answered = await database.ask(_joined(under_way))
            if answered.permit.verdict == "ok":
                return answered
        asking = asyncio.create_task(self._answer(question))
        self._asking[question] = asking
        asking.add_done_callback(lambda asked: self._answered(question, asked))
        return await database.ask(_joined(asking))

    async def _answer(self, question: Question) -> Answered:
        asked_at = monotonic()
        presented, scope, (queue, job_id, whole) = question
        permit = await Database(self._questions).store(
            lambda store: store.authorize(
                presented, scope, queue=queue, job_id=job_id, whole=whole, keyless=self._keyless
            )
        )
        return Answered(permit, asked_at)

    def _answered(self, question: Question, asked: asyncio.Task[Answered]) -> None:
        if self._asking.get(question) is asked:
            del self._asking[question]
        if not asked.cancelled():
            asked.exception()  # fetched, or asyncio complains if all who asked have gone


async def _joined(asked: asyncio.Task[Answered]) -> Answered:
    return await asyncio.shield(asked)


def _reach(access: Access, handler: BaseRouteHandler, connection: Connection) -> Reach:
    named: dict[str, Any] = connection.path_params
    if "job_id" in named:
        return Reach(job_id=_job_of(named["job_id"]))
    if "name" in named and all(path.startswith("/v1/queues/") for path in handler.paths):
        return Reach(queue=_queue_of(named["name"]))
    return Reach(whole=access.reach == "named")


def _job_of(given: str) -> int:
    """What cannot be an id is asked about too: only who may ask is told that there is no such job."""
    try:
        return job_id_of(given)
    except NotFound:
        return _NO_JOB


def _queue_of(given: str) -> str:
    try:
        check_name("queue", given)
    except InvalidInput:
        return _NO_QUEUE
    return given


def _refusal(permit: Permit, question: Question, connection: Connection) -> Exception:
    match permit.verdict:
        case "scope":
            return scope_missing(question.scope)
        case "missing":
            return _missing(connection.path_params["job_id"])
        case "queue":
            return queue_forbidden(connection.path_params["name"])
        case "whole":
            queues = ", ".join(permit.queues or ())
            return Refused(QUEUE_FORBIDDEN, f"this key is for the queues {queues} alone, and this is about more")
        case _:
            return _unknown()


def _unknown() -> Refused:
    return Refused(UNAUTHORIZED, "there is no valid API key in this request")


def _missing(given: str) -> NotFound:
    """The same sentence as where the job is not there."""
    try:
        return NotFound(f"there is no job {job_id_of(given)}")
    except NotFound as error:
        return error
