"""What a job is: the structs that travel between Python, REST and SQL, and what a handler may answer."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast
from uuid import UUID

import msgspec

from dtsched.errors import InvalidInput
from dtsched.settings import Duration, parse_duration

JobState: TypeAlias = Literal["blocked", "scheduled", "ready", "running", "completed", "failed", "cancelled"]
OnConflict: TypeAlias = Literal["keep", "replace", "reject", "supersede"]
"""What becomes of the job that holds the key of one that is submitted, see dtsched.submit_many()."""

KeyOutcome: TypeAlias = Literal["created", "kept", "replaced", "superseded"]
OnFailure: TypeAlias = Literal["cancel", "run", "skip"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})

MAX_ARGS_BYTES = 1024 * 1024
MAX_RESULT_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 128 * 1024 * 1024
MAX_DEPTH = 64
MAX_SECONDS = 366 * 86400.0

T = TypeVar("T")
R = TypeVar("R")

_NAMED = 20  # of the wrong jobs of a batch
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_POWER = re.compile(rb"(-?)[0-9](?:\.([0-9]+))?[eE]([+-]?[0-9]+)")
_MOST_EXPANSION = 64  # of compact JSON as PostgreSQL renders it: 5e-324 and a comma, 7 bytes, become 328
_AT = re.compile(r" - at .*`\$\.(?P<field>\w+)[^`]*`$")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the database has it. `timeout` in seconds; `result` is decoded JSON; `progress` has percent, message and
    at, of the attempt that runs or ran last. It holds its key until `key_until` though it may have ended by then; of
    "kept" that is the end of the year 9999. From `result_expired_at` on there is no result any more."""

    id: int
    queue: str
    task: str
    args: dict[str, Any]
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


class ErrorInfo(msgspec.Struct, frozen=True):
    """Why an attempt did not succeed."""

    type: str
    message: str
    traceback: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. `result` is encoded JSON, `delay` seconds (None: the job's backoff decides), `lineage` the
    classes of what its handler raised. A snooze with `wait` lasts as long as the sleep or the wait for an event of that
    name. `completing`: the handler has completed it in a transaction of its own, and that this outcome is refused says
    that it was committed."""

    lease_id: int
    kind: Literal["complete", "retry", "fail", "snooze", "cancel"]
    result: bytes | None = None
    delay: float | None = None
    error: ErrorInfo | None = None
    wait: str | None = None
    lineage: tuple[str, ...] = ()
    completing: bool = False


class RetryRules(msgspec.Struct, frozen=True):
    """Which errors are retried and when, by the names of their classes: what a handler raises in a process of its own
    is known by name alone."""

    on: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    delays: dict[str, float] = {}

    def allow(self, lineage: Sequence[str]) -> bool:
        """The class nearest to the error decides."""
        for name in lineage:
            if name in self.never:
                return False
            if name in self.on:
                return True
        return not self.on

    def delay(self, lineage: Sequence[str]) -> float | None:
        return next((self.delays[name] for name in lineage if name in self.delays), None)


Errors: TypeAlias = type[BaseException] | Sequence[type[BaseException]]


class Retry(Exception):
    """As a task's policy, Retry(5, backoff="exponential"): how often and how far apart an attempt is repeated; the wait
    is `base` seconds, doubled, added up or kept, at most `cap`, plus or minus the share `jitter`. With `on`, only
    errors of these classes are retried; those of `never` are not; an attempt that runs into its timeout counts as a
    TimeoutError; `delays` are waits for errors of some classes. Raised or returned by a handler, Retry(after="30s"):
    this attempt failed, repeat it then; used up attempts fail the job all the same."""

    def __init__(
        self,
        max_attempts: int | None = None,
        *,
        after: Duration | None = None,
        backoff: Literal["exponential", "linear", "fixed"] = "exponential",
        base: Duration = 2.0,
        cap: Duration = 3600.0,
        jitter: float = 0.25,
        on: Errors = (),
        never: Errors = (),
        delays: Mapping[type[BaseException], Duration] | None = None,
    ) -> None:
        super().__init__("the handler asked for another attempt")
        self.max_attempts = max_attempts
        self.after = None if after is None else parse_duration(after, field="after")
        if backoff not in ("exponential", "linear", "fixed"):
            raise InvalidInput(f"backoff must be exponential, linear or fixed, not {backoff!r}", field="backoff")
        if not 0 <= jitter <= 1:
            raise InvalidInput(f"jitter must be a share from 0 to 1, not {jitter!r}", field="jitter")
        self.policy: dict[str, Any] = {
            "kind": backoff,
            "base": parse_duration(base, field="base"),
            "cap": parse_duration(cap, field="cap"),
            "jitter": jitter,
        }
        self.rules = RetryRules(
            on=_class_names("on", on),
            never=_class_names("never", never),
            delays={
                name: _seconds("delays", delay, positive=False) or 0.0
                for name, delay in zip(_class_names("delays", list(delays or ())), (delays or {}).values(), strict=True)
            },
        )


class Snooze(Exception):
    """Raised or returned by a handler: run this job again after `delay`; it does not cost an attempt."""

    def __init__(self, delay: Duration) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay = parse_duration(delay, field="delay")


class Cancel(Exception):
    """Raised or returned by a handler: this job is not to be done any more."""

    def __init__(self, reason: str = "cancelled by its handler") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Fail(Exception):
    """Raised or returned by a handler: this job has failed, whatever attempts it has left."""

    def __init__(self, reason: str = "failed by its handler") -> None:
        super().__init__(reason)
        self.reason = str(reason)


def class_name(kind: type[BaseException]) -> str:
    """As dtsched.attempts has it in error_type."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def lineage_of(kind: type[BaseException]) -> tuple[str, ...]:
    """Its own name, and those of the classes it is derived from, nearest first."""
    return tuple(class_name(each) for each in kind.__mro__)


def _class_names(field: str, kinds: object) -> tuple[str, ...]:
    classes = [kinds] if isinstance(kinds, type | str) else list(cast("Sequence[object]", kinds))
    for kind in classes:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise InvalidInput(f"{field} must be classes of exceptions, not {shown(cast('object', kind))}", field=field)
    return tuple(class_name(kind) for kind in cast("list[type[BaseException]]", classes))


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
    job = _check_types(job)
    check_name("task", job.task)
    if job.queue is not None:
        check_name("queue", job.queue)
    _check_integer("priority", job.priority, 1, 10)
    _check_integer("max_attempts", job.max_attempts, 1, 1000)
    run_at = _instant("run_at", job.run_at)
    deadline = _instant("deadline", job.deadline)
    delay = _seconds("delay", job.delay, positive=False)
    timeout = _seconds("timeout", job.timeout, positive=True)
    expires_in = _seconds("expires_in", job.expires_in, positive=True)
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
    raw = msgspec.json.encode(jobs)
    if len(raw) > MAX_BATCH_BYTES:
        raise InvalidInput(
            f"a batch must be at most 128 MiB ({MAX_BATCH_BYTES} bytes) of JSON, not {len(raw)} bytes: "
            "submit it in parts"
        )
    return raw


def check_name(field: str, value: str, *, blamed: str | None = None) -> None:
    """Of a task or a queue. `blamed` is the field that the error carries, if another one holds it."""
    if not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{field} must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not {shown(value)}",
            field=blamed or field,
        )


def check_event(name: str, payload: object) -> bytes:
    """The payload as JSON, of an event whose name may be one."""
    check_key("name", name)
    return check_json(payload, field="payload")


def check_step(field: str, name: str) -> None:
    """Of a step, a sleep or an event."""
    check_key(field, name)


def check_correlation_id(value: str | None) -> None:
    _check_text("correlation_id", value, 128)


def check_json(value: object, *, field: str, limit: int = MAX_ARGS_BYTES) -> bytes:
    """Encodes what is to be stored as JSON, or says what in it cannot be. `limit`: bytes, as PostgreSQL writes it."""
    try:
        plain = msgspec.to_builtins(value, str_keys=True)  # or what a dataclass or a set holds would not be looked at
        _check_tree(plain, field, depth=1)
        raw = msgspec.json.encode(plain)
    except InvalidInput:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{field} cannot be stored as JSON: {error}", field=field) from error
    size = len(raw) if len(raw) <= limit // _MOST_EXPANSION else _rendered_bytes(raw)
    if size > limit:
        raise InvalidInput(
            f"{field} must be at most 1 MiB ({limit} bytes) of JSON, not {size} bytes: "
            "store the data elsewhere and pass a reference",
            field=field,
        )
    return raw


def shown(value: object) -> str:
    """A value as an error message shows it, cut to 60 characters."""
    text = repr(value) if not isinstance(value, str) else ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_tree(value: object, where: str, *, depth: int) -> None:
    """NUL, lone surrogates, NaN, infinities and deep nesting: what JSON in PostgreSQL has no place for."""
    if depth > MAX_DEPTH:
        raise InvalidInput(
            f"{where.split('.')[0]} must not be nested deeper than {MAX_DEPTH} levels", field=where.split(".")[0]
        )
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise InvalidInput(
                f"{where} must not hold NUL or a lone surrogate, as {shown(value)} does", field=where.split(".")[0]
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{where} must be a finite number, not {value!r}", field=where.split(".")[0])
    elif isinstance(value, dict):
        for name, item in cast("dict[object, object]", value).items():
            if isinstance(name, str):
                _check_tree(name, where, depth=depth)
            _check_tree(item, f"{where}.{name}" if depth == 1 else where, depth=depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in cast("list[object]", value):
            _check_tree(item, where, depth=depth + 1)


def _rendered_bytes(raw: bytes) -> int:
    """The size of compact JSON as PostgreSQL renders it: a space after each comma and colon, no powers of ten."""
    rest = _STRING.sub(b"", raw)
    return len(raw) + rest.count(b",") + rest.count(b":") + sum(map(_written_out, _POWER.finditer(rest)))


def _written_out(number: re.Match[bytes]) -> int:
    """How many bytes longer a number becomes: 1.5e3 is 1500, 1.5e-3 is 0.0015."""
    sign, fraction, exponent = number.groups(default=b"")
    decimals = max(0, len(fraction) - int(exponent))
    return len(sign) + max(1, 1 + int(exponent)) + (decimals and 1 + decimals) - len(number[0])


def _check_types(job: NewJob) -> NewJob:
    """A struct takes whatever it is made of; what is read from JSON has been through this already."""
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


def _check_integer(field: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidInput(f"{field} must be {low} to {high}, not {value}", field=field)


def _instant(field: str, value: datetime | None) -> datetime | None:
    """In UTC: 1969-12-31T23:00:00-05:00 is in 1970, which SQL does not see, and offsets may have seconds."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidInput(
            f"{field} must carry a time zone, as in 2030-01-31T09:00:00Z, not {value.isoformat()}", field=field
        )
    if not _EARLIEST <= value <= _LATEST:
        raise InvalidInput(f"{field} must be a finite time from 1970 to 9999, not {value.isoformat()}", field=field)
    return value.astimezone(UTC)


def _seconds(field: str, value: Duration | None, *, positive: bool) -> float | None:
    if value is None:
        return None
    seconds = parse_duration(value, field=field)
    if seconds > MAX_SECONDS or (positive and round(seconds * 1_000_000) == 0):  # an interval counts microseconds
        raise InvalidInput(
            f"{field} must be {'over 0 and' if positive else '0 to'} at most 366 days, not {value}", field=field
        )
    return seconds


def _check_text(field: str, value: str | None, longest: int) -> None:
    if value is not None and (not 1 <= len(value) <= longest or _CONTROL.search(value) or _UNSTORABLE.search(value)):
        raise InvalidInput(
            f"{field} must be 1 to {longest} characters without control characters, not {shown(value)}", field=field
        )


def check_key(field: str, value: str | None) -> None:
    _check_text(field, value, 255)


def _key_time(value: float | str | None) -> float | str | None:
    if value is None or value in ("unfinished", "kept"):
        return value
    try:
        return _seconds("key_for", value, positive=True)
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
        if not 1 <= len(tag) <= 64 or _UNSTORABLE.search(tag):
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
        raise InvalidInput(f"depends_on must be ids and keys of jobs, not {parent}", field="depends_on")


def _job_of_edge(edge: ParentEdge) -> int | str | None:
    if (edge.job is None) == (edge.entry is None):
        raise InvalidInput(
            'an object in depends_on must be like {"job": 17, "on_failure": "run"} or {"entry": 1}, '
            f"not {shown(msgspec.json.encode(edge).decode())}",
            field="depends_on",
        )
    if edge.entry is not None and not 1 <= edge.entry < 10**9:
        raise InvalidInput(
            f"an entry in depends_on must be the number of a job of the batch, from 1, not {edge.entry}",
            field="depends_on",
        )
    return edge.job
