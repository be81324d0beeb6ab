"""`dtsched worker` as a process: it runs jobs, and ends when it is told to or its parent is gone."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from dtsched.cli.worker import parse_queues
from dtsched.errors import InvalidInput
from tests.cli.command import COMMAND, environment, start
from tests.cli.conftest import Cli
from tests.conftest import Connect
from tests.support.patience import PATIENCE_SECONDS, until, within


@contextmanager
def worker(dsn: str, *arguments: str, app: str = "dtsched.workers.builtin:app") -> Generator[subprocess.Popen[str]]:
    process = start("worker", "-A", app, *arguments, env={"DTSCHED_DSN": dsn, "DTSCHED_LOG": "text"})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_registered(connect: Connect) -> None:
    connection = connect()
    until(lambda: connection.execute("select count(*) from dtsched.workers").fetchone() != (0,))


def test_builtin_tasks_run_and_waiting_prints_their_results(database: str, cli: Cli, connect: Connect) -> None:
    with worker(database) as process:
        until_registered(connect)
        assert cli("submit", "echo", 'value={"a": [1, null]}', "--wait").json == {"a": [1, None]}
        assert cli("submit", "sleep", "seconds=0.01", "--wait").json is None
        assert cli("submit", "fibonacci", "n=90", "--wait").json == 2880067194370816120
        assert cli("submit", "prime_factorization", "n=360", "--wait").json == [2, 2, 2, 3, 3, 5]
        whole = cli("submit", "prime_factorization", "n=18446744073709551615", "--wait", "--json").json
        assert (whole["state"], whole["result"]) == ("completed", [3, 5, 17, 257, 641, 65537, 6700417])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fibonacci", "n=-1"], "n"),
        (["fibonacci", "n=20001"], "n"),
        (["fibonacci", "n=ten"], "n"),
        (["fibonacci", "n=1.5"], "n"),
        (["fibonacci", "n=true"], "n"),
        (["fibonacci"], "n"),
        (["prime_factorization", "n=0"], "n"),
        (["prime_factorization", f"n={10**30}"], "n must be below"),
        (["sleep", "seconds=-1"], "seconds"),
    ],
)
def test_a_bad_argument_fails_the_job_at_once_and_names_the_field(
    database: str, cli: Cli, connect: Connect, arguments: list[str], words: str
) -> None:
    with worker(database):
        until_registered(connect)
        ended = cli("submit", *arguments, "--wait", "--json")
        assert ended.code == 5
        assert (ended.json["state"], ended.json["attempt"]) == ("failed", 1)
        assert words in ended.json["error"]


def test_an_unknown_task_is_refused_once_workers_have_declared_theirs(
    database: str, cli: Cli, connect: Connect
) -> None:
    with worker(database):
        until_registered(connect)
    refused = cli("submit", "no_such_task")
    assert refused.code == 2
    assert "no_such_task" in refused.err
    assert cli("list", "--json").json["jobs"] == []


def test_a_child_stops_when_its_parent_is_killed(database: str, connect: Connect) -> None:
    program = (
        "import os, subprocess, time;"
        f"subprocess.Popen({[*COMMAND, 'worker', '-A', 'dtsched.workers.builtin:app']!r},"
        " env={**os.environ, 'DTSCHED_PARENT_PID': str(os.getpid())}, start_new_session=True);"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment(DTSCHED_DSN=database))
    try:
        until_registered(connect)
    finally:
        parent.kill()
        parent.wait()
    connection = connect()
    with within(10):
        until(lambda: connection.execute("select count(*) from dtsched.workers").fetchone() == (0,))


def test_queues_are_a_name_and_perhaps_slots() -> None:
    assert parse_queues(["mail:4", "slow", "c:d:2"]) == {"mail": 4, "slow": 10, "c:d": 2}


@pytest.mark.parametrize("text", ["", ":3", "mail:0", "mail:10001", "mail:x", "a b", "a b:3"])
def test_queues_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_queues([text])
