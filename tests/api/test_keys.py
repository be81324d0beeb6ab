"""Keys by REST: 201 where a job was made, 200 where another one has the key, 409 where that was not wanted."""

from __future__ import annotations

from typing import Any

from httpx import Response

from tests.api.conftest import Api
from tests.api.problems import problem


async def submit(api: Api, **fields: Any) -> Response:
    return await api.post("/v1/jobs", json={"task": "echo", "key": "k", **fields})


async def test_each_way_to_meet_a_held_key_has_its_status(api: Api) -> None:
    first = await submit(api, args={"n": 1}, delay=60)
    kept = await submit(api, args={"n": 2})
    replaced = await submit(api, args={"n": 3}, on_conflict="replace", key_for="10m")
    refused = problem(await submit(api, on_conflict="reject"), 409)
    superseding = await submit(api, args={"n": 4}, on_conflict="supersede")
    assert [answer.status_code for answer in (first, kept, replaced, superseding)] == [201, 200, 200, 201]
    held = first.json()["id"]
    assert [answer.json()["id"] for answer in (kept, replaced)] == [held, held]
    assert [answer.json()["args"] for answer in (kept, replaced)] == [{"n": 1}, {"n": 3}]
    assert (refused["type"], refused["errors"][0]["field"]) == ("/problems/key-held", "key")
    assert refused["detail"].startswith(f'the key "k" is held by job {held}, which is ready')
    assert superseding.json()["id"] != held
    assert (await api.get(f"/v1/jobs/{held}")).json()["state"] == "cancelled"


async def test_a_batch_says_what_came_of_each_job(api: Api) -> None:
    def job(n: int, **fields: object) -> dict[str, object]:
        return {"task": "echo", "key": "k", "args": {"n": n}, **fields}

    answer = await api.post("/v1/jobs/batch", json=[job(1), job(2), job(3, on_conflict="replace")])
    assert answer.status_code == 201
    assert [one["outcome"] for one in answer.json()["jobs"]] == ["created", "kept", "replaced"]
    again = await api.post("/v1/jobs/batch", json=[job(4, on_conflict="replace")])
    assert (again.status_code, again.json()["jobs"][0]["outcome"]) == (200, "replaced")
    refused = problem(await api.post("/v1/jobs/batch", json=[{"task": "echo"}, job(5, on_conflict="reject")]), 409)
    assert refused["errors"][0]["field"] == "jobs[2].key"
    assert refused["detail"].startswith('job 2: the key "k" is held by job')
