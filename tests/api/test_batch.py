"""POST /v1/jobs/batch: many jobs, all or none; a problem names the job that it is about."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from typing import Any

import httpx
import psycopg
import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.conftest import Connect
from tests.support.bad_input import TASK, BadInput, cases, declare, json_body, written

MIB = 1024 * 1024


async def test_a_batch_is_answered_in_its_order(api: Api, connect: Connect) -> None:
    held = (await api.post("/v1/jobs", json={"task": "echo", "key": "k"})).json()["id"]
    jobs = [{"task": "a"}, {"task": "b", "key": "k"}, {"task": "c"}]
    answer = await api.post("/v1/jobs/batch", json={"jobs": jobs})
    first, kept, last = answer.json()["jobs"]
    assert answer.status_code == 201
    assert (first["created"], kept, last["created"]) == (True, {"id": held, "created": False, "outcome": "kept"}, True)
    tasks = connect().execute("select task from dtsched.jobs where id <> %s order by id", [held]).fetchall()
    assert tasks == [("a",), ("c",)]
    assert first["id"] < last["id"]


async def test_a_batch_of_which_nothing_is_made_is_no_201(api: Api) -> None:
    batch = [{"task": "echo", "key": "k"}]
    answers = [await api.post("/v1/jobs/batch", json=batch) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[1].json()["jobs"] == [
        {"id": answers[0].json()["jobs"][0]["id"], "created": False, "outcome": "kept"}
    ]


async def test_the_jobs_of_a_batch_may_depend_on_each_other_by_key(api: Api, connect: Connect) -> None:
    jobs = [{"task": "b", "depends_on": ["load"]}, {"task": "a", "key": "load"}]
    child, parent = (await api.post("/v1/jobs/batch", json={"jobs": jobs})).json()["jobs"]
    rows = connect().execute("select state, depends_on from dtsched.jobs where id = %s", [child["id"]]).fetchall()
    assert rows == [("blocked", [parent["id"]])]


async def test_jobs_without_a_correlation_id_get_that_of_the_request(api: Api, connect: Connect) -> None:
    jobs = [{"task": "a"}, {"task": "b", "correlation_id": "mine"}]
    await api.post("/v1/jobs/batch", json=jobs, headers={"x-request-id": "request-7"})
    rows = connect().execute("select correlation_id from dtsched.jobs order by id").fetchall()
    assert rows == [("request-7",), ("mine",)]


@pytest.mark.parametrize(
    ("jobs", "status", "field", "says"),
    [
        ([{}, {}, {"priority": 11}], 422, "jobs[3].priority", "job 3: priority must be 1 to 10, not 11"),
        ([{}, {"priority": "high"}], 400, "jobs[2].priority", "job 2: priority must be an integer from 1 to 10"),
        ([{}, {"colour": "red"}], 400, "jobs[2].colour", 'job 2: there is no field "colour"'),
        ([{}, {"depends_on": ["nobody"]}], 422, "jobs[2].depends_on", 'job 2: depends_on names the key "nobody"'),
        ([{}, {}, {"depends_on": [999]}], 422, "jobs[3].depends_on", "job 3: depends_on names job 999, which does"),
        ([{"key": "a", "depends_on": ["a"]}], 422, "jobs[1].depends_on", "job 1: depends_on goes in a circle"),
        ([{}, {"task": "nosuch"}], 422, "jobs[2].task", 'job 2: no worker has declared a task "nosuch"'),
        ([{"task": "nosuch"}], 422, "jobs[1].task", 'job 1: no worker has declared a task "nosuch"'),
    ],
)
async def test_a_problem_names_the_job_and_nothing_is_written(
    api: Api, connect: Connect, jobs: list[dict[str, Any]], status: int, field: str, says: str
) -> None:
    connection = connect()
    declare(connection)
    document = problem(await api.post("/v1/jobs/batch", json=[{"task": TASK, **job} for job in jobs]), status)
    assert document["detail"].startswith(says)
    assert document["errors"] == [{"field": field, "detail": document["detail"]}]
    assert set(written(connection).values()) == {0}


async def test_a_partial_batch_writes_what_it_can_and_answers_for_each_job(api: Api, connect: Connect) -> None:
    jobs = [
        {"task": "a", "priority": 11},
        {"task": "b"},
        {"task": "c", "priority": "high"},
        {"task": "d", "depends_on": [{"entry": 1}]},
        {"task": "e", "depends_on": [{"entry": 2}]},
        7,
    ]
    answer = await api.post("/v1/jobs/batch", json={"jobs": jobs, "partial": True})
    assert answer.status_code == 201
    first, second, third, fourth, fifth, sixth = answer.json()["jobs"]
    refused = {"id": None, "created": False, "outcome": "refused", "code": "invalid-input"}
    assert first == {**refused, "error": "priority must be 1 to 10, not 11", "field": "priority"}
    assert third == {**refused, "error": 'priority must be an integer from 1 to 10, not "high"', "field": "priority"}
    assert fourth["code"] == "parent-refused"
    assert sixth == {**refused, "error": "a job must be an object, not 7", "field": None}
    assert (second["outcome"], fifth["outcome"]) == ("created", "created")
    rows = connect().execute("select id, depends_on from dtsched.jobs order by id").fetchall()
    assert rows == [(second["id"], None), (fifth["id"], [second["id"]])]


async def test_a_partial_batch_of_which_nothing_is_made_is_a_200(api: Api) -> None:
    answer = await api.post("/v1/jobs/batch", json={"partial": True, "jobs": [{"task": "a", "priority": 11}]})
    assert (answer.status_code, answer.json()["jobs"][0]["outcome"]) == (200, "refused")


@pytest.mark.parametrize("partial", [None, 1, "true"])
async def test_partial_is_true_or_false(api: Api, partial: object) -> None:
    body = {"jobs": [{"task": "a"}], "partial": partial}
    assert problem(await api.post("/v1/jobs/batch", json=body), 400)["detail"] == "partial must be true or false"
    body["partial"] = False
    assert (await api.post("/v1/jobs/batch", json=body)).status_code == 201


@pytest.mark.parametrize(
    ("jobs", "status", "errors"),
    [
        ([{}, {"priority": 11}, {"queue": "a b"}], 422, ["jobs[2].priority", "jobs[3].queue"]),
        ([{"priority": "high"}, {}, {"priority": 11}], 400, ["jobs[1].priority", "jobs[3].priority"]),
        ([{"depends_on": ["nobody"]}, {"task": "nosuch"}], 422, ["jobs[1].depends_on", "jobs[2].task"]),
        ([{"key": "k", "on_conflict": "reject"}] * 3, 409, ["jobs[2].key", "jobs[3].key"]),
    ],
)
async def test_a_problem_names_every_wrong_job(
    api: Api, connect: Connect, jobs: list[dict[str, Any]], status: int, errors: list[str]
) -> None:
    connection = connect()
    declare(connection)
    document = problem(await api.post("/v1/jobs/batch", json=[{"task": TASK, **job} for job in jobs]), status)
    assert [error["field"] for error in document["errors"]] == errors
    assert all(error["detail"].startswith(f"job {error['field'][5]}: ") for error in document["errors"])
    assert "(refused too: job" in document["detail"]
    assert set(written(connection).values()) == {0}


async def test_10000_jobs_are_a_batch_and_10001_are_not(api: Api, connect: Connect) -> None:
    job = {"task": "echo"}
    assert len((await api.post("/v1/jobs/batch", json=[job] * 10_000)).json()["jobs"]) == 10_000
    for count in (0, 10_001):
        document = problem(await api.post("/v1/jobs/batch", json=[job] * count), 422)
        assert document["detail"] == f"a batch must be of 1 to 10000 jobs, not {count}"
        assert document["errors"][0]["field"] == "jobs"
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (10_000,)


@pytest.fixture(scope="module")
def connection(refusing_database: str) -> Generator[psycopg.Connection]:
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        declare(connection)
        yield connection


@pytest.mark.parametrize("case", cases("rest"), ids=str)
def test_a_batch_of_one_bad_job_is_refused(
    case: BadInput, refusing_api: ApiProcess, connection: psycopg.Connection
) -> None:
    before = written(connection)
    answer = send(refusing_api, b'{"jobs": [' + json_body(case) + b"]}")
    assert answer.status_code in (400, 422)
    document = problem(answer, answer.status_code)
    assert case.says in document["detail"]
    assert len(document["detail"]) < 300
    for error in document.get("errors", []):
        assert error["field"] == f"jobs[1].{case.field}"
    assert written(connection) == before


def deep(levels: int) -> bytes:
    return b'[{"task":"echo","args":{"value":' + b"[" * levels + b"]" * levels + b"}}]"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"1", 400),
        (b'{"jobs":{}}', 400),
        (b'{"jobs":[],"more":1}', 400),
        (b'{"jobs":[1]}', 400),
        (b'{"jobs":[null]}', 400),
        (b'{"jobs":[[]]}', 400),
        (b'[{"task":"echo"}', 400),
        (b'[{"task":"echo","args":{"value":1e309}}]', 400),
        (rb'[{"task":"echo","args":{"value":"\u0000"}}]', 422),
        (rb'[{"task":"echo","depends_on":["\u0000"]}]', 422),
        (b'[{"task":"echo"},{"task":"echo","args":{"value":"' + b"x" * MIB + b'"}}]', 422),
        (deep(100), 400),
        (b"[" * 10_000_000, 400),
        (b'{"jobs":[' + b" " * (16 * MIB) + b"]}", 413),
        (b" " * (24 * MIB), 413),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else str(value),
)
def test_hostile_bodies_are_refused_and_leave_nothing(
    refusing_api: ApiProcess, connection: psycopg.Connection, body: bytes, status: int
) -> None:
    before = written(connection)
    assert len(problem(send(refusing_api, body), status)["detail"]) < 400
    assert written(connection) == before
    assert "Traceback" not in refusing_api.log.read_text()


def test_a_batch_may_be_larger_than_a_job(refusing_api: ApiProcess, connection: psycopg.Connection) -> None:
    batch = json.dumps([{"task": TASK, "args": {"value": "x" * (MIB // 2)}}] * 8)
    assert send(refusing_api, batch.encode()).status_code == 201


def test_other_media_types_are_not_read(refusing_api: ApiProcess) -> None:
    problem(send(refusing_api, b"task,queue\n", "text/csv"), 415)


def send(api: ApiProcess, body: bytes, media_type: str = "application/json") -> httpx.Response:
    headers = {"content-type": media_type}
    return httpx.post(f"{api.url}/v1/jobs/batch", content=body, headers=headers, timeout=30, verify=False)
