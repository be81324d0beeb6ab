"""Nothing that a job carries and nothing that opens the database is in any log line of ours, at any level."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.api.test_correlation import program, until_logged
from tests.cli.command import run

CANARY = "yellow-canary"
PASSWORD = "caged@bird"
TRACES = ("yellow-canary", "caged", "bird")
TASKS = (
    "say",
    "say_in_thread",
    "submit_another_in_thread",
    "fail",
    "fail_in_thread",
    "return_what_is_no_json",
    "give_up",
)


@pytest.fixture
def secretive(database: str, server: str) -> Generator[str]:
    """A DSN with a password that is worth something."""
    name = f"canary_{time.monotonic_ns()}"
    role = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} superuser login password {}").format(role, sql.Literal(PASSWORD)))
        yield make_conninfo(database, user=name, password=PASSWORD)
        connection.execute(sql.SQL("alter role {} nologin").format(role))
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
        connection.execute(sql.SQL("drop role {}").format(role))


def hostile_bodies() -> list[Any]:
    given = {"key": CANARY, "limit_key": CANARY, "tags": [CANARY]}
    return [
        *(
            {"task": task, "args": {"text": CANARY}, "max_attempts": 1, **given, "key": f"{CANARY} {task}"}
            for task in TASKS
        ),
        {"task": "take_a_number", "args": {"n": CANARY}},
        {"task": "take_a_number", "args": {CANARY: 1}},
        {"task": "say", "args": {"text": CANARY}, **given, "queue": f"{CANARY}!"},
        {"task": "say", "args": CANARY},
        {"task": "say", CANARY: CANARY},
        {"task": "say", "args": {"text": "\0" + CANARY}},
        {"task": "say", "key": CANARY + "\n"},
        {"task": "say", "depends_on": [CANARY + " unheld"]},
        {"task": "say", "backoff": {"kind": CANARY}},
        [CANARY],
    ]


@contextlib.contextmanager
def locked_out(server: str, dsn: str) -> Generator[None]:
    """The role may not log in, and its password has changed; whoever was connected is not any more."""
    name = str(conninfo_to_dict(dsn)["user"])
    role = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("alter role {} nologin password 'other'").format(role))
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
        yield
        connection.execute(sql.SQL("alter role {} login password {}").format(role, sql.Literal(PASSWORD)))


def until_all_ended(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        deadline = time.monotonic() + 30
        left = "select count(*) from dtsched.jobs where state not in ('completed', 'failed', 'cancelled')"
        while connection.execute(left).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def assert_silent(text: str) -> None:
    told = [line for line in text.splitlines() if any(trace in line for trace in TRACES)]
    assert not told, "\n".join(told)


def test_neither_arguments_nor_keys_nor_the_password_are_logged(
    secretive: str, database: str, server: str, tmp_path: Path
) -> None:
    api, worker = tmp_path / "api", tmp_path / "worker"
    verbose = ("--log-level", "DEBUG")
    command = ["worker", "-A", "tests.runtime.logging_handlers:app", "--lease", "2s", "--poll", "200ms", *verbose]
    with program(worker, secretive, *command), program(api, secretive, "api", "--port", "0", *verbose):
        until_logged(worker, "serves")
        url = until_logged(api, "listening")["message"].split()[-1]
        with httpx.Client(base_url=url, timeout=10) as client:
            codes = [client.post("/v1/jobs", json=body).status_code for body in hostile_bodies()]
            client.post(
                "/v1/jobs", content=f'{{"task": "{CANARY}'.encode(), headers={"content-type": "application/json"}
            )
            assert codes.count(201) == len(TASKS) + 2
            until_all_ended(database)
            with locked_out(server, secretive):
                until_logged(worker, "trying again")
                assert client.get("/readyz").status_code == 503
                assert client.post("/v1/jobs", json=hostile_bodies()[0]).status_code == 503
            until_logged(worker, "works again")
            assert client.post("/v1/jobs", json={"task": "say", "args": {"text": CANARY}}).status_code == 201
            until_all_ended(database)
    for log in (api, worker):
        text = log.read_text()
        assert_silent(text)
        loggers = {json.loads(line)["logger"].partition(".")[0] for line in text.splitlines()}
        assert loggers == ({"dtsched", "shop"} if log is worker else {"dtsched"})
    assert "attempt 1 ends: complete" in worker.read_text()
    assert "ended with ValueError" in worker.read_text()
    assert "the database refused the user or password" in api.read_text()


def unreachable_dsns() -> list[str]:
    return [
        f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/nothing",
        f"postgresql://somebody:{PASSWORD}@127.0.0.1:port/nothing",
        f"host=127.0.0.1 port=1 user=somebody password='{PASSWORD}'",
        f"host=127.0.0.1 password='{PASSWORD}' nonsense",
    ]


@pytest.mark.parametrize("dsn", unreachable_dsns())
@pytest.mark.parametrize(
    "arguments", [["worker", "-A", "dtsched.workers.builtin:app"], ["api", "--port", "0"], ["list"]]
)
def test_a_dsn_that_leads_nowhere_is_not_told(dsn: str, arguments: list[str]) -> None:
    ended = run(*arguments, env={"DTSCHED_DSN": dsn, "DTSCHED_LOG_LEVEL": "DEBUG"})
    assert ended.code in (2, 6)
    assert_silent(ended.err + ended.out)


def test_commands_do_not_tell_the_password(secretive: str) -> None:
    for arguments in (
        ["submit", "say", "--key", "k"],
        ["submit", "say", "--key", "k"],
        ["list"],
        ["show", "1"],
        ["show", "99"],
    ):
        ended = run(*arguments, env={"DTSCHED_DSN": secretive, "DTSCHED_LOG_LEVEL": "DEBUG"})
        assert ended.code == (3 if "99" in arguments else 0)
        assert_silent(ended.err)
