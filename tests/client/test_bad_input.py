"""The table of bad input at Python's doors: by name, as a NewJob, and typed, inside the caller's own transaction."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from dtsched import App, Client, InvalidInput, NewJob, Retry, UnknownTask
from dtsched.jobs import check
from tests.support.bad_input import MISSING_JOB, TASK, BadInput, cases, declare, written
from tests.support.servers import Databases

offline = App()  # a task that submits on the caller's connection needs no database of its app


@offline.task
def echo(value: str | int) -> str | int:
    return value


@pytest.fixture(scope="module")
def dsn(databases: Databases, template: str) -> Generator[str]:
    """One database for all that is refused: each refusal proves that it left nothing there."""
    name = databases.clone(template)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def connection(dsn: str) -> Generator[psycopg.Connection]:
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        declare(connection)
        yield connection


@pytest.fixture
async def app(dsn: str) -> AsyncGenerator[App]:
    app = App(dsn)
    app.task(echo.definition.function)
    async with app:
        yield app


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def options_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: value for name, value in fields.items() if name not in ("task", "args")}
    if "run_at" in options:
        options["at"] = datetime.fromisoformat(options.pop("run_at"))
    return options


def assert_one_sentence(error: InvalidInput, case: BadInput) -> None:
    assert case.says in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize("case", cases("client"), ids=str)
async def test_submitting_by_name_refuses_bad_input(case: BadInput, app: App, connection: psycopg.Connection) -> None:
    before = written(connection)
    with pytest.raises(InvalidInput) as refused:
        await app.submit(case.fields["task"], case.fields["args"], **options_of(case.fields))
    if case.field == "task":  # an app knows its tasks, so a name that could not be one is only unknown
        assert isinstance(refused.value, UnknownTask)
        assert "there is no task" in str(refused.value)
    else:
        assert_one_sentence(refused.value, case)
    assert written(connection) == before


@pytest.mark.parametrize("case", cases("client"), ids=str)
async def test_submitting_a_new_job_refuses_bad_input(case: BadInput, dsn: str, connection: psycopg.Connection) -> None:
    before = written(connection)
    fields = dict(case.fields)
    if "run_at" in fields:
        fields["run_at"] = datetime.fromisoformat(fields["run_at"])
    async with Client(dsn) as client:
        with pytest.raises(InvalidInput) as refused:
            await client.submit(NewJob(**fields))
    assert_one_sentence(refused.value, case)
    assert refused.value.field == case.field or case.name in ("unknown task", "depends_on of a missing job")
    assert written(connection) == before


@pytest.mark.parametrize(
    "case", [case for case in cases("client") if case.field not in ("task", "depends_on")], ids=str
)
def test_what_is_refused_leaves_the_callers_transaction_usable(case: BadInput, connection: psycopg.Connection) -> None:
    before = written(connection)
    with connection.transaction(force_rollback=True):
        with pytest.raises(InvalidInput) as refused:
            echo.on(connection).options(**options_of(case.fields)).submit_sync(case.fields["args"]["value"])
        assert_one_sentence(refused.value, case)
        assert echo.on(connection).submit_sync(1).created
    assert written(connection) == before


def test_args_that_are_small_as_sent_but_over_1_mib_as_stored_are_refused_before_anything_is_sent(
    connection: psycopg.Connection,
) -> None:
    """PostgreSQL renders a space after each comma, and measures that; its refusal would abort the transaction."""

    @App().task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    with connection.transaction(force_rollback=True):
        with pytest.raises(InvalidInput, match="args must be at most 1 MiB"):
            total.on(connection).submit_sync([1] * 400_000)
        assert total.on(connection).submit_sync([1] * 340_000).created


def test_a_missing_parent_is_refused_when_the_transaction_commits(connection: psycopg.Connection) -> None:
    before = written(connection)
    missing = f"depends_on names job {MISSING_JOB}"
    with pytest.raises(psycopg.DatabaseError, match=missing) as refused, connection.transaction():
        echo.on(connection).options(depends_on=[MISSING_JOB]).submit_sync(1)
    assert refused.value.sqlstate == "JQ001"
    assert written(connection) == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"priority": "5"}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": 5.5}, "priority"),
        pytest.param({"priority": 10**5000}, "priority", id="priority of 5,001 digits"),
        ({"delay": timedelta(minutes=1)}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": "9" * 400}, "delay"),
        pytest.param({"delay": 10**5000}, "delay", id="delay of 5,001 digits"),
        pytest.param({"args": {"a": 10**5000}}, "args", id="an integer of 5,001 digits"),
        pytest.param({"depends_on": [10**5000]}, "depends_on", id="a parent of 5,001 digits"),
        ({"delay": "1 week"}, "delay"),
        ({"tags": "mail"}, "tags"),
        ({"key": 7}, "key"),
        ({"run_at": datetime(2090, 1, 1)}, "run_at"),
        ({"args": [1]}, "args"),
        ({"args": {1: 2}}, "args"),
        ({"args": {"a": {"b\0": 1}}}, "args"),
        ({"args": {"a": float("inf")}}, "args"),
        pytest.param({"args": {"a": object()}}, "args", id="an object"),
        ({"args": {"a": 1e300, "b": nested(100)}}, "args"),
        ({"depends_on": [0]}, "depends_on"),
        ({"depends_on": [2**63]}, "depends_on"),
        ({"backoff": {"kind": "hopeful"}}, "backoff"),
        ({"backoff": {"kind": "fixed", "base": "soon"}}, "backoff"),
        ({"backoff": {"kind": "fixed", "jitter": 2}}, "backoff"),
        ({"backoff": {"kind": "fixed", "bass": 2}}, "backoff"),
        ({"correlation_id": "a\nb"}, "correlation_id"),
    ],
    ids=str,
)
def test_check_names_the_field_of_what_only_python_can_say(fields: Mapping[str, Any], field: str) -> None:
    given: dict[str, Any] = {"task": TASK, **fields}
    with pytest.raises(InvalidInput) as refused:
        check(NewJob(**given))
    assert refused.value.field == field
    assert str(refused.value).startswith(field)


def test_a_misspelt_option_is_refused(connection: psycopg.Connection) -> None:
    wrong: dict[str, Any] = {"prioritty": 3}
    with pytest.raises(InvalidInput, match="prioritty"):
        echo.options(**wrong)


async def test_args_by_name_must_be_a_mapping_from_names(app: App) -> None:
    wrong: Any
    for wrong in ([1], "value", {1: 2}, 5):
        with pytest.raises(InvalidInput, match="args must be an object of named arguments"):
            await app.submit(TASK, wrong)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "send mail"}, "task"),
        ({"name": ""}, "task"),
        ({"queue": ""}, "queue"),
        ({"priority": 11}, "priority"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"retry": Retry(0)}, "max_attempts"),
        ({"retry": Retry(5, cap="400d")}, "backoff"),
    ],
    ids=str,
)
def test_a_task_whose_defaults_no_job_could_have_is_refused_where_it_is_defined(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        App().task(**options)(echo.definition.function)
    assert refused.value.field == field


def test_a_name_cannot_be_given_to_two_tasks() -> None:
    app = App()
    app.task(echo.definition.function)
    with pytest.raises(InvalidInput, match="there is a task echo already"):
        app.task(echo.definition.function)
