"""What a key shows and hides, how soon a change of it counts, and what the server is when there is none."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import psycopg
import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar, Request, get
from msgspec.structs import fields

from dtsched.api import authority, server
from dtsched.api.application import HANDLERS
from dtsched.api.authority import KEPT_SECONDS, Authority
from dtsched.api.callers import still_admitted
from dtsched.api.database import ANSWER_SECONDS, Questions
from dtsched.api.documentation import documented, operation_of
from dtsched.api.gathering import Gatherer
from dtsched.api.requests import ApiRequest
from dtsched.api.shapes import JobRequest
from dtsched.api_keys import new_key
from dtsched.client import Client
from dtsched.errors import NotFound
from dtsched.jobs import Job
from dtsched.settings import Settings
from tests.api.conftest import Api
from tests.api.keyholders import bearer, in_loop, make_key
from tests.api.problems import problem
from tests.api.test_authorization import addressed
from tests.conftest import Connect

CANARY = "yellow-canary"
SECRETIVE = {"task": "echo", "args": {"value": CANARY}, "queue": "mail"}

Holder = Callable[..., dict[str, str]]


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection:
    return connect()


@pytest.fixture
def holder(connection: psycopg.Connection) -> Holder:
    """The headers of whoever holds a new key: `holder("read", queues=["mail"])`."""

    def hold(*scopes: str, queues: list[str] | None = None, name: str = "") -> dict[str, str]:
        return bearer(make_key(connection, name or "-".join([*scopes, *(queues or [])]), scopes, queues))

    return hold


@pytest.fixture
async def keyed_api(database: str) -> AsyncGenerator[AsyncClient]:
    """As one that serves beyond loopback."""
    async with in_loop(database, keyless=False) as api:
        yield api


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock goes ahead."""
    now = authority.monotonic
    monkeypatch.setattr(authority, "monotonic", lambda: now() + seconds)


def refused_as(answer: Any, status: int, name: str) -> dict[str, Any]:
    document = problem(answer, status)
    assert re.split("[:/]", document["type"])[-1] == name
    return document


async def test_whoever_has_no_valid_key_is_told_the_same(api: Api, connection: psycopg.Connection) -> None:
    text = make_key(connection, "ci", ["read"])
    revoked = make_key(connection, "old", ["read"])
    connection.execute("select from dtsched.revoke_key('old')")
    told: set[str] = set()
    for key in (None, text[:-1], text[:-1] + ("1" if text[-1] == "0" else "0"), new_key()[0], revoked, "", "x" * 9000):
        answer = await api.get("/v1/jobs", headers={} if key is None else bearer(key))
        document = refused_as(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="dtsched"'
        told.add(json.dumps({**document, "instance": ""}))
        assert text[-64:] not in answer.text
    assert len(told) == 1
    assert (await api.get("/v1/jobs", headers=bearer(text))).status_code == 200
    assert (await api.get("/v1/jobs", headers={"authorization": f"bearer  {text}"})).status_code == 200


async def test_a_key_is_taken_from_the_authorization_header_and_nowhere_else(
    api: Api, connection: psycopg.Connection
) -> None:
    text = make_key(connection, "ci", ["read"])
    refused_as(await api.get(f"/v1/stats?key={text}&access_token={text}"), 401, "unauthorized")
    bearing = f"Bearer {text}"
    for name, value in (
        ("x-api-key", text), ("cookie", f"key={text}; Authorization={bearing}"), ("proxy-authorization", bearing),
        ("x-forwarded-authorization", bearing), ("authorization", text), ("authorization", f"Basic {text}"),
        ("authorization", f"{bearing}, {bearing}"),
    ):  # fmt: skip
        refused_as(await api.get("/v1/stats", headers={name: value}), 401, "unauthorized")


async def test_a_server_beyond_loopback_lets_nobody_in_without_a_key_though_there_is_none(
    keyed_api: AsyncClient, holder: Holder
) -> None:
    refused_as(await keyed_api.get("/v1/jobs"), 401, "unauthorized")
    assert (await keyed_api.get("/livez")).status_code == (await keyed_api.get("/readyz")).status_code == 200
    assert (await keyed_api.get("/v1/jobs", headers=holder("read"))).status_code == 200


async def test_a_key_is_asked_about_again_after_a_second_at_most(
    api: Api, connection: psycopg.Connection, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = holder("read", name="ci")
    assert (await api.get("/v1/jobs", headers=headers)).status_code == 200
    connection.execute("select from dtsched.revoke_key('ci')")
    later(monkeypatch, KEPT_SECONDS)
    refused_as(await api.get("/v1/jobs", headers=headers), 401, "unauthorized")
    assert KEPT_SECONDS == 1


async def test_an_answer_that_goes_on_can_ask_whether_its_key_still_lets_it_in(
    database: str, connection: psycopg.Connection, holder: Holder
) -> None:
    @get("/jobs/{job_id:str}", opt=documented("jobs", "read", {200: str}))
    async def follow(request: ApiRequest) -> str:
        assert (await still_admitted(request)).name == "ci"
        connection.execute("update dtsched.jobs set queue = 'sms'")
        try:
            return (await still_admitted(request)).name or ""
        except NotFound as error:
            return str(error)

    headers = holder("read", queues=["mail"], name="ci")
    connection.execute("select dtsched.submit('echo', queue => 'mail')")
    questions = Questions(Client(database), Gatherer(database))
    app = Litestar([follow], guards=[Authority(questions, keyless=True).guard])
    async with AsyncClient(transport=ASGITransport(cast("Any", app)), base_url="http://127.0.0.1") as client:
        await questions.open()
        assert (await client.get("/jobs/1", headers=headers)).text == "there is no job 1"
        await questions.close()


async def test_the_first_key_ends_the_time_without_within_a_second(
    api: Api, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.get("/v1/jobs")).status_code == 200
    headers = holder("read")
    later(monkeypatch, KEPT_SECONDS)
    refused_as(await api.get("/v1/jobs"), 401, "unauthorized")
    assert (await api.get("/v1/jobs", headers=headers)).status_code == 200


async def test_a_refusal_is_not_remembered(api: Api, connection: psycopg.Connection, holder: Holder) -> None:
    holder("read")
    made = new_key()
    refused_as(await api.get("/v1/jobs", headers=bearer(made[0])), 401, "unauthorized")
    make_key(connection, "ci", ["read"], made=made)
    assert (await api.get("/v1/jobs", headers=bearer(made[0]))).status_code == 200


async def test_a_yes_for_one_scope_is_none_for_another(api: Api, holder: Holder) -> None:
    headers = holder("read")
    assert (await api.get("/v1/jobs", headers=headers)).status_code == 200
    refused_as(await api.post("/v1/events", json={"name": "x"}, headers=headers), 403, "scope-missing")


async def test_a_stream_of_requests_asks_the_database_once(
    database: str, connection: psycopg.Connection, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = authority.monotonic()
    monkeypatch.setattr(authority, "monotonic", lambda: started)
    headers = holder("submit")
    connection.execute("""
        create sequence asked;
        alter function dtsched.authorize(text, bytea, text, text, bigint, boolean, boolean) rename to really_authorize;
        create function dtsched.authorize(text, bytea, text, text, bigint, boolean, boolean)
        returns table (verdict text, name text, scopes text[], queues text[]) language sql as $$
            select answer.*
            from (select nextval('asked')) as counted, dtsched.really_authorize($1, $2, $3, $4, $5, $6, $7) answer $$
        """)
    async with in_loop(database) as api:
        for _ in range(2):
            answers = await asyncio.gather(*(api.post("/v1/jobs", json=SECRETIVE, headers=headers) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {201}
    assert connection.execute("select last_value from asked").fetchone() == (1,)


async def test_the_time_in_which_a_body_arrives_is_not_taken_from_the_database(
    database: str, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time

    async def body() -> AsyncGenerator[bytes]:
        yield b'{"task": "echo"'
        monkeypatch.setattr(loop, "time", lambda: now() + ANSWER_SECONDS + 1)
        yield b"}"

    headers = {**holder("submit"), "content-type": "application/json"}
    async with in_loop(database) as api:
        assert (await api.post("/v1/jobs", content=body(), headers=headers)).status_code == 201


async def test_a_job_that_leaves_the_queues_of_a_key_is_gone_for_it_at_once(
    api: Api, connection: psycopg.Connection, holder: Holder
) -> None:
    mine, everybody = holder("operate", queues=["mail"]), holder("admin")
    job = (await api.post("/v1/jobs", json=SECRETIVE, headers=everybody)).json()["id"]
    assert (await api.get(f"/v1/jobs/{job}", headers=mine)).status_code == 200
    assert (await api.patch(f"/v1/jobs/{job}", json={"queue": "sms"}, headers=everybody)).status_code == 200
    gone = refused_as(await api.get(f"/v1/jobs/{job}", headers=mine), 404, "not-found")
    missing = refused_as(await api.get(f"/v1/jobs/{job + 1}", headers=mine), 404, "not-found")
    assert gone["detail"].replace(str(job), "") == missing["detail"].replace(str(job + 1), "")
    refused_as(await api.post(f"/v1/jobs/{job}/cancel", headers=mine), 404, "not-found")
    refused_as(await api.get("/v1/jobs/x", headers=mine), 404, "not-found")
    assert connection.execute("select state from dtsched.jobs").fetchall() == [("ready",)]


async def test_lists_and_figures_are_of_the_queues_of_the_key(
    api: Api, connection: psycopg.Connection, holder: Holder
) -> None:
    mine, everybody = holder("read", queues=["mail", "empty"]), holder("admin")
    for queue in ("mail", "sms"):
        for _ in range(3):
            await api.post("/v1/jobs", json={**SECRETIVE, "queue": queue}, headers=everybody)
        connection.execute(
            "select from dtsched.register_worker(gen_random_uuid(), %s, %s, null, 2, '1 h')", [queue, [queue, "shared"]]
        )
    connection.execute("select dtsched.cancel(id) from dtsched.jobs")

    async def get(path: str) -> Any:
        return (await api.get(path, headers=mine)).json()

    for path in ("/v1/jobs", "/v1/jobs?filter=queue:mail,sms", "/v1/jobs?queue=mail", "/v1/jobs?state=cancelled"):
        assert [job["queue"] for job in (await get(path))["jobs"]] == ["mail"] * 3, path
    assert (await get("/v1/jobs?queue=sms"))["jobs"] == (await get("/v1/jobs?filter=queue:sms"))["jobs"] == []
    assert [queue["name"] for queue in (await get("/v1/queues"))["queues"]] == ["mail"]
    workers = (await get("/v1/workers"))["workers"]
    assert [(worker["name"], worker["queues"]) for worker in workers] == [("mail", ["mail"])]
    (other,) = connection.execute("select id from dtsched.workers where name = 'sms'").fetchall()
    refused_as(await api.get(f"/v1/workers/{other[0]}", headers=mine), 404, "not-found")
    stats = await get("/v1/stats")
    assert stats["jobs"]["cancelled"] == 3
    assert [queue["name"] for queue in stats["queues"]] == ["mail"]
    assert (stats["workers"]["active"], stats["workers"]["slots"]) == (1, 2)


async def test_a_key_submits_to_its_queues_alone(api: Api, connection: psycopg.Connection, holder: Holder) -> None:
    mine = holder("submit", queues=["mail"])
    assert (await api.post("/v1/jobs", json=SECRETIVE, headers=mine)).status_code == 201
    for job in ({"task": "echo", "queue": "sms"}, {"task": "echo"}, {"task": "echo", "queue": None}):
        refused_as(await api.post("/v1/jobs", json=job, headers=mine), 403, "queue-forbidden")
        refused_as(await api.post("/v1/jobs/batch", json=[SECRETIVE, job], headers=mine), 403, "queue-forbidden")
    partly = await api.post("/v1/jobs/batch", json={"jobs": [SECRETIVE, job], "partial": True}, headers=mine)
    assert [entry.get("code") for entry in partly.json()["jobs"]] == [None, "queue-forbidden"]
    assert connection.execute("select distinct queue from dtsched.jobs").fetchall() == [("mail",)]


async def test_a_job_is_not_moved_to_a_queue_that_the_key_is_not_for(
    api: Api, connection: psycopg.Connection, holder: Holder
) -> None:
    mine = holder("operate", queues=["mail", "fax"])
    connection.execute("select dtsched.submit('echo', queue => 'mail')")
    refused_as(await api.patch("/v1/jobs/1", json={"queue": "sms"}, headers=mine), 403, "queue-forbidden")
    assert connection.execute("select queue from dtsched.jobs").fetchall() == [("mail",)]
    assert (await api.patch("/v1/jobs/1", json={"queue": "fax"}, headers=mine)).json()["queue"] == "fax"


async def test_whoever_submits_sees_what_was_sent_but_not_what_was_there_before(api: Api, holder: Holder) -> None:
    mine, reading = holder("submit"), holder("submit", "read-args")
    made = await api.post("/v1/jobs", json={**SECRETIVE, "key": "k"}, headers=mine)
    assert (made.status_code, made.json()["args"]) == (201, {"value": CANARY})
    for sent in ({"task": "echo", "queue": "mail", "key": "k"}, {**SECRETIVE, "key": "k", "on_conflict": "keep"}):
        kept = await api.post("/v1/jobs", json=sent, headers=mine)
        assert (kept.status_code, kept.json()["args"], kept.json()["state"]) == (200, None, "ready")
    assert (await api.post("/v1/jobs", json={**SECRETIVE, "key": "k"}, headers=reading)).json()["args"] == {
        "value": CANARY
    }


async def test_of_a_job_in_another_queue_that_has_the_key_nothing_is_shown(api: Api, holder: Holder) -> None:
    await api.post("/v1/jobs", json={**SECRETIVE, "queue": "sms", "key": "k"}, headers=holder("admin"))
    mine = holder("submit", "read-args", queues=["mail"])
    kept = await api.post("/v1/jobs", json={**SECRETIVE, "key": "k"}, headers=mine)
    assert problem(kept, 409)["type"] == "/problems/key-held"
    assert "sms" not in kept.text


async def test_who_waits_for_a_job_is_not_shown_its_result(
    database: str, connection: psycopg.Connection, holder: Holder
) -> None:
    mine = holder("submit")

    async def end() -> None:
        while not connection.execute("select id from dtsched.jobs").fetchall():  # noqa: ASYNC110  (once, in SQL)
            await asyncio.sleep(0.01)
        finish(connection)

    async with in_loop(database) as api:
        waiting = api.post("/v1/jobs", json=SECRETIVE, headers={**mine, "prefer": "wait=20"})
        waited, _ = await asyncio.gather(waiting, end())
    assert waited.json()["state"] == "completed"
    assert (waited.json()["result"], waited.json()["args"]) == (None, {"value": CANARY})


def finish(connection: psycopg.Connection) -> None:
    """All jobs of mail, with everything that may be said of one, and one that is left running."""
    connection.execute("select from dtsched.register_worker(gen_random_uuid(), 'w', '{mail}', null, 9, '1 h')")
    ((worker,),) = connection.execute("select id from dtsched.workers").fetchall()
    for (lease,) in connection.execute("select lease_id from dtsched.claim(%s, 'mail', 9)", [worker]).fetchall():
        connection.execute("select dtsched.record_step(%s, %s, 'step', %s)", [worker, lease, f'"{CANARY}"'])
        report = {"lease": lease, "progress": {"message": CANARY}, "lines": [{"level": "info", "message": CANARY}]}
        connection.execute("select dtsched.report(%s, %s)", [worker, json.dumps([report])])
        connection.execute("select dtsched.finish(%s, %s, %s)", [worker, [lease], f'["{CANARY}"]'])


async def test_without_read_args_no_route_shows_a_value(
    api: Api, connection: psycopg.Connection, holder: Holder
) -> None:
    job = connection.execute("select dtsched.submit('echo', %s, 'mail')", [json.dumps({"v": CANARY})]).fetchone()
    assert job
    finish(connection)
    connection.execute("select from dtsched.register_worker(gen_random_uuid(), 'd', '{mail}', '{echo}', 9, '1 h')")
    connection.execute("select dtsched.schedule('s', '@daily', 'echo', %s)", [json.dumps({"v": CANARY})])
    plain, reading = holder("read"), holder("read-args")
    shown: set[str] = set()
    for handler in HANDLERS:
        (path,), (method,) = handler.paths, handler.http_methods
        if method != "GET" or operation_of(handler.opt or {}) is None:
            continue
        address = addressed(path.replace(":str}", "}").replace(":path}", "}"), job[0]).replace(
            "/v1/schedules/mail", "/v1/schedules/s"
        )
        if "text/event-stream" in str(operation_of(handler.opt or {})):
            continue  # a stream does not end by itself
        assert CANARY not in (await api.get(address, headers=plain)).text, address
        if CANARY in (await api.get(address, headers=reading)).text:
            shown.add(handler.fn.__name__)
    assert shown >= {"list_jobs", "get_job", "get_result", "get_logs", "get_steps", "list_schedules", "get_schedule"}


@pytest.mark.parametrize("path", ["/v1/jobs/1/logs", "/v1/jobs/1/steps", "/v1/jobs/1/result"])
async def test_values_alone_are_refused_with_the_scope_that_is_missing(api: Api, holder: Holder, path: str) -> None:
    document = refused_as(await api.get(path, headers=holder("operate")), 403, "scope-missing")
    assert document["detail"] == "the key needs the scope read-args for this"


async def test_args_cannot_be_guessed_by_a_filter(api: Api, holder: Holder) -> None:
    for scopes in (("read",), ("operate",)):
        headers = holder(*scopes)
        for path in ("/v1/jobs?filter=args.value:x", "/v1/jobs?filter=queue:mail%20args.a.b:1"):
            refused_as(await api.get(path, headers=headers), 403, "scope-missing")
    assert (await api.get("/v1/jobs?filter=args.value:x", headers=holder("read-args"))).status_code == 200


async def test_actions_answer_a_job_without_its_values(
    api: Api, connection: psycopg.Connection, holder: Holder
) -> None:
    connection.execute("select dtsched.submit('echo', %s, 'mail', delay => '1 h')", [json.dumps({"v": CANARY})])
    mine = holder("operate", queues=["mail"])
    for method, path, body in (
        ("PATCH", "/v1/jobs/1", {"priority": 9}), ("PATCH", "/v1/jobs/1", {"merge_args": {"w": 1}}),
        ("POST", "/v1/jobs/1/reschedule", {"delay": 60}), ("POST", "/v1/jobs/1/run-now", None),
        ("POST", "/v1/jobs/1/cancel", None), ("POST", "/v1/jobs/1/retry", None),
    ):  # fmt: skip
        answer = await api.request(method, path, json=body, headers=mine)
        assert (answer.status_code, answer.json()["args"]) == (200, None), path
        assert CANARY not in answer.text


NOT_SETTABLE = [name for name in Job.__struct_fields__ if name not in {field.name for field in fields(JobRequest)}]
OF_THE_TABLE = [
    "worker_id",
    "fence",
    "lease_id",
    "workflow_id",
    "skipped",
    "key_until",
    "result_expired_at",
    "xid",
    "role",
]


@pytest.mark.parametrize("member", sorted({*NOT_SETTABLE, *OF_THE_TABLE}))
async def test_what_is_not_for_submitters_to_say_is_refused(empty_api: Api, member: str) -> None:
    job = {"task": "echo", member: 1}
    for method, path, body in (
        ("POST", "/v1/jobs", job), ("POST", "/v1/jobs/batch", [job]), ("PATCH", "/v1/jobs/1", {member: 1}),
        ("PATCH", "/v1/queues/mail", {member: 1}), ("POST", "/v1/workflows", {"name": "x", member: 1}),
    ):  # fmt: skip
        assert problem(await empty_api.request(method, path, json=body), answer_to(path))["errors"]


def answer_to(path: str) -> int:
    """Settings of a queue are told apart by their values."""
    return 422 if path.startswith("/v1/queues") else 400


def test_state_attempt_and_result_are_among_what_is_refused() -> None:
    assert {"id", "state", "attempt", "result", "error", "progress", "created_at", "finished_at"} <= set(NOT_SETTABLE)


async def test_a_preflight_is_refused_and_no_header_lets_another_origin_in(empty_api: Api) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "GET"}
    answer = await empty_api.options("/v1/jobs", headers=asked)
    refused_as(answer, 403, "forbidden")
    for header in (asked, {"origin": "null"}, {**asked, "access-control-request-private-network": "true"}):
        for path in ("/v1/jobs", "/livez", "/nowhere", "/openapi.json"):
            for method in ("GET", "OPTIONS"):
                answer = await empty_api.request(method, path, headers=header)
                assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("name", ["x-forwarded-host", "x-host", "forwarded", "x-original-host", "x-forwarded-server"])
async def test_no_other_header_stands_in_for_the_host(empty_api: Api, name: str) -> None:
    ours = "host=127.0.0.1" if name == "forwarded" else "127.0.0.1"
    refused_as(await empty_api.get("/livez", headers={"host": "evil.example", name: ours}), 403, "forbidden")
    assert (await empty_api.get("/livez", headers={name: "evil.example"})).status_code == 200
    page = {"origin": "http://evil.example", name: "evil.example"}
    refused_as(await empty_api.post("/v1/jobs", json=SECRETIVE, headers=page), 403, "forbidden")


def test_a_server_that_cannot_ask_whether_there_are_keys_asks_for_them() -> None:
    nowhere = Settings(dsn="host=127.0.0.1 port=1")
    assert server.asks_for_keys("192.0.2.1", 0, nowhere)
    assert not server.asks_for_keys("127.0.0.1", 0, nowhere)


def test_a_server_asks_for_keys_beyond_loopback_as_soon_as_there_is_one(
    database: str, connection: psycopg.Connection
) -> None:
    assert not server.asks_for_keys("192.0.2.1", 0, Settings(dsn=database))
    make_key(connection, "ci", ["read"])
    connection.execute("select from dtsched.revoke_key('ci')")
    assert server.asks_for_keys("192.0.2.1", 0, Settings(dsn=database))


async def test_a_request_is_gone_when_it_is_answered(database: str) -> None:
    """What is left to the garbage collector has all others wait for it: a tenth of the time of a submission, once."""
    async with in_loop(database) as client:
        await client.get("/v1/queues")
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await client.get("/v1/queues")
            left = sum(isinstance(found, Request) for found in gc.get_objects())
        finally:
            gc.enable()
    assert left == 0
