"""Settings of queues and limits of keys by SQL and by Python: taken alike, and refused in the same words."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dtsched import Client, InvalidInput
from dtsched.limits import checked_limit, checked_settings
from tests.sql.sessions import Session, Worker
from tests.support.settings import SETTINGS, Case


def refused_by_sql(session: Session, statement: Any, *parameters: object) -> str:
    with pytest.raises(psycopg.Error) as refused:
        session.run(statement, *parameters)
    assert refused.value.sqlstate == "JQ001"
    return refused.value.diag.message_primary or ""


def test_sql_and_python_refuse_the_same_settings_with_the_same_sentence(session: Session):
    for case in (case for case in SETTINGS if case.says is not None):
        with pytest.raises(InvalidInput) as refused:
            checked_settings({case.name: case.value})
        assert refused.value.field == case.name
        sentence = str(refused.value)
        assert sentence.startswith(case.says or "")
        # jsonb has its own order of members, and writes numbers out
        told = refused_by_sql(session, "select dtsched.set_queue('default', %s)", Jsonb({case.name: case.value}))
        assert told.partition(", not ")[0] == sentence.partition(", not ")[0]
        if not isinstance(case.value, float | dict):
            assert told == sentence
    assert session.value("select count(*) from dtsched.queues") == 0


@pytest.mark.parametrize("case", [case for case in SETTINGS if case.says is None], ids=str)
def test_what_python_takes_sql_takes(case: Case, session: Session):
    checked = checked_settings({case.name: case.value})
    assert session.value("select dtsched.settings_problem(%s)", Jsonb(checked)) is None
    if case.is_text:
        assert session.value("select dtsched.settings_problem(%s)", Jsonb({case.name: case.value})) is not None


@pytest.mark.parametrize("settings", [[], None, "limit=5"])
def test_settings_that_are_no_object_are_refused_alike(settings: object, session: Session):
    with pytest.raises(InvalidInput) as refused:
        checked_settings(settings)
    assert refused_by_sql(session, "select dtsched.set_queue('default', %s)", Jsonb(settings)) == str(refused.value)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ((-1, None, None), "concurrency must be a whole number of jobs from 0, not -1"),
        ((None, 0, None), "rate must be a number of jobs a second from 0.000001 to 1000000, not 0"),
        ((1, 1, 0), "burst must be a whole number of jobs from 1, not 0"),
    ],
)
def test_limits_of_a_key_are_refused_alike(limits: tuple[Any, ...], says: str, session: Session):
    with pytest.raises(InvalidInput) as refused:
        checked_limit("acme", *limits)
    assert str(refused.value) == says
    assert refused.value.field == says.partition(" ")[0]
    assert refused_by_sql(session, "select dtsched.set_limit('acme', %s, %s, %s)", *limits) == says


@pytest.mark.parametrize("key", ["", "a\nb", "k" * 256])
def test_a_limit_key_that_cannot_be_one_is_refused_alike(key: str, session: Session):
    rule = "limit_key must be 1 to 255 characters without control characters, not "
    with pytest.raises(InvalidInput, match=rule):
        checked_limit(key)
    assert refused_by_sql(session, "select dtsched.set_limit(%s)", key).startswith(rule)


async def test_a_program_sets_and_reads_what_sql_set(database: str, session: Session):
    session.set_queue("mail", limit=7, aging=60)
    async with Client(database) as client:
        settings = await client.set_queue("mail", {"rate": "30/m", "aging": None, "timeout": "2m"})
        assert settings == {"limit": 7, "rate": 0.5, "timeout": 120}
        limit = await client.set_limit("acme", 3, "10/s", 20)
        assert (limit.concurrency, limit.rate, limit.burst, limit.running, limit.waiting) == (3, 10, 20, 0, 0)
        assert await client.limits() == [limit]
        gone = await client.set_limit("acme")
        assert (gone.limit_key, gone.concurrency) == ("acme", None)
        assert await client.limits("acme") == []
        with pytest.raises(InvalidInput, match="queue must be 1 to 128 characters"):
            await client.set_queue("a b", {})


async def test_limit_keys_come_in_pages(database: str, session: Session):
    session.run("select dtsched.set_limit('key-' || n, 1) from generate_series(1, 5) n")
    async with Client(database) as client:
        first = await client.limits(limit=3)
        second = await client.limits(after=first[-1].limit_key, limit=3)
    assert [limit.limit_key for limit in first + second] == [f"key-{n}" for n in range(1, 6)]


def test_parts_of_retention_are_changed_one_by_one(session: Session):
    session.set_queue(retention={"failed": 60, "completed": 5})
    session.set_queue(retention={"failed": None, "results": "forever"})
    settings = "select settings from dtsched.queues where name = 'default'"
    assert session.value(settings) == {"retention": {"completed": 5, "results": "forever"}}
    session.set_queue(retention={"completed": None, "results": None})
    assert session.value(settings) == {}


def test_an_open_breaker_is_listed_until_a_probe_has_completed(worker: Worker):
    worker.take_over_the_clock()
    worker.set_queue(breaker={"failures": 1, "within": 60, "cooldown": 1})
    listed = "select open_until from dtsched.list_queues()"
    assert worker.value(listed) is None
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    assert worker.value(listed) > worker.value("select dtsched.now()")
    worker.travel("1 s")
    (probe,) = worker.insert()
    assert worker.claim() == [probe]
    assert worker.value(listed) <= worker.value("select dtsched.now()")
    worker.finish(probe)
    assert worker.value(listed) is None
