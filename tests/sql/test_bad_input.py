"""The table of bad input at the two doors of SQL: a plain INSERT into dtsched.jobs, and dtsched.submit()."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Connect
from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session
from tests.support.bad_input import CASES, TASK, BadInput, cases, declare, written
from tests.support.servers import Databases

REFUSALS = ("22", "23", "JQ")
"""Classes of SQLSTATE: data that cannot be, a constraint, and our own."""


@pytest.fixture(scope="module")
def door(databases: Databases, template: str) -> Generator[psycopg.Connection]:
    """One database for all that is refused: each refusal proves that it left nothing there."""
    name = databases.clone(template)
    with contextlib.closing(psycopg.connect(databases.dsn(name), autocommit=True)) as connection:
        declare(connection)
        yield connection
    databases.drop(name)


@contextlib.contextmanager
def as_submitter(connection: psycopg.Connection) -> Generator[None]:
    connection.execute("set role dtsched_submit")
    yield
    connection.execute("reset role")


def insert(connection: psycopg.Connection, fields: Mapping[str, Any]) -> None:
    values = in_sql(fields)
    statement = sql.SQL("insert into dtsched.jobs ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(sql.Placeholder() * len(values))
    )
    connection.execute(statement, list(values.values()))


def submit(connection: psycopg.Connection, fields: Mapping[str, Any]) -> int:
    values = in_sql(fields)
    named = [sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in values]
    statement = sql.SQL("select dtsched.submit({})").format(sql.SQL(", ").join(named))
    row = connection.execute(statement, list(values.values())).fetchone()
    assert row is not None
    return row[0]


def in_sql(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As psql would send them: args as text that PostgreSQL reads as JSON, durations as intervals."""
    values = dict(fields)
    values["args"] = json.dumps(values["args"])
    for name in ("delay", "timeout", "expires_in"):
        if name in values:
            value = values[name]
            values[name] = value.replace("d", " days") if isinstance(value, str) else f"{value} s"
    if "key_for" in values:
        values["key_for"] = str(values["key_for"])
    return values


@pytest.mark.parametrize("case", cases("insert"), ids=str)
def test_a_plain_insert_refuses_bad_input_and_writes_nothing(case: BadInput, door: psycopg.Connection) -> None:
    before = written(door)
    with as_submitter(door), pytest.raises(psycopg.Error) as refused:
        insert(door, case.fields)
    assert case.insert_says
    assert case.insert_says in str(refused.value)
    assert (refused.value.sqlstate or "")[:2] in REFUSALS
    assert written(door) == before


@pytest.mark.parametrize("case", cases("submit"), ids=str)
def test_submit_refuses_bad_input_in_one_sentence_and_writes_nothing(case: BadInput, door: psycopg.Connection) -> None:
    before = written(door)
    with as_submitter(door), pytest.raises(psycopg.Error) as refused:
        submit(door, case.fields)
    # NUL and surrogates never get as far as the function: PostgreSQL itself does not read such JSON.
    expected = case.insert_says if "json" in case.insert_says or "Unicode" in case.insert_says else case.says
    message = refused.value.diag.message_primary or ""
    assert expected in message
    assert "\n" not in message
    assert len(message) < 300
    assert (refused.value.sqlstate or "")[:2] in REFUSALS
    assert written(door) == before


def test_the_fields_of_the_table_are_good_but_for_the_bad_one(connect: Connect) -> None:
    connection = connect()
    declare(connection)
    for case in CASES:
        good = {name: value for name, value in case.fields.items() if name in ("task", "args") and name != case.field}
        submit(connection, {"task": TASK, "args": {}, **good})
        insert(connection, {"task": TASK, "args": {}, **good})
    assert written(connection)["ready"] == 2 * len(CASES)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"args": [1]}, "args must be an object"),
        ({"args": "text"}, "args must be an object"),
        ({"run_at": "0044-03-15 00:00:00 BC"}, "run_at must be a finite time"),
        ({"run_at": "-infinity"}, "run_at must be a finite time"),
        ({"deadline": "infinity"}, "deadline must be a finite time"),
        ({"backoff": '{"kind": "hopeful"}'}, "backoff must be"),
        ({"backoff": '{"kind": "fixed", "base": "soon"}'}, "backoff must be"),
        ({"backoff": '{"kind": "fixed", "base": -1}'}, "backoff must be"),
        ({"backoff": '{"kind": "fixed", "cap": 1e300}'}, "backoff must be"),
        ({"backoff": '{"kind": "fixed", "jitter": 1.5}'}, "backoff must be"),
        ({"backoff": '{"kind": "fixed", "bass": 1}'}, "backoff must be"),
        ({"correlation_id": ""}, "correlation_id must be"),
    ],
    ids=str,
)
def test_submit_refuses_what_only_sql_can_say(fields: Mapping[str, Any], says: str, door: psycopg.Connection) -> None:
    before = written(door)
    with pytest.raises(psycopg.Error, match=says):
        submit(door, {"task": TASK, "args": {}, **fields})
    assert written(door) == before


@pytest.mark.parametrize(
    ("element", "says"),
    [
        ('"echo"', "a job must be an object, not string"),
        ("{}", "task is missing"),
        ('{"task": null}', "task must be 1 to 128"),
        ('{"task": "echo", "prioritty": 3}', 'there is no field "prioritty"'),
        ('{"task": "echo", "priority": 5.5}', "priority must be 1 to 10, not 5.5"),
        ('{"task": "echo", "priority": "5"}', 'priority must be 1 to 10, not "5"'),
        ('{"task": "echo", "run_at": "soon"}', "run_at must be a finite time"),
        ('{"task": "echo", "run_at": 1}', "run_at must be a finite time"),
        ('{"task": "echo", "depends_on": ["1"]}', 'depends_on names the key "1"'),
        ('{"task": "echo", "depends_on": [true]}', "depends_on must be"),
        ('{"task": "echo", "depends_on": 1}', "depends_on must be"),
        ('{"task": "echo", "tags": [1]}', "tags must be"),
        ('{"task": "echo", "timeout": "1m"}', "timeout must be"),
    ],
)
def test_submit_many_refuses_malformed_jobs_with_their_number(
    element: str, says: str, door: psycopg.Connection
) -> None:
    before = written(door)
    with pytest.raises(psycopg.Error) as refused:
        door.execute("select dtsched.submit_many(%s)", [f'[{{"task": "echo"}}, {element}]'])
    assert str(refused.value).startswith(f"job 2: {says}")
    assert refused.value.sqlstate == "JQ001"
    assert written(door) == before


def test_a_batch_with_one_unknown_task_is_refused_whole(connect: Connect) -> None:
    connection = connect()
    declare(connection)
    with pytest.raises(psycopg.Error, match='no worker has declared a task "nosuch"; known are echo') as refused:
        connection.execute("select dtsched.submit_many(%s)", ['[{"task": "echo"}, {"task": "nosuch"}]'])
    assert refused.value.sqlstate == "JQ002"
    assert written(connection)["jobs"] == 0


def test_before_any_worker_has_declared_tasks_submit_takes_every_name(connect: Connect) -> None:
    connection = connect()
    submit(connection, {"task": "nosuch", "args": {}})
    assert written(connection)["ready"] == 1


def test_an_inserted_job_of_an_unknown_task_waits_for_a_worker_that_knows_it(
    session: Session, open_worker: OpenWorker
) -> None:
    ignorant = open_worker(tasks=[TASK])
    (job,) = session.insert(task="nosuch")
    assert ignorant.claim() == []
    assert session.state(job) == "ready"
    knowing = open_worker(tasks=["nosuch"])
    assert knowing.drain() == [job]
    knowing.finish(job)


@pytest.mark.parametrize(
    "backoff",
    [
        '{"base": "soon"}',
        '{"base": 1e999}',
        '{"base": -1e999}',
        '{"cap": -5}',
        '{"jitter": "x"}',
        '{"kind": 7}',
        "[]",
        '"x"',
    ],
)
def test_a_backoff_that_an_owner_inserted_does_not_fail_the_batch_it_is_finished_with(
    backoff: str, session: Session, open_worker: OpenWorker
) -> None:
    worker = open_worker()
    session.run("insert into dtsched.jobs (task, backoff) values ('echo', %s)", backoff)
    (job,) = worker.claim()
    assert worker.finish_as("retry", job) == [worker.leases[job]]
    assert session.state(job) in ("scheduled", "ready")
