"""What submits over REST, as requests, and what came of it: for callers with an event loop and without."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import msgspec

from dtsched.batches import ProblemCode, Refusal, Wrong
from dtsched.errors import Conflict, InvalidInput
from dtsched.jobs import Emitted, KeyOutcome, NewJob, ParentEdge, Submitted
from dtsched.rest import Call, Reply

MOST_JOBS = 10_000
MOST_BYTES = 16 * 1024 * 1024

_FIRST = re.compile("^job 1: ")


class _Entry(msgspec.Struct):
    id: int | None
    created: bool
    outcome: str
    code: ProblemCode = "invalid-input"
    error: str = ""
    field: str | None = None


class _Accepted(msgspec.Struct):
    jobs: list[_Entry]


class _Made(msgspec.Struct):
    id: int
    submitted: list[_Entry] = []


def batch_call(entries: Sequence[NewJob | Wrong], *, check_tasks: bool, partial: bool = False) -> Call:
    """InvalidInput when it is more than the server takes at once."""
    jobs = [entry if isinstance(entry, NewJob) else _key_of(entry) for entry in entries]
    call = _call("/v1/jobs/batch", {"jobs": jobs, "partial": partial}, len(jobs), check_tasks=check_tasks)
    return call._replace(once=uuid4().hex)


def workflow_call(name: str, jobs: Sequence[NewJob], *, check_tasks: bool) -> Call:
    return _call("/v1/workflows", {"name": name, "jobs": jobs}, len(jobs), check_tasks=check_tasks)


def emit_call(name: str, payload: bytes) -> Call:
    """Emitting twice is emitting once, but for what is answered."""
    body = msgspec.json.encode({"name": name, "payload": msgspec.Raw(payload)})
    return Call("POST", "/v1/events", body)


def parts_of(entries: Sequence[NewJob | Wrong]) -> list[Sequence[NewJob | Wrong]]:
    """What a partial submission is sent in. Those that depend on one another by key or number stay together."""
    if len(entries) <= MOST_JOBS:
        return [entries] if entries else []
    if any(isinstance(entry, NewJob) and any(map(_is_within, entry.depends_on or ())) for entry in entries):
        raise _too_many(len(entries))
    return [entries[start : start + MOST_JOBS] for start in range(0, len(entries), MOST_JOBS)]


def submitted_of(reply: Reply) -> list[Submitted]:
    return [_submitted(entry) for entry in msgspec.json.decode(reply.body, type=_Accepted).jobs]


def answers_of(entries: Sequence[NewJob | Wrong], reply: Reply) -> list[Submitted | Refusal]:
    """Of those that were wrong before they were sent, what was wrong."""
    found = msgspec.json.decode(reply.body, type=_Accepted).jobs
    return [_answer(entry, told) for entry, told in zip(entries, found, strict=True)]


def workflow_of(reply: Reply) -> tuple[int, list[Submitted]]:
    made = msgspec.json.decode(reply.body, type=_Made)
    return made.id, [_submitted(entry) for entry in made.submitted]


def emitted_of(reply: Reply) -> Emitted:
    return msgspec.json.decode(reply.body, type=Emitted)


@contextmanager
def spared(jobs: Sequence[NewJob]) -> Generator[None]:
    """A single job is not told that it was the first of its batch."""
    try:
        yield
    except (InvalidInput, Conflict) as error:
        if len(jobs) != 1 or not _FIRST.match(str(error)):
            raise
        error.args = (_FIRST.sub("", str(error)),)
        raise


def _call(path: str, body: dict[str, object], jobs: int, *, check_tasks: bool) -> Call:
    if jobs > MOST_JOBS:
        raise _too_many(jobs)
    raw = msgspec.json.encode(body)
    if len(raw) > MOST_BYTES:
        raise InvalidInput(
            f"over REST at most 16 MiB ({MOST_BYTES} bytes) are submitted at once, not {len(raw)}: submit it in parts, "
            "or over the database"
        )
    return Call("POST", path, raw, {} if check_tasks else {"check_tasks": "false"})


def _too_many(count: int) -> InvalidInput:
    return InvalidInput(
        f"over REST at most {MOST_JOBS} jobs are submitted at once, not {count}: submit them in parts, or over the "
        "database"
    )


def _key_of(wrong: Wrong) -> dict[str, str]:
    """Refused for want of a task: others may depend on it by its key."""
    return {} if wrong.key is None else {"key": wrong.key}


def _is_within(parent: int | str | ParentEdge) -> bool:
    return isinstance(parent, str) or (isinstance(parent, ParentEdge) and not isinstance(parent.job, int))


def _submitted(entry: _Entry) -> Submitted:
    return Submitted(entry.id or 0, entry.created, msgspec.convert(entry.outcome, KeyOutcome))


def _answer(entry: NewJob | Wrong, told: _Entry) -> Submitted | Refusal:
    if isinstance(entry, Wrong):
        return Refusal(code="invalid-input", error=str(entry.error), field=entry.error.field)
    if told.id is None:
        return Refusal(code=told.code, error=told.error, field=told.field)
    return _submitted(told)
