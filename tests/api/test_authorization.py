"""A01: every route for every kind of caller: what is expected of each cell follows from what the route declares. The
server has the rights of dtsched_api, and no others.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from typing import Any, NamedTuple, cast, get_args

import psycopg
import pytest
from httpx import Response

from dtsched.api.application import HANDLERS
from dtsched.api.documentation import Operation, operation_of
from dtsched.api_keys import Scope
from tests.api.keyholders import in_loop, make_key
from tests.api.processes import with_rights_of_a_server

INCLUDED = {
    "submit": {"submit"},
    "read": {"read"},
    "read-args": {"read", "read-args"},
    "operate": {"read", "operate"},
    "worker": {"worker"},
    "admin": {"submit", "read", "read-args", "operate", "worker", "admin"},
}
STRANGERS = ("nobody", "wrong secret", "wrong id", "expired", "revoked", "no key at all", "basic", "twice")
HERE, ELSEWHERE = "mail", "sms"
PLACES = {"everywhere": None, "here": [HERE], "elsewhere": [ELSEWHERE]}
ROLES = [*STRANGERS, *(f"{scope} {place}" for scope in INCLUDED for place in PLACES)]
ADDRESS = {"name": HERE, "worker_id": "0f0e0d0c-0b0a-4909-8807-060504030201"}


class Route(NamedTuple):
    method: str
    path: str
    told: Operation


class Prepared(NamedTuple):
    connection: psycopg.Connection
    dsn: str
    headers: dict[str, list[tuple[str, str]]]


def routes() -> list[Route]:
    found: list[Route] = []
    for handler in HANDLERS:
        told = operation_of(handler.opt or {})
        assert told
        (path,), (method,) = handler.paths, handler.http_methods
        found.append(Route(method, re.sub(r":[a-z]+}", "}", path), told))
    return found


ROUTES = routes()


def expected(route: Route, role: str) -> str:
    """in, or the problem that it is refused with."""
    scope, reach = route.told.access
    if scope is None:
        return "in"
    if role in STRANGERS:
        return "unauthorized"
    has, _, place = role.partition(" ")
    if scope not in INCLUDED[has]:
        return "scope-missing"
    if place == "everywhere":
        return "in"
    if "{job_id}" in route.path:
        return "in" if place == "here" else "not-found"
    if route.path.startswith("/v1/queues/{name}"):
        return "in" if place == "here" else "queue-forbidden"
    return "in" if reach == "own" else "queue-forbidden"


def seen(answer: Response, job: int) -> str:
    """As expected() says it; what the handler itself refuses, it has let in."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return "in"
    document = answer.json()
    kind = re.split("[:/]", document["type"])[-1]
    if kind in ("unauthorized", "scope-missing", "queue-forbidden"):
        return kind
    if kind == "not-found" and document["detail"] == f"there is no job {job}":
        return kind
    return "in" if answer.status_code < 500 else f"{answer.status_code} {kind}"


@pytest.fixture(scope="module")
def prepared(refusing_database: str) -> Generator[Prepared]:
    """All kinds of keys."""
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        keys = {
            f"{scope} {place}": make_key(connection, f"{scope}-{place}", [scope], queues)
            for scope in INCLUDED
            for place, queues in PLACES.items()
        }
        good = keys["admin everywhere"]
        keys["expired"], keys["revoked"] = (make_key(connection, name, ["admin"]) for name in ("expired", "revoked"))
        connection.execute("update dtsched.api_keys set expires_at = dtsched.now() where name = 'expired'")
        connection.execute("select from dtsched.revoke_key('revoked')")
        keys["wrong secret"] = good[:-1] + ("0" if good[-1] != "0" else "1")
        keys["wrong id"] = f"dts_{'0' * 12}_{good[-64:]}"
        headers = {role: [("authorization", f"Bearer {key}")] for role, key in keys.items()}
        headers["nobody"] = []
        headers["no key at all"] = [("authorization", "Bearer sesame")]
        headers["basic"] = [("authorization", f"Basic {good}")]
        headers["twice"] = headers["admin everywhere"] * 2
        yield Prepared(connection, with_rights_of_a_server(refusing_database), headers)


def test_every_route_says_what_it_needs_and_only_the_door_is_open() -> None:
    needed = {route.told.access.scope for route in ROUTES}
    assert needed - {None} <= set(get_args(Scope))
    assert {route.path for route in ROUTES if route.told.access.scope is None} <= {
        "/", "/livez", "/readyz", "/docs", "/docs/style.css", "/openapi.json", "/problems", "/problems/{problem}",
    }  # fmt: skip
    assert {route.path for route in ROUTES if not route.path.startswith("/v1/")} >= {"/livez", "/readyz", "/metrics"}


def test_no_route_has_a_hook_of_its_own_in_the_place_of_the_one_that_admits() -> None:
    assert [handler.fn.__name__ for handler in HANDLERS if cast("Any", handler).before_request is not None] == []


@pytest.mark.parametrize("role", ROLES)
async def test_a_caller_gets_as_far_as_its_key_goes(prepared: Prepared, role: str) -> None:
    async with in_loop(prepared.dsn, stopping=True) as api:
        wrong: list[object] = []
        job = submitted(prepared.connection)
        for route in ROUTES:
            address = addressed(route.path, job)
            answer = await api.request(route.method, address, headers=prepared.headers[role])
            if (found := seen(answer, job)) != expected(route, role):
                wrong.append((route.method, address, found, expected(route, role), answer.text[:300]))
            if found == "unauthorized":
                assert answer.headers["www-authenticate"] == 'Bearer realm="dtsched"'
            if found == "in" and "{job_id}" in route.path and route.method != "GET":
                job = submitted(prepared.connection)  # it may be gone
        assert wrong == []


def addressed(path: str, job: int) -> str:
    return re.sub(r"{(\w+)}", lambda part: ADDRESS.get(part[1], str(job)), path)


def submitted(connection: psycopg.Connection) -> int:
    row = connection.execute("select dtsched.submit('echo', queue => %s)", [HERE]).fetchone()
    assert row
    return row[0]
