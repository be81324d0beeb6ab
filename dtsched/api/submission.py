"""POST /v1/jobs and POST /v1/jobs/batch: bodies become jobs that are checked, or a problem that names the field."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Literal

from litestar import Response, post
from litestar.di import NamedDependency
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from dtsched.api.bodies import MAX_BATCH_BODY_BYTES, MAX_BATCH_JOBS, parse_batch
from dtsched.api.callers import Caller, caller_of, still_admitted, visible
from dtsched.api.database import Database, database_of
from dtsched.api.documentation import JSON, Answer, documented, own
from dtsched.api.encoded import EncodedResponse
from dtsched.api.entries import SHAPES, Malformed, entry_of
from dtsched.api.idempotency import HEADER, IdempotencyKey, replay, request_of
from dtsched.api.preferences import Prefer, applied, disconnected, wait_of
from dtsched.api.problems import (
    ANOTHER_REQUEST,
    INVALID,
    KEY_HELD,
    MALFORMED,
    QUEUE_FORBIDDEN,
    UNDER_WAY,
    UNKNOWN_TASK,
    FieldError,
    Refused,
    kind_of,
)
from dtsched.api.requests import (
    ApiRequest,
    body_of,
    convert,
    encoded_of,
    media_type_of,
    parsed,
    query_of,
    require_json,
    require_plain,
)
from dtsched.api.shapes import BatchBody, JobBody, JobLine
from dtsched.api.stream import MEDIA_TYPES, NDJSON, LineAnswer, LinesResponse, Stopped, Submitting
from dtsched.batches import Answered, ProblemCode, Wrong
from dtsched.connections import is_outage, is_transient
from dtsched.correlation import correlate, correlate_part
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.jobs import Job, KeyOutcome, NewJob, ParentEdge, Submitted, check_typed, refused

BATCH_SECONDS = 60.0  # for a body of 16 MiB to arrive

_NUMBER = re.compile(r"job ([0-9]+): ")
_MISSING_WORKFLOW = re.compile(r"there is no workflow ([0-9]+)")
_MISSING_PARENT = re.compile(r"depends_on names job ([0-9]+), which does not exist")


class Accepted(Struct, frozen=True):
    """A job that was submitted, but could not be read back any more."""

    id: int


class BatchEntry(Struct, frozen=True):
    """What came of a job of a batch; of one that was refused `id` is null, and the rest says why."""

    id: int | None
    created: bool
    outcome: KeyOutcome | Literal["refused"]
    code: ProblemCode | UnsetType = UNSET
    error: str | UnsetType = UNSET
    field: str | UnsetType | None = UNSET


class HowToSubmit(Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs are submitted."""

    check_tasks: Annotated[
        Literal["true", "false"],
        Meta(description="false: also tasks that no worker has ever declared, which wait until one does."),
    ] = "true"


class BatchAccepted(Struct, frozen=True):
    """In the order in which the jobs were sent."""

    jobs: list[BatchEntry]


@post(
    "/v1/jobs",
    summary="Submit a job",
    opt=documented(
        "jobs",
        own("submit"),
        {
            201: Answer(Job | Accepted, ["Location", "Preference-Applied", "Idempotency-Replayed"]),
            200: Answer(Job | Accepted, ["Location", "Preference-Applied", "Idempotency-Replayed"]),
        },
        body={JSON: JobBody},
        headers={"Prefer": Prefer, "Idempotency-Key": IdempotencyKey},
        problems=[UNKNOWN_TASK, KEY_HELD, QUEUE_FORBIDDEN, UNDER_WAY, ANOTHER_REQUEST],
    ),
)
async def submit_job(request: ApiRequest) -> Response[Job | Accepted]:
    """201 with the new job, or 200 with the one that has its key, as it was or with the new values (`on_conflict`).
    With an Idempotency-Key the same request has the first answer again, if it does not ask to wait."""
    database = database_of(request.scope)  # not injected: that takes a tenth of what all of this takes
    seconds, caller = wait_of(request), caller_of(request)
    raw = await encoded_of(request)
    once = request_of(request, raw)
    (job,) = correlate([check_typed(convert(await parsed(raw), NewJob, SHAPES))])
    answered = None if once else await database.gatherer.submit(job, caller.queues)
    replayed = False
    if answered is None:
        try:
            (answered,), replayed = await database.store(
                lambda store: store.submit_once([job], whole=True, queues=caller.queues, request=once)
            )
        except Conflict as error:
            raise Refused(KEY_HELD, str(error), field="key") from error
    submitted = _submitted(answered)
    found = answered.job if not seconds else None
    if found is None:
        found = await _read_back(request, database, submitted, seconds or 0)
    return EncodedResponse(
        _shown(caller, found, job, created=answered.created),
        status_code=201 if answered.created else 200,
        headers={"location": f"/v1/jobs/{submitted}", **applied(seconds), **replay(replayed)},
    )


def _submitted(answered: Answered) -> int:
    """Its id, or why it was refused."""
    if answered.id is not None:
        return answered.id
    kinds = {"unknown-task": UNKNOWN_TASK, "key-held": KEY_HELD, "queue-forbidden": QUEUE_FORBIDDEN}
    raise Refused(kinds.get(answered.code or "", INVALID), answered.error or "", field=answered.field)


async def _read_back(request: ApiRequest, database: Database, job_id: int, seconds: int) -> Job | Accepted:
    try:
        return await database.wait(job_id, seconds, unless=partial(disconnected, request))
    except Exception as error:
        if not isinstance(error, NotFound) and not is_outage(error) and not is_transient(error):
            raise
        return Accepted(job_id)  # it is committed: a 503 would have it submitted again


def _shown(caller: Caller, found: Job | Accepted, given: NewJob, *, created: bool) -> Job | Accepted:
    """Whoever submits a job sees the args that were sent; of a job that had its key already no more than others do, and
    of one that is in no queue of the caller's by now only the id: it was moved, or this is the first answer again."""
    if isinstance(found, Accepted):
        return found
    if created and caller.sees(found.queue):
        return found if caller.may("read-args") else structs.replace(visible(caller, found), args=given.args)
    return visible(caller, found) if caller.sees(found.queue) else Accepted(found.id)


@post(
    "/v1/jobs/batch",
    summary="Submit many jobs at once",
    opt=documented(
        "jobs",
        own("submit"),
        {
            201: Answer(BatchAccepted, ["Idempotency-Replayed"]),
            200: Answer(BatchAccepted, ["Idempotency-Replayed"], also=[(NDJSON, LineAnswer | Stopped)]),
        },
        body={JSON: BatchBody, NDJSON: JobLine},
        query=HowToSubmit,
        headers={"Idempotency-Key": IdempotencyKey},
        problems=[UNKNOWN_TASK, KEY_HELD, QUEUE_FORBIDDEN, UNDER_WAY, ANOTHER_REQUEST],
    ),
)
async def submit_batch(
    request: ApiRequest, database: NamedDependency[Database]
) -> Response[BatchAccepted] | Response[None]:
    """All or none, at most 10,000 jobs and 16 MiB; a bare array is taken too. 201 when a job was made, 200 when
    other jobs have all the keys already. A problem names the jobs by their numbers, from 1, the first 20 that are
    refused. With `partial` those that can be are submitted, and each of `jobs` says what came of it.

    With application/x-ndjson it is a stream without end, a job a line of at most 1.1 MiB, which is answered while it
    is read: a line for each, in order. Of each 1,000 those that can be are committed, and sooner when no more come.
    `depends_on` takes ids, and keys of the same 1,000 lines or of unfinished jobs. A stream that ends early has a last
    line `stopped_at`, from which on nothing is known; 10 seconds without a byte end it."""
    check_tasks = tasks_are_checked(request)
    if media_type_of(request) in MEDIA_TYPES:
        return _streamed(request, database, check_tasks=check_tasks)
    require_json(request)
    raw = await body_of(request, MAX_BATCH_BODY_BYTES, seconds=BATCH_SECONDS)
    once = request_of(request, raw)
    queues = caller_of(request).queues
    entries, partial = await asyncio.to_thread(_entries_of, raw)
    jobs = [] if partial else _all_right(entries)
    sent = correlate_part(entries if partial else jobs)
    try:
        answers, replayed = await database.store(
            lambda store: store.submit_once(sent, partial=partial, queues=queues, request=once, check_tasks=check_tasks)
        )
    except (InvalidInput, Conflict) as error:
        raise batch_refusal(error, jobs) from error
    return EncodedResponse(
        BatchAccepted([batch_entry(one) for one in answers]),
        status_code=201 if any(one.created for one in answers) else 200,
        headers=replay(replayed),
    )


def _streamed(request: ApiRequest, database: Database, *, check_tasks: bool) -> LinesResponse:
    require_plain(request)
    if request.headers.get(HEADER) is not None:
        raise Refused(MALFORMED, "a stream takes no Idempotency-Key: give each job a key of its own", field=HEADER)
    how = Submitting(caller_of(request).queues, check_tasks, partial(still_admitted, request))
    return LinesResponse(database, how)


def tasks_are_checked(request: ApiRequest) -> bool:
    return query_of(request, HowToSubmit, {"check_tasks": "true or false"}).check_tasks == "true"


def jobs_of(given: Sequence[object]) -> list[NewJob]:
    """Of what a batch holds. Refused when there are too few or too many, or one is wrong."""
    return _all_right(_entries(given))


def batch_refusal(error: InvalidInput | Conflict, jobs: Sequence[NewJob]) -> Exception:
    """What the database says of a batch, with the numbers of the jobs."""
    if isinstance(error, InvalidInput):
        return _numbered(error, jobs)
    number = _NUMBER.match(str(error))
    path = _path(int(number[1]) if number else 1, "key")
    return Refused(KEY_HELD, str(error), field=path, errors=_errors(error))


def batch_entry(answer: Answered | Submitted) -> BatchEntry:
    if isinstance(answer, Submitted) or answer.outcome != "refused":
        return BatchEntry(answer.id, answer.created, answer.outcome)
    return BatchEntry(None, False, "refused", answer.code or UNSET, answer.error or UNSET, answer.field)


def _entries_of(raw: bytes) -> tuple[list[NewJob | Wrong], bool]:
    given, partial = parse_batch(raw)
    return _entries(given), partial


def _entries(given: Sequence[object]) -> list[NewJob | Wrong]:
    if not 1 <= len(given) <= MAX_BATCH_JOBS:
        raise InvalidInput(f"a batch must be of 1 to {MAX_BATCH_JOBS} jobs, not {len(given)}", field="jobs")
    return [entry_of(element) for element in given]


def _all_right(entries: Sequence[NewJob | Wrong]) -> list[NewJob]:
    wrong = {number: entry.error for number, entry in enumerate(entries, start=1) if isinstance(entry, Wrong)}
    if wrong:
        number, first = next(iter(wrong.items()))
        kind = MALFORMED if isinstance(first, Malformed) else INVALID
        said = f"job {number}: {refused(wrong, of=1)}"
        paths = [
            FieldError(_path(n, error.field), said if n == number else f"job {n}: {error}")
            for n, error in islice(wrong.items(), 20)
        ]
        raise Refused(kind, said, field=_path(number, first.field), errors=paths) from first
    return [entry for entry in entries if isinstance(entry, NewJob)]


def _errors(error: InvalidInput | Conflict) -> list[FieldError]:
    """Of each job that is refused, where several are; the sentences begin with the field, most of them."""
    return [
        FieldError(_path(number, _field_of(sentence)), f"job {number}: {sentence}")
        for number, sentence in error.problems.items()
    ]


def _field_of(sentence: str) -> str | None:
    word = sentence.removeprefix("the ").partition(" ")[0]
    return word if word in SHAPES else "task" if " declared a task " in sentence else None


def _numbered(error: InvalidInput, jobs: Sequence[NewJob]) -> InvalidInput | Refused:
    """What the database says of a batch: it knows the number of the job, but not where only the commit shows it."""
    if found := _NUMBER.match(str(error)):
        return Refused(kind_of(error), str(error), field=_path(int(found[1]), error.field), errors=_errors(error))
    parent = _MISSING_PARENT.match(str(error))
    workflow = _MISSING_WORKFLOW.match(str(error))
    number = next(
        (
            n
            for n, job in enumerate(jobs, 1)
            if (parent and int(parent[1]) in map(_id_of, job.depends_on or ()))
            or (workflow and int(workflow[1]) == job.workflow)
        ),
        1,
    )
    return type(error)(f"job {number}: {error}", field=_path(number, error.field))


def _id_of(parent: int | str | ParentEdge) -> int | str | None:
    return parent.job if isinstance(parent, ParentEdge) else parent


def _path(number: int, field: str | None) -> str:
    return f"jobs[{number}].{field}" if field else f"jobs[{number}]"
