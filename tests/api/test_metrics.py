"""/metrics: well-formed to the letter, equal to the tables, and asked of the database only now and then."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Callable
from typing import LiteralString, NamedTuple

import psycopg
import pytest

from dtsched import App, Retry
from dtsched.api import metrics
from dtsched.api.database import Questions
from dtsched.api.gathering import Gatherer
from dtsched.api.metrics import FAMILIES, Figures, exposition
from dtsched.api.traffic import Traffic
from dtsched.client import Client
from dtsched.overview import Sample
from tests.api.conftest import Api, api_over
from tests.api.problems import problem
from tests.conftest import Connect
from tests.runtime.workers import running_worker

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
VALUE = r'"(?:[^"\\\n]|\\\\|\\"|\\n)*"'
LABEL = rf"([a-zA-Z_][a-zA-Z0-9_]*)=({VALUE})"
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|Inf|NaN)"
LINE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ({NUMBER})")
HEAD = re.compile(rf"# (HELP|TYPE) ({NAME}) (\S.*)")
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",), "untyped": ("",)}

# A question that counts how often it was asked.
COUNTING = """
    create sequence asked;
    grant usage on sequence asked to public;
    create or replace function dtsched.metrics() returns table (name text, labels jsonb, value double precision)
    language sql volatile security definer as $$ select 'dtsched_slots', '{}'::jsonb, nextval('public.asked') $$
"""
FAILING = """
    create or replace function dtsched.metrics() returns table (name text, labels jsonb, value double precision)
    language plpgsql as $$ begin raise lock_not_available; end $$
"""

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Family(NamedTuple):
    kind: str
    figures: Values


def parsed(text: str) -> dict[str, Family]:
    """Refuses whatever the format does: a family in two pieces, a sample twice or out of its family, a bad escape."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    lines = iter(text.removesuffix("\n").split("\n"))
    current = ""
    for line in lines:
        if head := HEAD.fullmatch(line):
            told = HEAD.fullmatch(next(lines))
            assert told
            assert (head[1], told[1], told[2]) == ("HELP", "TYPE", head[2])
            current = head[2]
            assert current not in families
            families[current] = Family(told[3], {})
            continue
        sample = LINE.fullmatch(line)
        assert sample, line
        kind, figures = families[current]
        assert sample[1] in {current + part for part in PARTS[kind]}
        labels = re.findall(LABEL, sample[2] or "")
        assert len(dict(labels)) == len(labels)
        where = sample[1], frozenset((name, unescaped(value)) for name, value in labels)
        assert where not in figures
        figures[where] = float(sample[7])
    return families


def unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted[1:-1])


def figure(families: dict[str, Family], family: str, name: str | None = None, **labels: str) -> float:
    return families[family].figures[name or family, frozenset(labels.items())]


async def scraped(api: Api) -> dict[str, Family]:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


async def test_the_figures_are_those_of_the_tables(api: Api, connect: Connect, database: str) -> None:
    app = App()
    release = asyncio.Event()
    tries: list[None] = []

    @app.task
    async def good() -> None: ...

    @app.task
    async def bad() -> None:
        raise ValueError

    @app.task
    async def second_time() -> None:
        tries.append(None)
        if len(tries) == 1:
            raise Retry(after=0)

    @app.task
    async def long() -> None:
        await release.wait()

    async def submit(task: str, **fields: object) -> int:
        return (await api.post("/v1/jobs", json={"task": task, **fields})).json()["id"]

    async with running_worker(app, database):
        ending = [await submit(task) for task in ("good", "good", "second_time")]
        ending.append(await submit("bad", max_attempts=1))
        running = await submit("long")
        await submit("good", delay=3600)
        await submit("good", depends_on=[running])
        connect().execute("select dtsched.pause('mail')")
        await submit("good", queue="mail")
        cancelled = await submit("good", queue="mail")
        await api.post(f"/v1/jobs/{cancelled}/cancel")
        await until(
            connect(), "select count(*) = %s from dtsched.jobs where state in ('completed', 'failed')", len(ending)
        )
        await until(connect(), "select state = 'running' from dtsched.jobs where id = %s", running)
        families = await scraped(api)
        release.set()

    assert set(families) == set(FAMILIES)
    assert {name: family.kind for name, family in families.items()} == {name: FAMILIES[name].kind for name in FAMILIES}
    held = {"completed": 3, "failed": 1, "running": 1, "scheduled": 1, "blocked": 1, "ready": 0}
    assert {state: figure(families, "dtsched_jobs", queue="default", state=state) for state in held} == held
    assert figure(families, "dtsched_jobs", queue="mail", state="ready") == 1
    assert figure(families, "dtsched_jobs", queue="mail", state="cancelled") == 1
    assert figure(families, "dtsched_queue_paused", queue="mail") == 1
    assert figure(families, "dtsched_queue_paused", queue="default") == 0
    for task, outcome, attempts in (
        ("good", "complete", 2), ("bad", "fail", 1), ("second_time", "retry", 1), ("second_time", "complete", 1),
    ):  # fmt: skip
        assert figure(families, "dtsched_attempts_total", queue="default", task=task, outcome=outcome) == attempts
    assert figure(families, "dtsched_workers", state="active") == 1
    assert (figure(families, "dtsched_slots"), figure(families, "dtsched_slots_taken")) == (4, 1)
    assert figure(families, "dtsched_utilisation") == 0.25
    for name in ("dtsched_job_wait_seconds", "dtsched_job_run_seconds"):
        assert figure(families, name, f"{name}_count", queue="default") == 5
        assert_cumulative(families[name].figures, f"{name}_bucket", 5)


async def until(connection: psycopg.Connection, question: LiteralString, parameter: int) -> None:
    for _ in range(1500):
        if connection.execute(question, [parameter]).fetchone() == (True,):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(question)


def assert_cumulative(figures: Values, name: str, count: float) -> None:
    """In the order of the text: bounds rise, and each bucket holds those before it."""
    buckets = [(float(dict(labels)["le"]), value) for (part, labels), value in figures.items() if part == name]
    assert buckets == sorted(buckets)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert buckets[-1] == (math.inf, count)


async def test_an_empty_database_has_figures_too(api: Api) -> None:
    families = await scraped(api)
    assert figure(families, "dtsched_slots") == 0
    assert figure(families, "dtsched_utilisation") == 0


async def test_scrapes_share_one_question_and_its_answer(
    questions: Questions, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect().execute(COUNTING)
    figures = Figures(questions)
    together = await asyncio.gather(*(figures.text() for _ in range(10)))
    assert {figure(parsed(text), "dtsched_slots") for text in [*together, await figures.text()]} == {1}
    assert connect().execute("select last_value from asked").fetchone() == (1,)

    monkeypatch.setattr(metrics.time, "monotonic", later(metrics.FRESH_SECONDS))
    assert figure(parsed(await figures.text()), "dtsched_slots") == 2


async def test_a_second_scrape_is_answered_without_the_database(api: Api, connect: Connect) -> None:
    connect().execute(COUNTING)
    assert figure(await scraped(api), "dtsched_slots") == figure(await scraped(api), "dtsched_slots")
    assert connect().execute("select last_value from asked").fetchone() == (1,)


@pytest.fixture
async def questions(database: str) -> AsyncGenerator[Questions]:
    """The test client sends one request after the other."""
    questions = Questions(Client(database, role="api"), Gatherer(database))
    await questions.open()
    yield questions
    await questions.close()


def later(seconds: float) -> Callable[[], float]:
    now = metrics.time.monotonic
    return lambda: now() + seconds


async def test_a_failure_is_not_kept(api: Api, connect: Connect) -> None:
    connect().execute(FAILING)
    answers = await asyncio.gather(*(api.get("/metrics") for _ in range(3)))
    assert {problem(answer, 503)["type"] for answer in answers} == {"/problems/busy"}
    connect().execute(COUNTING)
    assert figure(await scraped(api), "dtsched_slots") == 1


async def test_without_the_database_there_are_no_figures() -> None:
    async with api_over("host=127.0.0.1 port=1") as api:
        answer = await api.get("/metrics")
    assert problem(answer, 503)["type"] == "/problems/database-unreachable"
    assert answer.headers["retry-after"]


def test_labels_are_escaped_and_numbers_written_as_prometheus_reads_them() -> None:
    nasty = 'a"b\\n\\\nc{}=,\u00e4'
    samples = [
        Sample("dtsched_queue_paused", {"queue": nasty}, math.inf),
        Sample("dtsched_queue_paused", {"queue": "x"}, -math.inf),
        Sample("dtsched_slots", {}, 2**60),
        Sample("dtsched_slots_taken", {}, 0.1),
        Sample("dtsched_new_count", {}, math.nan),
    ]
    families = parsed(exposition(samples))
    assert figure(families, "dtsched_queue_paused", queue=nasty) == math.inf
    assert figure(families, "dtsched_queue_paused", queue="x") == -math.inf
    assert (figure(families, "dtsched_slots"), figure(families, "dtsched_slots_taken")) == (2**60, 0.1)
    assert families["dtsched_new_count"].kind == "untyped"
    assert math.isnan(figure(families, "dtsched_new_count"))


def test_what_comes_in_any_order_leaves_in_whole_families_with_buckets_from_below() -> None:
    name = "dtsched_job_run_seconds"
    samples = [Sample(f"{name}_bucket", {"queue": queue, "le": bound}, value)
               for queue in "ba" for bound, value in (("+Inf", 3), ("10", 2), ("9.5", 1))]  # fmt: skip
    samples += [Sample("dtsched_slots", {}, 1), Sample(f"{name}_sum", {"queue": "a"}, 7)]
    bounds = re.findall(r'_bucket\{le="([^"]+)",queue="([^"]+)"\}', exposition(samples))
    assert bounds == [(bound, queue) for queue in "ab" for bound in ("9.5", "10", "+Inf")]
    assert set(parsed(exposition(samples))) == {name, "dtsched_slots"}


async def test_requests_are_counted_by_their_routes_and_never_by_what_was_in_the_address(api: Api) -> None:
    for path in ("/v1/jobs/7", "/v1/jobs/8", "/livez", "/nowhere/canary", "/v1/queues/canary"):
        await api.get(path)
    await api.post("/v1/jobs", json=[])
    await api.get("/livez", headers={"host": "evil.example"})
    families = await scraped(api)

    def count(route: str, status: int, method: str = "GET") -> float:
        return figure(families, "dtsched_api_requests_total", method=method, route=route, status=str(status))

    assert count("/v1/jobs/{job_id}", 404) == 2
    assert count("/livez", 200) == 1
    assert count("none", 404) == 1
    assert count("none", 403) == 1
    assert count("/v1/jobs", 400, "POST") == 1
    assert "canary" not in str(families)
    name = "dtsched_api_request_seconds"
    for part, labels in (("_count", {}), ("_bucket", {"le": "+Inf"})):
        assert figure(families, name, name + part, method="GET", route="/v1/jobs/{job_id}", **labels) == 2
    assert figure(families, name, f"{name}_sum", method="GET", route="/v1/jobs/{job_id}") > 0


async def test_the_process_tells_of_itself(api: Api) -> None:
    await api.get("/readyz")
    families = await scraped(api)
    assert figure(families, "dtsched_api_requests_open") == 1
    assert figure(families, "process_resident_memory_bytes") > 1e7
    assert figure(families, "process_cpu_seconds_total") > 0
    assert 0 < time.time() - figure(families, "process_start_time_seconds") < 3600 * 24
    assert figure(families, "process_open_fds") > 3
    assert figure(families, "dtsched_api_pool_size") == 10
    assert figure(families, "dtsched_api_pool_connections", state="idle") == 1
    assert figure(families, "dtsched_api_streams_open", kind="job") == 0
    assert figure(families, "dtsched_api_waiting_requests") == 0
    assert figure(families, "dtsched_api_listener_connected") == 0


async def test_the_figures_of_the_process_are_never_old(api: Api) -> None:
    before = figure(await scraped(api), "process_cpu_seconds_total")
    sum(range(3_000_000))
    assert figure(await scraped(api), "process_cpu_seconds_total") > before


def test_a_latency_belongs_to_the_bucket_of_its_bound() -> None:
    traffic = Traffic()
    for seconds in (0.005, 0.0051, 5.0, 5.1):
        traffic.count("GET", "/x", 200, seconds)
    buckets = {sample.labels["le"]: sample.value for sample in traffic.samples() if "le" in sample.labels}
    assert (buckets["0.005"], buckets["0.01"], buckets["2.5"], buckets["5.0"], buckets["+Inf"]) == (1, 2, 2, 3, 4)


def test_a_method_that_nobody_knows_is_counted_as_another() -> None:
    traffic = Traffic()
    traffic.count("BREW", "none", 405, 0)
    assert {sample.labels["method"] for sample in traffic.samples() if "method" in sample.labels} == {"other"}
