"""What a job is: the structs that travel between Python, REST and SQL, and the checks of a new one."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast
from uuid import UUID

import msgspec

from dtsched.checks import (
    MAX_BATCH_BYTES,
    MAX_SECONDS,
    UNSTORABLE,
    check_correlation_id,
    check_instant,
    check_integer,
    check_json,
    check_key,
    check_name,
    check_seconds,
    shown,
)
from dtsched.errors import InvalidInput

JobState: TypeAlias = Literal["blocked", "scheduled", "ready", "running", "completed", "failed", "cancelled"]
OnConflict: TypeAlias = Literal["keep", "replace", "reject", "supersede"]
"""What becomes of the job that holds the key of one that is submitted, see dtsched.submit_many()."""

KeyOutcome: TypeAlias = Literal["created", "kept", "replaced", "superseded"]
OnFailure: TypeAlias = Literal["cancel", "run", "skip"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})

T = TypeVar("T")
R = TypeVar("R")

_NAMED = 20  # of the wrong jobs of a batch
_AT = re.compile(r" - at .*`\$\.(?P<field>\w+)[^`]*`$")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the database has it. `timeout` in seconds; `result` is decoded JSON; `progress` has percent, message and
    at, of the attempt that runs or ran last; `args`, `result` and `progress` are None for whom the API does not show
    them. It holds its key until `key_until` though it may have ended by then; of
    "kept" that is the end of the year 9999. From `result_expired_at` on there is no result any more."""

    id: int
    queue: str
    task: str
    args: dict[str, Any] | None
    state: JobState
    priority: int
    run_at: datetime | None
    attempt: int
    max_attempts: int
    timeout: float | None
    key: str | None
    limit_key: str | None
    depends_on: list[int] | None
    tags: list[str]
    result: Any
    error: str | None
    progress: Any
    worker_id: UUID | None
    correlation_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    workflow_id: int | None
    skipped: bool
    deadline: datetime | None
    key_until: datetime | None
    result_expired_at: datetime | None


class ParentEdge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job to depend on, by its id or key or as the `entry`-th job, from 1, of those submitted together, and what
    becomes of the child if it does not complete."""

    job: int | str | None = None
    entry: int | None = None
    on_failure: OnFailure | None = None


class NewJob(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job to be submitted. None leaves a field to what its task declares, else its queue, else the default. `delay`,
    `timeout` and `expires_in` (a deadline from now) are seconds, or like "10m"; `key_for` too, or "unfinished" or
    "kept". `depends_on` takes ids, and keys: of jobs that are submitted with this one, else of unfinished jobs;
    `workflow` an id. An argument {"$parent": n} is replaced by the result of the n-th job of `depends_on` before it
    runs."""

    task: str
    args: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    queue: str | None = None
    priority: int | None = None
    run_at: datetime | None = None
    delay: float | str | None = None
    max_attempts: int | None = None
    timeout: float | str | None = None
    key: str | None = None
    limit_key: str | None = None
    depends_on: Sequence[int | str | ParentEdge] | None = None
    on_parent_failure: OnFailure | None = None
    workflow: int | None = None
    tags: list[str] | None = None
    backoff: dict[str, Any] | None = None
    deadline: datetime | None = None
    correlation_id: str | None = None
    expires_in: float | str | None = None
    key_for: float | str | None = None
    on_conflict: OnConflict | None = None


class Submitted(msgspec.Struct, frozen=True):
    """`created` is False where the job with the same key was kept, or replaced: `id` is then that job's. Superseded:
    this one was created, and has taken its key from another."""

    id: int
    created: bool
    outcome: KeyOutcome = "created"


class Emitted(msgspec.Struct, frozen=True):
    """`created` is False where the event had been emitted before, and that counts; `woken` jobs went on at once."""

    created: bool
    woken: int


class ParentResult(msgspec.Struct, frozen=True):
    """A job that this one depended on."""

    job_id: int
    state: JobState
    result: Any


class _Backoff(msgspec.Struct, forbid_unknown_fields=True):
    """What retry_delay() reads of a job's backoff."""

    kind: Literal["exponential", "linear", "fixed"]
    base: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] = 2.0
    cap: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] = 3600.0
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.25


def check(job: NewJob) -> NewJob:
    """The job with durations in seconds and times in UTC. Raises InvalidInput with the field, before anything is sent.

    The limits are those of the domains of dtsched.jobs and of job_problem(): what passed here and was refused there
    would abort the caller's transaction."""
    return check_typed(_check_types(job))


def check_typed(job: NewJob) -> NewJob:
    """check() of one that was read from JSON, and so is of the right types."""
    check_name("task", job.task)
    if job.queue is not None:
        check_name("queue", job.queue)
    check_integer("priority", job.priority, 1, 10)
    check_integer("max_attempts", job.max_attempts, 1, 1000)
    run_at = check_instant("run_at", job.run_at)
    deadline = check_instant("deadline", job.deadline)
    delay = check_seconds("delay", job.delay, positive=False)
    timeout = check_seconds("timeout", job.timeout, positive=True)
    expires_in = check_seconds("expires_in", job.expires_in, positive=True)
    if delay is not None and job.run_at is not None:
        raise InvalidInput("delay and run_at exclude each other: give one", field="delay")
    if expires_in is not None and deadline is not None:
        raise InvalidInput("expires_in and deadline exclude each other: give one", field="expires_in")
    check_key("key", job.key)
    key_for = _key_time(job.key_for)
    _check_conflict(job)
    check_key("limit_key", job.limit_key)
    check_correlation_id(job.correlation_id)
    _check_tags(job.tags)
    _check_parents(job.depends_on)
    check_json(job.args, field="args")
    _check_references(job.args, len(job.depends_on or ()))
    if job.workflow is not None and not 1 <= job.workflow < 10**18:
        raise InvalidInput(f"workflow must be the id of a workflow, not {job.workflow}", field="workflow")
    _check_backoff(job.backoff)
    return msgspec.structs.replace(
        job, run_at=run_at, deadline=deadline, delay=delay, timeout=timeout, expires_in=expires_in, key_for=key_for
    )


def check_all(jobs: Sequence[NewJob]) -> list[NewJob]:
    """check() of each, or an error that names all that are wrong."""
    return for_each(jobs, check)


def for_each(given: Sequence[T], make: Callable[[T], R]) -> list[R]:
    """What is made of each job of a batch, or an InvalidInput that says what is wrong with those of which nothing can
    be made."""
    made: list[R] = []
    wrong: dict[int, InvalidInput] = {}
    for number, one in enumerate(given, start=1):
        try:
            made.append(make(one))
        except InvalidInput as error:
            wrong[number] = error
    if wrong:
        raise refused(wrong, of=len(given)) from next(iter(wrong.values()))
    return made


def refused(wrong: Mapping[int, InvalidInput], *, of: int, noun: str = "job") -> InvalidInput:
    """One error for these jobs of a batch, by number, in the words of dtsched.refuse()."""
    (number, first), *others = wrong.items()
    named = ", ".join(f"{other:,}" if noun == "line" else str(other) for other, _ in others[: _NAMED - 1])
    more = len(others) - (_NAMED - 1)
    too = f" (refused too: {noun}{'s' * (len(others) > 1)} {named}{f' and {more} more' if more > 0 else ''})"
    return type(first)(
        (f"{noun} {number:,}: " if noun == "line" else f"job {number}: " if of > 1 else "")
        + str(first)
        + (too if others else ""),
        field=first.field,
        problems={n: str(error) for n, error in list(wrong.items())[:_NAMED]} if others else None,
    )


def encode(jobs: Sequence[NewJob]) -> bytes:
    """The JSON document that dtsched.submit_many() takes, of jobs that check() has passed."""
    return encode_batch(jobs)


def encode_batch(jobs: Sequence[object]) -> bytes:
    return _within(msgspec.json.encode(jobs))


def joined(encoded: Sequence[bytes]) -> bytes:
    """A batch of what has been encoded one by one."""
    return _within(b"[" + b",".join(encoded) + b"]")


def _within(raw: bytes) -> bytes:
    if len(raw) > MAX_BATCH_BYTES:
        raise InvalidInput(
            f"a batch must be at most 128 MiB ({MAX_BATCH_BYTES} bytes) of JSON, not {len(raw)} bytes: "
            "submit it in parts"
        )
    return raw


def _check_types(job: NewJob) -> NewJob:
    """A struct takes whatever it is made of."""
    try:
        return msgspec.convert(msgspec.structs.asdict(job), NewJob)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        field = found["field"] if found else None
        if field == "on_conflict":
            raise InvalidInput(
                f"on_conflict must be keep, replace, reject or supersede, not {shown(job.on_conflict)}", field=field
            ) from error
        if field == "on_parent_failure":
            raise InvalidInput(
                f"on_parent_failure must be cancel, run or skip, not {shown(job.on_parent_failure)}", field=field
            ) from error
        reason = _AT.sub("", str(error))
        raise InvalidInput(
            f"{field or 'a job'} is of a wrong type: {reason[:1].lower()}{reason[1:]}", field=field
        ) from error


def _check_backoff(policy: dict[str, Any] | None) -> None:
    if policy is None:
        return
    try:
        msgspec.convert(policy, _Backoff)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "backoff must be an object of kind (fixed, linear or exponential), base and cap (0 to 366 days, in "
            f"seconds) and jitter (0 to 1), not {shown(policy)}",
            field="backoff",
        ) from error


def _key_time(value: float | str | None) -> float | str | None:
    if value is None or value in ("unfinished", "kept"):
        return value
    try:
        return check_seconds("key_for", value, positive=True)
    except InvalidInput as error:
        raise InvalidInput(
            "key_for must be unfinished, kept, or over 0 and at most 366 days, in seconds or like 10m, not "
            f"{shown(value)}",
            field="key_for",
        ) from error


def _check_conflict(job: NewJob) -> None:
    for field in ("key_for", "on_conflict"):
        if job.key is None and getattr(job, field) is not None:
            raise InvalidInput(f"{field} needs a key: give one, or leave {field} out", field=field)
    if job.on_conflict == "replace" and job.depends_on:
        raise InvalidInput(
            "on_conflict replace leaves what the waiting job depends on as it is: leave depends_on out, or use "
            "supersede",
            field="on_conflict",
        )


def _check_tags(tags: list[str] | None) -> None:
    if tags is None:
        return
    if len(tags) > 20:
        raise InvalidInput(f"tags must be at most 20, not {len(tags)}", field="tags")
    for tag in tags:
        if not 1 <= len(tag) <= 64 or UNSTORABLE.search(tag):
            raise InvalidInput(f"tags must be of 1 to 64 characters, not {shown(tag)}", field="tags")


def reference_of(value: object) -> int | None:
    """Which parent's result an argument stands for."""
    if not isinstance(value, dict) or "$parent" not in value:
        return None
    place = cast("dict[str, object]", value)["$parent"]
    return place if len(cast("dict[str, object]", value)) == 1 and type(place) is int else 0


def _check_references(args: dict[str, Any], parents: int) -> None:
    """Without parents there is nothing to refer to, and args are taken as they are."""
    for name, value in args.items() if parents else ():
        place = reference_of(value)
        if place is not None and not 1 <= place <= parents:
            raise InvalidInput(
                f'args.{name} must be {{"$parent": n}}, n from 1 to {parents} as depends_on counts, not {shown(value)}',
                field="args",
            )


def _check_parents(parents: Sequence[int | str | ParentEdge] | None) -> None:
    if parents is None:
        return
    if len(parents) > 100_000:
        raise InvalidInput(
            f"depends_on must be at most 100000 job ids and keys, not {len(parents)}", field="depends_on"
        )
    for parent in parents:
        _check_parent(_job_of_edge(parent) if isinstance(parent, ParentEdge) else parent)


def _check_parent(parent: int | str | None) -> None:
    if isinstance(parent, str):
        check_key("depends_on", parent)
    elif parent is not None and not 1 <= parent < 10**18:
        raise InvalidInput(f"depends_on must be ids and keys of jobs, not {shown(parent)}", field="depends_on")


def _job_of_edge(edge: ParentEdge) -> int | str | None:
    if (edge.job is None) == (edge.entry is None):
        raise InvalidInput(
            'an object in depends_on must be like {"job": 17, "on_failure": "run"} or {"entry": 1}, '
            f"not {shown(msgspec.json.encode(edge).decode())}",
            field="depends_on",
        )
    if edge.entry is not None and not 1 <= edge.entry < 10**9:
        raise InvalidInput(
            f"an entry in depends_on must be the number of a job of the batch, from 1, not {shown(edge.entry)}",
            field="depends_on",
        )
    return edge.job
