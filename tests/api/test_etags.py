"""ETag, If-Match and If-None-Match of jobs: nobody overwrites what somebody else has changed meanwhile."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator

import pytest
from psycopg.types.json import Jsonb

from dtsched.api.actions import edit_job
from dtsched.api.openapi import describe
from tests.api.conftest import Api
from tests.api.problems import problem
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def tag_of(api: Api, job: int) -> str:
    return (await api.get(f"/v1/jobs/{job}")).headers["etag"]


async def test_a_change_is_made_only_to_the_version_that_was_read(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    read = await tag_of(api, job)
    first = await api.patch(f"/v1/jobs/{job}", json={"priority": 9}, headers={"if-match": read})
    assert (first.status_code, first.headers["etag"]) == (200, await tag_of(api, job))
    second = await api.patch(f"/v1/jobs/{job}", json={"priority": 1}, headers={"if-match": read})
    assert problem(second, 412)["type"].endswith("precondition-failed")
    assert problem(second, 412)["detail"] == f"job {job} is not what If-Match says any more"
    assert worker.value("select priority from dtsched.jobs") == 9


IF_MATCH = re.compile(next(
    parameter["schema"]["pattern"]
    for parameter in describe([edit_job])["paths"]["/v1/jobs/{job_id}"]["patch"]["parameters"]
    if parameter["name"] == "If-Match"
))  # fmt: skip


@pytest.mark.parametrize("given", ["*", "{tag}", '"other", {tag}', ' {tag} ,"x"'])
async def test_any_version_and_one_of_several_will_do(api: Api, worker: Worker, given: str) -> None:
    (job,) = worker.insert()
    match = {"if-match": given.format(tag=await tag_of(api, job))}
    assert (await api.patch(f"/v1/jobs/{job}", json={"priority": 9}, headers=match)).status_code == 200
    assert IF_MATCH.search(match["if-match"])


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ('"other"', 412),
        ("W/{tag}", 412),
        ('""', 412),
        ("nonsense", 400),
        ('"a" "b"', 400),
        ('"a b"', 400),
        ("*,*", 400),
        ('"a",', 400),
        ("", 400),
    ],
)
async def test_another_a_weak_and_a_malformed_tag_will_not(api: Api, worker: Worker, given: str, status: int) -> None:
    (job,) = worker.insert()
    match = {"if-match": given.format(tag=await tag_of(api, job))}
    problem(await api.patch(f"/v1/jobs/{job}", json={"priority": 9}, headers=match), status)
    assert (IF_MATCH.search(match["if-match"]) is not None) == (status != 400)
    assert worker.value("select priority from dtsched.jobs") == 5


async def test_what_is_not_there_is_not_found_and_what_runs_is_a_conflict(api: Api, worker: Worker) -> None:
    problem(await api.patch("/v1/jobs/999", json={"priority": 9}, headers={"if-match": '"x"'}), 404)
    (job,) = worker.insert()
    worker.claim()
    match = {"if-match": await tag_of(api, job)}
    problem(await api.patch(f"/v1/jobs/{job}", json={"priority": 9}, headers=match), 409)


async def test_whatever_changes_gives_a_job_another_tag_and_nothing_else_does(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    tags = [await tag_of(api, job)]
    assert await tag_of(api, job) == tags[0]
    worker.claim()
    tags.append(await tag_of(api, job))
    reports = Jsonb([{"lease": worker.leases[job], "progress": {"percent": 50}}])
    assert worker.column("select dtsched.report(%s, %s)", worker.id, reports) == [worker.leases[job]]
    tags.append(await tag_of(api, job))
    worker.run("vacuum freeze dtsched.jobs")
    assert await tag_of(api, job) == tags[-1]
    worker.finish(job)
    tags.append(await tag_of(api, job))
    assert len(set(tags)) == len(tags)


async def test_the_result_that_time_has_run_out_for_is_a_change(api: Api, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.run("select dtsched.finish(%s, %s, '[7]')", worker.id, [worker.leases[job]])
    before = await tag_of(api, job)
    worker.set_queue(retention={"results": 0})
    answer = await api.get(f"/v1/jobs/{job}", headers={"if-none-match": before})
    assert (answer.status_code, answer.json()["result"]) == (200, None)


@pytest.mark.parametrize("given", ["{tag}", "W/{tag}", '"a", {tag}', "*"])
async def test_who_has_this_version_already_is_told_so(api: Api, worker: Worker, given: str) -> None:
    (job,) = worker.insert()
    tag = await tag_of(api, job)
    for method in ("GET", "HEAD"):
        same = await api.request(method, f"/v1/jobs/{job}", headers={"if-none-match": given.format(tag=tag)})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    worker.run("select dtsched.edit(%s, '{\"priority\": 9}')", job)
    changed = await api.get(f"/v1/jobs/{job}", headers={"if-none-match": f"{tag}, nonsense"})
    assert (changed.status_code, changed.json()["priority"]) == (200, 9)


def test_of_many_who_change_the_version_they_have_read_one_does(database: str, worker: Worker) -> None:
    (job,) = worker.insert()
    version = worker.value("select dtsched.job_version(%s)", job)
    outcomes: list[str] = []

    def change() -> None:
        with contextlib.closing(Session(database)) as session:
            outcomes.append(session.value("select dtsched.edit_expecting(%s, '{\"priority\": 9}', %s)", job, [version]))

    in_parallel(*[change] * 8)
    assert outcomes.count("edited") == 1
    assert set(outcomes) <= {"edited", "changed", "busy"}


def test_the_version_is_looked_at_with_the_row_in_hand(database: str, worker: Worker) -> None:
    """What was committed after the statement began counts too."""
    (job,) = worker.insert()
    version = worker.value("select dtsched.job_version(%s)", job)
    with contextlib.closing(Session(database)) as other:
        other.run("begin")
        other.run("select dtsched.edit(%s, '{\"priority\": 1}')", job)
        assert worker.value("select dtsched.edit_expecting(%s, '{\"priority\": 9}', %s)", job, [version]) == "busy"
        other.run("commit")
    assert worker.value("select dtsched.edit_expecting(%s, '{\"priority\": 9}', %s)", job, [version]) == "changed"
