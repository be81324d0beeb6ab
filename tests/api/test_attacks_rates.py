"""A13: rates of requests, and that nothing a request says of itself gets it another bucket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.testing import AsyncTestClient

from dtsched.api import create_app
from dtsched.api.application import get_job, livez
from dtsched.api.callers import ANYBODY, Caller
from dtsched.api.problems import RATE_LIMITED, Refused
from dtsched.api.rates import (
    FAILED_AUTHENTICATIONS,
    MOST_BUCKETS,
    AnyConnection,
    Buckets,
    Guessers,
    RateLimit,
    address_of,
)
from dtsched.api_keys import new_key
from dtsched.settings import Rate, Settings
from tests.api.keyholders import bearer, make_key
from tests.api.problems import problem
from tests.conftest import Connect

FORGERIES = [
    {"x-forwarded-for": "203.0.113.9"},
    {"x-forwarded-for": "203.0.113.10, 127.0.0.1"},
    {"forwarded": "for=203.0.113.11"},
    {"x-real-ip": "203.0.113.12"},
    {"x-client-ip": "203.0.113.13"},
    {"cf-connecting-ip": "203.0.113.14"},
    {"true-client-ip": "203.0.113.15"},
    {"x-forwarded-host": "elsewhere", "x-request-id": "another"},
    {"user-agent": "somebody else"},
]


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def connection_from(host: str | None) -> AnyConnection:
    """As far as a guard looks at it."""
    client = None if host is None else SimpleNamespace(host=host)
    return cast("AnyConnection", SimpleNamespace(client=client, scope={"state": {}}))


def headers_of(connection: AnyConnection) -> dict[str, str]:
    given = cast("list[tuple[bytes, bytes]]", connection.scope["state"]["headers"])
    return {name.decode(): value.decode() for name, value in given}


async def test_a13_headers_of_a_request_do_not_get_it_past_the_rate(refusing_database: str) -> None:
    app = create_app(Settings(dsn=refusing_database, api_rate="5/h"))
    async with AsyncTestClient(app, base_url="http://127.0.0.1") as api:
        for left in (4, 3, 2, 1, 0):
            answer = await api.get("/v1/queues")
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=3600'
            assert answer.headers["ratelimit"].startswith(f'"requests";r={left};t=')
        for forged in FORGERIES:
            answer = await api.get("/v1/queues", headers=forged)
            refused = problem(answer, 429)
            assert refused["type"] == "/problems/rate-limited"
            assert 600 < int(answer.headers["retry-after"]) <= 720
            assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert (await api.post("/v1/jobs", json={"task": "echo"})).status_code == 429
        assert (await api.get("/livez")).status_code == 200
        assert (await api.get("/problems/rate-limited")).status_code == 200
        assert "ratelimit" not in (await api.get("/livez")).headers


async def test_without_a_rate_nothing_is_counted(refusing_database: str) -> None:
    async with AsyncTestClient(create_app(Settings(dsn=refusing_database)), base_url="http://127.0.0.1") as api:
        answer = await api.get("/v1/queues")
    assert "ratelimit" not in answer.headers
    assert "ratelimit-policy" not in answer.headers


async def test_each_key_has_a_bucket_of_its_own_wherever_it_is_used() -> None:
    calling: list[Caller] = []
    clock = Clock()
    limit = RateLimit(Rate(2, 1), caller_of=lambda _: calling[-1], clock=clock)

    async def ask(key: str | None, host: str) -> bool:
        calling.append(Caller(key, ANYBODY.scopes, None))
        try:
            await limit(connection_from(host), get_job)
        except Refused as refused:
            return refused.kind is not RATE_LIMITED
        return True

    assert [await ask("a", "192.0.2.1"), await ask("a", "192.0.2.2"), await ask("a", "192.0.2.3")] == [
        True,
        True,
        False,
    ]
    assert [await ask("b", "192.0.2.1"), await ask(None, "192.0.2.1")] == [True, True]
    assert [await ask("192.0.2.9", "192.0.2.1"), await ask(None, "192.0.2.9")] == [True, True]  # a key called so
    clock.now += 0.5
    assert [await ask("a", "192.0.2.1"), await ask("a", "192.0.2.1")] == [True, False]


async def test_what_everybody_may_read_costs_nothing() -> None:
    limit = RateLimit(Rate(1, 3600))
    for _ in range(3):
        await limit(connection_from("192.0.2.1"), livez)


async def test_the_time_to_wait_is_exact() -> None:
    clock = Clock()
    limit = RateLimit(Rate(60, 60), clock=clock)
    connection = connection_from("192.0.2.1")
    for _ in range(60):
        await limit(connection, get_job)
    assert headers_of(connection) == {"ratelimit-policy": '"requests";q=60;w=60', "ratelimit": '"requests";r=0;t=60'}
    with pytest.raises(Refused, match="more than 60 requests in 60 s from this address") as refused:
        await limit(connection, get_job)
    assert refused.value.retry_after_seconds == 1
    clock.now += 1
    await limit(connection, get_job)
    with pytest.raises(Refused):
        await limit(connection, get_job)
    clock.now += 3600
    await limit(connection, get_job)
    assert headers_of(connection)["ratelimit"] == '"requests";r=59;t=1'


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        (None, "local"),
    ],
)
def test_a_host_cannot_call_from_many_addresses(host: str | None, address: str) -> None:
    assert address_of(connection_from(host)) == address


def test_a_right_key_is_looked_up_until_too_many_wrong_ones_came_from_its_address() -> None:
    clock = Clock()
    guessers = Guessers(Rate(3, 60), clock)
    for _ in range(3):
        guessers.refuse("192.0.2.1")
        guessers.note_failed_authentication("192.0.2.1")
    with pytest.raises(Refused, match="more than 3 wrong keys in 60 s") as refused:
        guessers.refuse("192.0.2.1")
    assert refused.value.retry_after_seconds == 20
    guessers.refuse("192.0.2.2")
    guessers.note_failed_authentication("192.0.2.1")  # costs nothing more: there is an end to it
    clock.now += 20
    guessers.refuse("192.0.2.1")


async def test_a13_who_guesses_keys_is_slowed_down_and_a_right_key_from_there_is_not(
    database: str, connect: Connect
) -> None:
    right, late, wrong = make_key(connect(), "ours", ["read"]), make_key(connect(), "ours", ["read"]), new_key()[0]
    async with AsyncTestClient(create_app(Settings(dsn=database)), base_url="http://127.0.0.1") as api:
        assert (await api.get("/v1/queues", headers=bearer(right))).status_code == 200
        for _ in range(FAILED_AUTHENTICATIONS.requests):
            problem(await api.get("/v1/queues", headers=bearer(wrong)), 401)
        refused = await api.get("/v1/queues", headers={**bearer(wrong), "x-forwarded-for": "203.0.113.9"})
        assert problem(refused, 429)["type"] == "/problems/rate-limited"
        assert int(refused.headers["retry-after"]) <= FAILED_AUTHENTICATIONS.seconds
        problem(await api.get("/v1/queues", headers=bearer(late)), 429)  # nobody can tell it from a guess
        assert (await api.get("/v1/queues", headers=bearer(right))).status_code == 200


def test_buckets_take_a_bounded_room() -> None:
    buckets = Buckets(Rate(1, 3600), Clock())
    for number in range(MOST_BUCKETS + 10):
        assert buckets.take(str(number))
    assert len(cast("dict[str, Any]", vars(buckets)["_buckets"])) == MOST_BUCKETS
    assert buckets.left("9") == 1
    assert buckets.left("10") == 0
