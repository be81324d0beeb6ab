"""The routes of workflows, and how REST names parents."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.sessions import Worker


async def batch(api: Api, *jobs: dict[str, Any]) -> list[int]:
    answer = await api.post("/v1/jobs/batch", json={"jobs": [{"task": "echo", **job} for job in jobs]})
    assert answer.status_code == 201, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def test_a_workflow_is_made_filled_shown_cancelled_and_retried(api: Api) -> None:
    made = await api.post("/v1/workflows", json={"name": "etl"})
    workflow = made.json()["id"]
    assert (made.status_code, made.json()["state"]) == (201, "completed")
    jobs = await batch(
        api, {"workflow": workflow}, {"workflow": workflow, "depends_on": [{"entry": 1, "on_failure": "run"}]}
    )
    shown = (await api.get(f"/v1/workflows/{workflow}")).json()
    assert (shown["state"], shown["progress"], shown["jobs"]["blocked"]) == ("running", 0.0, 1)
    listed = (await api.get("/v1/jobs", params={"filter": f"workflow:{workflow}"})).json()["jobs"]
    assert [(job["id"], job["workflow_id"]) for job in listed] == [(job, workflow) for job in reversed(jobs)]
    cancelled = (await api.post(f"/v1/workflows/{workflow}/cancel")).json()
    assert (cancelled["workflow"]["state"], cancelled["outcomes"]) == ("cancelled", {"cancelled": 2})
    retried = (await api.post(f"/v1/workflows/{workflow}/retry")).json()
    assert (retried["workflow"]["state"], retried["outcomes"]) == ("running", {"retried": 2})


async def test_workflows_are_listed_page_by_page(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.post("/v1/workflows", json={"name": name})
    answer = await api.get("/v1/workflows", params={"limit": 2})
    first = answer.json()
    assert answer.headers["link"] == f'</v1/workflows?limit=2&after={first["next"]}>; rel="next"'
    assert [one["name"] for one in first["workflows"]] == ["c", "b"]
    rest = (await api.get("/v1/workflows", params={"limit": 2, "after": first["next"]})).json()
    assert ([one["name"] for one in rest["workflows"]], rest["next"]) == (["a"], None)


async def test_a_policy_of_the_job_counts(api: Api, database: str) -> None:
    parent, child = await batch(api, {}, {"depends_on": [{"entry": 1}], "on_parent_failure": "skip"})
    await api.post(f"/v1/jobs/{parent}/cancel")
    job = (await api.get(f"/v1/jobs/{child}")).json()
    assert (job["state"], job["skipped"]) == ("cancelled", True)
    with contextlib.closing(Worker(database)) as worker:
        assert worker.drain() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/workflows/7"),
        ("GET", "/v1/workflows/none"),
        ("GET", f"/v1/workflows/{2**63}"),
        ("POST", "/v1/workflows/7/cancel"),
        ("POST", "/v1/workflows/7/retry"),
    ],
)
async def test_a_workflow_that_is_not_there_is_not_found(empty_api: Api, method: str, path: str) -> None:
    problem(await empty_api.request(method, path), 404)


@pytest.mark.parametrize(
    ("jobs", "field", "says"),
    [
        ([{"workflow": 7}], "jobs[1].workflow", "there is no workflow 7"),
        ([{}, {"workflow": 7}], "jobs[2].workflow", "there is no workflow 7"),
        ([{}, {"depends_on": [{"entry": 2}]}], "jobs[2].depends_on", "for ever: entry 2"),
        ([{"depends_on": [{"entry": 1, "job": 1}]}], "jobs[1].depends_on", "an object in depends_on must be like"),
        ([{"depends_on": [{"entry": 1, "when": 1}]}], "jobs[1].depends_on", None),
        ([{"on_parent_failure": "stop"}], "jobs[1].on_parent_failure", "must be cancel, run or skip"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(
    empty_api: Api, jobs: list[dict[str, Any]], field: str, says: str | None
) -> None:
    answer = await empty_api.post("/v1/jobs/batch", json={"jobs": [{"task": "echo", **job} for job in jobs]})
    assert answer.status_code in (400, 422), answer.text
    assert says is None or says in answer.json()["detail"]
    assert answer.json().get("field") in (field, None) or answer.json()["errors"], answer.text
