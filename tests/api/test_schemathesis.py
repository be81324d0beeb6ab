"""Every route of the document is asked with what its schemas allow and with what they do not, NUL among it, made by
schemathesis; every answer has to be one that the document describes, and none a fault of the server (A06).

In the suite a few requests a route; `make fuzz` sends over 10,000. `DTSCHED_TEST_EXAMPLES` is how many a route, at
least, and `DTSCHED_TEST_SEED` decides which.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from typing import Any, cast
from uuid import uuid4
from zlib import crc32

import psycopg
import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig

from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from tests.api.processes import ApiProcess
from tests.support.bad_input import declare

SEED = int(os.environ.get("DTSCHED_TEST_SEED", "20"))
EXAMPLES = int(os.environ.get("DTSCHED_TEST_EXAMPLES", "6"))
IN_THE_SUITE = 50
"""From so many on the boundaries of every field are tried as well, which are some thousands of requests."""

DOCUMENT = describe(HANDLERS)
JOBS = 8

CONFIG = cast("Any", SchemathesisConfig).from_dict({
    "seed": SEED,
    "generation": {
        "max-examples": EXAMPLES, "allow-x00": True, "no-shrink": EXAMPLES < IN_THE_SUITE, "database": "none",
    },
    "phases": {"coverage": {"enabled": EXAMPLES >= IN_THE_SUITE}},
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "400", "404", "409", "415", "422"]}},
})  # fmt: skip

api = cast("Any", schemathesis).openapi.from_dict(DOCUMENT, config=CONFIG)


def _streams(context: Any) -> bool:
    """Answers that have no end by themselves."""
    answers = context.operation.definition.raw["responses"].values()
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)


asked = api.exclude(_streams)


@pytest.fixture(scope="module")
def seeded(refusing_database: str) -> dict[str, str]:
    """Something of everything: what stands in addresses is made to name it more often than not."""
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        declare(connection)
        worker = str(uuid4())
        for _ in range(JOBS):
            connection.execute("select dtsched.submit('echo', args => '{\"value\": 1}')")
        connection.execute("select dtsched.register_worker(%s, 'w', '{default}', '{echo}', 2, '1 h')", (worker,))
        connection.execute("select dtsched.claim(%s, 'default', 2, '{echo}')", (worker,))
        connection.execute("select dtsched.cancel(3)")
        return {"worker_id": worker, "workflow_id": "1", "problem": "not-found"}


@pytest.fixture(scope="module")
def session() -> Generator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module", autouse=True)
def counted(request: pytest.FixtureRequest) -> Generator[list[int]]:
    counted = [0]
    yield counted
    if reporter := request.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.write_line(f"\nschemathesis: {counted[0]} requests, seed {SEED}")


@asked.parametrize()
def test_every_answer_is_one_that_the_document_describes(
    case: Any, refusing_api: ApiProcess, seeded: dict[str, str], session: requests.Session, counted: list[int]
) -> None:
    print(f"DTSCHED_TEST_SEED={SEED} DTSCHED_TEST_EXAMPLES={EXAMPLES}")
    counted[0] += 1
    _aim(case, seeded)
    answer = case.call_and_validate(base_url=refusing_api.url, session=session, timeout=10)
    if answer.status_code == 400 and case.meta.generation.mode.is_positive:
        assert _has_a_number_that_is_not_taken(case.body), answer.text


def _has_a_number_that_is_not_taken(body: object) -> bool:
    """JSON Schema takes 5.0 for an integer, and any exponent. (Values that are wrong in themselves are 422.)"""
    match body:
        case float():
            return body.is_integer() or abs(body) < 1e-307
        case dict():
            return any(map(_has_a_number_that_is_not_taken, cast("dict[str, object]", body).values()))
        case list():
            return any(map(_has_a_number_that_is_not_taken, cast("list[object]", body)))
        case _:
            return False


def _aim(case: Any, seeded: dict[str, str]) -> None:
    """Towards what there is; and nobody waits."""
    if case.meta.generation.mode.is_positive:
        for name, value in case.path_parameters.items():
            if name == "job_id":
                case.path_parameters[name] = 1 + crc32(str(value).encode()) % (JOBS + 1)
            elif name in seeded and crc32(str(value).encode()) % 4:
                case.path_parameters[name] = seeded[name]
    headers: dict[str, str] = case.headers or {}
    if "wait" in str(headers.get("Prefer", "")):
        case.headers["Prefer"] = "wait=0"
    for part in cast("tuple[object, object]", (case.query, case.body)):
        if isinstance(part, dict) and "wait" in part:
            cast("dict[str, object]", part)["wait"] = 0


def test_what_has_no_end_is_the_only_thing_that_is_not_asked() -> None:
    left_out = {
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        if any("text/event-stream" in answer.get("content", {}) for answer in operation["responses"].values())
    }
    taken = {result.ok().definition.raw["operationId"] for result in asked.get_all_operations()}
    assert (
        taken == {one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()} - left_out
    )
