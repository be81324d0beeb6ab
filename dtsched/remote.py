"""The store's methods over the REST API: the same names, arguments, answers and errors, each one request or a few.

What has no route (what workers do, what talks to PostgreSQL itself) says so. Several calls are never one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from dtsched.batches import Refusal, Wrong
from dtsched.connections import Row
from dtsched.errors import Conflict, InvalidInput, NotFound
from dtsched.filters import Filter, as_text
from dtsched.jobs import ENDED, Emitted, Job, NewJob, Submitted
from dtsched.limits import KeyLimit
from dtsched.operations import OperationRecord
from dtsched.overview import (
    AttemptRecord,
    HeldLimits,
    IdPage,
    JobPage,
    LimitRecord,
    LogLine,
    PastRetention,
    Queue,
    Reason,
    Retention,
    Stats,
    StepRecord,
    TaskRecord,
    WorkerRecord,
    WorkflowRecord,
    untouched,
)
from dtsched.rest import Call, Reply, Rest
from dtsched.schedules import NewSchedule, Schedule, Tick
from dtsched.store import LARGEST_ID, Pruned, Store, retention_of
from dtsched.submissions import (
    answers_of,
    batch_call,
    emit_call,
    emitted_of,
    parts_of,
    spared,
    submitted_of,
    workflow_call,
    workflow_of,
)

T = TypeVar("T")

_MOST_VALUES = 100  # of a term of a filter
_MOST_IDS = 1000  # of one request
_MOST_LINES = 10_000
_AT_ONCE = 8
_RAW = ("args", "result", "progress")


class _JobPage(msgspec.Struct):
    jobs: list[msgspec.Raw]
    next: str | None


class _Outcome(msgspec.Struct):
    id: int
    outcome: str


class _Outcomes(msgspec.Struct):
    jobs: list[_Outcome]


class _IdPage(msgspec.Struct):
    ids: list[int]
    next: str | None


class _Changed(msgspec.Struct):
    changed: bool


class _Limit(LimitRecord, frozen=True, kw_only=True):
    effective: HeldLimits


class RestStore(Store):
    """For any number of tasks at once. `queues` and `among` say nothing here: the server knows what the key is for."""

    spans_calls = False

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def close(self) -> None: ...

    def sever(self) -> None: ...

    @property
    def usable(self) -> bool:
        return True

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Each call inside is on its own."""
        return nullcontext()

    async def probe(self) -> None:
        await self._rest.ask(Call("GET", "/livez"))

    async def require_contract(self) -> None:
        await self._rest.ask(Call("GET", "/readyz"))

    async def submit_many(
        self, jobs: Sequence[NewJob], *, check_tasks: bool = True, queues: Sequence[str] | None = None
    ) -> list[Submitted]:
        if not jobs:
            return []
        with spared(jobs):
            return submitted_of(await self._rest.ask(batch_call(jobs, check_tasks=check_tasks)))

    async def submit_partly(
        self, entries: Sequence[NewJob | Wrong], *, check_tasks: bool = True, queues: Sequence[str] | None = None
    ) -> list[Submitted | Refusal]:
        answers: list[Submitted | Refusal] = []
        for part in parts_of(entries):
            reply = await self._rest.ask(batch_call(part, check_tasks=check_tasks, partial=True))
            answers += answers_of(part, reply)
        return answers

    async def job(self, job_id: int) -> Job | None:
        reply = await self._found(f"/v1/jobs/{job_id}") if job_id <= LARGEST_ID else None
        return None if reply is None else job_of(reply.body)

    async def list_jobs(self, wanted: Filter, *, before: int | None = None, limit: int = 100) -> JobPage:
        ids = wanted.get("id", [])
        if len(ids) <= _MOST_VALUES:
            return await self._page(wanted, before, min(limit, 200))
        jobs: list[Job] = []
        downwards = sorted(set(map(int, ids)), reverse=True)
        for start in range(0, len(downwards), _MOST_VALUES):
            some = [str(one) for one in downwards[start : start + _MOST_VALUES]]
            page = await self._page({**wanted, "id": some}, before, min(limit, 200) - len(jobs))
            jobs += page.jobs
            if page.next is not None or len(jobs) == min(limit, 200):
                return JobPage(jobs, page.next or jobs[-1].id)
        return JobPage(jobs, None)

    async def _page(self, wanted: Filter, before: int | None, limit: int) -> JobPage:
        query = _given(filter=as_text(wanted) or None, limit=limit, after=before)
        page = await self._get(_JobPage, "/v1/jobs", query)
        return JobPage([job_of(raw) for raw in page.jobs], None if page.next is None else int(page.next))

    async def find_jobs(self, wanted: Filter, *, before: int | None = None, limit: int = 1000) -> IdPage:
        query = _given(filter=as_text(wanted) or None, limit=limit, after=before)
        page = await self._get(_IdPage, "/v1/jobs/ids", query)
        return IdPage(page.ids, None if page.next is None else int(page.next))

    async def attempts(self, job_id: int) -> list[AttemptRecord]:
        return await self._of_job(AttemptRecord, job_id, "attempts")

    async def logs(
        self, job_id: int, *, after: int = 0, limit: int = 1000, attempt: int | None = None
    ) -> list[LogLine]:
        if after > _MOST_LINES:
            return []
        return await self._of_job(
            LogLine, job_id, "logs", member="lines", query=_given(after=after, limit=limit, attempt=attempt)
        )

    async def why(self, job_id: int) -> list[Reason]:
        return await self._of_job(Reason, job_id, "why", member="reasons")

    async def now(self) -> datetime:
        return (await self._get(dict[str, datetime], "/v1/now"))["now"]

    async def queues(self, name: str | None = None, *, among: Sequence[str] | None = None) -> list[Queue]:
        return await self._named(Queue, "queues", name)

    async def workers(self, worker_id: UUID | None = None, *, among: Sequence[str] | None = None) -> list[WorkerRecord]:
        return await self._named(WorkerRecord, "workers", None if worker_id is None else str(worker_id))

    async def tasks(self, name: str | None = None) -> list[TaskRecord]:
        return await self._named(TaskRecord, "tasks", name)

    async def stats(self, *, among: Sequence[str] | None = None) -> Stats:
        return await self._get(Stats, "/v1/stats")

    async def ended(self, ids: Sequence[int]) -> set[int]:
        unfinished: set[int] = set()

        async def look(some: Sequence[int]) -> None:
            wanted = {"id": [str(one) for one in some], "state": ["pending", "running"]}
            before: int | None = None
            while True:
                page = await self.find_jobs(wanted, before=before, limit=_MOST_IDS)
                unfinished.update(page.ids)
                if (before := page.next) is None:
                    return

        possible = [one for one in ids if one <= LARGEST_ID]
        await _each(look, [possible[at : at + _MOST_VALUES] for at in range(0, len(possible), _MOST_VALUES)])
        return set(ids) - unfinished

    async def jobs_of_keys(self, keys: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}

        async def look(key: str) -> None:
            for states in (["pending", "running"], ["completed", "failed", "cancelled"]):
                page = await self.list_jobs({"key": [key], "state": states}, limit=1)
                job = page.jobs[0] if page.jobs else None
                if job is not None and (
                    job.state not in ENDED or (job.key_until is not None and job.key_until > await self.now())
                ):
                    found[key] = job.id
                    return

        await _each(look, list(dict.fromkeys(keys)))
        return found

    async def cancel(self, ids: Sequence[int]) -> dict[int, str]:
        return await self._act("cancel", ids)

    async def retry(self, ids: Sequence[int]) -> dict[int, str]:
        return await self._act("retry", ids)

    async def run_now(self, ids: Sequence[int]) -> dict[int, str]:
        return await self._act("run-now", ids)

    async def reschedule(self, ids: Sequence[int], run_at: datetime) -> dict[int, str]:
        return await self._act("reschedule", ids, run_at=run_at)

    async def delete(self, ids: Sequence[int]) -> dict[int, str]:
        return await self._act("delete", ids)

    async def edit(self, ids: Sequence[int], changes: Mapping[str, Any]) -> dict[int, str]:
        return await self._act("edit", ids, changes=changes)

    async def _act(self, action: str, ids: Sequence[int], **more: object) -> dict[int, str]:
        """In the order of the ids, as many requests as they need one after the other: parents come before children."""
        possible = [one for one in ids if 1 <= one <= LARGEST_ID]
        outcomes: dict[int, str] = {}
        for start in range(0, len(possible), _MOST_IDS):
            body = _json({"action": action, "ids": possible[start : start + _MOST_IDS], **more})
            reply = await self._rest.ask(Call("POST", "/v1/jobs/actions", body))
            outcomes |= {job.id: job.outcome for job in msgspec.json.decode(reply.body, type=_Outcomes).jobs}
        return {one: outcomes.get(one, "missing") for one in ids}

    async def pause(self, queue: str) -> bool:
        return await self._switch(f"/v1/queues/{_quoted(queue)}/pause")

    async def drained(self, queue: str) -> bool:
        return (await self._get(dict[str, bool], f"/v1/queues/{_quoted(queue)}/drained"))["drained"]

    async def resume(self, queue: str) -> bool:
        try:
            return await self._switch(f"/v1/queues/{_quoted(queue)}/resume")
        except NotFound:  # nobody has named it yet
            return False

    async def set_queue(self, queue: str, settings: Mapping[str, object]) -> dict[str, Any]:
        reply = await self._rest.ask(Call("PATCH", f"/v1/queues/{_quoted(queue)}", _json(settings)))
        return msgspec.json.decode(reply.body, type=Queue).settings

    async def set_limit(self, limit: KeyLimit) -> LimitRecord:
        body = _json({"concurrency": limit.concurrency, "rate": limit.rate, "burst": limit.burst})
        reply = await self._rest.ask(Call("PUT", f"/v1/limits/{_quoted(limit.key)}", body))
        return msgspec.json.decode(reply.body, type=LimitRecord)

    async def effective_limits(self, key: str, queue: str = "default") -> HeldLimits:
        return (await self._limit(key, queue)).effective

    async def limits(self, key: str | None = None, *, after: str | None = None, limit: int = 200) -> list[LimitRecord]:
        if key is None:
            return await self._list(LimitRecord, "/v1/limits", "limits", _given(after=after, limit=limit))
        found = msgspec.convert(msgspec.to_builtins(await self._limit(key, "default")), LimitRecord)
        return [] if found == untouched(key) else [found]

    async def _limit(self, key: str, queue: str) -> _Limit:
        return await self._get(_Limit, f"/v1/limits/{_quoted(key)}", {"queue": queue})

    async def create_workflow(self, name: str) -> int:
        reply = await self._rest.ask(Call("POST", "/v1/workflows", _json({"name": name})))
        return workflow_of(reply)[0]

    async def submit_workflow(
        self,
        workflow: int | str,
        jobs: Sequence[NewJob],
        *,
        check_tasks: bool = True,
        queues: Sequence[str] | None = None,
    ) -> tuple[int, list[Submitted]]:
        if isinstance(workflow, int):
            members = [msgspec.structs.replace(job, workflow=workflow) for job in jobs]
            return workflow, await self.submit_many(members, check_tasks=check_tasks)
        if not jobs:
            return await self.create_workflow(workflow), []
        with spared(jobs):
            return workflow_of(await self._rest.ask(workflow_call(workflow, jobs, check_tasks=check_tasks)))

    async def workflow(self, workflow_id: int) -> WorkflowRecord | None:
        if workflow_id > LARGEST_ID:
            return None
        reply = await self._found(f"/v1/workflows/{workflow_id}")
        return None if reply is None else msgspec.json.decode(reply.body, type=WorkflowRecord)

    async def list_workflows(self, *, before: int | None = None, limit: int = 50) -> list[WorkflowRecord]:
        return await self._list(WorkflowRecord, "/v1/workflows", "workflows", _given(after=before, limit=limit))

    async def cancel_workflow(self, workflow_id: int) -> dict[int, str]:
        return await self._act_on_workflow(workflow_id, "cancel")

    async def retry_workflow(self, workflow_id: int) -> dict[int, str]:
        return await self._act_on_workflow(workflow_id, "retry")

    async def _act_on_workflow(self, workflow_id: int, action: str) -> dict[int, str]:
        reply = await self._rest.ask(Call("POST", f"/v1/workflows/{workflow_id}/{action}"))
        return {job.id: job.outcome for job in msgspec.json.decode(reply.body, type=_Outcomes).jobs}

    async def operation(self, operation_id: int, *, queues: Sequence[str] | None = None) -> OperationRecord:
        if operation_id > LARGEST_ID:
            raise NotFound(f"there is no operation {operation_id}")
        return await self._get(OperationRecord, f"/v1/operations/{operation_id}")

    async def operations(
        self, *, before: int | None = None, limit: int = 50, queues: Sequence[str] | None = None
    ) -> list[OperationRecord]:
        return await self._list(OperationRecord, "/v1/operations", "operations", _given(after=before, limit=limit))

    async def cancel_operation(self, operation_id: int, *, queues: Sequence[str] | None = None) -> str:
        if operation_id > LARGEST_ID:
            return "missing"
        try:
            await self._rest.ask(Call("POST", f"/v1/operations/{operation_id}/cancel"))
        except NotFound:
            return "missing"
        except Conflict:
            return "finished"
        return "cancelled"

    async def job_of_key(self, key: str, queues: Sequence[str] | None = None) -> int | None:
        reply = await self._found(f"/v1/jobs/by-key/{_quoted(key)}")
        return None if reply is None else job_of(reply.body).id

    async def emit(self, name: str, payload: bytes) -> Emitted:
        return emitted_of(await self._rest.ask(emit_call(name, payload)))

    async def steps(self, job_id: int) -> list[StepRecord]:
        return await self._of_job(StepRecord, job_id, "steps")

    async def schedules(self, name: str | None = None) -> list[Schedule]:
        return await self._named(Schedule, "schedules", name)

    async def ticks(self, schedule: str, limit: int = 20) -> list[Tick]:
        return await self._list(Tick, f"/v1/schedules/{_quoted(schedule)}/ticks", "ticks", {"limit": limit})

    async def save_schedule(self, name: str, schedule: NewSchedule, *, check_task: bool = True) -> bool:
        """The server always checks the task."""
        reply = await self._rest.ask(Call("PUT", f"/v1/schedules/{_quoted(name)}", _json(schedule)))
        return reply.status == 201

    async def change_schedule(self, name: str, fields: Mapping[str, object]) -> None:
        await self._rest.ask(Call("PATCH", f"/v1/schedules/{_quoted(name)}", _json(fields)))

    async def unschedule(self, name: str) -> None:
        await self._rest.ask(Call("DELETE", f"/v1/schedules/{_quoted(name)}"))

    async def pause_schedule(self, name: str) -> bool:
        return await self._switch(f"/v1/schedules/{_quoted(name)}/pause")

    async def resume_schedule(self, name: str) -> bool:
        return await self._switch(f"/v1/schedules/{_quoted(name)}/resume")

    async def run_schedule(self, name: str) -> Submitted:
        reply = await self._rest.ask(Call("POST", f"/v1/schedules/{_quoted(name)}/run"))
        return msgspec.json.decode(reply.body, type=Submitted)

    async def prune(self, limit: int = 1000, *, everywhere: bool = False) -> Pruned:
        """For two seconds of the server's at most, whatever the limit."""
        reply = await self._rest.ask(Call("POST", "/v1/prune"))
        return Pruned(**msgspec.json.decode(reply.body))

    async def past_retention(self) -> list[PastRetention]:
        return await self._list(PastRetention, "/v1/prune", "would_go")

    async def retention(self, queue: str | None = None) -> list[Retention]:
        return retention_of(await self._list(Retention, "/v1/retention", "retention"), queue)

    async def set_retention(self, members: Mapping[str, float | str | None], queue: str | None = None) -> None:
        if queue is None:
            await self._rest.ask(Call("PATCH", "/v1/retention", _json(members)))
        else:
            await self.set_queue(queue, {"retention": members})

    async def _rows(self, statement: LiteralString, *parameters: object) -> list[Row]:
        raise InvalidInput(
            "this talks to PostgreSQL itself, and there is no route for it: give a DSN (DTSCHED_DSN) and not the URL "
            f"{self._rest.server.url}",
            field="dsn",
        )

    async def _get(self, kind: type[T], path: str, query: Mapping[str, str | int] | None = None) -> T:
        reply = await self._rest.ask(Call("GET", path, query=query or {}))
        return msgspec.json.decode(reply.body, type=kind)

    async def _found(self, path: str, query: Mapping[str, str | int] | None = None) -> Reply | None:
        try:
            return await self._rest.ask(Call("GET", path, query=query or {}))
        except NotFound:
            return None

    async def _list(
        self, kind: type[T], path: str, member: str, query: Mapping[str, str | int] | None = None
    ) -> list[T]:
        return _listed(await self._rest.ask(Call("GET", path, query=query or {})), kind, member)

    async def _named(self, kind: type[T], collection: str, name: str | None) -> list[T]:
        """All of them, or the one; none when there is none of that name."""
        if name is None:
            return await self._list(kind, f"/v1/{collection}", collection)
        reply = await self._found(f"/v1/{collection}/{_quoted(name)}")
        return [] if reply is None else [msgspec.json.decode(reply.body, type=kind)]

    async def _of_job(
        self,
        kind: type[T],
        job_id: int,
        what: str,
        *,
        member: str | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> list[T]:
        """Nothing, of a job that is not there."""
        if not 1 <= job_id <= LARGEST_ID:
            return []
        reply = await self._found(f"/v1/jobs/{job_id}/{what}", query)
        return [] if reply is None else _listed(reply, kind, member or what)

    async def _switch(self, path: str) -> bool:
        return msgspec.json.decode((await self._rest.ask(Call("POST", path))).body, type=_Changed).changed


def job_of(raw: bytes | msgspec.Raw) -> Job:
    try:
        return msgspec.json.decode(raw, type=Job)
    except (msgspec.MsgspecError, RecursionError):
        return _hardjob_of(raw)


def _hardjob_of(raw: bytes | msgspec.Raw) -> Job:
    """What Python cannot hold (a number of 5,000 digits) stays encoded; what the key may not see is missing."""
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    plain = {name: msgspec.json.decode(part) for name, part in parts.items() if name not in _RAW}
    values = {name: plain.get(name) for name in Job.__struct_fields__}
    job = msgspec.convert({**values, "args": {}}, Job)
    return msgspec.structs.replace(job, **{name: _decoded(parts[name]) for name in _RAW if name in parts})


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return msgspec.Raw(bytes(raw))


def _listed(reply: Reply, kind: type[T], member: str) -> list[T]:
    parts = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
    return msgspec.json.decode(parts[member], type=list[kind])


async def _each(ask: Callable[[T], Awaitable[None]], parts: Sequence[T]) -> None:
    """A few at once."""
    seats = asyncio.Semaphore(_AT_ONCE)

    async def one(part: T) -> None:
        async with seats:
            await ask(part)

    await asyncio.gather(*(one(part) for part in parts))


def _given(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _quoted(name: str) -> str:
    """As a part of an address; one of dots alone would be a folder."""
    return name.replace(".", "%2E") if set(name) == {"."} else quote(name, safe="")
