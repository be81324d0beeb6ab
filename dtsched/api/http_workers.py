"""Workers in any language: they register, say that they live, claim, and tell what came of it. Leases and limits are
those of workers that speak SQL; a lease is finished with its own secret."""

from hashlib import sha256
from uuid import UUID

import msgspec
from litestar import Response, delete, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Raw

from dtsched.api.callers import Caller, caller_of, queue_forbidden, still_admitted
from dtsched.api.database import Database
from dtsched.api.documentation import JSON, Answer, documented, own
from dtsched.api.outcomes import outcome_of, report_of
from dtsched.api.polls import Polls, Tried
from dtsched.api.preferences import disconnected
from dtsched.api.problems import BUSY, INVALID, LEASE_FINISHED, LEASE_GONE, WORKER_LOST, Refused
from dtsched.api.requests import ApiRequest, convert, lease_id_of, object_of, worker_id_of
from dtsched.api.worker_shapes import (
    LONGEST_POLL_SECONDS,
    MAX_LABELS_BYTES,
    MOST_LEASES,
    MOST_QUEUES,
    MOST_SLOTS,
    MOST_TASKS,
    ClaimedJob,
    ClaimedJobs,
    ClaimRequest,
    Finished,
    FinishRequest,
    GivenClaim,
    GivenFinish,
    GivenReport,
    GivenWorker,
    Heartbeat,
    HeartbeatAnswer,
    NewWorker,
    ProgressAnswer,
    ProgressRequest,
    RegisteredWorker,
    SystemInfo,
)
from dtsched.checks import check_integer, check_json, check_name, check_seconds, check_text, storable
from dtsched.store import Lease, Store

_WORKER = {
    "name": "a string",
    "queues": "a list of names of queues",
    "tasks": "a list of names of tasks, or null",
    "slots": "a whole number",
    "labels": "an object",
}
_HEARTBEAT = {
    "system_info": "an object of figures like cpu_usage, memory_usage and disk_usage",
    "leases": f"a list of at most {MOST_LEASES} ids of leases",
}
_CLAIM = {"limit": "a whole number", "wait": 'a number of seconds, or a string like "10s"'}
_FINISH = {
    "secret": "the secret of the lease",
    "outcome": "one of complete, retry, fail, snooze, cancel",
    "result": "any JSON",
    "error": "a string, or an object of type, message and traceback",
    "delay": 'a number of seconds, or a string like "10m"',
}
_PROGRESS = {
    "secret": "the secret of the lease",
    "progress": "a percentage, a string, or an object of percent and message",
    "log": "a list of strings, or of objects of message, level, logger, ago and seq",
}


@post(
    "/v1/workers",
    summary="Register a worker",
    opt=documented("workers", own("worker"), {201: Answer(RegisteredWorker, ["Location"])}, body={JSON: NewWorker}),
)
async def register_worker(
    request: ApiRequest, database: NamedDependency[Database], lease_seconds: NamedDependency[float]
) -> Response[RegisteredWorker]:
    """Under an id that is new each time. Calls for it are heeded only from the API key that registered it."""
    given = convert(await object_of(request), GivenWorker, _WORKER)
    caller = caller_of(request)
    _check(given, caller)

    async def register(store: Store) -> UUID:
        return await store.register_http_worker(
            given.name,
            given.queues,
            given.tasks,
            slots=given.slots,
            lease_seconds=lease_seconds,
            labels=given.labels,
            owner=caller.name,
        )

    worker_id = await database.store(register)
    return Response(
        RegisteredWorker(worker_id, lease_seconds), status_code=201, headers={"location": f"/v1/workers/{worker_id}"}
    )


@put(
    "/v1/workers/{worker_id:str}/heartbeat",
    summary="Say that a worker lives",
    opt=documented("workers", own("worker"), {200: HeartbeatAnswer}, body={JSON: Heartbeat}, problems=[WORKER_LOST]),
)
async def heartbeat(
    request: ApiRequest,
    worker_id: FromPath[str],
    database: NamedDependency[Database],
    polls: NamedDependency[Polls],
) -> HeartbeatAnswer:
    """Renews all its leases, and brings back which of its handlers are to stop."""
    wanted, owner = worker_id_of(worker_id), caller_of(request).name
    given = convert(await object_of(request), Heartbeat, _HEARTBEAT)
    info = None if given.system_info is None else _known(given.system_info)
    if given.leases is not None and len(given.leases) > MOST_LEASES:
        raise Refused(INVALID, f"leases must be at most {MOST_LEASES} ids, not {len(given.leases)}", field="leases")
    draining, cancelled, lost = await database.store(
        lambda store: store.heartbeat(wanted, owner, system_info=info, leases=given.leases)
    )
    if given.leases is not None:
        polls.has_room(wanted)  # leases may have been taken back that it did not name
    return HeartbeatAnswer(cancelled, lost, draining)


@post(
    "/v1/workers/{worker_id:str}/claim",
    summary="Claim jobs for a worker",
    status_code=200,
    opt=documented("workers", own("worker"), {200: ClaimedJobs}, body={JSON: ClaimRequest}, problems=[WORKER_LOST]),
)
async def claim_jobs(
    request: ApiRequest,
    worker_id: FromPath[str],
    database: NamedDependency[Database],
    polls: NamedDependency[Polls],
) -> ClaimedJobs:
    """Renews its leases too. Each queue of the worker gets its share, and within a queue the order is as ever. A worker
    waits once at a time: a second claim with `wait` ends the first, which is answered with no jobs."""
    wanted, caller = worker_id_of(worker_id), caller_of(request)
    given = convert(await object_of(request), GivenClaim, _CLAIM)
    check_integer("limit", given.limit, 1, MOST_SLOTS)
    seconds = check_seconds("wait", given.wait, positive=False) or 0.0
    if seconds > LONGEST_POLL_SECONDS:
        raise Refused(INVALID, f"wait must be at most {LONGEST_POLL_SECONDS} seconds, not {given.wait}", field="wait")

    async def claim(store: Store) -> Tried:
        leases = await store.claim_leases(wanted, caller.name, given.limit, caller.queues)
        found = [] if leases or not seconds else await store.workers(wanted)
        return Tried(leases, found[0] if found else None)

    leases, worker = await database.store(claim)
    if worker is not None:
        served = [queue for queue in worker.queues if caller.queues is None or queue in caller.queues]

        async def claim_again() -> Tried:
            await still_admitted(request)  # who waits for a minute may have lost the key meanwhile
            return await database.again(claim)

        leases, gone = await polls.wait(
            worker,
            served,
            claim_again,
            seconds=seconds,
            unless=disconnected(request),
        )
        if leases and gone:
            await database.store(lambda store: store.release(wanted, [lease.lease_id for lease in leases], []))
            leases = []
    return ClaimedJobs([_claimed(lease) for lease in leases])


@post(
    "/v1/workers/{worker_id:str}/leases/{lease_id:str}/finish",
    summary="Finish a job",
    status_code=200,
    opt=documented(
        "workers",
        own("worker"),
        {200: Finished},
        body={JSON: FinishRequest},
        problems=[LEASE_GONE, LEASE_FINISHED],
    ),
)
async def finish_job(
    request: ApiRequest,
    worker_id: FromPath[str],
    lease_id: FromPath[str],
    database: NamedDependency[Database],
    polls: NamedDependency[Polls],
) -> Finished:
    """Repeat it with the same body until it is answered: for an hour that counts once, and 200 is answered again."""
    wanted, lease, owner = worker_id_of(worker_id), lease_id_of(lease_id), caller_of(request).name
    body = await object_of(request)
    given = convert(body, GivenFinish, _FINISH)
    outcome = outcome_of(given)
    told = msgspec.json.encode({**body, "secret": None}, order="sorted")
    answer, state = await database.store(
        lambda store: store.finish_lease(
            wanted, owner, lease, secret=storable(given.secret), outcome=outcome, body=sha256(told).digest()
        )
    )
    if answer == "otherwise":
        raise Refused(LEASE_FINISHED, f"lease {lease} was finished before, with another body")
    if answer == "gone" or state is None:
        raise _gone(lease)
    polls.has_room(wanted)
    return msgspec.convert({"state": state}, Finished)


@post(
    "/v1/workers/{worker_id:str}/leases/{lease_id:str}/progress",
    summary="Report the progress of a job",
    status_code=200,
    opt=documented(
        "workers", own("worker"), {200: ProgressAnswer}, body={JSON: ProgressRequest}, problems=[LEASE_GONE]
    ),
)
async def report_progress(
    request: ApiRequest, worker_id: FromPath[str], lease_id: FromPath[str], database: NamedDependency[Database]
) -> ProgressAnswer:
    """And what its handler logs. This does not renew the lease."""
    wanted, lease, owner = worker_id_of(worker_id), lease_id_of(lease_id), caller_of(request).name
    given = convert(await object_of(request), GivenReport, _PROGRESS)
    report = report_of(given)
    answer, cancelled = await database.store(
        lambda store: store.report_lease(wanted, owner, lease, secret=storable(given.secret), report=report)
    )
    if answer == "gone":
        raise _gone(lease)
    if answer == "busy":
        raise Refused(BUSY, f"the job of lease {lease} is being changed by somebody else at this moment")
    return ProgressAnswer(cancelled)


@delete(
    "/v1/workers/{worker_id:str}",
    summary="Deregister a worker",
    opt=documented("workers", own("worker"), {204: None}),
)
async def deregister_worker(
    request: ApiRequest,
    worker_id: FromPath[str],
    database: NamedDependency[Database],
    polls: NamedDependency[Polls],
) -> None:
    """What it still holds is handed back at once, as started: to be done when it has finished all."""
    wanted, owner = worker_id_of(worker_id), caller_of(request).name
    await database.store(lambda store: store.deregister_http_worker(wanted, owner))
    polls.end(wanted)


def _check(given: GivenWorker, caller: Caller) -> None:
    check_text("name", given.name, 255)
    check_integer("slots", given.slots, 1, MOST_SLOTS)
    for field, names, fewest, most in (("queues", given.queues, 1, MOST_QUEUES), ("tasks", given.tasks, 0, MOST_TASKS)):
        if names is not None and not fewest <= len(names) <= most:
            raise Refused(INVALID, f"{field} must be {fewest} to {most} names, not {len(names)}", field=field)
        for name in names or ():
            check_name(field, name)
        if len(set(names or ())) < len(names or ()):
            raise Refused(INVALID, f"{field} must name each once", field=field)
    check_json(given.labels, field="labels")
    if len(msgspec.json.encode(given.labels)) > MAX_LABELS_BYTES:
        raise Refused(INVALID, f"labels must be at most {MAX_LABELS_BYTES} bytes of JSON", field="labels")
    if caller.queues is not None and (others := set(given.queues) - set(caller.queues)):
        raise queue_forbidden(min(others))


def _known(info: SystemInfo) -> dict[str, float]:
    figures: dict[str, float | None] = msgspec.structs.asdict(info)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _claimed(lease: Lease) -> ClaimedJob:
    return ClaimedJob(
        id=lease.job_id,
        lease_id=lease.lease_id,
        secret=lease.secret,
        queue=lease.queue,
        task=lease.task,
        args=Raw(lease.args),
        attempt=lease.attempt,
        max_attempts=lease.max_attempts,
        timeout_seconds=lease.timeout_seconds,
        deadline=lease.deadline,
        correlation_id=lease.correlation_id,
    )


def _gone(lease: int) -> Refused:
    """The same for whoever guesses, and for whoever was too late."""
    return Refused(LEASE_GONE, f"lease {lease} is not held by this worker any more, or this is not its secret")
