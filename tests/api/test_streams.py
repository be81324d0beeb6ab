"""Watching a job, a queue and everything by server-sent events; each server here is a process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

import httpx
import pytest
from psycopg.types.json import Jsonb

from dtsched.api.feed_streams import MOST_EVENTS
from tests.api.conftest import Serve
from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.api.sse import watching
from tests.sql.sessions import Worker

JOB = {"task": "echo"}


@pytest.fixture
def worker(refusing_database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(refusing_database)) as worker:
        yield worker
        worker.run("select dtsched.deregister_worker(%s)", worker.id)


@pytest.fixture
def api(refusing_api: ApiProcess) -> ApiProcess:
    return refusing_api


def submit(api: ApiProcess, **fields: object) -> int:
    return api.submit({**JOB, **fields}).json()["id"]


def report(worker: Worker, job: int, *, percent: float) -> None:
    reports = Jsonb([{"lease": worker.leases[job], "progress": {"percent": percent}}])
    worker.run("select dtsched.report(%s, %s)", worker.id, reports)


def test_a_job_is_told_as_it_is_and_as_it_changes_until_it_ends(api: ApiProcess, worker: Worker) -> None:
    job = submit(api, args={"value": 7})
    with watching(api, f"/v1/jobs/{job}/events") as events:
        first = events.next()
        assert (first.kind, first.data["state"], first.data["args"]) == ("job", "ready", {"value": 7})
        assert first.data == api.get(f"/v1/jobs/{job}").json()
        assert events.retry == 1000
        assert worker.claim() == [job]
        assert events.next().data["state"] == "running"
        report(worker, job, percent=5)
        assert events.next().data["progress"]["percent"] == 5
        worker.finish(job)
        last = events.next()
        assert (last.data["state"], last.data) == ("completed", api.get(f"/v1/jobs/{job}").json())
        assert list(events) == []
    assert events.comments == ["end"]


def test_who_goes_on_is_told_nothing_twice(api: ApiProcess, worker: Worker) -> None:
    job = submit(api)
    path = f"/v1/jobs/{job}/events"
    with watching(api, path) as events:
        events.next()
    with watching(api, path, since=events.last_id) as events:
        worker.claim()
        assert events.next().data["state"] == "running"
    worker.finish(job)
    with watching(api, path, since=events.last_id) as events:
        assert [event.data["state"] for event in events] == ["completed"]
    answer = httpx.get(f"{api.url}{path}", headers={"last-event-id": events.last_id or ""}, verify=False)
    assert (answer.status_code, answer.text) == (204, "")


def test_a_job_that_has_ended_is_told_once(api: ApiProcess) -> None:
    job = submit(api)
    api.request("POST", f"/v1/jobs/{job}/cancel")
    with watching(api, f"/v1/jobs/{job}/events", since="nonsense") as events:
        assert [event.data["state"] for event in events] == ["cancelled"]


def test_several_who_watch_a_job_are_all_told(api: ApiProcess, worker: Worker) -> None:
    job = submit(api)
    path = f"/v1/jobs/{job}/events"
    with watching(api, path) as first, watching(api, path) as other:
        assert first.next() == other.next()
        worker.finish(*worker.claim())
        assert list(first)[-1] == list(other)[-1]


def test_a_job_that_is_deleted_is_gone(api: ApiProcess) -> None:
    job = submit(api)
    with watching(api, f"/v1/jobs/{job}/events") as events:
        events.next()
        api.request("DELETE", f"/v1/jobs/{job}")
        assert [(event.kind, event.data) for event in events if event.kind == "gone"] == [("gone", {"id": job})]


@pytest.mark.parametrize("path", ["/v1/jobs/99999999/events", "/v1/jobs/x/events", "/v1/queues/nosuch/events"])
def test_what_is_not_there_is_not_watched(api: ApiProcess, path: str) -> None:
    problem(api.get(path), 404)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/queues/default/events"])
def test_head_of_a_stream_is_answered_without_one(api: ApiProcess, path: str) -> None:
    submit(api)
    answer = api.request("HEAD", path)
    assert (answer.status_code, answer.text) == (200, "")


def test_a_queue_is_told_what_happens_to_its_jobs_and_its_figures(api: ApiProcess, worker: Worker) -> None:
    submit(api, queue="other")
    api.request("POST", "/v1/queues/default/resume")
    worker.claim(1000)
    with watching(api, "/v1/queues/default/events") as events:
        assert events.next("reset").data == {}
        figures = events.next("queue").data
        assert (figures["name"], figures.keys()) == ("default", api.get("/v1/queues/default").json().keys())
        submit(api, queue="other")
        job = submit(api, queue="default")
        worker.finish(*worker.claim())
        assert events.of_jobs(3) == [(job, "submitted"), (job, "started"), (job, "completed")]


def test_everything_is_told_of_every_queue_and_gone_on_from_where_it_was(api: ApiProcess, worker: Worker) -> None:
    worker.claim(1000)
    with watching(api, "/v1/events") as events:
        events.next("reset")
        first, second = submit(api), submit(api, queue="other")
        assert events.of_jobs(2) == [(first, "submitted"), (second, "submitted")]
    third = submit(api)
    time.sleep(0.3)
    with watching(api, "/v1/events", since=events.last_id) as events:
        assert events.of_jobs(1) == [(third, "submitted")]
        fourth = submit(api)
        assert events.of_jobs(1) == [(fourth, "submitted")]


def test_who_has_missed_too_much_is_reset(api: ApiProcess, worker: Worker) -> None:
    with watching(api, "/v1/events") as events:
        events.next("reset")
    worker.insert(MOST_EVENTS + 1)
    with watching(api, "/v1/events", since=events.last_id) as events:
        assert events.next_but_figures().kind == "reset"
    worker.insert(MOST_EVENTS)
    with watching(api, "/v1/events", since=events.last_id) as events:
        assert events.next_but_figures().kind == "submitted"


@pytest.mark.parametrize("since", ["x", "00000000~1:2:", "\xff", "1" * 20_000])
def test_a_place_that_is_none_is_reset(api: ApiProcess, since: str) -> None:
    with watching(api, "/v1/events", since=since) as events:
        assert events.next_but_figures().kind == "reset"


def test_another_server_goes_on_where_one_was(refusing_database: str, api: ApiProcess, serve_api: Serve) -> None:
    other = serve_api(refusing_database)
    with watching(api, "/v1/events") as events, watching(other, "/v1/events") as others:
        events.next("reset")
        others.next("reset")
    job = submit(api)
    with watching(other, "/v1/events", since=events.last_id) as events:
        assert events.of_jobs(1) == [(job, "submitted")]


def test_a_transaction_that_commits_late_is_told_late(api: ApiProcess, worker: Worker) -> None:
    with watching(api, "/v1/events") as events:
        events.next("reset")
        worker.run("begin")
        (late,) = worker.insert()
        job = submit(api)
        assert events.of_jobs(1) == [(job, "submitted")]
        worker.run("commit")
        assert events.of_jobs(1) == [(late, "submitted")]
