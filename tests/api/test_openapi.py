"""/openapi.json: well-formed, whole, and true: the server answers what it says there, and bodies that are refused are
refused there.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import uuid4

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator
from litestar import get
from litestar.routes import HTTPRoute

from dtsched.api import create_app
from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from dtsched.api.stream import NDJSON
from dtsched.settings import Settings
from tests.api.conftest import Api
from tests.api.processes import ApiProcess
from tests.support.bad_input import BadInput, cases, declare
from tests.support.settings import SETTINGS, Case

VALIDATOR: Any = Draft202012Validator  # its types are only half there
OFFICIAL = Path(__file__).with_name("openapi-3.1.schema.json")
DOCUMENT = describe(HANDLERS)
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]

# What JSON Schema has no words for.
UNSAYABLE = {
    "unknown task",
    "args over 1 MiB",
    "NUL in a string",
    "a lone surrogate",
    "a delay of 400 days",
    "timeout of 400 days",
    "expires_in of 400 days",
    "depends_on of a missing job",
}


class Asked(NamedTuple):
    """A request; `path` is the document's, `of` what stands there for its parameter: a job's name below, or itself. Of
    several, " + " is between them."""

    method: str
    path: str
    status: int
    of: str = ""
    query: str = ""
    body: object = None
    headers: dict[str, str] = {}  # noqa: RUF012


def valid(schema: dict[str, Any], value: object) -> bool:
    return _validator(schema).is_valid(value)


def _validator(schema: dict[str, Any], components: Any = DOCUMENT["components"]) -> Any:
    return VALIDATOR({**schema, "components": components})


def exact(components: dict[str, Any]) -> dict[str, Any]:
    """Fields that are not described are not in answers either."""
    schemas = {name: {"additionalProperties": False, **schema} if "properties" in schema else schema
               for name, schema in components["schemas"].items()}  # fmt: skip
    schemas["OpenApi"] = components["schemas"]["OpenApi"]
    return {**components, "schemas": schemas}


def test_the_document_is_what_the_official_schema_says_openapi_is() -> None:
    errors = VALIDATOR(json.loads(OFFICIAL.read_text())).iter_errors(DOCUMENT)
    assert [error.message for error in errors] == []
    for schema in DOCUMENT["components"]["schemas"].values():
        VALIDATOR.check_schema(schema)


def test_every_route_is_documented() -> None:
    app = create_app(Settings(dsn="host=127.0.0.1 port=1"))
    routes = {
        (route.path_format, method)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}
    }
    assert {(path, method.upper()) for method, path, _ in OPERATIONS} == routes
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)


def test_a_handler_without_documentation_is_refused() -> None:
    @get("/v1/secret")
    async def secret() -> None: ...

    with pytest.raises(ValueError, match=r"secret has no documentation: give it opt=documented\(…\)"):
        describe([secret])


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> Generator[str]:
        if isinstance(node, dict):
            fields = cast("dict[str, Any]", node)
            if isinstance(fields.get("$ref"), str):
                yield fields["$ref"]
            node = list(fields.values())
        if isinstance(node, list):
            for item in cast("list[Any]", node):
                yield from references(item)

    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


async def test_the_server_serves_it(empty_api: Api) -> None:
    answer = await empty_api.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DOCUMENT


def body_schema(method: str, path: str) -> dict[str, Any]:
    return DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize("case", cases("rest"), ids=str)
def test_what_is_refused_at_the_door_is_refused_by_the_schema(case: BadInput) -> None:
    assert valid(body_schema("post", "/v1/jobs"), dict(case.fields)) == (case.name in UNSAYABLE)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"args": {}, "queue": "mail", "priority": 1, "delay": "10m", "max_attempts": 1000, "timeout": 0.5},
        {"run_at": "2030-01-31T09:00:00Z", "deadline": "2030-01-31T09:00:00+01:00", "delay": None},
        {"delay": 0, "timeout": "1.5h", "key": "k" * 255, "limit_key": "\u00e4 b", "correlation_id": "c" * 128},
        {"tags": ["a\n"] * 20, "backoff": {"kind": "fixed", "base": 0, "cap": 31622400, "jitter": 1}},
        {"priority": None, "queue": None, "key": None, "tags": None, "depends_on": None, "backoff": None},
        {"depends_on": []},
        {"key": "x", "key_for": "kept", "on_conflict": "replace", "depends_on": []},
        {"key": "y", "key_for": 0.5, "on_conflict": "supersede", "depends_on": None},
        {"key": "free", "key_for": "10m", "on_conflict": "reject"},
        {"key": None, "key_for": None, "on_conflict": None},
        {"depends_on": [{"job": 1, "entry": None, "on_failure": None}]},
    ],
)
async def test_what_the_schema_takes_is_taken(empty_api: Api, fields: dict[str, object]) -> None:
    body = {"task": "echo", **fields}
    answer = await empty_api.post("/v1/jobs", json=body)
    assert answer.status_code in (200, 201), answer.text
    assert valid(body_schema("post", "/v1/jobs"), body)


@pytest.mark.parametrize("edge", [{}, {"job": None}, {"entry": None, "job": None}, {"entry": 1, "job": 1}])
async def test_a_parent_that_is_none_or_two_is_refused_as_the_schema_says(
    empty_api: Api, edge: dict[str, object]
) -> None:
    body = {"task": "echo", "depends_on": [edge]}
    assert (await empty_api.post("/v1/jobs", json=body)).status_code == 422
    assert not valid(body_schema("post", "/v1/jobs"), body)


@pytest.fixture(scope="module")
def named(refusing_database: str) -> dict[str, object]:
    """The jobs for each state that is asked for, and a worker."""
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        declare(connection)

        def value(statement: Any, *parameters: object) -> Any:
            row = connection.execute(statement, parameters).fetchone()
            assert row
            return row[0]

        names = ("completed", "running")
        jobs = {name: value("select dtsched.submit('echo', queue => 'states')") for name in names}
        worker = uuid4()
        value("select dtsched.register_worker(%s, 'w', '{states}', '{echo}', 2, '1 h')", worker)
        leases = dict(connection.execute(
            "select job_id, lease_id from dtsched.claim(%s, 'states', 2, '{echo}')", [worker]
        ).fetchall())  # fmt: skip
        value("select dtsched.record_step(%s, %s, 'charge', '7')", worker, leases[jobs["running"]])
        value("select dtsched.finish(%s, %s, '[1]')", worker, [leases[jobs["completed"]]])
        waiting = ("waiting", "to cancel", "to delete", "to reschedule", "to run")
        jobs |= {name: value("select dtsched.submit('echo', delay => '1 h')") for name in waiting}
        for name in ("cancelled", "to retry"):
            jobs[name] = value("select dtsched.submit('echo')")
            value("select dtsched.cancel(%s)", jobs[name])
        connection.execute("select dtsched.pause('mail')")
        with connection.transaction():
            operation = value("""select dtsched.create_operation('cancel', '{"queue": "none"}')""")
            connection.execute("update dtsched.operations set next_at = 'infinity'")
        jobs["version of completed"] = value("select xmin::text from dtsched.jobs where id = %s", jobs["completed"])
        return {**jobs, "missing": 10**17, "worker": worker, "operation": operation, **over_http(value)}


def over_http(value: Callable[..., Any]) -> dict[str, object]:
    """A worker with a lease, and one that is lost."""
    register = "select dtsched.register_http_worker('h', '{http}', null, 2, '1 h')"
    found = {"http worker": value(register), "lost worker": value(register), "leaving worker": value(register)}
    value("select dtsched.submit('echo', queue => 'http')")
    lease = value("select lease_id from dtsched.claim_leases(%s, null, 1)", found["http worker"])
    value("update dtsched.leases set secret = sha256('secret') where id = %s returning 1", lease)
    lost = "update dtsched.workers set lost_at = dtsched.now(), expires_at = dtsched.now() where id = %s returning 1"
    value(lost, found["lost worker"])
    return {**found, "lease": lease}


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"delay": "10m"}, True),
        ({"run_at": "2030-01-31T09:00:00Z", "delay": None}, True),
        ({}, False),
        ({"delay": None, "run_at": None}, False),
        ({"delay": 1, "run_at": "2030-01-31T09:00:00Z"}, False),
        ({"delay": 1, "when": 1}, False),
        ({"delay": -1}, False),
    ],
)
async def test_a_new_time_is_taken_where_its_schema_takes_it(
    empty_api: Api, named: dict[str, object], body: dict[str, object], is_valid: bool
) -> None:
    answer = await empty_api.post(f"/v1/jobs/{named['to reschedule']}/reschedule", json=body)
    assert (answer.status_code == 200) == is_valid
    assert valid(body_schema("post", "/v1/jobs/{job_id}/reschedule"), body) == is_valid


@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_settings_are_refused_by_the_schema_where_they_are_refused_at_the_door(case: Case) -> None:
    assert valid(body_schema("patch", "/v1/queues/{name}"), {case.name: case.value}) == (case.says is None)


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"args": {"a": [1]}}, True),
        ({"merge_args": {}, "queue": "mail", "priority": 10, "max_attempts": 1000, "tags": []}, True),
        ({"timeout": None, "limit_key": None, "deadline": None}, True),
        ({"timeout": "5m", "limit_key": "a b", "deadline": "2030-01-31T09:00:00Z"}, True),
        ({}, False),
        ({"args": {}, "merge_args": {}}, False),
        ({"args": []}, False),
        ({"queue": None}, False),
        ({"queue": "a b"}, False),
        ({"priority": 0}, False),
        ({"max_attempts": 1001}, False),
        ({"timeout": 0}, False),
        ({"tags": [""]}, False),
        ({"limit_key": ""}, False),
        ({"deadline": "soon"}, False),
        ({"task": "echo"}, False),
    ],
)
async def test_changes_are_taken_where_their_schema_takes_them(
    empty_api: Api, named: dict[str, object], body: dict[str, object], is_valid: bool
) -> None:
    answer = await empty_api.patch(f"/v1/jobs/{named['waiting']}", json=body)
    assert (answer.status_code == 200) == is_valid, answer.text
    assert valid(body_schema("patch", "/v1/jobs/{job_id}"), body) == is_valid


LEASE = "/v1/workers/{worker_id}/leases/{lease_id}"
REQUESTS = [
    Asked("GET", "/livez", 200),
    Asked("GET", "/readyz", 200),
    Asked("GET", "/metrics", 200),
    Asked("GET", "/docs", 200),
    Asked("GET", "/docs/style.css", 200),
    Asked("GET", "/openapi.json", 200),
    Asked("GET", "/problems", 200),
    Asked("GET", "/problems", 200, headers={"accept": "application/json"}),
    Asked("GET", "/problems/{problem}", 200, "not-found"),
    Asked("GET", "/problems/{problem}", 200, "not-found", headers={"accept": "application/json"}),
    Asked("GET", "/problems/{problem}", 404, "nosuch"),
    Asked("GET", "/", 307),
    Asked("GET", "/docs", 307, query="/"),
    Asked("GET", "/livez", 403, headers={"host": "evil.example"}),
    Asked("GET", "/docs", 403, headers={"host": "evil.example"}),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo"}),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo", "key": "k", "tags": ["a"], "args": {"value": 1}}),
    Asked("POST", "/v1/jobs", 200, body={"task": "echo", "key": "k"}),
    Asked("POST", "/v1/jobs", 409, body={"task": "echo", "key": "k", "on_conflict": "reject"}),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo", "depends_on": ["k"], "delay": "1h"}),
    Asked("POST", "/v1/jobs", 400, body=[]),
    Asked("POST", "/v1/jobs", 400, body={"task": "echo", "nothing": 1}),
    Asked("POST", "/v1/jobs", 400, body={"task": 1}),
    Asked("POST", "/v1/jobs", 400, body={}),
    Asked("POST", "/v1/jobs", 403, body={"task": "echo"}, headers={"origin": "http://evil.example"}),
    Asked("POST", "/v1/jobs", 413, body={"task": "echo", "args": {"value": "x" * 1_200_000}}),
    Asked("POST", "/v1/jobs", 415, body={"task": "echo"}, headers={"content-type": "text/plain"}),
    Asked("POST", "/v1/jobs", 422, body={"task": "nosuch"}),
    Asked("POST", "/v1/jobs", 422, body={"task": "echo", "priority": 11}),
    Asked("GET", "/v1/jobs", 200),
    Asked("GET", "/v1/jobs", 200, query="?state=completed&queue=default&task=echo&limit=1"),
    Asked("GET", "/v1/jobs", 400, query="?limit=0"),
    Asked("GET", "/v1/jobs", 400, query="?nothing=1"),
    Asked("GET", "/v1/jobs/{job_id}", 200, "completed"),
    Asked("GET", "/v1/jobs/{job_id}", 200, "running"),
    Asked("GET", "/v1/jobs/{job_id}", 200, "waiting"),
    Asked("GET", "/v1/jobs/{job_id}", 200, "cancelled"),
    Asked("GET", "/v1/jobs/{job_id}", 304, "cancelled", headers={"if-none-match": "*"}),
    Asked("GET", "/v1/jobs/{job_id}", 404, "missing"),
    Asked("GET", "/v1/jobs/{job_id}", 404, "x"),
    Asked("GET", "/v1/jobs/{job_id}/result", 200, "completed"),
    Asked("GET", "/v1/jobs/{job_id}/result", 200, "cancelled"),
    Asked("GET", "/v1/jobs/{job_id}/result", 202, "running"),
    Asked("GET", "/v1/jobs/{job_id}/result", 404, "missing"),
    Asked("POST", "/v1/jobs/{job_id}/cancel", 200, "to cancel"),
    Asked("POST", "/v1/jobs/{job_id}/cancel", 202, "running"),
    Asked("POST", "/v1/jobs/{job_id}/cancel", 404, "missing"),
    Asked("POST", "/v1/jobs/{job_id}/cancel", 409, "completed"),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo", "delay": 60}, headers={"prefer": "wait=0"}),
    Asked("POST", "/v1/jobs/batch", 201, body={"jobs": [{"task": "echo"}, {"task": "echo", "key": "b"}]}),
    Asked("POST", "/v1/jobs/batch", 200, body=[{"task": "echo", "key": "b"}]),
    Asked("POST", "/v1/jobs/batch", 409, body=[{"task": "echo", "key": "b", "on_conflict": "reject"}]),
    Asked("POST", "/v1/jobs/batch", 201, body={"jobs": [{"task": "echo"}, {"task": "nosuch"}], "partial": True}),
    Asked("POST", "/v1/jobs/batch", 200, body={"jobs": [{"task": "nosuch"}], "partial": True}),
    Asked("POST", "/v1/jobs/batch", 400, body={"jobs": [{"task": "echo"}], "partial": 1}),
    Asked("GET", "/v1/retention", 200),
    Asked("PATCH", "/v1/retention", 200, body={"results": "30d"}),
    Asked("PATCH", "/v1/retention", 422, body={"results": "soon"}),
    Asked("GET", "/v1/prune", 200),
    Asked("POST", "/v1/prune", 200),
    Asked("POST", "/v1/jobs/batch", 400, body={"jobs": 1}),
    Asked("POST", "/v1/jobs/batch", 422, body={"jobs": []}),
    Asked("POST", "/v1/jobs/batch", 422, body={"jobs": [{"task": "nosuch"}]}),
    *(
        Asked("POST", "/v1/jobs", status, body={"task": "echo", "priority": n}, headers={"idempotency-key": "once"})
        for status, n in ((201, 1), (201, 1), (422, 2))
    ),
    Asked("POST", "/v1/jobs", 400, body={"task": "echo"}, headers={"idempotency-key": "a b"}),
    Asked("POST", "/v1/jobs/batch", 201, body={"jobs": [{"task": "echo"}]}, headers={"idempotency-key": "twice"}),
    Asked("POST", "/v1/jobs/batch", 201, body={"jobs": [{"task": "echo"}]}, headers={"idempotency-key": "twice"}),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo", "key": "a/b"}),
    Asked("GET", "/v1/jobs/by-key/{job_key}", 200, "a/b"),
    Asked("GET", "/v1/jobs/by-key/{job_key}", 404, "nosuch"),
    Asked("GET", "/v1/jobs/by-key/{job_key}", 404, "%00"),
    Asked("POST", "/v1/jobs/batch", 201, query="?check_tasks=false", body=[{"task": "nosuch"}]),
    Asked("POST", "/v1/jobs/batch", 400, query="?check_tasks=no", body=[{"task": "nosuch"}]),
    Asked("POST", "/v1/jobs/actions", 200, body={"action": "cancel", "ids": [999_999]}),
    Asked("POST", "/v1/jobs/actions", 200, body={"action": "edit", "ids": [999_999], "changes": {"priority": 9}}),
    Asked(
        "POST",
        "/v1/jobs/actions",
        200,
        body={"action": "reschedule", "ids": [999_999], "run_at": "2030-01-31T09:00:00Z"},
    ),
    Asked("POST", "/v1/jobs/actions", 400, body={"action": "burn", "ids": [1]}),
    Asked("POST", "/v1/jobs/actions", 422, body={"action": "reschedule", "ids": [1]}),
    Asked("GET", "/v1/jobs/ids", 200, query="?filter=task:none&limit=10000&after=5"),
    Asked("GET", "/v1/jobs/ids", 400, query="?limit=0"),
    Asked("GET", "/v1/jobs/ids", 422, query="?filter=nothing"),
    Asked("GET", "/v1/now", 200),
    Asked("GET", "/v1/queues/{name}/drained", 200, "default"),
    Asked("POST", "/v1/operations", 201, body={"action": "cancel", "filter": "task:none", "dry_run": True}),
    Asked(
        *("POST", "/v1/operations", 201),
        body={"action": "edit", "filter": "state:scheduled", "changes": {"priority": 9}, "dry_run": True},
        headers={"prefer": "wait=20"},
    ),
    Asked("POST", "/v1/operations", 201, body={"action": "reschedule", "filter": "task:none", "delay": "1h"}),
    Asked("POST", "/v1/operations", 400, body={"action": "cancel", "filter": 1}),
    Asked("POST", "/v1/operations", 422, body={"action": "cancel", "filter": " "}),
    Asked("GET", "/v1/operations", 200, query="?limit=2"),
    Asked("GET", "/v1/operations", 400, query="?limit=0"),
    Asked("GET", "/v1/operations/{operation_id}", 200, "operation"),
    Asked("GET", "/v1/operations/{operation_id}", 404, "missing"),
    Asked("POST", "/v1/operations/{operation_id}/cancel", 200, "operation"),
    Asked("POST", "/v1/operations/{operation_id}/cancel", 409, "operation"),
    Asked("POST", "/v1/operations/{operation_id}/cancel", 404, "missing"),
    Asked("POST", "/v1/workflows", 201, body={"name": "etl"}),
    Asked("POST", "/v1/workflows", 201, body={"name": "etl", "jobs": [{"task": "echo", "delay": "1h"}]}),
    Asked("POST", "/v1/workflows", 422, body={"name": "etl", "jobs": [{"task": "nosuch"}]}),
    Asked("POST", "/v1/workflows", 400, body={"name": 1}),
    Asked("POST", "/v1/workflows", 422, body={"name": ""}),
    Asked("POST", "/v1/jobs", 201, body={"task": "echo", "workflow": 1}),
    Asked("GET", "/v1/workflows", 200, query="?limit=1"),
    Asked("GET", "/v1/workflows", 400, query="?limit=0"),
    Asked("GET", "/v1/workflows/{workflow_id}", 200, "1"),
    Asked("GET", "/v1/workflows/{workflow_id}", 404, "999"),
    Asked("POST", "/v1/workflows/{workflow_id}/cancel", 200, "1"),
    Asked("POST", "/v1/workflows/{workflow_id}/retry", 200, "1"),
    Asked("GET", "/v1/jobs", 200, query="?filter=state:pending&limit=1"),
    Asked("GET", "/v1/jobs", 422, query="?filter=nonsense"),
    Asked("GET", "/v1/jobs/{job_id}/attempts", 200, "cancelled"),
    Asked("GET", "/v1/jobs/{job_id}/attempts", 404, "missing"),
    Asked("GET", "/v1/jobs/{job_id}/logs", 200, "completed"),
    Asked("GET", "/v1/jobs/{job_id}/logs", 200, "running", query="?after=1&limit=2&attempt=1"),
    Asked("GET", "/v1/jobs/{job_id}/logs", 400, "completed", query="?limit=1001"),
    Asked("GET", "/v1/jobs/{job_id}/logs", 404, "missing"),
    Asked("GET", "/v1/jobs/{job_id}/why", 200, "waiting"),
    Asked("GET", "/v1/jobs/{job_id}/why", 404, "missing"),
    Asked("GET", "/v1/jobs/{job_id}/events", 200, "running"),
    Asked("GET", "/v1/jobs/{job_id}/events", 204, "completed", headers={"last-event-id": "version of completed"}),
    Asked("GET", "/v1/jobs/{job_id}/events", 404, "missing"),
    Asked("GET", "/v1/jobs/{job_id}/steps", 200, "running"),
    Asked("GET", "/v1/jobs/{job_id}/steps", 404, "missing"),
    Asked("POST", "/v1/events", 201, body={"name": "paid:42", "payload": {"amount": 5}}),
    Asked("POST", "/v1/events", 200, body={"name": "paid:42"}),
    Asked("GET", "/v1/events", 200),
    Asked("POST", "/v1/events", 400, body={"payload": 5}),
    Asked("POST", "/v1/events", 422, body={"name": ""}),
    Asked("POST", "/v1/jobs/{job_id}/run-now", 200, "to run"),
    Asked("POST", "/v1/jobs/{job_id}/run-now", 409, "completed"),
    Asked("PATCH", "/v1/jobs/{job_id}", 200, "waiting", body={"priority": 9}),
    Asked("PATCH", "/v1/jobs/{job_id}", 400, "waiting", body={"task": "echo"}),
    Asked("PATCH", "/v1/jobs/{job_id}", 409, "completed", body={"priority": 9}),
    Asked("PATCH", "/v1/jobs/{job_id}", 412, "waiting", body={"priority": 9}, headers={"if-match": '"0"'}),
    Asked("PATCH", "/v1/jobs/{job_id}", 422, "waiting", body={}),
    Asked("POST", "/v1/jobs/{job_id}/reschedule", 200, "to reschedule", body={"delay": "2h"}),
    Asked("POST", "/v1/jobs/{job_id}/reschedule", 400, "to reschedule", body={"when": 1}),
    Asked("POST", "/v1/jobs/{job_id}/reschedule", 409, "completed", body={"delay": "2h"}),
    Asked("POST", "/v1/jobs/{job_id}/reschedule", 422, "to reschedule", body={}),
    Asked("POST", "/v1/jobs/{job_id}/retry", 200, "to retry"),
    Asked("POST", "/v1/jobs/{job_id}/retry", 409, "waiting"),
    Asked("DELETE", "/v1/jobs/{job_id}", 204, "to delete"),
    Asked("DELETE", "/v1/jobs/{job_id}", 404, "missing"),
    Asked("DELETE", "/v1/jobs/{job_id}", 409, "running"),
    Asked("GET", "/v1/queues", 200),
    Asked("GET", "/v1/queues/{name}", 200, "mail"),
    Asked("GET", "/v1/queues/{name}", 404, "nosuch"),
    Asked("GET", "/v1/queues/{name}/events", 200, "mail"),
    Asked("GET", "/v1/queues/{name}/events", 404, "nosuch"),
    Asked("POST", "/v1/queues/{name}/pause", 200, "mail"),
    Asked("POST", "/v1/queues/{name}/resume", 200, "mail"),
    Asked("POST", "/v1/queues/{name}/resume", 404, "nosuch"),
    Asked("GET", "/v1/schedules", 200),
    Asked("PUT", "/v1/schedules/{name}", 201, "nightly", body={"spec": "@daily", "task": "echo"}),
    Asked(
        *("PUT", "/v1/schedules/{name}", 200, "nightly"),
        body={"spec": "0 9 * * mon-fri", "task": "echo", "tz": "Europe/Berlin", "overlap": "skip", "tags": ["a"]},
    ),
    Asked("PUT", "/v1/schedules/{name}", 400, "nightly", body={"task": "echo"}),
    Asked("PUT", "/v1/schedules/{name}", 422, "nightly", body={"spec": "0 0 30 2 *", "task": "echo"}),
    Asked("PUT", "/v1/schedules/{name}", 422, "nightly", body={"spec": "@daily", "task": "nosuch"}),
    Asked("GET", "/v1/schedules/{name}", 200, "nightly"),
    Asked("GET", "/v1/schedules/{name}", 404, "nosuch"),
    Asked("PATCH", "/v1/schedules/{name}", 200, "nightly", body={"tz": None, "timeout": "10m"}),
    Asked("PATCH", "/v1/schedules/{name}", 400, "nightly", body={"next_at": None}),
    Asked("PATCH", "/v1/schedules/{name}", 404, "nosuch", body={}),
    Asked("PATCH", "/v1/schedules/{name}", 422, "nightly", body={"spec": None}),
    Asked("POST", "/v1/schedules/{name}/run", 201, "nightly"),
    Asked("POST", "/v1/schedules/{name}/run", 200, "nightly"),
    Asked("POST", "/v1/schedules/{name}/run", 404, "nosuch"),
    Asked("POST", "/v1/schedules/{name}/pause", 200, "nightly"),
    Asked("POST", "/v1/schedules/{name}/resume", 200, "nightly"),
    Asked("GET", "/v1/schedules/{name}/next", 200, "nightly", query="?count=2"),
    Asked("GET", "/v1/schedules/{name}/ticks", 200, "nightly", query="?limit=2"),
    Asked("GET", "/v1/schedules/{name}/next", 400, "nightly", query="?count=0"),
    Asked("DELETE", "/v1/schedules/{name}", 204, "nightly"),
    Asked("DELETE", "/v1/schedules/{name}", 404, "nosuch"),
    Asked("POST", "/v1/queues/{name}/drain", 200, "mail", headers={"prefer": "wait=0"}),
    Asked("POST", "/v1/queues/{name}/drain", 404, "a b"),
    Asked("PATCH", "/v1/queues/{name}", 200, "mail", body={"breaker": {"failures": 2, "within": "1m", "cooldown": 9}}),
    Asked("PATCH", "/v1/queues/{name}", 200, "mail", body={"limit": 3, "breaker": None, "rate": "10/s", "aging": "9m"}),
    Asked("PATCH", "/v1/queues/{name}", 400, "mail", body=[]),
    Asked("PATCH", "/v1/queues/{name}", 422, "mail", body={"limit": -1}),
    Asked("PATCH", "/v1/queues/{name}", 404, "a b", body={}),
    Asked("GET", "/v1/queues/{name}", 200, "mail"),
    Asked("GET", "/v1/limits", 200),
    Asked("PUT", "/v1/limits/{key}", 200, "a/b", body={"concurrency": 3, "rate": "10/s", "burst": 20}),
    Asked("PUT", "/v1/limits/{key}", 200, "c", body={}),
    Asked("PUT", "/v1/limits/{key}", 400, "c", body={"many": 1}),
    Asked("PUT", "/v1/limits/{key}", 422, "c", body={"rate": 0}),
    Asked("PUT", "/v1/limits/{key}", 404, "%00", body={}),
    Asked("GET", "/v1/limits", 200, query="?limit=1"),
    Asked("GET", "/v1/limits", 400, query="?limit=0"),
    Asked("GET", "/v1/limits/{key}", 200, "a/b"),
    Asked("GET", "/v1/limits/{key}", 200, "nosuch", query="?queue=mail"),
    Asked("GET", "/v1/limits/{key}", 400, "nosuch", query="?queue=a%20b"),
    Asked("GET", "/v1/limits/{key}", 404, "%00"),
    Asked("DELETE", "/v1/limits/{key}", 204, "a%2Fb"),
    Asked("GET", "/v1/workers", 200),
    Asked("GET", "/v1/workers/{worker_id}", 200, "worker"),
    Asked("GET", "/v1/workers/{worker_id}", 404, "missing"),
    Asked("POST", "/v1/workers", 201, body={"name": "w", "queues": ["none"], "tasks": ["echo"], "labels": {"a": 1}}),
    Asked("POST", "/v1/workers", 400, body={"name": 1}),
    Asked("POST", "/v1/workers", 422, body={"name": "w", "slots": 0}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 200, "http worker", body={"system_info": {"cpu_usage": 1.5}}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 200, "http worker", body={"leases": [1, 2]}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 400, "http worker", body={"leases": 1}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 404, "worker", body={}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 404, "x", body={}),
    Asked("PUT", "/v1/workers/{worker_id}/heartbeat", 409, "lost worker", body={}),
    Asked("POST", "/v1/workers/{worker_id}/claim", 200, "http worker", body={"limit": 2, "wait": 0}),
    Asked("POST", "/v1/workers/{worker_id}/claim", 400, "http worker", body={"limit": "x"}),
    Asked("POST", "/v1/workers/{worker_id}/claim", 404, "worker", body={}),
    Asked("POST", "/v1/workers/{worker_id}/claim", 409, "lost worker", body={}),
    Asked("POST", "/v1/workers/{worker_id}/claim", 422, "http worker", body={"wait": 31}),
    Asked(
        "POST",
        LEASE + "/progress",
        200,
        "http worker + lease",
        body={"secret": "secret", "progress": {"percent": 40}, "log": ["a"]},
    ),
    Asked("POST", LEASE + "/progress", 400, "http worker + lease", body={"secret": "secret", "progress": []}),
    Asked("POST", LEASE + "/progress", 404, "worker + lease", body={"secret": "secret"}),
    Asked("POST", LEASE + "/progress", 404, "http worker + x", body={"secret": "secret"}),
    Asked("POST", LEASE + "/progress", 409, "http worker + lease", body={"secret": "guessed"}),
    Asked("POST", LEASE + "/progress", 422, "http worker + lease", body={"secret": "secret", "progress": 101}),
    Asked("POST", LEASE + "/finish", 409, "http worker + lease", body={"secret": "guessed", "outcome": "complete"}),
    Asked("POST", LEASE + "/finish", 400, "http worker + lease", body={"secret": "secret", "outcome": "done"}),
    Asked("POST", LEASE + "/finish", 422, "http worker + lease", body={"secret": "secret", "outcome": "snooze"}),
    Asked(
        "POST",
        LEASE + "/finish",
        200,
        "http worker + lease",
        body={"secret": "secret", "outcome": "complete", "result": [1]},
    ),
    Asked(
        "POST",
        LEASE + "/finish",
        200,
        "http worker + lease",
        body={"secret": "secret", "outcome": "complete", "result": [1]},
    ),
    Asked(
        "POST",
        LEASE + "/finish",
        409,
        "http worker + lease",
        body={"secret": "secret", "outcome": "fail", "error": "x"},
    ),
    Asked("POST", LEASE + "/finish", 404, "worker + lease", body={"secret": "secret", "outcome": "complete"}),
    Asked("DELETE", "/v1/workers/{worker_id}", 204, "leaving worker"),
    Asked("DELETE", "/v1/workers/{worker_id}", 404, "worker"),
    Asked("GET", "/v1/tasks", 200),
    Asked("GET", "/v1/tasks/{name}", 200, "echo"),
    Asked("GET", "/v1/tasks/{name}", 404, "nosuch"),
    Asked("GET", "/v1/tasks/{name}", 404, "no%00such"),
    Asked("GET", "/v1/stats", 200),
    Asked("GET", "/v1/errors", 200, query="?since=1h&queue=default&task=echo&limit=5"),
    Asked("GET", "/v1/errors", 400, query="?limit=0"),
    Asked("GET", "/v1/errors", 422, query="?since=soon"),
    Asked("GET", "/v1/audit", 200, query="?limit=2"),
    Asked("GET", "/v1/audit", 200, query="?action=pause_queue&kind=queue&target=mail&since=2020-01-01T00:00:00Z"),
    Asked("GET", "/v1/audit", 400, query="?limit=0"),
    Asked("GET", "/v1/audit", 422, query="?since=soon"),
]


def test_every_answer_is_as_it_is_documented(refusing_api: ApiProcess, named: dict[str, object]) -> None:
    components = exact(DOCUMENT["components"])
    with httpx.Client(base_url=refusing_api.url, timeout=10, verify=False) as client:
        for asked in REQUESTS:
            address = asked.path
            for part in asked.of.split(" + "):
                address = re.sub("{[a-z_]+}", str(named.get(part, part)), address, count=1)
            headers = {"content-type": "application/json"} if asked.body is not None else {}
            content = json.dumps(asked.body).encode() if asked.body is not None else None
            headers |= {name: str(named.get(value, value)) for name, value in asked.headers.items()}
            with client.stream(asked.method, address + asked.query, content=content, headers=headers) as answer:
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    answer.read()
                assert answer.status_code == asked.status, asked
                assert disagreements(asked, answer, components) == [], asked


def disagreements(asked: Asked, answer: httpx.Response, components: dict[str, Any]) -> list[str]:
    told = DOCUMENT["paths"][asked.path][asked.method.lower()]["responses"].get(str(answer.status_code))
    if told is None:
        return ["the status is not documented"]
    if "$ref" in told:
        told = components["responses"][told["$ref"].rpartition("/")[2]]
    required = [name for name in told["headers"] if components["headers"][name]["required"]]
    missing = [f"no {name}" for name in required if name.lower() not in answer.headers]
    if "content" not in told:
        return missing + (["there is a body"] if answer.content else [])
    given = answer.headers["content-type"]
    media_type = next((name for name in told["content"] if given.startswith(name)), None)
    if media_type is None:
        return [f"the body is {given}"]
    content = told["content"][media_type]
    if not media_type.endswith("json"):
        return missing
    documents = answer.text.splitlines() if media_type == NDJSON else [answer.text]
    validator = _validator(content["schema"], components)
    return missing + [error.message for one in documents for error in validator.iter_errors(json.loads(one))]


def test_every_operation_and_status_of_success_is_asked_for() -> None:
    asked = {(one.method.lower(), one.path, str(one.status)) for one in REQUESTS}
    documented = {(method, path, status) for method, path, operation in OPERATIONS for status in operation["responses"]}
    assert {place for place in documented if place[2] < "400"} <= asked
    assert asked <= documented
