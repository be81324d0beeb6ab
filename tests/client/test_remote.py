"""The client over both doors: what it says over the database it says over REST, answers and errors alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from dtsched import (
    App,
    Client,
    DatabaseUnreachable,
    DtschedError,
    InvalidInput,
    JobFailed,
    NewJob,
    NotFound,
    Options,
)
from dtsched.batches import Refusal
from dtsched.errors import NotAllowed
from dtsched.filters import as_text, parse_filter
from dtsched.overview import Queue
from dtsched.remote import RestStore
from dtsched.schedules import NewSchedule
from dtsched.store import Store
from tests.api.keyholders import make_key
from tests.sql.sessions import Worker
from tests.support.bad_input import declare
from tests.support.patience import PATIENCE_SECONDS, within
from tests.support.rest import serving
from tests.support.servers import Databases

LATER = datetime(2030, 1, 31, 9, tzinfo=UTC)
MISSING = 987_654_321
HARD = {"large": 10**30, "float": 0.1, "tiny": 1e-300, "text": 'ü"\\\n\u2028', "deep": [[{"a": None}]]}

OVER_THE_DATABASE_ALONE = {
    "close", "sever", "usable", "transaction", "probe",
    # what workers say, and what maintains
    "parents", "parent_results", "begun_steps", "recall_step", "record_step", "start_sleep", "await_event",
    "deliver_events", "forget_events", "register_worker", "renew", "deregister_worker", "work", "poll", "finish",
    "report", "held", "release", "reconcile", "rescue", "expire", "taken_away", "promote", "ensure_partitions",
    "roll_up", "note_age", "free_expired_keys", "declare_schedules", "due_schedules", "fire", "note_schedule_problem",
    "prune_ticks", "settled", "has_ready", "hungry",
    # what is asked by the server itself, or is made of other methods
    "metrics", "check", "limit", "quiet", "authorize", "submit_gathered", "submit_once", "watched_jobs", "read_feed",
    "prune_feed", "versioned_job", "edit_expecting", "errors", "audit", "note_audit", "create_operation",
    "step_operation", "prune_records", "forget_answers", "forget_receipts", "register_http_worker", "heartbeat",
    "claim_leases", "finish_lease", "report_lease", "deregister_http_worker",
    # who may use the API is not said through the API
    "create_key", "keys", "revoke_key",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_database(databases: Databases, template: str) -> Generator[str]:
    """One for all tests here: a server takes a while to start."""
    name = databases.clone(template)
    with psycopg.connect(databases.dsn(name), autocommit=True) as connection:
        declare(connection)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def url(shared_database: str) -> Generator[str]:
    with serving(shared_database) as url:
        yield url


@pytest.fixture
async def clients(shared_database: str, url: str) -> AsyncGenerator[tuple[Client, Client]]:
    """Over the database, and over REST."""
    async with Client(shared_database) as one, Client(url) as other:
        yield one, other


@pytest.fixture(params=["database", "rest"])
async def client(request: pytest.FixtureRequest, clients: tuple[Client, Client]) -> Client:
    return clients[0] if request.param == "database" else clients[1]


@pytest.fixture
def queue() -> str:
    """The test's own."""
    return f"q-{uuid4().hex}"


@pytest.fixture
def worker(shared_database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(shared_database)) as worker:
        yield worker


async def submitted(client: Client, queue: str, **fields: Any) -> int:
    return (await client.submit(NewJob(task="echo", queue=queue, **fields))).id


async def answer(question: Awaitable[object]) -> object:
    """Or the refusal, with all that is in it."""
    try:
        return await question
    except DtschedError as error:
        return type(error), str(error), getattr(error, "field", None), getattr(error, "problems", None)


def test_every_method_of_the_store_is_there_over_rest_or_known_to_need_the_database() -> None:
    methods = {name for name in vars(Store) if not name.startswith("_") and name != "spans_calls"}
    assert methods - set(vars(RestStore)) <= OVER_THE_DATABASE_ALONE


async def test_a_client_sends_the_key_of_the_environment(
    databases: Databases, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = databases.clone(template)
    with psycopg.connect(databases.dsn(name), autocommit=True) as connection:
        key = make_key(connection, "ci", ["read"])
    with serving(databases.dsn(name)) as url:
        monkeypatch.setenv("DTSCHED_KEY", key)
        async with Client(url) as client:
            assert (await client.list_jobs("state:failed")).jobs == []
        async with Client(url, key="dts_another") as client:
            with pytest.raises(NotAllowed, match="refuses the key"):
                await client.list_jobs("state:failed")
    databases.drop(name)


async def timeless(client: Client, queue: str) -> list[Queue]:
    return [msgspec.structs.replace(each, oldest_ready_seconds=None) for each in await client.queues(queue)]


READS: dict[str, Callable[[Client, int, str], Awaitable[object]]] = {
    "a job": lambda client, job, queue: client.get(job),
    "a missing job": lambda client, job, queue: client.get(MISSING),
    "an id that no job can have": lambda client, job, queue: client.get(2**70),
    "a list": lambda client, job, queue: client.list_jobs(f"queue:{queue}", limit=2),
    "its second page": lambda client, job, queue: client.list_jobs(f"queue:{queue}", before=job, limit=2),
    "a filter": lambda client, job, queue: client.list_jobs(f'queue:{queue} args.text:"a \\"b\\", c" since:1h'),
    "a wrong filter": lambda client, job, queue: client.list_jobs("stat:failed"),
    "many ids": lambda client, job, queue: client.ask(
        lambda store: store.list_jobs({"id": [str(one) for one in range(1, 200)], "queue": [queue]}, limit=200)
    ),
    "ids": lambda client, job, queue: client.ask(lambda store: store.find_jobs({"queue": [queue]}, limit=2)),
    "attempts": lambda client, job, queue: client.attempts(job),
    "attempts of a missing job": lambda client, job, queue: client.attempts(MISSING),
    "steps": lambda client, job, queue: client.steps(job),
    "why": lambda client, job, queue: client.why(job),
    "why a missing job": lambda client, job, queue: client.why(MISSING),
    "logs": lambda client, job, queue: client.ask(lambda store: store.logs(job)),
    "ended": lambda client, job, queue: client.ask(lambda store: store.ended([job, job - 1, MISSING])),
    "keys": lambda client, job, queue: client.jobs_of_keys([f"key of {queue}", "nobody's"]),
    "the job of a key": lambda client, job, queue: client.ask(lambda store: store.job_of_key(f"key of {queue}")),
    "a key that nobody has": lambda client, job, queue: client.ask(lambda store: store.job_of_key("nobody's / key")),
    "operations": lambda client, job, queue: client.ask(lambda store: store.operations()),
    "a missing operation": lambda client, job, queue: client.ask(lambda store: store.operation(MISSING)),
    "a missing operation to cancel": lambda client, job, queue: client.ask(
        lambda store: store.cancel_operation(MISSING)
    ),
    "queues": lambda client, job, queue: timeless(client, queue),
    "a queue that nobody has": lambda client, job, queue: client.queues("nobody"),
    "tasks": lambda client, job, queue: client.ask(lambda store: store.tasks()),
    "a task": lambda client, job, queue: client.ask(lambda store: store.tasks("nosuch")),
    "a worker that is not": lambda client, job, queue: client.ask(lambda store: store.workers(UUID(int=1))),
    "limits": lambda client, job, queue: client.limits(),
    "a limit key": lambda client, job, queue: client.limits(f"a/b?c of {queue}"),
    "a limit key of dots": lambda client, job, queue: client.limits(".."),
    "what holds for it": lambda client, job, queue: client.effective_limits("..", queue=queue),
    "retention": lambda client, job, queue: client.retention(),
    "retention of a queue": lambda client, job, queue: client.retention(queue),
    "schedules": lambda client, job, queue: client.schedules(),
    "a missing schedule": lambda client, job, queue: client.schedule("nobody"),
    "a missing workflow": lambda client, job, queue: client.workflow(MISSING),
    "workflows": lambda client, job, queue: client.ask(lambda store: store.list_workflows()),
    "what is past its retention": lambda client, job, queue: client.ask(lambda store: store.past_retention()),
    "drained": lambda client, job, queue: client.ask(lambda store: store.drained(queue)),
}


async def test_what_is_read_is_the_same_over_both(clients: tuple[Client, Client], queue: str, worker: Worker) -> None:
    database, rest = clients
    await submitted(database, queue, args={"text": 'a "b", c'}, key=f"key of {queue}", limit_key=f"a/b?c of {queue}")
    await submitted(database, queue, delay="1h", tags=["t"], timeout=1.5, deadline=LATER, max_attempts=3)
    job = await submitted(database, queue, args=HARD)
    await database.save_schedule(queue, NewSchedule(spec="@daily", task="echo", args={"value": 1}))
    await database.submit_workflow(queue, [NewJob(task="echo", queue=queue)])
    worker.claim(1, queue=queue)
    for name, read in READS.items():
        expected, found = await answer(read(database, job, queue)), await answer(read(rest, job, queue))
        if found != expected:  # some tell how long a job has run, by the second
            expected = await answer(read(database, job, queue))
        assert found == expected, name
    assert (await rest.get(job)).args == HARD


WRONG: dict[str, Sequence[NewJob]] = {
    "an unknown task": [NewJob(task="nosuch")],
    "one of them": [NewJob(task="echo"), NewJob(task="nosuch")],
    "several": [NewJob(task="nosuch"), NewJob(task="echo"), NewJob(task="nosuch", key="k")],
    "before it is sent": [NewJob(task="echo"), NewJob(task="echo", priority=11)],
    "a missing parent": [NewJob(task="echo", depends_on=[MISSING])],
    "a missing key": [NewJob(task="echo", depends_on=["nobody's"])],
    "a missing workflow": [NewJob(task="echo", workflow=MISSING)],
    "a circle": [NewJob(task="echo", key="a", depends_on=["b"]), NewJob(task="echo", key="b", depends_on=["a"])],
    "a held key": [NewJob(task="echo", key="held", on_conflict="reject")],
    "a held key of several": [NewJob(task="echo"), NewJob(task="echo", key="held", on_conflict="reject")],
    "none": [],
}


async def test_what_is_refused_is_refused_in_the_same_words(clients: tuple[Client, Client], queue: str) -> None:
    await submitted(clients[0], queue, key="held")
    for name, jobs in WRONG.items():
        whole = [await answer(client.submit_many(jobs)) for client in clients]
        assert whole[0] == whole[1], name
        if jobs:
            part = [_without_ids(await answer(client.submit_many(jobs, partial=True))) for client in clients]
            assert part[0] == part[1], name


def _without_ids(answers: object) -> object:
    assert isinstance(answers, list)
    return [each if isinstance(each, Refusal) else "submitted" for each in cast("list[object]", answers)]


async def test_jobs_are_acted_on_each_with_its_outcome(client: Client, queue: str) -> None:
    job, other = await submitted(client, queue), await submitted(client, queue)
    assert await client.reschedule([job], LATER) == {job: "scheduled"}
    assert (await client.get(job)).run_at == LATER
    assert await client.run_now([job, 2**70]) == {job: "ready", 2**70: "missing"}
    assert await client.edit([job], {"merge_args": {"a": 1}, "timeout": "2m"}) == {job: "edited"}
    assert ((await client.get(job)).args, (await client.get(job)).timeout) == ({"a": 1}, 120)
    assert await client.cancel([other, MISSING, job]) == {other: "cancelled", MISSING: "missing", job: "cancelled"}
    assert await client.retry([job, MISSING]) == {job: "retried", MISSING: "missing"}
    assert await client.delete([job]) == {job: "deleted"}
    with pytest.raises(InvalidInput, match="priority must be"):
        await client.edit([other], {"priority": 11})


async def test_keys_are_kept_replaced_and_superseded(client: Client, queue: str) -> None:
    made = NewJob(task="echo", queue=queue, key=queue)
    outcomes = [
        (await client.submit(msgspec.structs.replace(made, on_conflict=conflict))).outcome
        for conflict in (None, "keep", "replace", "supersede")
    ]
    assert outcomes == ["created", "kept", "replaced", "superseded"]


async def test_a_result_is_waited_for(client: Client, queue: str, worker: Worker) -> None:
    job, failing = await submitted(client, queue), await submitted(client, queue)
    with pytest.raises(TimeoutError, match=r"is still ready after 0\.05 s"):
        await client.result(job, timeout=0.05)
    waiting = [asyncio.create_task(client.result(one, timeout=20)) for one in (job, failing)]
    worker.claim(queue=queue)
    worker.finish_as("fail", failing)
    worker.finish(job)
    with pytest.raises(JobFailed, match=f"job {failing}"):
        await waiting[1]
    await waiting[0]
    with pytest.raises(NotFound, match=f"there is no job {MISSING}"):
        await client.result(MISSING)


async def test_forty_jobs_are_waited_for_at_once(url: str, queue: str, worker: Worker) -> None:
    async with Client(url) as client:
        many = await client.submit_many([NewJob(task="echo", queue=queue) for _ in range(40)])
        waiting = [asyncio.create_task(client.wait(one.id, timeout=30)) for one in many]
        await asyncio.sleep(0)
        worker.claim(queue=queue)
        worker.finish(*(one.id for one in many))
        assert {job.state for job in await asyncio.gather(*waiting)} == {"completed"}


async def test_whoever_waits_for_what_has_ended_does_not_wait_for_those_that_came_before(
    url: str, queue: str, worker: Worker
) -> None:
    async with Client(url) as client:
        many = await client.submit_many([NewJob(task="echo", queue=queue) for _ in range(60)])
        waiting = [asyncio.create_task(client.until_ended(one.id)) for one in many]
        worker.claim(queue=queue)
        worker.finish(many[-1].id)
        with within(5):
            await asyncio.wait_for(waiting[-1], PATIENCE_SECONDS)
        worker.finish(*(one.id for one in many[:-1]))
        await asyncio.gather(*waiting)


async def test_whoever_waits_when_the_client_is_closed_is_told(url: str, queue: str) -> None:
    async with Client(url) as client:
        waiting = asyncio.create_task(client.result(await submitted(client, queue)))
        await asyncio.sleep(0.2)
    with pytest.raises(DatabaseUnreachable, match="the client was closed while a job was waited for"):
        await waiting


async def test_queues_and_limits_are_set(client: Client, queue: str) -> None:
    assert [await client.pause(queue), await client.pause(queue)] == [True, False]
    assert [await client.resume(queue), await client.resume(queue)] == [True, False]
    assert await client.set_queue(queue, {"limit": 3, "rate": "60/m"}) == {"limit": 3, "rate": 1}
    assert await client.set_queue(queue, {"limit": None}) == {"rate": 1}
    assert (await client.set_limit(queue, 2, "10/s")).concurrency == 2
    assert [limit.rate for limit in await client.limits(queue)] == [10]
    await client.set_retention({"failed": "forever", "completed": "1h"}, queue)
    await client.set_retention({"completed": None}, queue)
    (kept,) = await client.retention(queue)
    assert (kept.failed, kept.completed) == (None, (await client.retention())[-1].completed)
    with pytest.raises(InvalidInput, match="concurrency must be"):
        await client.set_limit(queue, -1)


async def test_schedules_are_made_changed_and_removed(client: Client, queue: str) -> None:
    daily = NewSchedule(spec="@daily", task="echo", args={"value": 1})
    assert [await client.save_schedule(queue, daily), await client.save_schedule(queue, daily)] == [True, False]
    assert (await client.change_schedule(queue, queue=queue, timeout="2m")).timeout == 120
    assert [await client.pause_schedule(queue), await client.pause_schedule(queue)] == [True, False]
    assert [await client.resume_schedule(queue), await client.resume_schedule(queue)] == [True, False]
    made = await client.run_schedule(queue)
    assert (await client.get(made.id)).queue == queue
    assert await client.ask(lambda store: store.ticks(queue)) == []
    await client.unschedule(queue)
    with pytest.raises(NotFound):
        await client.unschedule(queue)


async def test_events_are_emitted_once(client: Client, queue: str) -> None:
    assert [(await client.emit(queue, HARD)).created, (await client.emit(queue)).created] == [True, False]


async def test_workflows_are_submitted_whole_cancelled_and_retried(client: Client, queue: str) -> None:
    jobs = [NewJob(task="anything", queue=queue, key=queue), NewJob(task="echo", queue=queue, depends_on=[queue])]
    workflow, made = await client.submit_workflow("etl", jobs)
    assert (await client.workflow(workflow)).jobs.total == 2
    first, second = (one.id for one in made)
    assert await client.cancel_workflow(workflow) == {first: "cancelled", second: "cancelled"}
    assert await client.retry_workflow(workflow) == {first: "retried", second: "retried"}
    _, (third,) = await client.submit_workflow(workflow, [NewJob(task="echo", queue=queue)])
    assert (await client.get(third.id)).workflow_id == workflow
    with pytest.raises(InvalidInput, match=f"job 2: depends_on names job {MISSING}|depends_on names job {MISSING}"):
        await client.submit_workflow("no", [jobs[0], NewJob(task="echo", depends_on=[MISSING])])


async def test_an_app_submits_what_no_worker_has_declared_yet(url: str, queue: str, worker: Worker) -> None:
    app = App(url)

    @app.task(queue=queue)
    async def new(value: int) -> int:
        return value

    async with app:
        job = await new.submit(1)
        (good, bad) = await new.submit_many([{"value": 2}, {"wrong": 3}], partial=True)
        async with app.workflow("etl") as workflow:
            node = workflow.add(new, 4)
        assert (await job.state(), await node.handle.state(), (await workflow.record()).jobs.total) == (
            "ready", "ready", 1,
        )  # fmt: skip
        assert not isinstance(good, Refusal)
        assert isinstance(bad, Refusal)
        assert [reason.code for reason in await job.why()] == ["no_worker"]
        assert await job.cancel() == "cancelled"


def test_a_program_without_an_event_loop_submits_and_waits(url: str, queue: str, worker: Worker) -> None:
    app = App(url)

    @app.task(queue=queue)
    def new(value: int) -> None: ...

    job = new.submit_sync(1)
    many = new.submit_many_sync([{"value": 2}, ({"value": 3}, Options(priority=9))])
    assert len(new.submit_many_sync([{"value": 2}, {"wrong": 3}], partial=True)) == 2
    assert app.emit_sync(queue).created
    with pytest.raises(TimeoutError, match=f"job {job.id} is still ready after 0"):
        job.result_sync(timeout=0)
    worker.claim(queue=queue)
    worker.finish(job.id)
    assert job.result_sync(timeout=5) is None
    assert len({one.id for one in many}) == 2
    with pytest.raises(InvalidInput, match="this talks to PostgreSQL itself"):
        app.sync_connection()


async def test_more_than_the_server_takes_is_refused_before_it_is_sent(url: str) -> None:
    async with Client(url) as client:
        with pytest.raises(InvalidInput, match="over REST at most 10000 jobs are submitted at once, not 10001"):
            await client.submit_many([NewJob(task="echo")] * 10_001)
        with pytest.raises(InvalidInput, match="over REST at most 16 MiB"):
            await client.submit_many([NewJob(task="echo", args={"text": "x" * 1_000_000})] * 17)


@pytest.mark.parametrize(
    "text",
    [
        "state:failed,ready queue:mail since:1h until:2030-01-31T09:00:00Z",
        'args.user.id:42 args.text:"a \\"b\\" \\\\ c, d" error:"x y" tag:"a,b","c d"',
        'key:"ä/ö" id:1,2 priority:10 workflow:3 correlation_id:a-b_c.d:e',
    ],
)
def test_a_filter_is_written_as_it_is_read(text: str) -> None:
    assert parse_filter(as_text(parse_filter(text))) == parse_filter(text)
