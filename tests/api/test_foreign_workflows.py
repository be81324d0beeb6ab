"""A key for some queues adds no jobs to workflows that have jobs of other queues, nor learns that there are such."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from httpx import AsyncClient

from tests.api.keyholders import bearer, in_loop, make_key
from tests.api.problems import problem
from tests.conftest import Connect


@pytest.fixture
async def api(database: str) -> AsyncGenerator[AsyncClient]:
    async with in_loop(database) as api:
        yield api


async def test_a_workflow_with_jobs_of_other_queues_is_not_there(api: AsyncClient, connect: Connect) -> None:
    everywhere = bearer(make_key(connect(), "all", ["submit"]))
    mail = bearer(make_key(connect(), "mail", ["submit"], ["mail"]))

    async def add(workflow: int, headers: dict[str, str], queue: str = "mail") -> tuple[int, str]:
        body = {"task": "echo", "queue": queue, "workflow": workflow}
        answers = [
            await api.post("/v1/jobs", json=body, headers=headers),
            await api.post("/v1/jobs/batch", json=[{"task": "echo", "queue": queue}, body], headers=headers),
        ]
        if answers[0].status_code == 201:
            assert answers[1].status_code == 201
            return 201, ""
        said = problem(answers[0], 422)["detail"]
        assert problem(answers[1], 422)["detail"] == f"job 2: {said}"
        return 422, said.replace(str(workflow), "N")

    made = [(await api.post("/v1/workflows", json={"name": name}, headers=everywhere)).json()["id"] for name in "ab"]
    foreign, own = made
    assert await add(foreign, everywhere, "secret") == (201, "")
    assert await add(own, mail) == (201, "")
    assert await add(own, mail) == (201, "")
    assert await add(foreign, mail) == await add(10**6, mail) != (201, "")
    assert await add(foreign, everywhere) == (201, "")
