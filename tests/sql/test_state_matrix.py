"""Every public function that acts on jobs, tried on a job in each state: what it answers, and what becomes of the job.
What may not be leaves the job's row as it was, to the last column."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.graphs import submit_many
from tests.sql.sessions import Worker
from tests.support.servers import Databases

STATES = ("blocked", "scheduled", "ready", "running", "completed", "failed", "cancelled")
ROLES = ("dtsched_submit", "dtsched_worker", "dtsched_reader", "dtsched_operator", "dtsched_api")
MANY_SECONDS = 1000


@dataclass
class Subject:
    """A job in some state, in a queue and with a key of its own. Its lease is gone unless it is running."""

    worker: Worker
    id: int
    lease: int
    queue: str
    key: str
    workflow: int

    def row(self) -> dict[str, Any] | None:
        return next(iter(self.worker.column("select to_jsonb(job) from dtsched.jobs job where id = %s", self.id)), None)


Do = Callable[[Subject], Any]
Expected = tuple[Any, str | None]
"""The answer, and the state afterwards: None if the job is gone."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`where` says what comes of it in which state; in others it answers `elsewhere` and nothing changes. An error is
    answered with its SQLSTATE. `changes` are states that are kept although the row changes. `functions` are those that
    it stands for."""

    name: str
    do: Do
    where: Mapping[str, Expected]
    elsewhere: Any
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def claim(subject: Subject) -> Any:
    return len(subject.worker.claim(queue=subject.queue))


def claim_entry(subject: Subject) -> Any:
    """As it would be named; in other states than ready it is not there."""
    worker = subject.worker
    entry = "select priority, xid::text from dtsched.ready where job_id = %s"
    priority, xid = next(iter(worker.rows(entry, subject.id)), (5, "1"))
    call = "select job_id, lease_id from dtsched.claim_entry(%s, %s, 100, null, 100, %s::smallint, %s::text::xid8, %s)"
    claimed = worker.rows(call, worker.id, subject.queue, priority, xid, subject.id)
    worker.leases.update((job, lease) for job, lease in claimed)
    return len(claimed)


def finish(outcome: str, delay: float | None = None) -> Do:
    def do(subject: Subject) -> Any:
        other = Jsonb([{"lease": subject.lease, "outcome": outcome, "delay": delay}])
        worker = subject.worker
        return len(worker.rows("select dtsched.finish(%s, '{}', null, %s)", worker.id, other))

    return do


def complete_all(subject: Subject) -> Any:
    return len(subject.worker.rows("select dtsched.finish(%s, %s)", subject.worker.id, [subject.lease]))


def complete(subject: Subject) -> Any:
    return subject.worker.rows("select dtsched.complete(%s, %s)", subject.worker.id, subject.lease) and "done"


def work(subject: Subject) -> Any:
    """How many leases were refused, of a call that claims where there is nothing."""
    rows = subject.worker.rows(
        "select lease_id from dtsched.work(%s, %s, null, null, 'nothing', 1)", subject.worker.id, [subject.lease]
    )
    return len(rows)


def release(*, started: bool) -> Do:
    def do(subject: Subject) -> Any:
        """A lease that is over, by this or already, is answered."""
        leases: tuple[list[int], list[int]] = ([], [subject.lease]) if started else ([subject.lease], [])
        return len(subject.worker.rows("select dtsched.release(%s, %s, %s)", subject.worker.id, *leases))

    return do


def reconcile(subject: Subject) -> Any:
    return len(subject.worker.rows("select dtsched.reconcile(%s, '{}', %s)", subject.worker.id, subject.lease))


def deregister(subject: Subject) -> Any:
    return subject.worker.value("select dtsched.deregister_worker(%s)", subject.worker.id)


def rescue(subject: Subject) -> Any:
    worker = subject.worker
    worker.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = %s", worker.id)
    worker.id = uuid4()
    worker.register()
    worker.run("update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", worker.id)
    return len(worker.rescue())


def expire(subject: Subject) -> Any:
    worker = subject.worker
    worker.run("update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", worker.id)
    worker.travel(f"{MANY_SECONDS} s")
    return [state for job, _, state in worker.rows("select * from dtsched.expire(%s)", worker.id) if job == subject.id]


def promote(subject: Subject) -> Any:
    subject.worker.travel(f"{MANY_SECONDS} s")
    return subject.worker.value("select promoted from dtsched.promote()")


def prune(subject: Subject) -> Any:
    subject.worker.travel("31 days")
    return subject.worker.value("select jobs from dtsched.prune(p_all => true)")


def on_job(statement: LiteralString) -> Do:
    return lambda subject: subject.worker.value(statement, subject.id)


def on_workflow(statement: LiteralString) -> Do:
    return lambda subject: subject.worker.rows(statement, subject.workflow)


def on_lease(statement: LiteralString) -> Do:
    return lambda subject: subject.worker.rows(statement, subject.worker.id, subject.lease) and "told"


def report(subject: Subject) -> Any:
    told = Jsonb([{"lease": subject.lease, "progress": {"percent": 40}}])
    return len(subject.worker.rows("select dtsched.report(%s, %s)", subject.worker.id, told))


def over_http(statement: LiteralString, *values: object) -> Do:
    """Of a worker over HTTP, whose lease has a secret."""

    def do(subject: Subject) -> Any:
        worker = subject.worker
        worker.run("update dtsched.workers set over_http = true where id = %s", worker.id)
        worker.run("update dtsched.leases set secret = sha256('secret') where id = %s", subject.lease)
        of_lease = (subject.lease, "secret") if values else ()
        return worker.value(statement, worker.id, *of_lease, *values)

    return do


def finish_over_http(outcome: str) -> Do:
    statement = "select outcome from dtsched.finish_lease(%s, null, %s, %s, %s, 'body')"
    return over_http(statement, Jsonb({"outcome": outcome}))


def emit(subject: Subject) -> Any:
    return subject.worker.value("select woken from dtsched.emit(%s)", subject.key)


def by_an_operation(action: str) -> Do:
    """The only outcome."""

    def do(subject: Subject) -> Any:
        subject.worker.run(
            """
            select dtsched.create_operation(%s, jsonb_build_object('id', %s::text),
                case when %s = 'edit' then '{"priority": 9}'::jsonb end,
                case when %s = 'reschedule' then dtsched.now() + interval '1 hour' end)
            """,
            *(action, subject.id, action, action),
        )
        assert subject.worker.value("select state from dtsched.step_operation()") == "completed"
        (outcomes,) = subject.worker.column("select outcomes from dtsched.list_operations()")
        assert list(outcomes.values()) == [1]
        return next(iter(outcomes))

    return do


def edit_if_it_is_the_same(subject: Subject) -> Any:
    version = subject.worker.value("select dtsched.job_version(%s)", subject.id)
    change = """select dtsched.edit_expecting(%s, '{"priority": 9}', %s)"""
    assert subject.worker.value(change, subject.id, ["other"]) == "changed"
    return subject.worker.value(change, subject.id, [version])


def submit_again(mode: str, function: LiteralString = "submit_many") -> Do:
    def do(subject: Subject) -> Any:
        again = Jsonb([{"task": "echo", "queue": "other", "key": subject.key, "on_conflict": mode, "delay": 60}])
        return subject.worker.value("select outcome from dtsched." + function + "(%s)", again)

    return do


def submit_once(subject: Subject) -> Any:
    again = Jsonb([{"task": "echo", "queue": "other", "key": subject.key, "delay": 60}])
    return subject.worker.value("select answer -> 0 ->> 'outcome' from dtsched.submit_once(%s)", again)


def same(answer: Any, *states: str) -> dict[str, Expected]:
    return {state: (answer, state) for state in states}


def to(state: str | None, answer: Any, *states: str) -> dict[str, Expected]:
    return dict.fromkeys(states, (answer, state))


WAITING = ("blocked", "scheduled", "ready")
REPORTED = Jsonb({"lines": [{"message": "a line"}]})
ENDED = ("completed", "failed", "cancelled")
DIRECTLY = (
    Operation(name="claim", do=claim, where=to("running", 1, "ready"), elsewhere=0, functions=("claim",)),
    Operation(
        name="claim its entry", do=claim_entry, where=to("running", 1, "ready"), elsewhere=0, functions=("claim_entry",)
    ),
    Operation(
        name="complete", do=complete_all, where=to("completed", 1, "running"), elsewhere=0, functions=("finish",)
    ),
    Operation(
        name="complete in a transaction",
        do=complete,
        where=to("completed", "done", "running"),
        elsewhere="JQ005",
        functions=("complete",),
    ),
    Operation(
        name="complete and claim", do=work, where=to("completed", 0, "running"), elsewhere=1, functions=("work",)
    ),
    Operation(name="retry now", do=finish("retry", 0), where=to("ready", 1, "running"), elsewhere=0),
    Operation(name="retry later", do=finish("retry", 60), where=to("scheduled", 1, "running"), elsewhere=0),
    Operation(
        name="retry, with its attempts used up",
        do=finish("retry", 0),
        where=to("failed", 1, "running"),
        elsewhere=0,
        fields={"max_attempts": 1},
    ),
    Operation(name="snooze now", do=finish("snooze"), where=to("ready", 1, "running"), elsewhere=0),
    Operation(name="snooze", do=finish("snooze", 60), where=to("scheduled", 1, "running"), elsewhere=0),
    Operation(name="fail", do=finish("fail"), where=to("failed", 1, "running"), elsewhere=0),
    Operation(name="cancel from within", do=finish("cancel"), where=to("cancelled", 1, "running"), elsewhere=0),
    Operation(
        name="release before it has started",
        do=release(started=False),
        where=to("ready", 1, "running"),
        elsewhere=1,
        functions=("release",),
    ),
    Operation(name="release", do=release(started=True), where=to("ready", 1, "running"), elsewhere=1),
    Operation(
        name="release, with its attempts used up",
        do=release(started=True),
        where=to("failed", 1, "running"),
        elsewhere=1,
        fields={"max_attempts": 1},
    ),
    Operation(
        name="reconcile", do=reconcile, where=to("ready", 1, "running"), elsewhere=0, functions=("reconcile",)
    ),
    Operation(
        name="deregister",
        do=deregister,
        where=to("ready", 1, "running"),
        elsewhere=0,
        functions=("deregister_worker",),
    ),
    Operation(name="rescue", do=rescue, where=to("ready", 1, "running"), elsewhere=0, functions=("rescue",)),
    Operation(
        name="expire",
        do=expire,
        where=to("failed", ["failed"], *WAITING, "running"),
        elsewhere=[],
        fields={"expires_in": 100},
        functions=("expire",),
    ),
    Operation(
        name="expire an attempt",
        do=expire,
        where=to("scheduled", ["scheduled"], "running"),
        elsewhere=[],
        fields={"timeout": 10},
    ),
    Operation(
        name="expire nothing", do=expire, where={}, elsewhere=[], fields={"expires_in": MANY_SECONDS + 100}
    ),
    Operation(name="promote", do=promote, where=to("ready", 1, "scheduled"), elsewhere=0, functions=("promote",)),
    Operation(
        name="cancel",
        do=on_job("select dtsched.cancel(%s)"),
        where=to("cancelled", "cancelled", *WAITING) | same("requested", "running"),
        elsewhere="finished",
        functions=("cancel",),
    ),
    Operation(
        name="cancel its workflow",
        do=on_workflow("select outcome from dtsched.cancel_workflow(%s)"),
        where=to("cancelled", [("cancelled",)], *WAITING) | same([("requested",)], "running"),
        elsewhere=[],
        functions=("cancel_workflow",),
    ),
    Operation(
        name="retry",
        do=on_job("select dtsched.retry(%s)"),
        where=to("ready", "retried", "failed", "cancelled") | same("finished", "completed"),
        elsewhere="unfinished",
        functions=("retry",),
    ),
    Operation(
        name="retry its workflow",
        do=on_workflow("select outcome from dtsched.retry_workflow(%s)"),
        where=to("ready", [("retried",)], "failed", "cancelled"),
        elsewhere=[],
        functions=("retry_workflow",),
    ),
    Operation(
        name="run now",
        do=on_job("select dtsched.run_now(%s)"),
        where=to("ready", "ready", "scheduled") | same("ready", "ready") | same("blocked", "blocked")
        | same("finished", *ENDED),
        elsewhere="running",
        changes=("blocked",),
        functions=("run_now",),
    ),
    Operation(
        name="reschedule",
        do=on_job("select dtsched.reschedule(%s, dtsched.now() + interval '1 hour')"),
        where=to("scheduled", "scheduled", "scheduled", "ready") | same("blocked", "blocked")
        | same("finished", *ENDED),
        elsewhere="running",
        changes=("blocked", "scheduled"),
        functions=("reschedule",),
    ),
    Operation(
        name="edit",
        do=on_job("""select dtsched.edit(%s, '{"priority": 9}')"""),
        where=same("edited", *WAITING, "failed", "cancelled") | same("finished", "completed"),
        elsewhere="running",
        changes=(*WAITING, "failed", "cancelled"),
        functions=("edit",),
    ),
    Operation(
        name="delete",
        do=on_job("select dtsched.delete(%s)"),
        where=to(None, "deleted", *WAITING, *ENDED),
        elsewhere="running",
        functions=("delete",),
    ),
    Operation(
        name="prune", do=prune, where=to(None, 1, *ENDED), elsewhere=0, functions=("prune",)
    ),
    Operation(
        name="sleep",
        do=on_lease("select dtsched.start_sleep(%s, %s, 'nap', 60)"),
        where=same("told", "running"),
        elsewhere="JQ006",
        functions=("start_sleep",),
    ),
    Operation(
        name="wait for an event",
        do=on_lease("select dtsched.await_event(%s, %s, 'wait', 'never')"),
        where=same("told", "running"),
        elsewhere="JQ006",
        functions=("await_event",),
    ),
    Operation(
        name="remember a step",
        do=on_lease("select dtsched.record_step(%s, %s, 'charge', '1')"),
        where=same("told", "running"),
        elsewhere="JQ006",
        functions=("record_step",),
    ),
    Operation(
        name="report",
        do=report,
        where=same(1, "running"),
        elsewhere=0,
        changes=("running",),
        functions=("report",),
    ),
    Operation(
        name="claim over HTTP",
        do=over_http("select count(*) from dtsched.claim_leases(%s, null, 5)"),
        where=to("running", 1, "ready"),
        elsewhere=0,
        functions=("claim_leases",),
    ),
    Operation(
        name="complete over HTTP",
        do=finish_over_http("complete"),
        where=to("completed", "accepted", "running"),
        elsewhere="gone",
        functions=("finish_lease",),
    ),
    Operation(
        name="fail over HTTP",
        do=finish_over_http("fail"),
        where=to("failed", "accepted", "running"),
        elsewhere="gone",
    ),
    Operation(
        name="report over HTTP",
        do=over_http("select outcome from dtsched.report_lease(%s, null, %s, %s, %s)", REPORTED),
        where=same("told", "running"),
        elsewhere="gone",
        functions=("report_lease",),
    ),
    Operation(
        name="heartbeat that knows of nothing",
        do=over_http("select cardinality(lost) from dtsched.heartbeat(%s, null, null, '{}')"),
        where={},
        elsewhere=0,
        functions=("heartbeat",),
    ),
    Operation(
        name="deregister over HTTP",
        do=over_http("select dtsched.deregister_http_worker(%s, null)"),
        where=to("ready", 1, "running"),
        elsewhere=0,
        functions=("deregister_http_worker",),
    ),
    Operation(name="emit an event", do=emit, where={}, elsewhere=0, functions=("emit", "deliver_events")),
    Operation(
        name="submit with its key",
        do=submit_again("keep"),
        where=same("created", *ENDED),
        elsewhere="kept",
        functions=("submit", "submit_many"),
    ),
    Operation(name="reject", do=submit_again("reject"), where=same("created", *ENDED), elsewhere="JQ003"),
    Operation(
        name="reject what of a batch is wrong",
        do=submit_again("reject", "submit_partly"),
        where=same("created", *ENDED),
        elsewhere="refused",
        functions=("submit_partly",),
    ),
    Operation(
        name="submit once with its key", do=submit_once, where=same("created", *ENDED), elsewhere="kept",
        functions=("submit_once",),
    ),
    Operation(
        name="replace",
        do=submit_again("replace"),
        where=to("scheduled", "replaced", "scheduled", "ready") | same("replaced", "blocked")
        | same("created", *ENDED),
        elsewhere="superseded",
        changes=("blocked", "scheduled"),
    ),
    Operation(
        name="supersede",
        do=submit_again("supersede"),
        where=to("cancelled", "superseded", *WAITING) | same("created", *ENDED),
        elsewhere="superseded",
    ),
)  # fmt: skip
OPERATIONS = (
    *DIRECTLY,
    *(
        replace(
            each,
            name=f"{each.name} by an operation",
            do=by_an_operation(each.name.replace(" ", "-")),
            functions=("create_operation", "step_operation"),
        )
        for each in DIRECTLY
        if each.name in ("cancel", "retry", "run now", "reschedule", "edit", "delete")
    ),
    *(
        replace(each, name="edit if it is the same", do=edit_if_it_is_the_same, functions=("edit_expecting",))
        for each in DIRECTLY
        if each.name == "edit"
    ),
)

CHANGE_NO_JOB = """{
    authorize, cancel_operation, create_key, create_workflow, declare_schedules, drained, due_schedules,
    ensure_partitions, fire, forget_answers, forget_events, forget_receipts, free_expired_keys, held, hungry, note_age,
    note_audit, note_schedule_problem, now, pause, pause_schedule, prune_feed, prune_records, prune_ticks,
    register_http_worker, register_worker, renew, resume, resume_schedule, revoke_key, roll_up, run_schedule, sated,
    save_schedule, schedule, set_limit, set_queue, set_retention, settled, submit_alike, submit_gathered, unschedule,
    unwatch_ended, unwatch_feed, watch_ended, watch_feed}"""
"""The other public functions that are not stable; fire and run_schedule submit."""


@pytest.fixture(scope="module")
def database_worker(databases: Databases, template: str) -> Generator[Worker]:
    """One database for all: what is tried there is rolled back."""
    name = databases.clone(template)
    with contextlib.closing(Worker(databases.dsn(name))) as worker:
        worker.take_over_the_clock()
        yield worker
    databases.drop(name)


@pytest.fixture
def worker(database_worker: Worker) -> Generator[Worker]:
    """Its transaction is open and knows of nothing else, so its claims and rounds meet the subject alone."""
    database_worker.run("begin")
    database_worker.run("set constraints all immediate")
    database_worker.id, database_worker.leases = uuid4(), {}
    database_worker.register(queues=["here"])
    yield database_worker
    database_worker.run("rollback")


def a_job_that_is(state: str, worker: Worker, fields: Mapping[str, Any]) -> Subject:
    workflow = worker.value("select dtsched.create_workflow('all')")
    given = {"queue": "here", "key": "mine", "workflow": workflow, **fields}
    if state == "blocked":
        given["depends_on"] = submit_many(worker, {"queue": "elsewhere"})
    if state == "scheduled":
        given["delay"] = 60
    (job,) = submit_many(worker, given)
    if state in ("running", *ENDED):
        worker.claim(queue="here")
    match state:
        case "completed":
            worker.finish(job)
        case "failed" | "cancelled":
            worker.finish_as({"failed": "fail"}.get(state, "cancel"), job)
        case _:
            pass
    assert worker.state(job) == state
    return Subject(worker, job, worker.leases.get(job, 0), "here", "mine", workflow)


def answer(operation: Operation, subject: Subject) -> Any:
    """An error is answered with its SQLSTATE."""
    subject.worker.run("savepoint before")
    try:
        return operation.do(subject)
    except psycopg.Error as error:
        subject.worker.run("rollback to before")
        return error.sqlstate


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_does_to_a_job_in_each_state_what_it_says_and_nothing_else(
    operation: Operation, state: str, worker: Worker
):
    subject = a_job_that_is(state, worker, operation.fields)
    before = subject.row()
    says, becomes = operation.where.get(state, (operation.elsewhere, state))
    assert answer(operation, subject) == says
    after = subject.row()
    assert (after and after["state"]) == becomes
    if becomes == state:
        assert (after != before) == (state in operation.changes)
    assert worker.rows("select * from dtsched.check()") == []


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("role", ROLES)
def test_no_role_writes_a_state(role: str, state: str, worker: Worker):
    subject = a_job_that_is("ready", worker, {})
    before = subject.row()
    for statement in (
        b"update dtsched.jobs set state = %s",
        b"update dtsched.jobs set finished_at = null where %s <> ''",
        b"delete from dtsched.jobs where %s <> ''",
        b"insert into dtsched.jobs (task, state) values ('echo', %s)",
    ):
        worker.run("savepoint before")
        worker.connection.execute(f"set local role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.connection.execute(statement, [state])
        worker.run("rollback to before")
    assert subject.row() == before


def test_all_public_functions_that_may_write_are_tried(worker: Worker):
    public = worker.column(
        """
        select distinct proname::text from pg_proc
        where pronamespace = 'dtsched'::regnamespace and provolatile = 'v' and proname <> all (%s::text[]) and exists (
            select from unnest(%s::text[]) role where has_function_privilege(role, oid, 'execute'))
        """,
        CHANGE_NO_JOB,
        list(ROLES),
    )
    assert {function for operation in OPERATIONS for function in operation.functions} == set(public)
