"""Idempotency-Key: the same request again gets the first answer, and nothing is submitted twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from typing import Any

import httpx
import pytest
from httpx import Response
from psycopg.types.json import Jsonb

from tests.api.conftest import Api, Serve
from tests.api.keyholders import in_loop
from tests.api.problems import problem
from tests.conftest import Connect
from tests.support.patience import PATIENCE_SECONDS

ECHO = {"task": "echo"}


async def post(api: Api, body: object, key: str = "k", path: str = "/v1/jobs") -> Response:
    return await api.post(path, json=body, headers={"idempotency-key": key})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs", {**ECHO, "args": {"a": [1.0, 1e300, "ä"]}, "timeout": 1.5, "delay": "1m", "expires_in": "1h"}),
        ("/v1/jobs", {**ECHO, "key": "k", "key_for": "kept"}),
        ("/v1/jobs/batch", [ECHO, {**ECHO, "depends_on": [{"entry": 1}]}]),
        ("/v1/jobs/batch", {"jobs": [ECHO, {"task": "a b"}], "partial": True}),
    ],
)  # fmt: skip
async def test_the_first_answer_is_given_again_whatever_has_become_of_it(
    api: Api, connect: Connect, path: str, body: object
) -> None:
    first = await post(api, body, path=path)
    connect().execute("select dtsched.cancel(array_agg(id)) from dtsched.jobs")
    again = await post(api, body, path=path)
    assert first.status_code == again.status_code == 201
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert again.headers.get("location") == first.headers.get("location")
    made = sum(one["created"] for one in first.json().get("jobs", [{"created": True}]))
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (made,)


async def test_a_job_that_was_there_is_answered_again_with_200(api: Api) -> None:
    await api.post("/v1/jobs", json={**ECHO, "key": "held"})
    answers = [await post(api, {**ECHO, "key": "held", "priority": 9}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


async def test_who_waits_is_answered_with_the_job_as_it_is_then(api: Api, connect: Connect) -> None:
    first = await post(api, ECHO)
    connect().execute("select dtsched.cancel(array_agg(id)) from dtsched.jobs")
    again = await api.post("/v1/jobs", json=ECHO, headers={"idempotency-key": "k", "prefer": "wait=5"})
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (201, first.json()["id"], "cancelled")
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(("path", "body"), [("/v1/jobs", {**ECHO, "priority": 9}), ("/v1/jobs/batch", [ECHO])])
async def test_another_request_under_the_key_is_refused_and_writes_nothing(
    api: Api, connect: Connect, path: str, body: object
) -> None:
    await post(api, ECHO)
    document = problem(await post(api, body, path=path), 422)
    assert document["type"] == "/problems/idempotency-key-reused"
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (1,)


async def test_a_request_that_was_refused_may_be_put_right_under_its_key(api: Api) -> None:
    problem(await post(api, {**ECHO, "priority": 11}), 422)
    problem(await post(api, {**ECHO, "depends_on": [999]}), 422)
    problem(await post(api, [ECHO, {**ECHO, "depends_on": [999]}], path="/v1/jobs/batch"), 422)
    assert (await post(api, ECHO)).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256])
async def test_a_malformed_key_is_refused(empty_api: Api, key: str) -> None:
    answer = await empty_api.post("/v1/jobs", json=ECHO, headers={b"idempotency-key": key.encode()})
    assert problem(answer, 400)["errors"][0]["field"] == "idempotency-key"


async def test_two_keys_are_refused(refusing_database: str) -> None:
    async with in_loop(refusing_database) as api:  # the client of the framework makes one header of two
        headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
        problem(await api.post("/v1/jobs", json=ECHO, headers=headers), 400)


async def test_the_longest_key_is_one(api: Api) -> None:
    assert (await post(api, ECHO, "x" * 255)).status_code == 201


async def test_while_the_first_is_under_way_others_are_told_so_at_once(api: Api, connect: Connect) -> None:
    first = connect()
    with first.transaction():
        submit_once(first, caller="")
        document = problem(answer := await post(api, ECHO), 409)
    assert document["type"] == "/problems/request-under-way"
    assert answer.headers["retry-after"] == "1"
    again = await post(api, ECHO)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (1,)


async def test_an_answer_that_could_not_be_sent_is_sent_to_who_asks_again(api: Api, connect: Connect) -> None:
    """As after a crash between the commit and the answer."""
    connection = connect()
    job_id = submit_once(connection, caller="")
    again = await post(api, ECHO)
    assert (again.status_code, again.json()["id"]) == (201, job_id)


async def test_the_same_key_of_another_caller_is_another_one(api: Api, connect: Connect) -> None:
    submit_once(connect(), caller="somebody")
    answer = await post(api, ECHO)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert connect().execute("select caller from dtsched.idempotency order by 1").fetchall() == [("",), ("somebody",)]


async def test_an_answer_is_remembered_for_a_day_and_then_forgotten(api: Api, connect: Connect) -> None:
    connection = connect()
    first = await post(api, ECHO)
    lasts = "select until - created_at between '86399 s' and '86401 s' from dtsched.idempotency, dtsched.jobs"
    assert connection.execute(lasts).fetchone() == (True,)
    connection.execute("update dtsched.idempotency set until = dtsched.now() + interval '1 minute'")
    assert connection.execute("select dtsched.forget_answers()").fetchone() == (0,)
    assert (await post(api, ECHO)).json() == first.json()
    connection.execute("update dtsched.idempotency set until = dtsched.now()")
    other = await post(api, {**ECHO, "priority": 9})
    assert other.json()["id"] != first.json()["id"]
    assert (await post(api, {**ECHO, "priority": 9})).json() == other.json()
    connection.execute("update dtsched.idempotency set until = dtsched.now()")
    assert connection.execute("select dtsched.forget_answers()").fetchone() == (1,)
    assert connection.execute("select count(*) from dtsched.idempotency").fetchone() == (0,)


def test_f47_a_server_that_is_killed_while_it_submits_leaves_one_job_to_who_asks_another(
    database: str, connect: Connect, serve_api: Serve
) -> None:
    """Its statement waits for a key when it is killed: the database ends it as it likes."""
    one, other = serve_api(database), serve_api(database)
    body = {**ECHO, "key": "held"}
    holder = connect()
    with holder.transaction():
        holder.execute("insert into dtsched.keys (key, job_id) values ('held', 0)")
        kill_soon(one.process.pid, connect)
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{one.url}/v1/jobs", json=body, headers={"idempotency-key": "k"}, timeout=10)
        holder.execute("delete from dtsched.keys")
    with httpx.Client(base_url=other.url) as client:
        answer = until_answered(client, body)
        again = client.post("/v1/jobs", json=body, headers={"idempotency-key": "k"})
    assert answer.status_code == 201
    assert again.content == answer.content
    assert connect().execute("select id from dtsched.jobs").fetchall() == [(answer.json()["id"],)]


def kill_soon(pid: int, connect: Connect) -> None:
    def kill() -> None:
        observer = connect()
        while not observer.execute("select from pg_locks where not granted").fetchall():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill).start()


def until_answered(client: httpx.Client, body: object) -> httpx.Response:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = client.post("/v1/jobs", json=body, headers={"idempotency-key": "k"})
        if answer.status_code != 409:
            return answer
        assert time.monotonic() < deadline
        time.sleep(0.05)


def submit_once(connection: Any, *, caller: str) -> int:
    """As a server does for the request of post()."""
    body = json.dumps(ECHO, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"POST /v1/jobs?\n" + body).digest()
    (answer,) = connection.execute(
        "select answer from dtsched.submit_once(%s, p_whole => true, p_caller => %s, p_key => 'k', p_digest => %s)",
        (Jsonb([ECHO]), caller, digest),
    ).fetchone()
    return answer[0]["id"]
