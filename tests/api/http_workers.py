"""A worker over HTTP, as tests of the in-process API use it."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.conftest import Api


class HttpWorker:
    """Registered by register(). `call` asks for an address below its own."""

    def __init__(self, api: Api, worker_id: str) -> None:
        self.api = api
        self.id = worker_id

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        return await self.api.request(method, f"/v1/workers/{self.id}{path}", json=body)

    async def heartbeat(self, **body: object) -> httpx.Response:
        return await self.call("PUT", "/heartbeat", body)

    async def claim(self, limit: int = 1, **body: object) -> list[dict[str, Any]]:
        answer = await self.call("POST", "/claim", {"limit": limit, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["jobs"]

    async def finish(self, job: dict[str, Any], **body: object) -> httpx.Response:
        told = {"secret": job["secret"], "outcome": "complete", **body}
        return await self.call("POST", f"/leases/{job['lease_id']}/finish", told)

    async def progress(self, job: dict[str, Any], **body: object) -> httpx.Response:
        return await self.call("POST", f"/leases/{job['lease_id']}/progress", {"secret": job["secret"], **body})


async def register(api: Api, **body: object) -> HttpWorker:
    answer = await api.post("/v1/workers", json={"name": "test", **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/workers/{answer.json()['id']}"
    return HttpWorker(api, answer.json()["id"])


async def submit(api: Api, **job: object) -> int:
    return (await api.post("/v1/jobs", json={"task": "echo", **job})).json()["id"]


async def job_of(api: Api, job_id: int) -> dict[str, Any]:
    return (await api.get(f"/v1/jobs/{job_id}")).json()
