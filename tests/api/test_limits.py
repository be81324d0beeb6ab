"""The routes of settings, limit keys and draining."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from threading import Timer
from time import monotonic

import httpx
import pytest

from tests.api.conftest import Api, Serve
from tests.api.problems import problem
from tests.sql.sessions import Worker
from tests.support.patience import PATIENCE_SECONDS, within
from tests.support.settings import SETTINGS


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database, queues=["mail"])) as worker:
        yield worker


async def test_settings_are_merged_and_null_takes_one_away(api: Api) -> None:
    settings = {"limit": 5, "rate": "30/m", "timeout": "2m", "retention": {"failed": "30d"}}
    first = await api.patch("/v1/queues/mail", json=settings)
    assert (first.status_code, first.json()["name"]) == (200, "mail")
    assert first.json()["settings"] == {"limit": 5, "rate": 0.5, "timeout": 120, "retention": {"failed": 2592000}}
    second = await api.patch("/v1/queues/mail", json={"limit": None, "retention": {"results": "forever"}, "rate": None})
    assert second.json()["settings"] == {"timeout": 120, "retention": {"failed": 2592000, "results": "forever"}}
    assert (await api.get("/v1/queues/mail")).json() == second.json()


async def test_bad_settings_are_refused_with_the_sentence_of_the_other_doors(empty_api: Api) -> None:
    for case in (case for case in SETTINGS if case.says is not None):
        answer = await empty_api.patch("/v1/queues/mail", json={case.name: case.value})
        document = problem(answer, 422)
        assert document["detail"].startswith(case.says)
        assert [error["field"] for error in document["errors"]] == [case.name]
    assert (await empty_api.get("/v1/queues")).json() == {"queues": []}


async def test_a_limit_key_is_set_read_listed_and_taken_back(api: Api) -> None:
    told = await api.put("/v1/limits/tenant-7", json={"concurrency": 3, "rate": "10/s", "burst": 20})
    assert told.json() == {
        "limit_key": "tenant-7", "concurrency": 3, "rate": 10, "burst": 20, "running": 0, "waiting": 0,
        "open_until": None,
    }  # fmt: skip
    held = {"queue": "default", "concurrency": 3, "rate": 10, "burst": 20}
    assert (await api.get("/v1/limits/tenant-7")).json() == {**told.json(), "effective": held}
    assert (await api.get("/v1/limits")).json() == {"limits": [told.json()], "next": None}
    replaced = await api.put("/v1/limits/tenant-7", json={"rate": 1})
    assert (replaced.json()["concurrency"], replaced.json()["rate"]) == (None, 1)
    assert (await api.delete("/v1/limits/tenant-7")).status_code == 204
    after = (await api.get("/v1/limits/tenant-7")).json()
    assert (after["concurrency"], after["effective"]["concurrency"], after["effective"]["rate"]) == (None, 1, None)
    assert (await api.delete("/v1/limits/tenant-7")).status_code == 204


@pytest.mark.parametrize(
    ("address", "key"),
    [("a/b", "a/b"), ("a%2Fb", "a/b"), ("/a//b/", "/a//b/"), ("a%20%C3%A4%25", "a \u00e4%"), ("a%3Fb", "a?b")],
)
async def test_a_key_of_any_characters_has_an_address(api: Api, address: str, key: str) -> None:
    assert (await api.put(f"/v1/limits/{address}", json={"concurrency": 2})).json()["limit_key"] == key
    assert (await api.get(f"/v1/limits/{address}")).json()["limit_key"] == key


@pytest.mark.parametrize("address", ["%00", "a%0Ab", "k" * 256, "%FF"])
async def test_what_cannot_be_a_key_is_not_found(empty_api: Api, address: str) -> None:
    problem(await empty_api.get(f"/v1/limits/{address}"), 404)
    problem(await empty_api.put(f"/v1/limits/{address}", json={"concurrency": 2}), 404)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"concurrency": "3"}, 422, 'concurrency must be a whole number of jobs from 0, not "3"'),
        ({"rate": 0}, 422, "rate must be a number of jobs a second"),
        ({"burst": 0}, 422, "burst must be a whole number of jobs from 1, not 0"),
        ({"many": 1}, 400, 'there is no field "many" here; there are concurrency, rate, burst'),
        ([], 400, "the body must be one JSON object"),
    ],
)
async def test_bad_limits_are_refused(empty_api: Api, body: object, status: int, says: str) -> None:
    assert problem(await empty_api.put("/v1/limits/k", json=body), status)["detail"].startswith(says)
    assert (await empty_api.get("/v1/limits")).json() == {"limits": [], "next": None}


async def test_limit_keys_come_in_pages_with_a_link(api: Api) -> None:
    for number in range(3):
        await api.put(f"/v1/limits/k{number}", json={"concurrency": 1})
    first = await api.get("/v1/limits?limit=2")
    assert [limit["limit_key"] for limit in first.json()["limits"]] == ["k0", "k1"]
    assert (first.json()["next"], first.headers["link"]) == ("k1", '</v1/limits?limit=2&after=k1>; rel="next"')
    second = await api.get("/v1/limits?limit=2&after=k1")
    assert ([limit["limit_key"] for limit in second.json()["limits"]], second.json()["next"]) == (["k2"], None)
    assert "link" not in second.headers
    problem(await api.get("/v1/limits?limit=201"), 400)


async def test_draining_answers_at_once_with_what_runs(api: Api, worker: Worker) -> None:
    (job,) = worker.insert(queue="mail")
    worker.claim(queue="mail")
    answer = await api.post("/v1/queues/mail/drain")
    assert (answer.status_code, answer.json()["running"]) == (200, 1)
    assert answer.json()["paused_at"] is not None
    assert "preference-applied" not in answer.headers
    worker.finish(job)


def test_draining_waits_for_the_last_job_where_that_is_preferred(
    serve_api: Serve, database: str, worker: Worker
) -> None:
    (job,) = worker.insert(queue="mail")
    worker.claim(queue="mail")
    with httpx.Client(base_url=serve_api(database).url, timeout=PATIENCE_SECONDS, verify=False) as client:
        late = client.post("/v1/queues/mail/drain", headers={"prefer": "wait=1"})
        assert (late.status_code, late.json()["running"]) == (200, 1)
        finishing = Timer(0.7, lambda: worker.finish(job))
        began = monotonic()
        finishing.start()
        with within(10):
            answer = client.post("/v1/queues/mail/drain", headers={"prefer": "wait=15"})
    finishing.join()
    assert (answer.json()["running"], answer.headers["preference-applied"]) == (0, "wait=15")
    assert monotonic() - began >= 0.7


async def test_why_and_the_queue_tell_what_holds_a_job(api: Api, worker: Worker) -> None:
    await api.patch(
        "/v1/queues/mail", json={"key_breaker": {"failures": 1, "within": 60, "cooldown": 3600}, "key_limit": 1}
    )
    first, second = worker.insert_limited("acme", 2, queue="mail")
    assert worker.claim(queue="mail") == [first]
    (reason,) = (await api.get(f"/v1/jobs/{second}/why")).json()["reasons"]
    assert reason["reason"] == f"limit key acme runs as many jobs as it may: 1 of 1, held by job {first} on worker test"
    worker.finish_as("fail", first)
    (reason,) = (await api.get(f"/v1/jobs/{second}/why")).json()["reasons"]
    assert reason["code"] == "breaker"
    assert (await api.get("/v1/limits/acme")).json()["open_until"] is not None


async def test_a_key_that_nobody_has_used_answers_what_its_queue_says(api: Api) -> None:
    await api.patch("/v1/queues/mail", json={"key_limit": 3, "key_rate": "90/m"})
    answer = (await api.get("/v1/limits/new?queue=mail")).json()
    assert (answer["limit_key"], answer["concurrency"], answer["running"]) == ("new", None, 0)
    assert answer["effective"] == {"queue": "mail", "concurrency": 3, "rate": 1.5, "burst": 2}
    await api.put("/v1/limits/new", json={"concurrency": 7, "burst": 9})
    answer = (await api.get("/v1/limits/new?queue=mail")).json()
    assert answer["effective"] == {"queue": "mail", "concurrency": 7, "rate": 1.5, "burst": 9}
    problem(await api.get("/v1/limits/new?queue=a%20b"), 400)
    problem(await api.get("/v1/limits/new?queues=mail"), 400)
