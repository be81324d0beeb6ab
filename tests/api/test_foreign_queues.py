"""What a key for some queues meets where no address names a queue or a job: its own, and nothing of others."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg
import pytest
from httpx import AsyncClient
from psycopg.types.json import Jsonb

from tests.api.keyholders import bearer, in_loop, make_key
from tests.api.problems import problem
from tests.conftest import Connect


@pytest.fixture
async def api(database: str) -> AsyncGenerator[AsyncClient]:
    async with in_loop(database) as api:
        yield api


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection:
    connection = connect()
    for queue in ("mail", "secret"):
        job = {"task": "echo", "queue": queue, "key": f"{queue}/1"}
        connection.execute("select from dtsched.submit_many(%s, false)", [Jsonb([job])])
    return connection


async def test_a_key_of_a_job_in_another_queue_is_held_by_nobody(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    mine = bearer(make_key(connection, "mail", ["read"], ["mail"]))
    assert (await api.get("/v1/jobs/by-key/mail/1", headers=mine)).json()["id"] == 1
    foreign, none = [
        problem(await api.get(f"/v1/jobs/by-key/{key}", headers=mine), 404)["detail"] for key in ("secret/1", "none/1")
    ]
    assert foreign == none.replace("none/1", "secret/1")


@pytest.mark.parametrize(
    "body",
    [{"action": action} for action in ("cancel", "delete", "run-now", "retry")]
    + [
        {"action": "reschedule", "run_at": "2040-01-01T00:00:00Z"},
        {"action": "edit", "changes": {"priority": 1}},
    ],
    ids=lambda body: body["action"],
)
async def test_jobs_of_another_queue_are_missing_to_who_acts_on_ids(
    api: AsyncClient, connection: psycopg.Connection, body: dict[str, object]
) -> None:
    mine = bearer(make_key(connection, "mail", ["operate"], ["mail"]))
    before = connection.execute("select jobs from dtsched.jobs where id = 2").fetchone()
    answer = await api.post("/v1/jobs/actions", json={**body, "ids": [2, 999, 1]}, headers=mine)
    outcomes = [job["outcome"] for job in answer.json()["jobs"]]
    assert outcomes[:2] == ["missing", "missing"] != outcomes[1:]
    assert connection.execute("select jobs from dtsched.jobs where id = 2").fetchone() == before
    assert (await api.get("/v1/jobs/ids?filter=id:2", headers=mine)).json()["ids"] == []


async def test_an_operation_of_others_is_neither_seen_nor_cancelled(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    mine = bearer(make_key(connection, "mail", ["operate"], ["mail"]))
    for queues in (["mail"], ["mail", "secret"], None):
        connection.execute(
            """select dtsched.create_operation('cancel', '{"queue": "none"}', p_queues => %s::text[])""", [queues]
        )
    connection.execute("update dtsched.operations set next_at = now() + interval '1 hour'")
    listed = (await api.get("/v1/operations", headers=mine)).json()["operations"]
    assert [operation["id"] for operation in listed] == [1]
    for operation in (2, 3):
        for answer in (
            await api.get(f"/v1/operations/{operation}", headers=mine),
            await api.post(f"/v1/operations/{operation}/cancel", headers=mine),
        ):
            assert problem(answer, 404)["detail"] == f"there is no operation {operation}"
    assert (await api.post("/v1/operations/1/cancel", headers=mine)).status_code == 200
    states = connection.execute("select state from dtsched.operations order by id").fetchall()
    assert states == [("cancelled",), ("pending",), ("pending",)]


async def test_without_read_args_an_operation_says_nothing_of_args(
    api: AsyncClient, connection: psycopg.Connection
) -> None:
    everything, blind = (bearer(make_key(connection, scope, [scope])) for scope in ("admin", "operate"))
    body = {
        "action": "edit",
        "filter": "queue:none args.card:4711",
        "changes": {"merge_args": {"card": "4712"}, "priority": 2},
        "dry_run": True,
    }
    made = (await api.post("/v1/operations", json=body, headers=everything)).json()
    assert (made["filter"], made["changes"]) == (body["filter"], body["changes"])
    for path in (f"/v1/operations/{made['id']}", "/v1/operations"):
        answer = await api.get(path, headers=blind)
        assert answer.status_code == 200
        assert "471" not in answer.text
    assert (await api.get(f"/v1/operations/{made['id']}", headers=blind)).json()["changes"]["priority"] == 2
