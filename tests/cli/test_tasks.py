"""`dtsched task`, and what `submit` says of time."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.cli.conftest import Cli
from tests.conftest import Connect
from tests.sql.test_task_settings import declare

SETTINGS = {"queue": "mail", "max_attempts": 4, "timeout": 90, "executor": "thread"}


def test_tasks_are_listed_and_shown_with_what_their_code_declares(cli: Cli, connect: Connect) -> None:
    with connect() as connection:
        declare(connection, send=SETTINGS, echo={})
    listed = cli("task", "list", "--json").json
    assert [(task["name"], task["settings"], task["workers"]) for task in listed] == [
        ("echo", {}, 1),
        ("send", SETTINGS, 1),
    ]
    assert "send" in cli("task", "list").out
    shown = cli("task", "show", "send").out
    assert '"mail"' in shown
    assert '{"type":"object"}' in shown
    assert cli("task", "show", "send", "--json").json["settings"] == SETTINGS


def test_a_task_that_nobody_has_declared_is_not_found(cli: Cli) -> None:
    ended = cli("task", "show", "nosuch")
    assert ended.code == 3
    assert "no worker has declared a task nosuch" in ended.err


def test_a_deadline_is_given_as_a_time_or_from_now(cli: Cli, connect: Connect) -> None:
    assert cli("submit", "echo", "--deadline", "2090-01-31T09:00Z").code == 0
    assert cli("submit", "echo", "--expires-in", "2h").code == 0
    with connect() as connection:
        rows = connection.execute("select deadline, deadline - created_at from dtsched.jobs order by id").fetchall()
    assert rows[0][0] == datetime(2090, 1, 31, 9, tzinfo=UTC)
    assert 7190 < rows[1][1].total_seconds() < 7201


def test_a_job_whose_deadline_has_passed_is_not_retried(cli: Cli, connect: Connect) -> None:
    cli("submit", "echo", "--deadline", "2020-01-31T09:00Z")
    with connect() as connection:
        connection.execute("select dtsched.expire(null)")
    ended = cli("retry", "1", "--json")
    assert ended.code == 4
    assert ended.json[0]["outcome"] == "deadline"
