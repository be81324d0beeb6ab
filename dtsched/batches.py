"""Batches of which only a part may be right: what is sent of a wrong job, and what is answered of a refused one."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from dtsched.checks import check_key
from dtsched.errors import InvalidInput
from dtsched.jobs import Job, KeyOutcome, NewJob, Submitted, check, encode_batch

T = TypeVar("T")

ProblemCode: TypeAlias = Literal["invalid-input", "unknown-task", "key-held", "queue-forbidden", "parent-refused"]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a partial batch that was not submitted, and why: `error` is a sentence. parent-refused: it depends on
    one of the batch that was not."""

    code: ProblemCode
    error: str
    field: str | None = None
    id: None = None
    created: Literal[False] = False
    outcome: Literal["refused"] = "refused"


class Wrong(NamedTuple):
    """A job that is wrong before it is sent. Its key goes along: others of the batch may depend on it by that."""

    error: InvalidInput
    key: str | None = None


def unless_wrong(
    make: Callable[[T], NewJob], given: T, key: object = None, *, check: Callable[[NewJob], NewJob] = check
) -> NewJob | Wrong:
    try:
        return check(make(given))
    except InvalidInput as error:
        # a thousand of them may be kept for a while: without the frames that they came from
        error.__cause__ = error.__context__ = None
        return Wrong(error.with_traceback(None), _usable(key))


def check_each(jobs: Sequence[NewJob]) -> list[NewJob | Wrong]:
    return [unless_wrong(_same, job, job.key) for job in jobs]


def encode_part(entries: Sequence[NewJob | Wrong]) -> tuple[str, str]:
    """What dtsched.submit_partly() takes: the jobs, and the problems that are known."""
    sent = [entry if isinstance(entry, NewJob) else {"key": entry.key} for entry in entries]
    problems: dict[str, dict[str, Any]] = {
        str(n): {"code": "invalid-input", "field": entry.error.field, "problem": str(entry.error)}
        for n, entry in enumerate(entries, 1)
        if isinstance(entry, Wrong)
    }
    return encode_batch(sent).decode(), msgspec.json.encode(problems).decode()


def answer(row: Sequence[Any]) -> Submitted | Refusal:
    """Of id, created, outcome, code, error and field, as dtsched.submit_partly() returns them."""
    if row[2] == "refused":
        return Refusal(code=row[3], error=row[4], field=row[5])
    return Submitted(id=row[0], created=row[1], outcome=row[2])


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What a request that submits is told of one of its jobs; `job` is all of it, where it was asked for."""

    id: int | None
    created: bool
    outcome: KeyOutcome | Literal["refused"]
    code: ProblemCode | None = None
    error: str | None = None
    field: str | None = None
    job: Job | None = None


class Request(NamedTuple):
    """One that is answered once: under its caller's own `key`, for as long as `digest` is the same."""

    caller: str
    key: str
    digest: bytes


class Replayed(NamedTuple):
    """`replayed`: the request had been answered before, and nothing was submitted."""

    answers: list[Answered]
    replayed: bool


def _same(job: NewJob) -> NewJob:
    return job


def _usable(key: object) -> str | None:
    try:
        if isinstance(key, str):
            check_key("key", key)
            return key
    except InvalidInput:
        pass
    return None
