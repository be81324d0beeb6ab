"""GET /v1/jobs/{id}/logs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


@pytest.fixture
def refusing_worker(refusing_database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(refusing_database)) as worker:
        yield worker


def log(worker: Worker, job: int, *texts: str, **progress: object) -> None:
    said = {"lease": worker.leases[job], "lines": [{"message": text, "logger": "shop"} for text in texts]}
    worker.run("select dtsched.report(%s, %s)", worker.id, json.dumps([{**said, "progress": progress or None}]))


async def test_lines_come_page_by_page_with_the_state_and_where_to_go_on(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    log(worker, job, "a", "b", "c", percent=40, message="40 of 100")
    first = (await api.get(f"/v1/jobs/{job}/logs?limit=2")).json()
    assert (first["state"], first["next"]) == ("running", "2")
    line = first["lines"][0]
    assert line.pop("at")
    assert line == {"line": 1, "attempt": 1, "level": "info", "logger": "shop", "message": "a"}
    second = (await api.get(f"/v1/jobs/{job}/logs?after={first['next']}")).json()
    assert ([line["message"] for line in second["lines"]], second["next"]) == (["c"], "3")
    worker.finish(job)
    last = (await api.get(f"/v1/jobs/{job}/logs?after=3")).json()
    assert last == {"state": "completed", "lines": [], "next": "3"}
    assert (await api.get(f"/v1/jobs/{job}/logs?attempt=2")).json()["lines"] == []
    progress = (await api.get(f"/v1/jobs/{job}")).json()["progress"]
    assert (progress["percent"], progress["message"]) == (40, "40 of 100")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit must be 1 to 1000, not 0"),
        ("limit=1001", "limit must be 1 to 1000, not 1001"),
        ("after=-1", 'after must be the `next` of the answer before, not "-1"'),
        ("attempt=0", "attempt must be the number of an attempt, from 1 on, not 0"),
        ("lines=1", 'there is no field "lines" here; there are after, limit, attempt'),
    ],
)
async def test_a_query_that_cannot_be_read_is_refused(empty_api: Api, query: str, told: str) -> None:
    assert problem(await empty_api.get(f"/v1/jobs/1/logs?{query}"), 400)["detail"] == told


async def test_lines_of_no_job_are_not_found(empty_api: Api) -> None:
    problem(await empty_api.get("/v1/jobs/999999/logs"), 404)


def test_who_prefers_to_wait_is_answered_when_there_is_a_line_or_the_job_has_ended(
    refusing_api: ApiProcess, refusing_worker: Worker
) -> None:
    worker = refusing_worker
    (job,) = worker.insert()
    worker.claim()
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(wait_for, refusing_api, job, 0)
        log(worker, job, "a")
        answer = waiting.result(timeout=20)
        assert [line["message"] for line in answer.json()["lines"]] == ["a"]
        assert answer.headers["preference-applied"] == "wait=30"
        waiting = callers.submit(wait_for, refusing_api, job, 1)
        worker.finish(job)
        assert waiting.result(timeout=20).json() == {"state": "completed", "lines": [], "next": "1"}


def wait_for(api: ApiProcess, job: int, after: int) -> httpx.Response:
    with httpx.Client(base_url=api.url, timeout=40, verify=False) as client:
        return client.get(f"/v1/jobs/{job}/logs?after={after}", headers={"prefer": "wait=30"})
