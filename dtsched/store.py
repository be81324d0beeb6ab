"""How Python says what the schema's functions understand: one method per SQL function.

Args and results travel as encoded JSON and are never parsed here. Each call is one transaction.
"""

import select
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any, Literal, LiteralString, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec
import psycopg

from dtsched.alike import Alike
from dtsched.answers import Outcome
from dtsched.api_keys import KeyRecord, NewKey, Permit, Presented, Scope
from dtsched.batches import Answered, ProblemCode, Refusal, Replayed, Request, Wrong, answer, encode_part
from dtsched.connections import Connection, Row, connect, shut_down, translated
from dtsched.errors import InvalidInput, NotFound, SchemaMismatch, SchemaMissing
from dtsched.filters import Filter
from dtsched.jobs import Emitted, Job, KeyOutcome, NewJob, ParentResult, Submitted, encode
from dtsched.limits import KeyLimit
from dtsched.operations import NewOperation, OperationRecord, Step
from dtsched.overview import (
    AttemptRecord,
    AuditEntry,
    AuditLine,
    ErrorGroups,
    FeedEvent,
    FeedPage,
    HeldLimits,
    IdPage,
    JobPage,
    LimitRecord,
    LogLine,
    PastRetention,
    Queue,
    Reason,
    Retention,
    Sample,
    Stats,
    StepRecord,
    TaskRecord,
    WorkerRecord,
    WorkflowRecord,
    untouched,
)
from dtsched.schedules import Due, DueSchedule, NewSchedule, Schedule, Tick
from dtsched.wakes import Entry

S = TypeVar("S", bound=msgspec.Struct)

CONTRACT = 3
"""What dtsched.version() must answer. Raised by a change that programs of the version before cannot live with."""

LARGEST_ID = 2**63 - 1

SUBMIT_PARTLY: LiteralString = """select id, created, outcome, code, error, field
    from dtsched.submit_partly(%s::jsonb, %s, %s::jsonb)"""
_SUBMIT: LiteralString = "select id, created, outcome from dtsched.submit_many(%s::jsonb, %s, false, %s::text[])"
_SUBMIT_ALIKE: LiteralString = "select dtsched.submit_alike(%s::jsonb, %s::jsonb, %s, %s::text[])"
_SUBMIT_PARTLY_TO: LiteralString = """select id, created, outcome, code, error, field
    from dtsched.submit_partly(%s::jsonb, %s, %s::jsonb, %s::text[])"""
_SUBMIT_GATHERED: LiteralString = """select id, created, outcome, code, error, field, job
    from dtsched.submit_gathered(%s::jsonb, %s::jsonb)"""
_SUBMIT_ONCE: LiteralString = """select answer, replayed
    from dtsched.submit_once(%s::jsonb, %s::jsonb, %s, %s::text[], %s, %s, %s, %s)"""
_JOB_COLUMNS: LiteralString = """id, queue, task, args, state, priority, run_at, attempt, max_attempts, timeout, key,
    limit_key, depends_on, tags, result, error, progress, worker_id, correlation_id, created_at, started_at,
    finished_at, workflow_id, skipped, deadline, key_until, result_expired_at"""
JOB: LiteralString = f"select {_JOB_COLUMNS} from dtsched.job(%s)"
_VERSIONED_JOB: LiteralString = f"select {_JOB_COLUMNS}, dtsched.job_version(%s) from dtsched.job(%s)"
_LIST_JOBS: LiteralString = f"select {_JOB_COLUMNS}, scanned_to from dtsched.list_jobs(%s::jsonb, %s, %s)"
_WATCHED_JOBS: LiteralString = f"""select watched, version, {_JOB_COLUMNS}
    from dtsched.watched_jobs(%s::bigint[], %s::text[])"""
_READ_FEED: LiteralString = """select upto, told, event, job_id, queue, task, state, attempt, at
    from dtsched.read_feed(%s, %s, %s)"""
RECORD_STEP: LiteralString = "select result, created from dtsched.record_step(%s, %s, %s, %s::jsonb)"
EMIT: LiteralString = "select created, woken from dtsched.emit(%s, %s::jsonb)"
COMPLETE: LiteralString = "select dtsched.complete(%s, %s, %s::jsonb)"
_RENEW: LiteralString = "select alive, draining, cancelled from dtsched.renew(%s, %s::jsonb)"
_CLAIM: LiteralString = """select lease_id, job_id, task, args, attempt, max_attempts, timeout_seconds, correlation_id
    from dtsched.claim(%s, %s, %s, %s::text[], %s::integer)"""
_CLAIM_ENTRY: LiteralString = """select lease_id, job_id, task, args, attempt, max_attempts, timeout_seconds,
        correlation_id
    from dtsched.claim_entry(%s, %s, %s, %s::text[], %s::integer, %s::smallint, %s::xid8, %s)"""
_WORK: LiteralString = """select lease_id, job_id, task, args, attempt, max_attempts, timeout_seconds, correlation_id
    from dtsched.work(%s, %s::bigint[], %s::jsonb, %s::jsonb, %s, %s, %s::text[], %s::integer)"""
# finish() names those that were taken, all of them as a rule; work() those that were not
_FINISH: LiteralString = "select lease_id from dtsched.work(%s, %s::bigint[], %s::jsonb, %s::jsonb, '', 0)"
_CLAIM_LEASES: LiteralString = """select lease_id, secret, job_id, queue, task, args, attempt, max_attempts,
        timeout_seconds, deadline, correlation_id
    from dtsched.claim_leases(%s, %s, %s::integer, %s::text[])"""
_RESCUE: LiteralString = "select job_id, lease_id, state from dtsched.rescue(coalesce(%s, dtsched.witness()))"
_EXPIRE: LiteralString = "select job_id, lease_id, state from dtsched.expire(coalesce(%s, dtsched.witness()))"

_AUTHORIZE: LiteralString = """select verdict, name, scopes, queues
    from dtsched.authorize(%s, %s::bytea, %s, %s, %s::bigint, %s, %s)"""

_RETENTION: LiteralString = """select queue, nullif(completed, 'Infinity'), nullif(failed, 'Infinity'),
        nullif(cancelled, 'Infinity'), nullif(results, 'Infinity')
    from dtsched.retention()
    order by queue"""

# the claims depend on the promotion, so that they come after it and see what it made ready
# Who holds the lock that a claim tries knows that this one will get it.
_POLL: LiteralString = """select promoted.next_seconds, promoted.chores, served.queue, served.open, job.lease_id,
        job.job_id, job.task, job.args, job.attempt, job.max_attempts, job.timeout_seconds, job.correlation_id
    from dtsched.promote() promoted
    cross join lateral (
        select queue, room, slots, pg_try_advisory_xact_lock_shared(dtsched.gate() + 3, hashtext(queue)) as open
        from unnest(%s::text[], %s::integer[], %s::integer[]) given (queue, room, slots)) served
    left join lateral dtsched.claim(%s, served.queue,
        case when promoted.promoted >= 0 and served.open then served.room else 0 end, %s::text[], served.slots) job
        on true"""


class Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A claimed job. `args` is encoded JSON. Sent to a process it is an array, as a version of before expects it."""

    lease_id: int
    job_id: int
    task: str
    args: bytes
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    correlation_id: str | None


class Renewal(NamedTuple):
    """`alive` False: this identity is lost, register anew. `cancelled` are the leases whose handlers are to stop."""

    alive: bool
    draining: bool
    cancelled: list[int]


class Polled(NamedTuple):
    """`next_seconds` and `chores` are as in Promoted; `claimed` by queue. `refused`: of one of the queues nothing was
    let go, because it was just then paused or given a limit, so nobody can tell what there is."""

    next_seconds: float | None
    chores: list[str]
    claimed: dict[str, list[Claimed]]
    refused: bool


class Lease(NamedTuple):
    """A job claimed for a worker over HTTP, in the order of the columns of dtsched.claim_leases(). `args` is encoded
    JSON; `secret` is told here and never again."""

    lease_id: int
    secret: str
    job_id: int
    queue: str
    task: str
    args: bytes
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    deadline: datetime | None
    correlation_id: str | None


class Beat(NamedTuple):
    """`cancelled` are leases whose handlers are to stop, `lost` those that were named and are not held any more."""

    draining: bool
    cancelled: list[int]
    lost: list[int]


class Rescued(NamedTuple):
    job_id: int
    lease_id: int
    state: str


class Expired(NamedTuple):
    """`lease_id` is None where the job was waiting."""

    job_id: int
    lease_id: int | None
    state: str


class Promoted(NamedTuple):
    """`next_seconds`: until the next job is due, 0 when more are due now, None when none is scheduled. `chores`: the
    other steps that have something to do now."""

    promoted: int
    next_seconds: float | None
    chores: list[str]


class Pruned(NamedTuple):
    """What one call deleted; `more`: another may find more at once."""

    jobs: int
    results: int
    partitions: int
    more: bool


class Store:
    """One method per SQL function, over one connection. Not to be used by two tasks at once."""

    spans_calls = True
    """transaction() makes one of several calls."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def close(self) -> None:
        await self._connection.close()

    def sever(self) -> None:
        """Whoever waits for an answer on this connection meets an outage, also if the other end is a black hole."""
        shut_down(self._connection)

    @property
    def usable(self) -> bool:
        """False after an outage, or in the middle of what was given up."""
        return self._connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE

    @property
    def quiet(self) -> bool:
        """Nothing has come that was not asked for, as it does when the server ends the session."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """All calls made inside are one transaction."""
        return self._connection.transaction()

    async def probe(self) -> None:
        await self._row("select 1")

    async def require_contract(self) -> None:
        """Raises SchemaMissing or SchemaMismatch unless the database speaks this program's contract."""
        check_contract(cast("int", (await self._row("select dtsched.version()"))[0]))

    async def submit_many(
        self, jobs: Sequence[NewJob], *, check_tasks: bool = True, queues: Sequence[str] | None = None
    ) -> list[Submitted]:
        """In the order given, all or none. `queues` are those that the submitter may submit to (None: all)."""
        statement, values = submission(jobs, check_tasks=check_tasks, queues=queues)
        return submitted(jobs, await self._rows(statement, *values))

    async def submit_partly(
        self, entries: Sequence[NewJob | Wrong], *, check_tasks: bool = True, queues: Sequence[str] | None = None
    ) -> list[Submitted | Refusal]:
        """In the order given, those that can be. `queues` are those that the submitter may submit to (None: all)."""
        jobs, problems = encode_part(entries)
        rows = await self._rows(_SUBMIT_PARTLY_TO, jobs, check_tasks, problems, _listed(queues))
        return [answer(row) for row in rows]

    async def submit_gathered(self, jobs: Sequence[bytes], queues: Sequence[Sequence[str] | None]) -> list[Answered]:
        """Encoded jobs of several submitters, each as if alone, with the queues that its submitter may submit to (None:
        all). None has a key, depends_on or a workflow."""
        limited = _json(queues) if any(given is not None for given in queues) else None
        rows = await self._rows(_SUBMIT_GATHERED, (b"[" + b",".join(jobs) + b"]").decode(), limited)
        return [
            Answered(
                id=row[0], created=row[1], outcome=row[2], code=row[3], error=row[4], field=row[5], job=_job(row[6])
            )
            for row in rows
        ]

    async def submit_once(
        self,
        entries: Sequence[NewJob | Wrong],
        *,
        partial: bool = False,
        whole: bool = False,
        queues: Sequence[str] | None = None,
        request: Request | None = None,
        check_tasks: bool = True,
    ) -> Replayed:
        """What one request submits, all or none, or with `partial` those that can be; `whole`: with the jobs. With
        `request`, what the first one of that key and digest was answered, within a day."""
        jobs, problems = encode_part(entries)
        caller, key, digest = request or ("", None, None)
        row = await self._row(
            _SUBMIT_ONCE,
            jobs,
            problems if partial else None,
            whole,
            _listed(queues),
            caller,
            key,
            digest,
            check_tasks,
        )
        return Replayed([_answered(told) for told in msgspec.json.decode(row[0], type=list[_Told])], row[1])

    async def job_of_key(self, key: str, queues: Sequence[str] | None = None) -> int | None:
        """The job that holds it, if it is of one of these queues (None: of any)."""
        rows = await self._rows("select dtsched.job_of_key(%s, %s::text[])", key, _listed(queues))
        return rows[0][0] if rows else None

    async def forget_answers(self, limit: int = 1000) -> int:
        """How many remembered answers were deleted, because their day is over."""
        return cast("int", (await self._row("select dtsched.forget_answers(%s)", limit))[0])

    async def job(self, job_id: int) -> Job | None:
        if job_id > LARGEST_ID:
            return None
        rows = await self._rows(JOB, job_id)
        return to_job(rows[0]) if rows else None

    async def versioned_job(self, job_id: int) -> tuple[Job, str] | None:
        """The job, and what names this version of it."""
        if job_id > LARGEST_ID:
            return None
        rows = await self._rows(_VERSIONED_JOB, job_id, job_id)
        return (to_job(rows[0][:-1]), rows[0][-1]) if rows else None

    async def list_jobs(self, wanted: Filter, *, before: int | None = None, limit: int = 100) -> JobPage:
        """At most 200 a page; `before` is the `next` of the page before."""
        rows = await self._rows(_LIST_JOBS, _json(wanted), before, limit)
        jobs = [to_job(row[:-1]) for row in rows if row[0] is not None]
        return JobPage(jobs, _next_page(rows[-1][-1] if rows else None, [job.id for job in jobs], min(limit, 200)))

    async def find_jobs(self, wanted: Filter, *, before: int | None = None, limit: int = 1000) -> IdPage:
        row = await self._row(
            "select ids, scanned_to from dtsched.find_jobs(%s::jsonb, %s, %s)", _json(wanted), before, limit
        )
        return IdPage(row[0], _next_page(row[1], row[0], limit))

    async def attempts(self, job_id: int) -> list[AttemptRecord]:
        """Those that did not simply succeed, newest first, at most 200."""
        return await self._records(AttemptRecord, "select * from dtsched.list_attempts(%s)", job_id)

    async def logs(
        self, job_id: int, *, after: int = 0, limit: int = 1000, attempt: int | None = None
    ) -> list[LogLine]:
        """In order, at most 1,000; `after` is the `line` of the last one before."""
        if job_id > LARGEST_ID:
            return []
        return await self._records(
            LogLine, "select * from dtsched.list_logs(%s, %s, %s, %s)", job_id, after, limit, attempt
        )

    async def why(self, job_id: int) -> list[Reason]:
        """Why a job is where it is, the decisive reason first; none when there is no such job."""
        if job_id > LARGEST_ID:
            return []
        return await self._records(Reason, "select code, reason from dtsched.why(%s)", job_id)

    async def now(self) -> datetime:
        """The database's clock, which decides when a job is due."""
        return cast("datetime", (await self._row("select dtsched.now()"))[0])

    async def queues(self, name: str | None = None, *, among: Sequence[str] | None = None) -> list[Queue]:
        """`among`: these and no others."""
        return await self._records(Queue, "select * from dtsched.list_queues(%s, %s::text[])", name, _some(among))

    async def workers(self, worker_id: UUID | None = None, *, among: Sequence[str] | None = None) -> list[WorkerRecord]:
        """`among`: those that serve one of these queues, with these alone."""
        return await self._records(
            WorkerRecord, "select * from dtsched.list_workers(%s, %s::text[])", worker_id, _some(among)
        )

    async def tasks(self, name: str | None = None) -> list[TaskRecord]:
        return await self._records(TaskRecord, "select * from dtsched.list_tasks(%s)", name)

    async def stats(self, *, among: Sequence[str] | None = None) -> Stats:
        """`among`: what concerns these queues."""
        row = await self._row("select dtsched.stats(%s::text[])", _some(among))
        return msgspec.json.decode(row[0], type=Stats)

    async def metrics(self) -> list[Sample]:
        return await self._records(Sample, "select name, labels, value from dtsched.metrics()")

    async def ended(self, ids: Sequence[int]) -> set[int]:
        """Those that have ended, or are not there."""
        rows = await self._rows("select dtsched.ended(%s::bigint[])", _ids(ids))
        return {row[0] for row in rows}

    async def watched_jobs(self, versions: Mapping[int, str | None]) -> dict[int, tuple[str, Job] | None]:
        """Those that are not as they were known, at most 100; with the version that they have now. None: it is gone."""
        rows = await self._rows(_WATCHED_JOBS, _ids(list(versions)), list(versions.values()))
        return {row[0]: None if row[2] is None else (row[1], to_job(row[2:])) for row in rows}

    async def read_feed(self, since: str | None, upto: str | None = None, *, limit: int) -> FeedPage:
        """More events than `limit`: there are others. See dtsched.read_feed()."""
        (first, told, *_), *rows = await self._rows(_READ_FEED, since, upto, limit)
        return FeedPage(first, told, [FeedEvent(*row[2:]) for row in rows])

    async def prune_feed(self, limit: int = 10_000) -> int:
        """How many rows were deleted; as many as the limit: there are more."""
        return cast("int", (await self._row("select dtsched.prune_feed(%s)", limit))[0])

    async def jobs_of_keys(self, keys: Sequence[str]) -> dict[str, int]:
        """The job that holds each of these keys."""
        rows = await self._rows("select key, job_id from dtsched.jobs_of_keys(%s)", list(keys))
        return {row[0]: row[1] for row in rows}

    async def cancel(self, ids: Sequence[int]) -> dict[int, str]:
        """What came of each: cancelled, requested, finished, busy or missing."""
        return await self._outcomes("select job_id, outcome from dtsched.cancel(%s::bigint[])", ids)

    async def retry(self, ids: Sequence[int]) -> dict[int, str]:
        """What came of each: retried, unfinished, finished, key_held, parents, deadline, busy or missing; see
        dtsched.retry()."""
        return await self._outcomes("select job_id, outcome from dtsched.retry(%s::bigint[])", ids)

    async def run_now(self, ids: Sequence[int]) -> dict[int, str]:
        """What came of each: ready, blocked, running, finished, busy or missing."""
        return await self._outcomes("select job_id, outcome from dtsched.run_now(%s::bigint[])", ids)

    async def reschedule(self, ids: Sequence[int], run_at: datetime) -> dict[int, str]:
        """What came of each: scheduled, ready, blocked, running, finished, busy or missing."""
        return await self._outcomes("select job_id, outcome from dtsched.reschedule(%s::bigint[], %s)", ids, run_at)

    async def delete(self, ids: Sequence[int]) -> dict[int, str]:
        """What came of each: deleted, running, busy or missing."""
        return await self._outcomes("select job_id, outcome from dtsched.delete(%s::bigint[])", ids)

    async def edit(self, ids: Sequence[int], changes: Mapping[str, Any]) -> dict[int, str]:
        """What came of each: edited, running, finished, too_large, busy or missing; see dtsched.edit()."""
        return await self._outcomes(
            "select job_id, outcome from dtsched.edit(%s::bigint[], %s::jsonb)", ids, _json(changes)
        )

    async def edit_expecting(self, job_id: int, changes: Mapping[str, Any], versions: Sequence[str]) -> str:
        """What came of it, as of edit(); changed: it is none of these versions any more."""
        if job_id > LARGEST_ID:
            return "missing"
        row = await self._row(
            "select dtsched.edit_expecting(%s, %s::jsonb, %s::text[])", job_id, _json(changes), list(versions)
        )
        return cast("str", row[0])

    async def pause(self, queue: str) -> bool:
        """False when it was paused already."""
        return bool((await self._row("select dtsched.pause(%s)", queue))[0])

    async def drained(self, queue: str) -> bool:
        """It is paused, and none of its jobs runs, nor will."""
        return bool((await self._row("select dtsched.drained(%s)", queue))[0])

    async def resume(self, queue: str) -> bool:
        """False when it was not paused."""
        return bool((await self._row("select dtsched.resume(%s)", queue))[0])

    async def set_queue(self, queue: str, settings: Mapping[str, object]) -> dict[str, Any]:
        """Changes those that are named (None takes one away), and returns all that the queue has then. As
        checked_settings() passed them."""
        row = await self._row("select dtsched.set_queue(%s, %s::jsonb)", queue, _json(settings))
        return msgspec.json.decode(row[0], type=dict[str, Any])

    async def set_limit(self, limit: KeyLimit) -> LimitRecord:
        """As checked_limit() passed it. What is None is as the queue of a job says."""
        await self._rows("select dtsched.set_limit(%s, %s::integer, %s::double precision, %s::integer)", *limit)
        return await self.limit(limit.key) or untouched(limit.key)

    async def limit(self, key: str) -> LimitRecord | None:
        """None where nothing is set for the key, and no job of it runs or waits."""
        found = await self.limits(key)
        return found[0] if found else None

    async def effective_limits(self, key: str, queue: str = "default") -> HeldLimits:
        """What holds for the key among the jobs of this queue."""
        return (await self._records(HeldLimits, "select * from dtsched.effective_limits(%s, %s)", key, queue))[0]

    async def limits(self, key: str | None = None, *, after: str | None = None, limit: int = 200) -> list[LimitRecord]:
        """By key, at most 200; `after` is the last one of the page before."""
        return await self._records(LimitRecord, "select * from dtsched.list_limits(%s, %s, %s)", key, after, limit)

    async def parents(self, job_id: int) -> list[ParentResult]:
        rows = await self._rows("select job_id, state, result from dtsched.parents(%s)", job_id)
        return [ParentResult(job_id=row[0], state=row[1], result=_decoded(row[2])) for row in rows]

    async def parent_results(self, job_id: int, places: Sequence[int]) -> dict[int, bytes | None]:
        """Encoded results of parents that completed, by their places in depends_on, from 1."""
        rows = await self._rows(
            "select place, result from dtsched.parent_results(%s, %s::integer[])", job_id, _ids(places)
        )
        return {row[0]: row[1] for row in rows}

    async def create_workflow(self, name: str) -> int:
        return cast("int", (await self._row("select dtsched.create_workflow(%s)", name))[0])

    async def submit_workflow(
        self,
        workflow: int | str,
        jobs: Sequence[NewJob],
        *,
        check_tasks: bool = True,
        queues: Sequence[str] | None = None,
    ) -> tuple[int, list[Submitted]]:
        """All or none: the jobs, and with a name instead of an id the workflow that they are to belong to. `queues` as
        in submit_many()."""
        with translated():  # that a parent is missing shows when it is committed
            return await self._submit_workflow(workflow, jobs, check_tasks=check_tasks, queues=queues)

    async def _submit_workflow(
        self, workflow: int | str, jobs: Sequence[NewJob], *, check_tasks: bool, queues: Sequence[str] | None
    ) -> tuple[int, list[Submitted]]:
        async with self.transaction():
            workflow_id = workflow if isinstance(workflow, int) else await self.create_workflow(workflow)
            members = [msgspec.structs.replace(job, workflow=workflow_id) for job in jobs]
            return workflow_id, await self.submit_many(members, check_tasks=check_tasks, queues=queues)

    async def workflow(self, workflow_id: int) -> WorkflowRecord | None:
        if workflow_id > LARGEST_ID:
            return None
        found = await self._records(WorkflowRecord, "select * from dtsched.workflow(%s)", workflow_id)
        return found[0] if found else None

    async def list_workflows(self, *, before: int | None = None, limit: int = 50) -> list[WorkflowRecord]:
        """Newest first, below the id `before`, at most 200."""
        return await self._records(WorkflowRecord, "select * from dtsched.list_workflows(%s, %s)", before, limit)

    async def cancel_workflow(self, workflow_id: int) -> dict[int, str]:
        """What came of each job that had not ended, as of cancel(). NotFound when there is no such workflow."""
        rows = await self._rows("select job_id, outcome from dtsched.cancel_workflow(%s)", workflow_id)
        return {row[0]: row[1] for row in rows}

    async def retry_workflow(self, workflow_id: int) -> dict[int, str]:
        """What came of each failed or cancelled job, as of retry(). NotFound when there is no such workflow."""
        rows = await self._rows("select job_id, outcome from dtsched.retry_workflow(%s)", workflow_id)
        return {row[0]: row[1] for row in rows}

    async def begun_steps(self, job_id: int) -> set[str]:
        """The names of the steps, sleeps and waits that a job has come to."""
        return {row[0] for row in await self._rows("select dtsched.begun_steps(%s)", job_id)}

    async def recall_step(self, job_id: int, name: str) -> bytes | None:
        """JSON; None when the step has not been recorded."""
        rows = await self._rows("select dtsched.recall_step(%s, %s)", job_id, name)
        return rows[0][0] if rows else None

    async def record_step(self, worker_id: UUID, lease_id: int, name: str, result: bytes) -> bytes:
        """What is remembered from now on, which is what was recorded first. LeaseLost without the lease."""
        return (await self._row(RECORD_STEP, worker_id, lease_id, name, result.decode()))[0]

    async def start_sleep(self, worker_id: UUID, lease_id: int, name: str, seconds: float) -> bool:
        """Whether it is over. LeaseLost without the lease."""
        row = await self._row("select dtsched.start_sleep(%s, %s, %s, %s::float8)", worker_id, lease_id, name, seconds)
        return bool(row[0])

    async def await_event(
        self, worker_id: UUID, lease_id: int, step: str, event: str, seconds: float | None
    ) -> tuple[str, bytes | None]:
        """event and its payload, timeout, wait or busy; see dtsched.await_event(). LeaseLost without the lease."""
        row = await self._row(
            "select outcome, payload from dtsched.await_event(%s, %s, %s, %s, %s::float8)",
            *(worker_id, lease_id, step, event, seconds),
        )
        return row[0], row[1]

    async def emit(self, name: str, payload: bytes) -> Emitted:
        return Emitted(*await self._row(EMIT, name, payload.decode()))

    async def deliver_events(self) -> int:
        """How many jobs were woken that could not be when their event was emitted."""
        return cast("int", (await self._row("select dtsched.deliver_events()"))[0])

    async def forget_events(self) -> int:
        return cast("int", (await self._row("select dtsched.forget_events()"))[0])

    async def steps(self, job_id: int) -> list[StepRecord]:
        """In the order in which they began, at most 1,000."""
        return await self._records(StepRecord, "select * from dtsched.list_steps(%s)", job_id)

    async def register_worker(
        self,
        worker_id: UUID,
        name: str,
        queues: Sequence[str],
        tasks: Sequence[str],
        *,
        slots: int,
        lease_seconds: float,
        info: Mapping[str, object] | None = None,
        declared: Mapping[str, object] | None = None,
    ) -> None:
        """`declared` is what the code of tasks declares, by name: see TaskDefinition.declaration()."""
        await self._rows(
            "select dtsched.register_worker(%s, %s, %s::text[], %s::text[], %s, %s, %s::jsonb, %s::jsonb)",
            worker_id,
            name,
            _names(queues),
            _names(tasks),
            slots,
            timedelta(seconds=lease_seconds),
            msgspec.json.encode(info or {}).decode(),
            _json(declared or {}),
        )

    async def renew(self, worker_id: UUID, info: Mapping[str, object] | None = None) -> Renewal:
        """`info` takes the place of what was registered."""
        return Renewal._make(await self._row(_RENEW, worker_id, None if info is None else _json(info)))

    async def deregister_worker(self, worker_id: UUID) -> int:
        """How many jobs were still held, and have been handed back as started."""
        return cast("int", (await self._row("select dtsched.deregister_worker(%s)", worker_id))[0])

    async def work(
        self,
        worker_id: UUID,
        outcomes: Sequence[Outcome],
        queue: str,
        limit: int,
        tasks: Sequence[str],
        *,
        slots: int | None = None,
        entry: Entry | None = None,
    ) -> tuple[list[Claimed], list[int]]:
        """Finishes, claims (`slots` of these jobs can start at once; None: all of them); returns the claimed jobs and
        the leases that were refused because they are gone. Where there is nothing to finish, a claim is content with
        the job of that `entry`, if it is to be had."""
        if not outcomes:
            named = () if entry is None else (entry.priority, str(entry.xid), entry.job_id)
            statement = _CLAIM if entry is None else _CLAIM_ENTRY
            rows = await self._rows(statement, worker_id, queue, limit, _names(tasks), slots, *named)
            return list(starmap(Claimed, rows)), []
        done, results, others = _split(outcomes)
        rows = await self._rows(_WORK, worker_id, done, results, others, queue, limit, _names(tasks), slots)
        if rows and rows[0][1] is None:
            claimed = [Claimed(*row) for row in rows if row[1] is not None]
            return claimed, [row[0] for row in rows if row[1] is None]
        return list(starmap(Claimed, rows)), []

    async def poll(self, worker_id: UUID, rooms: Mapping[str, tuple[int, int]], tasks: Sequence[str]) -> Polled:
        """Promotes, then claims for several queues: all that an idle worker has to ask, in one statement. A room is how
        many jobs are wanted, and how many of them can start at once."""
        limits, slots = _ids([room for room, _ in rooms.values()]), _ids([free for _, free in rooms.values()])
        rows = await self._rows(_POLL, _names(list(rooms)), limits, slots, worker_id, _names(tasks))
        claimed: dict[str, list[Claimed]] = {queue: [] for queue in rooms}
        for row in rows:
            if row[4] is not None:
                claimed[row[2]].append(Claimed(*row[4:]))
        refused = not all(row[3] for row in rows)
        return Polled(rows[0][0] if rows else None, rows[0][1] if rows else [], claimed, refused)

    async def finish(self, worker_id: UUID, outcomes: Sequence[Outcome]) -> list[int]:
        """The leases that were refused because they are gone."""
        done, results, others = _split(outcomes)
        return [row[0] for row in await self._rows(_FINISH, worker_id, done, results, others)]

    async def report(self, worker_id: UUID, reports: bytes) -> list[int]:
        """The leases whose progress and lines were taken; of the others somebody holds the job's row, or they are
        gone."""
        rows = await self._rows("select dtsched.report(%s, %s::jsonb)", worker_id, reports.decode())
        return [row[0] for row in rows]

    async def held(self, worker_id: UUID, leases: Sequence[int]) -> list[int]:
        """Those of its leases that cannot be finished now, because somebody else holds their job's row."""
        rows = await self._rows("select dtsched.held(%s, %s::bigint[])", worker_id, _ids(leases))
        return [row[0] for row in rows]

    async def release(self, worker_id: UUID, never_started: Sequence[int], started: Sequence[int]) -> list[int]:
        """The leases that are over, by this or already. The rows of the others are held by somebody: ask again."""
        rows = await self._rows(
            "select dtsched.release(%s, %s::bigint[], %s::bigint[])", worker_id, _ids(never_started), _ids(started)
        )
        return [row[0] for row in rows]

    async def reconcile(self, worker_id: UUID, held: Sequence[int], below: int) -> list[int]:
        """The leases handed back because this worker does not hold them."""
        rows = await self._rows("select dtsched.reconcile(%s, %s::bigint[], %s)", worker_id, _ids(held), below)
        return [row[0] for row in rows]

    async def register_http_worker(
        self,
        name: str,
        queues: Sequence[str],
        tasks: Sequence[str] | None,
        *,
        slots: int,
        lease_seconds: float,
        labels: Mapping[str, object],
        owner: str | None,
    ) -> UUID:
        """`owner` is the name of the API key that speaks for it from now on; None without keys."""
        row = await self._row(
            "select dtsched.register_http_worker(%s, %s::text[], %s::text[], %s::integer, %s, %s::jsonb, %s)",
            name,
            _names(queues),
            None if tasks is None else _names(tasks),
            slots,
            timedelta(seconds=lease_seconds),
            _json(labels),
            owner,
        )
        return cast("UUID", row[0])

    async def heartbeat(
        self,
        worker_id: UUID,
        owner: str | None,
        *,
        system_info: Mapping[str, object] | None = None,
        leases: Sequence[int] | None = None,
    ) -> Beat:
        """NotFound for a worker that is not this owner's, here and below; WorkerLost: it must register anew."""
        return Beat._make(
            await self._row(
                "select draining, cancelled, lost from dtsched.heartbeat(%s, %s, %s::jsonb, %s::bigint[])",
                worker_id,
                owner,
                None if system_info is None else _json(system_info),
                None if leases is None else _ids(leases),
            )
        )

    async def claim_leases(
        self, worker_id: UUID, owner: str | None, limit: int, queues: Sequence[str] | None = None
    ) -> list[Lease]:
        """At most as many as the worker has slots without a lease. `queues` narrows those that it serves."""
        rows = await self._rows(_CLAIM_LEASES, worker_id, owner, limit, None if queues is None else _names(queues))
        return [Lease._make(row) for row in rows]

    async def finish_lease(
        self, worker_id: UUID, owner: str | None, lease_id: int, *, secret: str, outcome: bytes, body: bytes
    ) -> tuple[str, str | None]:
        """What came of it (accepted, repeated, otherwise or gone), and the job's state then. `outcome` is JSON, `body`
        a digest of the request."""
        row = await self._row(
            "select outcome, state from dtsched.finish_lease(%s, %s, %s::bigint, %s, %s::jsonb, %s::bytea)",
            *(worker_id, owner, lease_id, secret, outcome.decode(), body),
        )
        return row[0], row[1]

    async def report_lease(
        self, worker_id: UUID, owner: str | None, lease_id: int, *, secret: str, report: Mapping[str, object]
    ) -> tuple[str, bool]:
        """What came of it (told, busy or gone), and whether the job is to be cancelled."""
        row = await self._row(
            "select outcome, cancelled from dtsched.report_lease(%s, %s, %s::bigint, %s, %s::jsonb)",
            *(worker_id, owner, lease_id, secret, _json(report)),
        )
        return row[0], row[1]

    async def deregister_http_worker(self, worker_id: UUID, owner: str | None) -> int:
        """How many jobs were still held, and have been handed back as started."""
        return cast("int", (await self._row("select dtsched.deregister_http_worker(%s, %s)", worker_id, owner))[0])

    async def forget_receipts(self, limit: int = 1000) -> int:
        """How many receipts of finished leases were deleted, because nobody repeats those any more."""
        return cast("int", (await self._row("select dtsched.forget_receipts(p_limit => %s)", limit))[0])

    async def rescue(self, worker_id: UUID | None) -> list[Rescued]:
        """Who is no worker (None) asks in the name of any witness."""
        return [Rescued._make(row) for row in await self._rows(_RESCUE, worker_id)]

    async def expire(self, worker_id: UUID | None) -> list[Expired]:
        """The jobs that were ended or taken away because their time is over. None: as in rescue()."""
        return [Expired._make(row) for row in await self._rows(_EXPIRE, worker_id)]

    async def taken_away(self, worker_id: UUID, leases: Sequence[int]) -> list[int]:
        """Those of these leases that the worker does not hold any more."""
        rows = await self._rows("select dtsched.taken_away(%s, %s::bigint[])", worker_id, _ids(leases))
        return [row[0] for row in rows]

    async def promote(self, limit: int = 1000) -> Promoted:
        return Promoted._make(await self._row("select promoted, next_seconds, chores from dtsched.promote(%s)", limit))

    async def ensure_partitions(self) -> int:
        return cast("int", (await self._row("select dtsched.ensure_partitions()"))[0])

    async def roll_up(self) -> int:
        """How many tallies of past minutes were added up."""
        return cast("int", (await self._row("select dtsched.roll_up()"))[0])

    async def note_age(self) -> bool:
        """False when it was noted a moment ago."""
        return bool((await self._row("select dtsched.note_age()"))[0])

    async def free_expired_keys(self, limit: int = 1000) -> int:
        """How many keys whose time is over were dealt with; as many as the limit: there may be more."""
        return cast("int", (await self._row("select dtsched.free_expired_keys(%s)", limit))[0])

    async def schedules(self, name: str | None = None) -> list[Schedule]:
        return await self._records(Schedule, "select * from dtsched.list_schedules(%s)", name)

    async def ticks(self, schedule: str, limit: int = 20) -> list[Tick]:
        """What became of them, newest first."""
        return await self._records(Tick, "select * from dtsched.list_ticks(%s, %s)", schedule, limit)

    async def save_schedule(self, name: str, schedule: NewSchedule, *, check_task: bool = True) -> bool:
        """Makes it, or gives the one of that name this definition. True when it is new."""
        row = await self._row(
            "select dtsched.save_schedule(%s, %s::jsonb, false, %s)", name, _json(schedule), check_task
        )
        return bool(row[0])

    async def change_schedule(self, name: str, fields: Mapping[str, object]) -> None:
        """What is missing stays as it is; None is the default."""
        await self._rows("select dtsched.save_schedule(%s, %s::jsonb, true)", name, _json(fields))

    async def unschedule(self, name: str) -> None:
        await self._rows("select dtsched.unschedule(%s)", name)

    async def pause_schedule(self, name: str) -> bool:
        """False when it was paused already."""
        return bool((await self._row("select dtsched.pause_schedule(%s)", name))[0])

    async def resume_schedule(self, name: str) -> bool:
        """False when it was not paused."""
        return bool((await self._row("select dtsched.resume_schedule(%s)", name))[0])

    async def run_schedule(self, name: str) -> Submitted:
        """Not created: a job of it is unfinished, and its overlap is skip."""
        row = await self._row("select job_id, created from dtsched.run_schedule(%s)", name)
        return Submitted(id=row[0], created=row[1], outcome="created" if row[1] else "kept")

    async def declare_schedules(self, schedules: Mapping[str, NewSchedule]) -> dict[str, str]:
        """What came of each: created, changed, kept or overruled."""
        given = [{"name": name, **msgspec.to_builtins(schedule)} for name, schedule in schedules.items()]
        rows = await self._rows("select name, outcome from dtsched.declare_schedules(%s::jsonb)", _json(given))
        return {row[0]: row[1] for row in rows}

    async def due_schedules(self) -> Due:
        rows = await self._rows("select name, version, spec, tz, since, next_at, now, next_seconds"
                                " from dtsched.due_schedules()")  # fmt: skip
        names = DueSchedule.__struct_fields__
        schedules = [DueSchedule(**dict(zip(names, row[:6], strict=True))) for row in rows if row[0] is not None]
        return Due(schedules=schedules, now=rows[0][6], next_seconds=rows[0][7])

    async def fire(
        self, name: str, version: int, due: datetime | None, ticks: Sequence[datetime], next_at: datetime | None
    ) -> list[Tick]:
        """What became of the ticks; none when somebody else was first, or the schedule is another one by now."""
        rows = await self._rows(
            "select tick, outcome, job_id, dtsched.now() from dtsched.fire(%s, %s, %s::timestamptz, %s::timestamptz[],"
            " %s::timestamptz)",
            name,
            version,
            due,
            list(ticks),
            next_at,
        )
        return [Tick(tick=row[0], outcome=row[1], job_id=row[2], at=row[3]) for row in rows]

    async def note_schedule_problem(self, name: str, version: int, problem: str) -> None:
        await self._rows("select dtsched.note_schedule_problem(%s, %s, %s)", name, version, problem)

    async def prune_ticks(self) -> int:
        """How many were removed, at most 1000."""
        return cast("int", (await self._row("select dtsched.prune_ticks()"))[0])

    async def prune(self, limit: int = 1000, *, everywhere: bool = False) -> Pruned:
        """`everywhere`: look at all ended jobs, not only where something may be due."""
        return Pruned._make(
            await self._row("select jobs, results, partitions, more from dtsched.prune(%s, %s)", limit, everywhere)
        )

    async def past_retention(self) -> list[PastRetention]:
        """How many jobs prune() would delete; reads them all."""
        return await self._records(PastRetention, "select * from dtsched.past_retention()")

    async def retention(self, queue: str | None = None) -> list[Retention]:
        """Of one queue, or of each that says something of its own and, last, of all others."""
        return retention_of(await self._records(Retention, _RETENTION), queue)

    async def set_retention(self, members: Mapping[str, float | str | None], queue: str | None = None) -> None:
        """Of one queue, or of all that say nothing; in seconds, "forever", or None for the default."""
        await self._rows("select dtsched.set_retention(%s::jsonb, %s)", _json(members), queue)

    async def create_operation(
        self, new: NewOperation, *, queues: Sequence[str] | None = None, by: str | None = None
    ) -> int:
        """`queues` are those that whoever asks may act on (None: all)."""
        run_at = new.run_at if new.delay is None else await self.now() + timedelta(seconds=new.delay)
        row = await self._row(
            "select dtsched.create_operation(%s, %s::jsonb, %s::jsonb, %s::timestamptz, %s, %s, %s::text[], %s)",
            *(new.action, _json(new.wanted), None if new.changes is None else _json(new.changes), run_at, new.dry_run),
            *(new.filter, None if queues is None else _names(queues), by),
        )
        return cast("int", row[0])

    async def step_operation(self, limit: int = 500) -> Step:
        """Takes one a chunk of so many jobs further."""
        row = await self._row("select operation_id, state, met, next_seconds from dtsched.step_operation(%s)", limit)
        return Step(*row)

    async def operation(self, operation_id: int, *, queues: Sequence[str] | None = None) -> OperationRecord:
        """NotFound also for one that was begun for other queues."""
        found = await self._operations(operation_id, None, 1, queues) if operation_id <= LARGEST_ID else []
        if not found:
            raise NotFound(f"there is no operation {operation_id}")
        return found[0]

    async def operations(
        self, *, before: int | None = None, limit: int = 50, queues: Sequence[str] | None = None
    ) -> list[OperationRecord]:
        """Newest first, below the id `before`, at most 200."""
        return await self._operations(None, before, limit, queues)

    async def _operations(
        self, operation_id: int | None, before: int | None, limit: int, queues: Sequence[str] | None
    ) -> list[OperationRecord]:
        return await self._records(
            OperationRecord,
            "select * from dtsched.list_operations(%s::bigint, %s::bigint, %s, %s::text[])",
            *(operation_id, before, limit, None if queues is None else _names(queues)),
        )

    async def cancel_operation(self, operation_id: int, *, queues: Sequence[str] | None = None) -> str:
        """cancelled, finished (it had ended before) or missing."""
        row = await self._row(
            "select dtsched.cancel_operation(%s::bigint, %s::text[])",
            *(operation_id, None if queues is None else _names(queues)),
        )
        return cast("str", row[0])

    async def errors(
        self,
        since: datetime,
        *,
        queues: Sequence[str] | None = None,
        tasks: Sequence[str] | None = None,
        limit: int = 50,
    ) -> ErrorGroups:
        """What has failed since then, by the kind of error; see dtsched.list_errors()."""
        row = await self._row(
            "select dtsched.list_errors(%s::timestamptz, %s::text[], %s::text[], %s)",
            *(since, None if queues is None else _names(queues), None if tasks is None else _names(tasks), limit),
        )
        return msgspec.json.decode(row[0], type=ErrorGroups)

    async def note_audit(self, entry: AuditEntry) -> int:
        """To be called in the transaction of the change that it is about. The id of the line."""
        row = await self._row(
            "select dtsched.note_audit(%s, %s, %s, %s, %s::jsonb, %s)",
            *(entry.actor, entry.action, entry.kind, entry.target, _json(entry.detail), entry.request_id),
        )
        return cast("int", row[0])

    async def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        kind: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[AuditLine]:
        """Newest first, below the id `before`, at most 200; those that are as asked for."""
        return await self._records(
            AuditLine,
            """select actor, action, kind, target, detail, request_id, id, at
            from dtsched.list_audit(%s, %s, %s, %s, %s::timestamptz, %s::bigint, %s)""",
            *(actor, action, kind, target, since, before, limit),
        )

    async def prune_records(self) -> int:
        """How many old operations and lines of the audit were removed, at most 2,000."""
        return cast("int", (await self._row("select dtsched.prune_records()"))[0])

    async def settled(self, xid: int) -> bool:
        """Whether all transactions from before hungry() drew this xid have ended."""
        return bool((await self._row("select dtsched.settled(%s)", xid))[0])

    async def has_ready(self, queues: Sequence[str]) -> bool:
        """Whether any of these queues, paused ones left out, has a job to claim."""
        row = await self._row("select dtsched.has_ready(%s::text[])", _names(queues))
        return bool(row[0])

    async def create_key(self, key: NewKey, presented: Presented) -> KeyRecord:
        """Conflict when the name has two active keys already."""
        lasts = None if key.expires_in is None else timedelta(seconds=key.expires_in)
        (made,) = await self._records(
            KeyRecord,
            "select * from dtsched.create_key(%s, %s, %s, %s::text[], %s::text[], %s::interval)",
            presented.id,
            key.name,
            presented.digest,
            _names(key.scopes),
            _some(key.queues),
            lasts,
        )
        return made

    async def keys(self) -> list[KeyRecord]:
        """By name and age."""
        return await self._records(KeyRecord, "select * from dtsched.list_keys()")

    async def revoke_key(self, key: str) -> list[KeyRecord]:
        """The one of this id, or all of this name. NotFound when there is none."""
        return await self._records(KeyRecord, "select * from dtsched.revoke_key(%s)", key)

    async def authorize(
        self,
        presented: Presented | None,
        scope: Scope,
        *,
        queue: str | None = None,
        job_id: int | None = None,
        whole: bool = False,
        keyless: bool = False,
    ) -> Permit:
        """See dtsched.authorize()."""
        public, digest = presented or (None, None)
        row = await self._row(_AUTHORIZE, public, digest, scope, queue, job_id, whole, keyless)
        return Permit(row[0], row[1], frozenset(row[2]), None if row[3] is None else tuple(row[3]))

    async def check(self) -> list[tuple[str, int | None, str]]:
        """What is wrong in the tables: (invariant, job id, detail); nothing when all is well."""
        return [
            (row[0], row[1], row[2])
            for row in await self._rows("select invariant, job_id, detail from dtsched.check()")
        ]

    async def _outcomes(self, statement: LiteralString, ids: Sequence[int], *parameters: object) -> dict[int, str]:
        """In the order given; an id that no job can have is missing."""
        rows = await self._rows(statement, _ids([one for one in ids if one <= LARGEST_ID]), *parameters)
        found: dict[int, str] = {row[0]: row[1] for row in rows}
        return {one: found.get(one, "missing") for one in ids}

    async def _records(self, kind: type[S], statement: LiteralString, *parameters: object) -> list[S]:
        """Rows in the order of the struct's fields. jsonb arrives encoded."""
        rows = await self._rows(statement, *parameters)
        names = kind.__struct_fields__
        return [
            msgspec.convert(
                {
                    name: msgspec.json.decode(value) if isinstance(value, bytes) else value
                    for name, value in zip(names, row, strict=True)
                },
                kind,
            )
            for row in rows
        ]

    async def _rows(self, statement: LiteralString, *parameters: object) -> list[Row]:
        with translated():
            async with self._connection.cursor(binary=True) as cursor:
                if self._connection.bounds is None:
                    await cursor.execute(statement, parameters, prepare=True)
                else:  # sent together, they are one transaction
                    async with self._connection.pipeline():
                        await self._connection.execute(self._connection.bounds)
                        await cursor.execute(statement, parameters)
                return await cursor.fetchall()

    async def _row(self, statement: LiteralString, *parameters: object) -> Row:
        return (await self._rows(statement, *parameters))[0]


async def open_store(dsn: str, *, role: str, lock_ms: int | None = None) -> Store:
    """A store over a connection of its own. A call that waits longer than `lock_ms` for a lock fails, see is_busy()."""
    return Store(await connect(dsn, role=role, lock_ms=lock_ms))


class SyncStore:
    """What the renewing thread says, over a connection of its own. An answer that takes longer than `answer_seconds`
    is an outage."""

    def __init__(self, connection: psycopg.Connection[Row], *, answer_seconds: float) -> None:
        self._connection = connection
        self._answer_seconds = answer_seconds
        self._closing = threading.Lock()

    def renew(self, worker_id: UUID, info: Mapping[str, object] | None = None) -> Renewal:
        timer = threading.Timer(self._answer_seconds, self.sever)
        timer.daemon = True
        with suppress(RuntimeError):  # no thread to be had: better renewed without a bound than not at all
            timer.start()
        try:
            with translated():
                parameters = (worker_id, None if info is None else _json(info))
                row = self._connection.execute(_RENEW, parameters, binary=True).fetchone()
        finally:
            timer.cancel()
        return Renewal._make(cast("Row", row))

    def sever(self) -> None:
        """Store.sever(), from any thread."""
        with self._closing:
            shut_down(self._connection)

    def close(self) -> None:
        with self._closing:
            self._connection.close()


def check_contract(found: int) -> None:
    if found == 0:
        raise SchemaMissing("the schema dtsched is missing here: run `dtsched migrate up`")
    if found < CONTRACT:
        raise SchemaMismatch(
            f"the schema here has contract {found} and this program needs {CONTRACT}: run `dtsched migrate up`"
        )
    if found > CONTRACT:
        raise SchemaMismatch(
            f"the schema here has contract {found} and this program knows only {CONTRACT}: upgrade dtsched"
        )


def retention_of(rules: list[Retention], queue: str | None) -> list[Retention]:
    """Out of those of all queues that say something of their own, and last that of the others."""
    if queue is None:
        return rules
    found = next((rule for rule in rules if rule.queue == queue), rules[-1])
    return [msgspec.structs.replace(found, queue=queue)]


def submission(
    jobs: Sequence[NewJob], *, check_tasks: bool, queues: Sequence[str] | None = None
) -> tuple[LiteralString, tuple[object, ...]]:
    """The statement that submits them, all or none, and its values; submitted() reads what it answers."""
    if isinstance(jobs, Alike):
        return _SUBMIT_ALIKE, (*jobs.encode(), check_tasks, _listed(queues))
    return _SUBMIT, (encode(jobs).decode(), check_tasks, _listed(queues))


def submitted(jobs: Sequence[NewJob], rows: Sequence[Row]) -> list[Submitted]:
    if isinstance(jobs, Alike):
        return [Submitted(job_id, created=True) for job_id in rows[0][0]]
    return [Submitted(id=row[0], created=row[1], outcome=row[2]) for row in rows]


def to_job(row: Row) -> Job:
    """From the columns of dtsched.job(), whose JSON arrives encoded."""
    values = dict(zip(Job.__struct_fields__, row, strict=True))
    for name in ("args", "result", "progress"):
        values[name] = _decoded(values[name])
    return Job(**values)


_NO_JOB = msgspec.Raw(b"null")
_job_decoder = msgspec.json.Decoder(Job | None)


class _Told(msgspec.Struct, frozen=True):
    """Answered, with its job as it came."""

    id: int | None
    created: bool
    outcome: KeyOutcome | Literal["refused"]
    code: ProblemCode | None = None
    error: str | None = None
    field: str | None = None
    job: msgspec.Raw = _NO_JOB


def _answered(told: _Told) -> Answered:
    return Answered(
        id=told.id,
        created=told.created,
        outcome=told.outcome,
        code=told.code,
        error=told.error,
        field=told.field,
        job=None if told.job is _NO_JOB else _job(told.job),
    )


def _job(raw: bytes | msgspec.Raw | None) -> Job | None:
    """None also for one that Python cannot hold, see _decoded()."""
    try:
        return None if raw is None else _job_decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _decoded(raw: bytes | None) -> Any:
    """What a plain INSERT brought in and Python cannot hold (a number of 5,000 digits, 10,000 levels) stays encoded:
    one such row must not hide the others."""
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return msgspec.Raw(raw or b"null")


def _next_page(scanned_to: int | None, ids: Sequence[int], limit: int) -> int | None:
    """A full page may be followed by another one; a search that was given up says where it goes on."""
    return ids[-1] if len(ids) == limit else scanned_to


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _ids(ids: Sequence[int]) -> str:
    """An array literal: psycopg picks the type by the largest number, and a new type is a new prepared statement."""
    return "{" + msgspec.json.encode(list(ids))[1:-1].decode() + "}"


def _listed(queues: Sequence[str] | None) -> list[str] | None:
    return None if queues is None else list(queues)


def _names(names: Sequence[str]) -> str:
    """Names hold no quote and no backslash."""
    return "{" + ",".join(f'"{name}"' for name in names) + "}"


def _some(names: Sequence[str] | None) -> str | None:
    return None if names is None else _names(names)


def _split(outcomes: Sequence[Outcome]) -> tuple[str, str | None, str | None]:
    """What finish() takes: the completed leases, their results as one JSON document, and the others as another.
    InvalidInput when what a handler brought is none: a raw result in no encoding, a delay that is no number."""
    try:
        return _joined(outcomes)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"an outcome cannot be sent: {error}") from error


def _joined(outcomes: Sequence[Outcome]) -> tuple[str, str | None, str | None]:
    done = [outcome for outcome in outcomes if outcome.kind == "complete"]
    results = None
    if any(outcome.result is not None for outcome in done):
        results = (b"[" + b",".join(outcome.result or b"null" for outcome in done) + b"]").decode()
    others = None
    if len(done) < len(outcomes):
        others = msgspec.json.encode(
            [
                {
                    "lease": outcome.lease_id,
                    "outcome": outcome.kind,
                    "delay": outcome.delay,
                    "error": outcome.error,
                    "wait": outcome.wait,
                }
                for outcome in outcomes
                if outcome.kind != "complete"
            ]
        ).decode()
    return _ids([outcome.lease_id for outcome in done]), results, others
