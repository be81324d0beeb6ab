"""The routes of queues, workers and figures."""

from __future__ import annotations

import contextlib

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect
from tests.sql.sessions import Worker


async def test_queues_are_listed_with_their_figures(api: Api) -> None:
    for queue, delay in (("mail", None), ("mail", 60), ("default", None)):
        await api.post("/v1/jobs", json={"task": "echo", "queue": queue, "delay": delay})
    queues = (await api.get("/v1/queues")).json()["queues"]
    assert [(queue["name"], queue["ready"], queue["scheduled"]) for queue in queues] == [
        ("default", 1, 0),
        ("mail", 1, 1),
    ]
    assert (await api.get("/v1/queues/mail")).json()["name"] == "mail"


async def test_a_queue_is_paused_and_resumed_as_often_as_one_likes(api: Api, database: str) -> None:
    await api.post("/v1/jobs", json={"task": "echo", "queue": "mail"})
    paused = [await api.post("/v1/queues/mail/pause") for _ in range(2)]
    assert [answer.status_code for answer in paused] == [200, 200]
    assert paused[0].json()["paused_at"] is not None
    assert paused[1].json()["paused_at"] == paused[0].json()["paused_at"]
    with contextlib.closing(Worker(database, queues=["mail"])) as worker:
        assert worker.claim(queue="mail") == []
        resumed = [await api.post("/v1/queues/mail/resume") for _ in range(2)]
        assert [(answer.status_code, answer.json()["paused_at"]) for answer in resumed] == [(200, None)] * 2
        assert len(worker.claim(queue="mail")) == 1


async def test_a_queue_that_nobody_has_named_yet_is_paused_before_it_is_used(api: Api) -> None:
    assert (await api.post("/v1/queues/later/pause")).json()["name"] == "later"
    assert (await api.get("/v1/queues/later")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/queues/nobody"),
        ("POST", "/v1/queues/nobody/resume"),
        ("GET", "/v1/queues/a%20b"),
        ("POST", "/v1/queues/a%20b/pause"),
        ("POST", "/v1/queues/%00/pause"),
        ("POST", "/v1/queues/" + "q" * 129 + "/pause"),
        ("GET", "/v1/workers/nobody"),
        ("GET", "/v1/workers/6f1c0000-0000-4000-8000-0000000000ab"),
        ("GET", "/v1/workers/%00"),
    ],
)
async def test_what_is_not_there_is_not_found_and_not_made(empty_api: Api, method: str, path: str) -> None:
    problem(await empty_api.request(method, path), 404)
    assert (await empty_api.get("/v1/queues")).json() == {"queues": []}


async def test_workers_are_shown_with_what_they_hold(api: Api, database: str) -> None:
    await api.post("/v1/jobs", json={"task": "echo"})
    with contextlib.closing(Worker(database)) as worker:
        worker.claim()
        (shown,) = (await api.get("/v1/workers")).json()["workers"]
        assert (shown["state"], shown["running"], shown["queues"]) == ("active", 1, ["default"])
        assert (await api.get(f"/v1/workers/{shown['id']}")).json()["id"] == shown["id"]


async def test_the_figures_are_those_of_the_tables(api: Api, connect: Connect) -> None:
    for delay in (None, None, 60):
        await api.post("/v1/jobs", json={"task": "echo", "delay": delay})
    stats = (await api.get("/v1/stats")).json()
    assert set(stats) >= {"jobs", "queues", "workers"}
    assert stats["jobs"] == {
        "blocked": 0, "scheduled": 1, "ready": 2, "running": 0, "completed": 0, "failed": 0, "cancelled": 0
    }  # fmt: skip
    assert stats["workers"]["active"] == 0
    assert [queue["name"] for queue in stats["queues"]] == ["default"]
