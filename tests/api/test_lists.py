"""GET /v1/jobs: the filter language, and pages that are walked to their end."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api
from tests.api.problems import problem
from tests.conftest import Connect


@pytest.mark.parametrize(
    ("filter", "tasks"),
    [
        ("", ["c", "b", "a"]),
        ("state:cancelled", ["a"]),
        ("state:pending", ["c", "b"]),
        ("queue:mail", ["b"]),
        ("task:a,c", ["c", "a"]),
        ("args.user.id:42", ["b"]),
        ('args.text:"x, y"', ["c"]),
        ("key:order-42 state:ready", ["c"]),
        ("since:1h tag:night", ["b"]),
        ("until:1h", []),
    ],
)
async def test_a_list_shows_what_fits_the_filter(api: Api, filter: str, tasks: list[str]) -> None:
    first = (await api.post("/v1/jobs", json={"task": "a"})).json()["id"]
    await api.post("/v1/jobs", json={"task": "b", "queue": "mail", "args": {"user": {"id": 42}}, "tags": ["night"]})
    await api.post("/v1/jobs", json={"task": "c", "args": {"text": "x, y"}, "key": "order-42"})
    await api.post(f"/v1/jobs/{first}/cancel")
    answer = await api.get("/v1/jobs", params={"filter": filter})
    assert [job["task"] for job in answer.json()["jobs"]] == tasks
    assert answer.json()["next"] is None


async def test_the_link_leads_from_page_to_page_with_the_same_filter(api: Api) -> None:
    ids = [
        (await api.post("/v1/jobs", json={"task": "echo", "args": {"text": "a b&c"}})).json()["id"] for _ in range(5)
    ]
    await api.post("/v1/jobs", json={"task": "echo"})
    seen: list[int] = []
    page = await api.get("/v1/jobs", params={"filter": 'args.text:"a b&c"', "limit": 2, "queue": "default"})
    while True:
        seen += [job["id"] for job in page.json()["jobs"]]
        if page.json()["next"] is None:
            break
        assert f"after={page.json()['next']}" in page.links["next"]["url"]
        page = await api.get(page.links["next"]["url"])
    assert seen == ids[::-1]
    assert "link" not in page.headers


async def test_an_empty_page_may_have_a_next_one(api: Api, connect: Connect) -> None:
    connect().execute("""
        insert into dtsched.jobs (task, tags) select 'echo', case when n = 1 then '{first}'::text[] else '{}' end
        from generate_series(1, 100001) n
        """)
    page = (await api.get("/v1/jobs?filter=tag:first")).json()
    assert (page["jobs"], page["next"] is None) == ([], False)
    rest = (await api.get(f"/v1/jobs?filter=tag:first&after={page['next']}")).json()
    assert ([job["tags"] for job in rest["jobs"]], rest["next"]) == ([["first"]], None)


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ("state:done", "state must be one of"),
        ("colour:red", "there is no filter"),
        ("failed", "a filter is made of terms like"),
        ("id:0", "id must be an id of a job"),
        ("priority:11", "priority must be 1 to 10"),
        ("since:yesterday", "since must be a time"),
        ("key:\0", "NUL"),
        ("queue:a'b", "queue must be 1 to 128"),
        ('error:"', "a filter is made of terms like"),
        ("task:" + "a," * 2500, "at most 4000 characters"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(empty_api: Api, filter: str, says: str) -> None:
    document = problem(await empty_api.get("/v1/jobs", params={"filter": filter}), 422)
    assert says in document["detail"]
    assert [error["field"] for error in document["errors"]] == ["filter"]


async def test_what_is_in_the_filter_is_not_said_beside_it(empty_api: Api) -> None:
    answer = await empty_api.get("/v1/jobs?filter=state:ready&state=failed")
    assert problem(answer, 422)["errors"][0]["field"] == "state"
