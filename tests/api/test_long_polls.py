"""Workers that wait over HTTP for something to do, each in nobody's way."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import Serve
from tests.api.processes import POOLED, ApiProcess, served
from tests.api.sse import watching
from tests.sql.sessions import Session
from tests.support.patience import PATIENCE_SECONDS, five_tries, timely, until, within

HUNGRY = """
    select count(*) from pg_locks
    where locktype = 'advisory' and classid = dtsched.gate() and objid = hashtext(%s)::bigint & 4294967295"""


@pytest.fixture(scope="module")
def api(refusing_database: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[ApiProcess]:
    """A process: the test client of the framework says at once that its caller has hung up. It never polls by itself,
    so whoever waits is woken, or waits for nothing."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DTSCHED_POLL", "1h")
        with served(refusing_database, tmp_path_factory.mktemp("api") / "api.log") as api:
            yield api


@pytest.fixture
def session(refusing_database: str) -> Generator[Session]:
    with contextlib.closing(Session(refusing_database)) as session:
        yield session


@pytest.fixture
def queue() -> str:
    return str(uuid4())


@pytest.fixture
def callers() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=64) as callers:
        yield callers


Poll = Callable[..., "Future[list[dict[str, object]]]"]


@pytest.fixture
def poll(api: ApiProcess, callers: ThreadPoolExecutor) -> Poll:
    def poll(worker: str, *, seconds: float = 20, limit: int = 1) -> Future[list[dict[str, object]]]:
        return callers.submit(lambda: claim(api, worker, seconds=seconds, limit=limit))

    return poll


def register(api: ApiProcess, *queues: str, **body: object) -> str:
    answer = api.request("POST", "/v1/workers", {"name": "test", "queues": list(queues), **body})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def claim(api: ApiProcess, worker: str, *, seconds: float = 0, limit: int = 1) -> list[dict[str, object]]:
    body = {"limit": limit, "wait": seconds}
    answer = httpx.post(f"{api.url}/v1/workers/{worker}/claim", json=body, timeout=PATIENCE_SECONDS, verify=False)
    assert answer.status_code == 200, answer.text
    return answer.json()["jobs"]


def submit(api: ApiProcess, queue: str, **job: object) -> int:
    return api.submit({"task": "echo", "queue": queue, **job}).json()["id"]


def until_heard(session: Session, queue: str) -> None:
    """A submission to the queue will notify."""
    until(lambda: session.value(HUNGRY, queue) > 0)


def test_a_worker_that_waits_is_answered_when_there_is_something_to_do(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    waiting = poll(register(api, "nothing", queue))
    until_heard(session, queue)
    job = submit(api, queue)
    assert [one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS)] == [job]


def test_what_was_submitted_in_a_transaction_of_before_is_found_too(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    """Its submitter found the gate open, and notified nobody."""
    session.begin_transaction_with_an_xid()
    (job,) = session.insert(queue=queue)
    waiting = poll(register(api, queue))
    until_heard(session, queue)
    session.run("commit")
    assert [one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS)] == [job]


def test_when_the_time_is_over_there_are_no_jobs(api: ApiProcess, queue: str) -> None:
    began = time.monotonic()
    with within(10):
        assert claim(api, register(api, queue), seconds=0.3) == []
    assert time.monotonic() - began >= 0.3


def test_each_of_many_waiting_workers_gets_one_of_many_jobs(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    workers = [register(api, queue, tasks=["echo"] if n % 2 else None) for n in range(20)]
    waiting = [poll(worker) for worker in workers]
    until_heard(session, queue)
    jobs = set(session.insert(20, queue=queue))
    claimed = [one["id"] for future in waiting for one in future.result(timeout=PATIENCE_SECONDS)]
    assert (set(claimed), len(claimed)) == (jobs, 20)


def test_a_job_reaches_the_waiting_worker_that_knows_its_task(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    others = [poll(register(api, queue, tasks=["other"]), seconds=3) for _ in range(3)]
    knows = poll(register(api, queue, tasks=["echo"]))
    until_heard(session, queue)
    job = submit(api, queue)
    assert [one["id"] for one in knows.result(timeout=PATIENCE_SECONDS)] == [job]
    assert [future.result(timeout=PATIENCE_SECONDS) for future in others] == [[]] * 3


def test_a_seat_that_comes_free_wakes_whoever_waits_for_it(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    api.request("PATCH", f"/v1/queues/{queue}", {"limit": 1})
    jobs = session.insert(2, queue=queue)
    first, second = register(api, queue), register(api, queue)
    (held,) = claim(api, first)
    waiting = poll(second)
    until_heard(session, queue)
    body = {"secret": held["secret"], "outcome": "complete"}
    api.request("POST", f"/v1/workers/{first}/leases/{held['lease_id']}/finish", body)
    assert [held["id"], *(one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS))] == jobs


def test_a_worker_waits_once_at_a_time(api: ApiProcess, session: Session, queue: str, poll: Poll) -> None:
    worker = register(api, queue)
    first = poll(worker)
    until_heard(session, queue)
    second = poll(worker)
    assert first.result(timeout=PATIENCE_SECONDS) == []
    job = submit(api, queue)
    assert [one["id"] for one in second.result(timeout=PATIENCE_SECONDS)] == [job]


def test_a_worker_without_a_free_slot_waits_until_it_has_finished_something(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    jobs = session.insert(2, queue=queue)
    worker = register(api, queue)
    (held,) = claim(api, worker)
    waiting = poll(worker)
    until_heard(session, queue)
    body = {"secret": held["secret"], "outcome": "complete"}
    api.request("POST", f"/v1/workers/{worker}/leases/{held['lease_id']}/finish", body)
    with within(4):
        assert [one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS)] == jobs[1:]


def test_a_deregistered_worker_waits_no_longer(api: ApiProcess, session: Session, queue: str, poll: Poll) -> None:
    worker = register(api, queue)
    waiting = poll(worker)
    until_heard(session, queue)
    api.request("DELETE", f"/v1/workers/{worker}")
    with within(4):
        assert waiting.result(timeout=PATIENCE_SECONDS) == []


def test_nothing_is_claimed_for_a_caller_that_has_hung_up(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    gone, stays = register(api, queue), register(api, queue)
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        body = b'{"wait": 30}'
        connection.sendall(
            b"POST /v1/workers/%b/claim HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (gone.encode(), len(body), body)
        )
        until_heard(session, queue)
    waiting = poll(stays)
    time.sleep(0.1)  # both wait, as far as the server knows
    job = submit(api, queue)
    assert [one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS)] == [job]
    assert session.value("select attempt from dtsched.jobs where id = %s", job) == 1


@five_tries
def test_those_who_wait_hold_no_connection_and_ask_in_turns(
    api: ApiProcess, session: Session, queue: str, poll: Poll
) -> None:
    waiting = [poll(register(api, queue), seconds=3) for _ in range(40)]
    until_heard(session, queue)
    time.sleep(0.5)
    count = "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s"
    assert session.value(count, "dtsched api") <= POOLED
    assert session.value(count, "dtsched waiting listener") == 1
    before = session.value("select max(expires_at) from dtsched.workers")
    time.sleep(1.2)
    asked = "select count(*) from dtsched.workers where expires_at > %s and queues = array[%s]"
    renewed = session.value(asked, before, queue)  # by claims
    assert [future.result(timeout=PATIENCE_SECONDS) for future in waiting] == [[]] * 40
    timely(renewed <= 3, renewed)


def test_those_who_wait_for_jobs_for_results_and_for_events_are_told_over_one_connection(
    api: ApiProcess, session: Session, queue: str, callers: ThreadPoolExecutor, poll: Poll
) -> None:
    job = submit(api, str(uuid4()))
    claiming = poll(register(api, queue))
    until_heard(session, queue)
    result = callers.submit(
        lambda: httpx.get(f"{api.url}/v1/jobs/{job}/result", headers={"Prefer": "wait=20"}, timeout=30)
    )
    with watching(api, f"/v1/queues/{queue}/events") as events:
        events.next("reset")
        session.run("select dtsched.cancel(array[%s]::bigint[])", job)
        assert result.result(timeout=PATIENCE_SECONDS).json()["state"] == "cancelled"
        watched = submit(api, queue)
        assert events.of_jobs(1) == [(watched, "submitted")]
        assert [one["id"] for one in claiming.result(timeout=PATIENCE_SECONDS)] == [watched]
        listeners = """select count(*) from pg_stat_activity
            where datname = current_database() and application_name = 'dtsched waiting listener'"""
        assert session.value(listeners) == 1


def test_the_gate_is_let_go_when_nobody_waits_any_more(api: ApiProcess, session: Session, queue: str) -> None:
    claim(api, register(api, queue), seconds=0.2)
    until(lambda: session.value(HUNGRY, queue) == 0)


def test_a_lost_listener_costs_at_most_a_poll(api: ApiProcess, session: Session, queue: str, poll: Poll) -> None:
    waiting = poll(register(api, queue))
    until_heard(session, queue)
    terminate = "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'waiting listener'"
    session.run(terminate + " and datname = current_database()")
    job = submit(api, queue)
    assert [one["id"] for one in waiting.result(timeout=PATIENCE_SECONDS)] == [job]


@five_tries
def test_a_server_that_is_told_to_end_lets_go_of_those_who_wait(serve_api: Serve, database: str) -> None:
    api = serve_api(database)
    worker = register(api, "default")
    with ThreadPoolExecutor() as callers, contextlib.closing(Session(database)) as session:
        waiting = callers.submit(lambda: claim(api, worker, seconds=30))
        until_heard(session, "default")
        with within(3):
            api.process.send_signal(signal.SIGTERM)
            assert api.process.wait(timeout=PATIENCE_SECONDS) == 0
        assert waiting.result(timeout=PATIENCE_SECONDS) == []
