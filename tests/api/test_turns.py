"""Turns of workers that wait over HTTP: one that cannot take the job leaves it to another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.api.processes import ApiProcess, served
from tests.sql.sessions import Session
from tests.support.patience import until


@pytest.fixture
def api(
    refusing_database: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Generator[ApiProcess]:
    """It never polls by itself."""
    monkeypatch.setenv("DTSCHED_POLL", "1h")
    with served(refusing_database, tmp_path_factory.mktemp("api") / "api.log") as api:
        yield api


def test_a_worker_that_has_no_room_by_now_leaves_its_turn_to_another(api: ApiProcess, refusing_database: str) -> None:
    queue = str(uuid4())
    body = {"name": "test", "queues": [queue], "slots": 1}
    first, second = (api.request("POST", "/v1/workers", body).json()["id"] for _ in range(2))

    def claim(worker: str) -> list[dict[str, object]]:
        wanted = {"limit": 1, "wait": 20}
        return httpx.post(f"{api.url}/v1/workers/{worker}/claim", json=wanted, timeout=40).json()["jobs"]

    with contextlib.closing(Session(refusing_database)) as session, ThreadPoolExecutor(2) as callers:
        waiting = [callers.submit(claim, first)]
        until(lambda: waits(api) == 1 + 1)
        waiting.append(callers.submit(claim, second))
        until(lambda: waits(api) == 2 + 1)
        time.sleep(1)  # the turns of who has just come are over
        session.run("update dtsched.workers set draining = true where id = %s", first)
        job = api.submit({"task": "echo", "queue": queue}).json()["id"]
        assert [claimed["id"] for claimed in waiting[1].result(timeout=10)] == [job]
        assert api.request("DELETE", f"/v1/workers/{first}").status_code == 204
        assert waiting[0].result(timeout=10) == []


def test_a_second_claim_of_a_worker_ends_the_first(api: ApiProcess) -> None:
    worker = api.request("POST", "/v1/workers", {"name": "test", "queues": [str(uuid4())], "slots": 1}).json()["id"]
    address = f"{api.url}/v1/workers/{worker}/claim"
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(lambda: httpx.post(address, json={"limit": 1, "wait": 20}, timeout=40).json()["jobs"])
        until(lambda: waits(api) == 1 + 1)
        time.sleep(0.2)
        assert httpx.post(address, json={"limit": 1, "wait": 1}, timeout=40).json()["jobs"] == []
        assert first.done()
        assert first.result() == []


def waits(api: ApiProcess) -> int:
    """The one that asks is counted too."""
    figures = api.request("GET", "/metrics").text
    return next(
        int(float(line.split()[-1])) for line in figures.splitlines() if line.startswith("dtsched_api_requests_open")
    )
