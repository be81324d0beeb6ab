"""What opens the API is in nothing that leaves it: no answer, no log line, no word to the database."""

from __future__ import annotations

import logging

import psycopg
import pytest

from dtsched.api_keys import read_key
from dtsched.client import Client
from tests.api.keyholders import bearer, in_loop
from tests.conftest import Connect
from tests.faults.proxy import proxy_before

FAILING = """
    create or replace function dtsched.list_tasks(p_name text default null) returns table (
        name text, settings jsonb, args_schema jsonb, declared_at timestamptz, changed_at timestamptz, workers bigint)
    language plpgsql as $$ begin raise 'a fault' using errcode = 'P0001'; end $$
"""


async def test_the_secret_of_a_key_is_told_to_nobody(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connect().execute(FAILING)
    async with proxy_before(database) as proxy:
        async with Client(proxy.dsn) as client:
            made = await client.create_key("ci", ["admin"], expires_in="90d")
            other = await client.create_key("other", ["admin"])
            await client.revoke_key("other")
        secrets = [key.text[-64:] for key in (made, other)]
        answers: list[str] = []
        async with in_loop(proxy.dsn) as api:
            for key in (made.text, other.text, made.text[:16] + other.text[16:], f"{made.text} ", f"x{made.text}"):
                for path in ("/v1/jobs", "/v1/jobs/1", "/v1/tasks", "/metrics", "/v1/stats", "/openapi.json"):
                    answer = await api.get(path, headers=bearer(key))
                    answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
                answer = await api.post("/v1/jobs", content=b"{", headers=bearer(key))
                answers.append(f"{answer.headers} {answer.text}")
    presented = read_key(made.text)
    assert presented
    assert presented.digest in proxy.heard
    assert b"dtsched.authorize" in proxy.heard
    assert {answer[:3] for answer in answers} >= {"200", "401", "404", "500"}
    assert "a fault" in caplog.text
    for secret in secrets:
        assert secret.encode() not in proxy.heard
        assert secret not in caplog.text + "".join(answers) + repr(made) + repr(other)


def test_the_tables_hold_no_secret_and_nobody_is_shown_a_digest(connect: Connect) -> None:
    connection: psycopg.Connection = connect()
    shown = "select proname from pg_proc where pronamespace = 'dtsched'::regnamespace and 'digest' = any (proargnames)"
    assert connection.execute(shown).fetchall() == []
    kept = (
        "select attname from pg_attribute where attrelid = 'dtsched.api_keys'::regclass and atttypid = 'bytea'::regtype"
    )
    assert connection.execute(kept).fetchall() == [("digest",)]
