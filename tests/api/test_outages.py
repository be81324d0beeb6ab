"""A real server process whose database goes away, freezes, lacks its schema; and its own end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched import migrations
from dtsched.embedded import Cluster
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.conftest import Connect
from tests.support.patience import PATIENCE_SECONDS, five_tries, until, within

CONNECTIONS_OF_THE_API = """
    select count(*) from pg_stat_activity where datname = current_database() and application_name = 'dtsched api'
"""
JOB = {"task": "echo", "args": {"value": 1}}
CALLS = [
    ("GET", "/readyz", None),
    ("POST", "/v1/jobs", JOB),
    ("GET", "/v1/jobs/1", None),
    ("GET", "/v1/jobs", None),
    ("POST", "/v1/jobs/batch", [JOB]),
    ("GET", "/v1/jobs/1/result", None),
    ("GET", "/v1/jobs/1/attempts", None),
    ("GET", "/v1/jobs/1/why", None),
    ("POST", "/v1/jobs/1/cancel", None),
    ("POST", "/v1/jobs/1/retry", None),
    ("POST", "/v1/jobs/1/run-now", None),
    ("POST", "/v1/jobs/1/reschedule", {"delay": 1}),
    ("DELETE", "/v1/jobs/1", None),
    ("GET", "/v1/jobs/1/steps", None),
    ("POST", "/v1/events", {"name": "paid:42"}),
    ("GET", "/v1/queues", None),
    ("GET", "/v1/queues/default", None),
    ("POST", "/v1/queues/default/pause", None),
    ("POST", "/v1/queues/default/resume", None),
    ("GET", "/v1/workers", None),
    ("GET", "/v1/workers/6f7a1f0e-31c5-4d3c-9b0a-8f6f3d3b0c11", None),
    ("GET", "/v1/stats", None),
]


def test_without_its_database_the_server_says_so_in_time_and_comes_back_with_it(
    cluster: Cluster, serve_api: Serve
) -> None:
    api = serve_api(cluster.dsn)
    assert api.submit(JOB).status_code == 201
    cluster.stop("fast")

    assert_unavailable(api, "database-unreachable")
    cluster.start()
    assert_back_within(api, seconds=2)


def test_a_restart_that_no_request_met_is_not_noticed(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    assert api.submit(JOB).status_code == 201
    cluster.stop("fast")
    cluster.start()
    time.sleep(1.0)  # until the connection from before is no longer trusted
    assert api.submit(JOB).status_code == 201


def test_a_crash_of_the_database_is_survived(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    acknowledged: list[int] = []
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            answer = api.submit(JOB)
            assert answer.status_code in (201, 503)
            if answer.status_code == 201:
                acknowledged.append(answer.json()["id"])

    submitters = [threading.Thread(target=submit) for _ in range(4)]
    for submitter in submitters:
        submitter.start()
    while len(acknowledged) < 50:
        time.sleep(0.01)
    cluster.kill()
    time.sleep(0.5)
    cluster.start()
    assert_back_within(api, seconds=2)
    stop.set()
    for submitter in submitters:
        submitter.join()

    with psycopg.connect(cluster.dsn) as connection:
        kept = {row[0] for row in connection.execute("select id from dtsched.jobs")}
    assert set(acknowledged) <= kept


def test_a_frozen_database_does_not_freeze_the_server(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    assert api.submit(JOB).status_code == 201
    frozen = processes_of(cluster)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert_unavailable(api, "database-unreachable")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert_back_within(api, seconds=2)


def test_whoever_waits_for_a_job_when_the_database_freezes_is_told(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    job_id = api.submit(JOB).json()["id"]
    with ThreadPoolExecutor(1) as callers:
        url = f"{api.url}/v1/jobs/{job_id}/result"
        waiting = callers.submit(httpx.get, url, headers={"prefer": "wait=60"}, timeout=90, verify=False)
        time.sleep(0.3)
        frozen = processes_of(cluster)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            problem(waiting.result(timeout=PATIENCE_SECONDS), 503)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


def test_the_server_starts_before_its_database(cluster: Cluster, serve_api: Serve) -> None:
    cluster.stop()
    api = serve_api(cluster.dsn)
    assert api.get("/livez").status_code == 200
    assert api.get("/readyz").status_code == 503
    cluster.start()
    assert_back_within(api, seconds=2)


def test_a_refused_password_is_not_shown_to_callers_but_is_in_the_log(database: str, serve_api: Serve) -> None:
    api = serve_api(make_conninfo(database, password="canary-7f3a", user="somebody"))
    answer = api.get("/readyz")
    assert problem(answer, 503)["detail"] == "the database cannot be used: it refused the user or password"
    assert "somebody" not in answer.text
    log = api.log.read_text()
    assert "refused the user or password" in log
    assert "canary-7f3a" not in answer.text + log


def test_without_the_schema_every_answer_says_what_to_run(empty_database: str, serve_api: Serve) -> None:
    api = serve_api(empty_database)
    assert_unavailable(api, "schema-missing")
    assert "dtsched migrate up" in api.get("/readyz").json()["detail"]
    migrations.up(empty_database)
    assert api.get("/readyz").status_code == 200
    assert api.submit(JOB).status_code == 201


@pytest.mark.parametrize("contract", [0, 999])
def test_a_schema_of_another_contract_is_not_ready(
    database: str, connect: Connect, serve_api: Serve, contract: int
) -> None:
    connect().execute("update dtsched.installed set contract = %s", (contract,))
    answer = serve_api(database).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"].startswith("/problems/schema-")


def test_readyz_says_what_is_wrong(database: str, cluster: Cluster, serve_api: Serve) -> None:
    nowhere = serve_api(make_conninfo(database, dbname="no_such_database"))
    assert "there is none of that name on the server" in problem(nowhere.get("/readyz"), 503)["detail"]
    api = serve_api(cluster.dsn)
    assert api.get("/readyz").status_code == 200
    cluster.stop("fast")
    problem(api.get("/readyz"), 503)  # over a connection that was still trusted
    assert "nobody answers where it should be" in problem(api.get("/readyz"), 503)["detail"]
    assert api.get("/livez").status_code == 200


def test_livez_never_touches_the_database(database: str, connect: Connect, serve_api: Serve) -> None:
    api = serve_api(database)
    assert [api.get("/livez").json() for _ in range(5)] == [{"status": "alive"}] * 5
    assert connect().execute(
        "select count(*) from pg_stat_activity where application_name = 'dtsched api'"
    ).fetchone() == (0,)
    api.get("/readyz")
    assert connect().execute(
        "select count(*) from pg_stat_activity where application_name = 'dtsched api'"
    ).fetchone() == (1,)


@five_tries
def test_sigterm_ends_the_server_soon_and_in_order(database: str, serve_api: Serve) -> None:
    api = serve_api(database)
    with httpx.Client(base_url=api.url) as kept_alive:
        assert kept_alive.post("/v1/jobs", json=JOB).status_code == 201
        end_within(api, 3)
    assert api.process.returncode == 0
    assert "Traceback" not in api.log.read_text()


@five_tries
def test_sigterm_ends_the_server_soon_while_its_database_is_frozen(cluster: Cluster, serve_api: Serve) -> None:
    api = serve_api(cluster.dsn)
    assert api.submit(JOB).status_code == 201
    frozen = processes_of(cluster)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", api.port)) as asking:
            asking.sendall(b"GET /v1/jobs/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.3)
            end_within(api, 3)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


@five_tries
def assert_unavailable(api: ApiProcess, kind: str) -> None:
    """Every route, each in less than five seconds; /livez at once."""

    def call(method: str, path: str, body: object) -> httpx.Response:
        with within(5):
            return api.request(method, path, body)

    with ThreadPoolExecutor(len(CALLS)) as callers:
        answers = [callers.submit(call, *arguments) for arguments in CALLS]
        with within(1):
            alive = call("GET", "/livez", None)
    assert alive.status_code == 200
    assert f"/problems/{kind}" in {future.result().json()["type"] for future in answers}
    for answer in (future.result() for future in answers):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        # busy: of so many at a time, some get no connection to find out over
        assert answer.json()["type"] in (f"/problems/{kind}", "/problems/busy")
        assert "127.0.0.1" not in answer.text
        assert "select" not in answer.text


def assert_back_within(api: ApiProcess, *, seconds: float) -> None:
    with within(seconds):
        until(lambda: api.submit(JOB).status_code == 201)
    assert api.get("/readyz").status_code == 200


def end_within(api: ApiProcess, seconds: float) -> None:
    with within(seconds):
        api.process.terminate()
        api.process.wait(timeout=PATIENCE_SECONDS)


def processes_of(cluster: Cluster) -> list[int]:
    """The postmaster and its children."""
    assert cluster.pid is not None
    children = Path(f"/proc/{cluster.pid}/task/{cluster.pid}/children").read_text().split()
    return [cluster.pid, *map(int, children)]
