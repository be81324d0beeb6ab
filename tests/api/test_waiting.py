"""Prefer: wait=SECONDS: answered when the job has ended, and whoever waits is in nobody's way."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dtsched.embedded import Cluster
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.api.test_outages import end_within
from tests.runtime.workers import one
from tests.sql.sessions import Worker
from tests.support.patience import PATIENCE_SECONDS, five_tries, until, within

WATCHED = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock'"
JOB = {"task": "echo"}


@pytest.fixture
def worker(refusing_database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(refusing_database)) as worker:
        yield worker


@pytest.fixture
def api(refusing_api: ApiProcess) -> ApiProcess:
    """A process: the test client of the framework says at once that its caller has hung up."""
    return refusing_api


def test_the_result_is_answered_as_soon_as_the_job_has_ended(api: ApiProcess, worker: Worker) -> None:
    job_id = api.submit(JOB).json()["id"]
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(wait_for, api, job_id)
        until(lambda: one(worker.connection, WATCHED) > 0)
        worker.claim()
        worker.finish(job_id)
        answer = waiting.result(timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["state"]) == (200, "completed")
    assert answer.headers["preference-applied"] == "wait=60"


def test_a_submission_that_waits_answers_the_job_as_it_ended(api: ApiProcess, worker: Worker) -> None:
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(submit_and_wait, api, 60)
        until(lambda: one(worker.connection, WATCHED) > 0)
        worker.finish(*worker.claim())
        answer = waiting.result(timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["state"]) == (201, "completed")
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"


def test_when_the_time_is_over_the_answer_is_as_without_waiting(api: ApiProcess) -> None:
    began = time.monotonic()
    with within(10):
        submitted = submit_and_wait(api, 1)
        result = wait_for(api, submitted.json()["id"], 0)
    assert time.monotonic() - began >= 1
    assert (submitted.status_code, submitted.json()["state"]) == (201, "ready")
    assert (result.status_code, result.json()["state"], result.headers["retry-after"]) == (202, "ready", "1")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=7"], "wait=7"),
        (["WAIT = 7"], "wait=7"),
        (['wait="7"'], "wait=7"),
        (["wait=007"], "wait=7"),
        (["wait=0"], "wait=0"),
        (["wait=60"], "wait=60"),
        (["wait=61"], "wait=60"),
        (["wait=" + "9" * 5000], "wait=60"),
        (["respond-async, wait=7"], "wait=7"),
        (["wait=7; why=not, handling=lenient"], "wait=7"),
        (['a="b, wait=1", wait=7'], "wait=7"),
        (["respond-async", "wait=7"], "wait=7"),
        (["wait=7, wait=9"], "wait=7"),
        (["wait=soon, wait=9"], "wait=9"),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=7s"], None),
        (["wait=\xb2"], None),
        (['wait="7'], None),
        (["await=7"], None),
        (["wait=" + "0" * 10_000 + "x"], None),
        ([""], None),
        ([",,;,"], None),
    ],
)
def test_what_of_prefer_is_heeded(api: ApiProcess, ended_job: int, prefer: list[str], applied: str | None) -> None:
    headers = [(b"prefer", value.encode("latin-1")) for value in prefer]
    answer = httpx.get(f"{api.url}/v1/jobs/{ended_job}/result", headers=headers, timeout=10, verify=False)
    assert (answer.status_code, answer.headers.get("preference-applied")) == (200, applied)


@pytest.fixture(scope="module")
def ended_job(refusing_database: str, refusing_api: ApiProcess) -> int:
    job_id = refusing_api.submit(JOB).json()["id"]
    assert refusing_api.request("POST", f"/v1/jobs/{job_id}/cancel").status_code == 200
    return job_id


def test_a_job_that_is_deleted_while_it_is_waited_for_is_not_found(api: ApiProcess, worker: Worker) -> None:
    job_id = api.submit(JOB).json()["id"]
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(wait_for, api, job_id)
        until(lambda: one(worker.connection, WATCHED) > 0)
        assert api.request("DELETE", f"/v1/jobs/{job_id}").status_code == 204
        problem(waiting.result(timeout=PATIENCE_SECONDS), 404)


def test_waiting_holds_no_connection_to_the_database(api: ApiProcess, worker: Worker) -> None:
    """Twice as many wait as the pool has connections."""
    jobs = [api.submit(JOB).json()["id"] for _ in range(20)]
    with ThreadPoolExecutor(20) as callers:
        waiting = [callers.submit(wait_for, api, job_id) for job_id in jobs]
        until(lambda: one(worker.connection, WATCHED) >= 20)
        assert api.get("/v1/jobs?limit=1").status_code == 200
        worker.finish(*worker.claim())
        assert {answer.result(timeout=PATIENCE_SECONDS).status_code for answer in waiting} == {200}


@five_tries
def test_sigterm_answers_those_who_wait_and_ends_soon(database: str, serve_api: Serve) -> None:
    api = serve_api(database)
    job_id = api.submit(JOB).json()["id"]
    with ThreadPoolExecutor(20) as callers:
        answers = [callers.submit(wait_for, api, job_id) for _ in range(20)]
        until(lambda: "dtsched_api_waiting_requests 20\n" in api.get("/metrics").text)
        end_within(api, 3)
        assert {(answer.result().status_code, answer.result().json()["state"]) for answer in answers} == {
            (202, "ready")
        }
    assert api.process.returncode == 0
    assert "Traceback" not in api.log.read_text()


def test_who_hangs_up_is_not_waited_for(api: ApiProcess, worker: Worker) -> None:
    job_id = api.submit(JOB).json()["id"]
    body = b'{"task":"echo"}'
    requests = [
        f"GET /v1/jobs/{job_id}/result HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode(),
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body,
    ]
    for request in requests:
        with socket.create_connection(("127.0.0.1", api.port)) as caller:
            caller.sendall(request)
            until(lambda: one(worker.connection, WATCHED) > 0)
        until(lambda: one(worker.connection, WATCHED) == 0)
    assert "Traceback" not in api.log.read_text()


def test_a_database_that_goes_while_it_is_waited_for_is_told(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    job_id = api.submit(JOB).json()["id"]
    with ThreadPoolExecutor(2) as callers:
        result = callers.submit(wait_for, api, job_id)
        submitted = callers.submit(submit_and_wait, api, 60)
        until(lambda: len(api.get("/v1/jobs").json()["jobs"]) == 2)
        cluster.stop("fast")
        answer = result.result(timeout=PATIENCE_SECONDS)
        assert problem(answer, 503)["type"] == "/problems/database-unreachable"
        assert answer.headers["retry-after"] == "1"
        assert (submitted.result(timeout=PATIENCE_SECONDS).status_code, set(submitted.result().json())) == (201, {"id"})


def wait_for(api: ApiProcess, job_id: int, seconds: int = 60) -> httpx.Response:
    url = f"{api.url}/v1/jobs/{job_id}/result"
    return httpx.get(url, headers={"prefer": f"wait={seconds}"}, timeout=90, verify=False)


def submit_and_wait(api: ApiProcess, seconds: int) -> httpx.Response:
    headers = {"prefer": f"wait={seconds}"}
    return httpx.post(f"{api.url}/v1/jobs", json=JOB, headers=headers, timeout=90, verify=False)
