"""The id by which a request, the jobs that came of it and what their handlers log can be found together: it is carried
in a context variable, from which log records take it and submitted jobs inherit it."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Protocol, cast
from uuid import uuid4

from msgspec.structs import replace

from dtsched.alike import Alike
from dtsched.batches import Wrong
from dtsched.checks import check_correlation_id, shown
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob

Fields = Mapping[str, str | int]


class Carrier(Protocol):
    """What runs now. The fields are asked for when a record is written or a job submitted, not when it begins."""

    def log_fields(self) -> Fields: ...


class _Fixed:
    def __init__(self, fields: Fields, within: Carrier | None) -> None:
        self._fields = fields
        self.within = within

    def log_fields(self) -> Fields:
        return self._fields


_carried: ContextVar[Carrier | None] = ContextVar("dtsched_carried", default=None)
_worker: ContextVar[str | None] = ContextVar("dtsched_worker", default=None)

carry = _carried.set
"""Until the next call in this context: one attempt after the other is carried so, 80,000 in a second."""


def fields() -> Fields:
    """Of what runs now, and nothing else: correlation_id, job_id, task, attempt, worker. To be sent to a process that
    runs a part of it, which then enters `carrying(fields)`."""
    carried, worker = _carried.get(), _worker.get()
    found: Fields = {} if carried is None else carried.log_fields()
    return found if worker is None else {"worker": worker, **found}


def carrier() -> Carrier | None:
    """What runs now, whatever fields were put over its own."""
    found = _carried.get()
    return found.within if isinstance(found, _Fixed) else found


class _Carrying:
    __slots__ = ("_fields", "_token")
    _token: Token[Carrier | None]

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _carried.set(_Fixed(self._fields, carrier()))

    def __exit__(self, *_: object) -> None:
        _carried.reset(self._token)


def carrying(fields: Fields) -> AbstractContextManager[None]:
    """Log records and jobs made inside have these fields."""
    return _Carrying(fields)  # every request enters one, and a generator would cost it four times as much


@contextmanager
def working_as(worker: str) -> Generator[None]:
    """What is started inside logs that it belongs to this worker."""
    token = _worker.set(worker)
    try:
        yield
    finally:
        _worker.reset(token)


@contextmanager
def correlated(correlation_id: str) -> Generator[None]:
    """Jobs submitted inside have this correlation id unless they name one themselves, and log records made inside carry
    it. It is 1 to 128 characters without control characters, or InvalidInput is raised."""
    given = cast("object", correlation_id)
    if not isinstance(given, str):
        raise InvalidInput(f"correlation_id must be a string, not {shown(given)}", field="correlation_id")
    check_correlation_id(given)
    with carrying({**fields(), "correlation_id": correlation_id}):
        yield


def correlate(jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    """Gives those that have no correlation id the one of what runs now, or one new one for all of them."""
    current = _current()
    if isinstance(jobs, Alike):
        return jobs.of(_with_id(jobs.job, current))
    return [_with_id(job, current) for job in jobs]


def correlate_part(entries: Sequence[NewJob | Wrong]) -> list[NewJob | Wrong]:
    """correlate() of those that are right."""
    current = _current()
    return [_with_id(entry, current) if isinstance(entry, NewJob) else entry for entry in entries]


def _current() -> str:
    return cast("str | None", fields().get("correlation_id")) or uuid4().hex


def _with_id(job: NewJob, current: str) -> NewJob:
    return replace(job, correlation_id=current) if job.correlation_id is None else job
