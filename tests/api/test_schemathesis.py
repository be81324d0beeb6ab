"""Every route of the document is asked with what its schemas allow and with what they do not, NUL among it, made by
schemathesis; every answer has to be one that the document describes, and none a fault of the server (A06). Three ask:
one without a key, where there are no keys, one whose key may do everything, and one whose key is for one queue.

In the suite a few requests a route; `make fuzz` sends over 10,000. `DTSCHED_TEST_EXAMPLES` is how many a route, at
least, and `DTSCHED_TEST_SEED` decides which.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, cast
from uuid import uuid4
from zlib import crc32

import psycopg
import pytest
import requests
import schemathesis
from jsonschema import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from dtsched.api.stream import NDJSON
from dtsched.api.streams import MEDIA_TYPE as EVENTS
from tests.api.keyholders import bearer, make_key
from tests.api.processes import ApiProcess, served
from tests.support.bad_input import declare
from tests.support.servers import Databases

SEED = int(os.environ.get("DTSCHED_TEST_SEED", "20"))
EXAMPLES = int(os.environ.get("DTSCHED_TEST_EXAMPLES", "2"))
IN_THE_SUITE = 20
"""From so many on the boundaries of every field are tried as well, which are some thousands of requests."""

DOCUMENT = describe(HANDLERS)
VALIDATOR: Any = Draft202012Validator  # its types are only half there
LINE = VALIDATOR(
    {
        **DOCUMENT["paths"]["/v1/jobs/batch"]["post"]["responses"]["200"]["content"][NDJSON]["schema"],
        "components": DOCUMENT["components"],
    }
)
JOBS = 8
QUEUE = "default"
OF_STATES = ["404", "409", "412", "415", "422"]
"""What a request that fits the document may be refused with: what it is about may not be there, or not be like that."""


class World(NamedTuple):
    """A server, what stands in addresses there, and the headers of who asks."""

    url: str
    named: Mapping[str, str]
    headers: Mapping[str, str]


class FirstBytes(requests.Session):
    """Of a stream, which has no end by itself."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        answer = super().request(*args, **options)
        if answer.headers.get("content-type", "").startswith(EVENTS):
            pieces = [answer.raw.read1(1 << 16), b""]
            answer.close()

            def read1(*_: Any, **__: Any) -> bytes:
                return pieces.pop(0)

            answer.raw.read1 = read1
        return answer


def _asking(number: int, *, refused: list[str]) -> Any:
    """The document as one who asks has it made into requests; `refused` is what else may be said to what fits it."""
    config = cast("Any", SchemathesisConfig).from_dict({
        "seed": SEED + number,
        "generation": {
            "max-examples": EXAMPLES, "allow-x00": True, "no-shrink": EXAMPLES < IN_THE_SUITE, "database": "none",
            "with-security-parameters": False,
        },
        "phases": {"coverage": {"enabled": EXAMPLES >= IN_THE_SUITE}},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "400", *OF_STATES, *refused]},
            "ignored_auth": {"enabled": False},
        },
    })  # fmt: skip
    return cast("Any", schemathesis).openapi.from_dict(_read_as_of_openapi_3_2(DOCUMENT), config=config)


def _read_as_of_openapi_3_2(document: Any) -> Any:
    """Schemathesis takes the schema of a stream for that of its events, as OpenAPI 3.2 does; in 3.1 it is of all of
    the text."""
    match document:
        case dict():
            fields = cast("dict[str, Any]", document)
            read: dict[str, Any] = {name: _read_as_of_openapi_3_2(value) for name, value in fields.items()}
            if EVENTS in read:
                read[EVENTS] = cast("dict[str, Any]", {})
            return read
        case list():
            return [*map(_read_as_of_openapi_3_2, cast("list[Any]", document))]
        case _:
            return document


without_key = _asking(0, refused=[])
with_admin_key = _asking(1, refused=[])
with_key_of_a_queue = _asking(2, refused=["403"])


@cast("Any", schemathesis).serializer(NDJSON)
def _lines(_context: Any, value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()


@cast("Any", schemathesis).deserializer(NDJSON)
def _last_line(_context: Any, answer: Any) -> Any:
    """All of which are what the document says."""
    lines = [json.loads(line) for line in answer.content.splitlines()]
    for line in lines:
        LINE.validate(line)
    return lines[-1] if lines else {"line": 1}


@pytest.fixture(scope="module")
def open_world(refusing_database: str, refusing_api: ApiProcess) -> World:
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        return World(refusing_api.url, seeded(connection), {})


@pytest.fixture(scope="module")
def keyed_worlds(
    databases: Databases, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[World, World]]:
    """Of the admin, and of the one with the key for a queue."""
    name = databases.clone(template)
    dsn = databases.dsn(name)
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        named = seeded(connection)
        keys = [
            make_key(connection, "admin", ["admin"]),
            make_key(connection, "queue", ["read", "submit", "operate", "worker"], [QUEUE]),
        ]
    with served(dsn, tmp_path_factory.mktemp("keyed") / "api.log") as api:
        admin, of_a_queue = (World(api.url, named, bearer(key)) for key in keys)
        yield admin, of_a_queue
    databases.drop(name)


def seeded(connection: psycopg.Connection) -> dict[str, str]:
    """Something of everything: what stands in addresses is made to name it more often than not."""
    declare(connection)
    worker = str(uuid4())
    for _ in range(JOBS):
        connection.execute("select dtsched.submit('echo', args => '{\"value\": 1}')")
    connection.execute("select dtsched.register_worker(%s, 'w', '{default}', '{echo}', 2, '1 h')", (worker,))
    connection.execute("select dtsched.claim(%s, 'default', 2, '{echo}')", (worker,))
    connection.execute("select dtsched.cancel(3)")
    return {"worker_id": worker, "workflow_id": "1", "operation_id": "1", "problem": "not-found", "name": QUEUE}


@pytest.fixture(scope="module")
def session() -> Generator[requests.Session]:
    with FirstBytes() as session:
        yield session


@without_key.parametrize()
def test_every_answer_is_one_that_the_document_describes(
    case: Any, open_world: World, session: requests.Session, request: pytest.FixtureRequest
) -> None:
    ask(case, open_world, session, request)


@with_admin_key.parametrize()
def test_every_answer_to_an_admin_is_one_that_the_document_describes(
    case: Any, keyed_worlds: tuple[World, World], session: requests.Session, request: pytest.FixtureRequest
) -> None:
    ask(case, keyed_worlds[0], session, request)


@with_key_of_a_queue.parametrize()
def test_every_answer_to_a_key_for_one_queue_is_one_that_the_document_describes(
    case: Any, keyed_worlds: tuple[World, World], session: requests.Session, request: pytest.FixtureRequest
) -> None:
    ask(case, keyed_worlds[1], session, request)


def ask(case: Any, world: World, session: requests.Session, request: pytest.FixtureRequest) -> None:
    request.node.user_properties.append(("fuzzed", SEED))
    _aim(case, world.named)
    answer = case.call_and_validate(
        base_url=world.url,
        session=session,
        headers=dict(world.headers),
        timeout=10,
        excluded_checks=[cast("Any", checks).negative_data_rejection]
        if case.media_type == NDJSON
        else [],  # it is text, whatever it is
    )
    if answer.status_code == 400 and case.meta.generation.mode.is_positive and _headers_fit(case):
        once = case.media_type == NDJSON and "Idempotency-Key" in case.headers
        assert once or _has_a_number_that_is_not_taken(case.body), answer.text


def _headers_fit(case: Any) -> bool:
    """On boundaries some are taken to fit that do not."""
    parameters = case.operation.definition.raw.get("parameters", ())
    schemas = {parameter["name"]: parameter["schema"] for parameter in parameters if parameter["in"] == "header"}
    headers: dict[str, object] = case.headers or {}
    return all(VALIDATOR(schemas[name]).is_valid(value) for name, value in headers.items() if name in schemas)


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


def _aim(case: Any, named: Mapping[str, str]) -> None:
    """Towards what there is; and nobody waits."""
    if case.meta.generation.mode.is_positive:
        for name, value in case.path_parameters.items():
            if name == "job_id":
                case.path_parameters[name] = 1 + crc32(str(value).encode()) % (JOBS + 1)
            elif name in named and crc32(str(value).encode()) % 4:
                case.path_parameters[name] = named[name]
    headers: dict[str, str] = case.headers or {}
    if "wait" in str(headers.get("Prefer", "")):
        case.headers["Prefer"] = "wait=0"
    for part in cast("tuple[object, object]", (case.query, case.body)):
        if isinstance(part, dict) and "wait" in part:
            cast("dict[str, object]", part)["wait"] = 0
