"""`dtsched worker --processes N`: who dies is started again, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dtsched.cli.detached import birth_of
from dtsched.cli.supervisor import Done, GiveUp, Restart, how_it_ended, verdict
from tests.cli.command import Ended, environment, run, start
from tests.conftest import Connect
from tests.support.patience import PATIENCE_SECONDS, until

BUILTIN = ("-A", "dtsched.workers.builtin:app")
NOBODY = "postgresql://somebody:secret-word@127.0.0.1:1/nowhere"
APP = """
import os, time
from dtsched import App

app = App(dsn="postgresql://somebody@127.0.0.1:1/nowhere")

@app.task
def die(code: int) -> None:
    os._exit(code)

@app.task
async def block(seconds: float) -> None:
    time.sleep(seconds)
"""


@contextmanager
def supervisor(dsn: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Two workers, w-1 and w-2."""
    command = ("worker", "--processes", "2", "--name", "w", *arguments)
    with ended_at_last(start(*command, env={"DTSCHED_DSN": dsn, "DTSCHED_LOG": "text"})) as process:
        yield process


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()  # which its workers follow
        process.communicate()


def workers(connection: psycopg.Connection) -> dict[str, int]:
    """Their pids."""
    found = connection.execute("select name, (info ->> 'pid')::int from dtsched.workers order by started_at").fetchall()
    return dict(found)


def until_at_work(
    process: subprocess.Popen[str], connection: psycopg.Connection, *names: str, without: int = 0
) -> dict[str, int]:
    def at_work() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        found = workers(connection)
        return set(found) == set(names) and without not in found.values()

    until(at_work)
    return workers(connection)


def until_gone(*pids: int) -> None:
    until(lambda: not any(birth_of(pid) for pid in pids))


def until_said(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}")


def running_job(connection: psycopg.Connection, task: str, args: str) -> int:
    row = connection.execute(
        "insert into dtsched.jobs (task, args, max_attempts) values (%s, %s, 1) returning id", (task, args)
    ).fetchone()
    assert row is not None
    while connection.execute("select state from dtsched.jobs where id = %s", row).fetchone() != ("running",):
        time.sleep(0.02)
    return row[0]


def state_of(connection: psycopg.Connection, job_id: int) -> str:
    row = connection.execute("select state from dtsched.jobs where id = %s", (job_id,)).fetchone()
    assert row is not None
    return row[0]


def test_a_worker_that_is_killed_is_started_again(database: str, connect: Connect) -> None:
    connection = connect()
    with supervisor(database, *BUILTIN, "--lease", "500ms") as process:
        pids = until_at_work(process, connection, "w-1", "w-2")
        os.kill(pids["w-2"], signal.SIGKILL)
        said = until_said(process, "started again")
        assert f"worker w-2 (process {pids['w-2']}) was killed by SIGKILL; it is started again in 0.5 s" in said
        connection.execute(
            "delete from dtsched.workers where name = 'w-2' and info ->> 'pid' = %s", (str(pids["w-2"]),)
        )
        again = until_at_work(process, connection, "w-1", "w-2", without=pids["w-2"])
        assert again["w-1"] == pids["w-1"]


def test_a_handler_that_ends_its_process_costs_one_restart(database: str, connect: Connect) -> None:
    """Also with a code that would be given up on, had nobody been at work yet."""
    Path("crashing.py").write_text(APP)
    connection = connect()
    with supervisor("", "-A", "crashing:app", "--dsn", database) as process:
        until_at_work(process, connection, "w-1", "w-2")
        connection.execute("""insert into dtsched.jobs (task, args) values ('die', '{"code": 7}')""")
        assert "ended with code 7; it is started again" in until_said(process, "started again")


def test_dsn_outranks_the_apps_and_stands_in_no_childs_command_line(database: str, connect: Connect) -> None:
    Path("crashing.py").write_text(APP)
    connection = connect()
    with supervisor("", "-A", "crashing:app", "--dsn", database) as process:
        for pid in until_at_work(process, connection, "w-1", "w-2").values():
            assert "postgresql://" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_a_supervisor_that_is_killed_leaves_nobody(database: str, connect: Connect) -> None:
    connection = connect()
    with supervisor(database, *BUILTIN) as process:
        pids = until_at_work(process, connection, "w-1", "w-2")
        process.kill()
        until_gone(*pids.values())
    assert workers(connection) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_in_order_when_the_running_job_has_ended(
    database: str, connect: Connect, number: signal.Signals
) -> None:
    connection = connect()
    with supervisor(database, *BUILTIN) as process:
        pids = until_at_work(process, connection, "w-1", "w-2")
        job = running_job(connection, "sleep", '{"seconds": 0.5}')
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        until_gone(*pids.values())
    assert state_of(connection, job) == "completed"
    assert workers(connection) == {}


def test_a_second_signal_ends_the_grace(database: str, connect: Connect) -> None:
    connection = connect()
    with supervisor(database, *BUILTIN, "--grace", "10m") as process:
        until_at_work(process, connection, "w-1", "w-2")
        job = running_job(connection, "sleep", '{"seconds": 600}')
        process.send_signal(signal.SIGTERM)
        until_said(process, "what runs (1) has 600 s to end")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
    assert state_of(connection, job) == "failed"  # its only attempt is spent


def test_a_worker_that_does_not_end_in_its_grace_is_killed_and_that_is_1(database: str, connect: Connect) -> None:
    Path("crashing.py").write_text(APP)
    arguments = [
        "worker",
        "--processes=1",
        "--name=w",
        "--app=crashing:app",
        f"--dsn={database}",
        "--grace=0",
        "--log=text",
    ]
    program = (
        "import sys; from dtsched.cli import main, supervisor; supervisor.MARGIN_SECONDS = 0.3;"
        f"sys.exit(main({arguments}))"
    )
    connection = connect()
    process = subprocess.Popen([sys.executable, "-c", program], env=environment(), stderr=subprocess.PIPE, text=True)
    with ended_at_last(process):
        pids = until_at_work(process, connection, "w-1")
        running_job(connection, "block", '{"seconds": 60}')
        process.send_signal(signal.SIGTERM)
        assert "does not stop and is killed" in until_said(process, "does not stop")
        assert process.wait(timeout=PATIENCE_SECONDS) == 1
        until_gone(*pids.values())


def test_one_that_is_told_to_drain_stays_away_and_the_last_one_ends_the_supervisor(
    database: str, connect: Connect
) -> None:
    connection = connect()
    with supervisor(database, *BUILTIN, "--lease", "500ms") as process:
        until_at_work(process, connection, "w-1", "w-2")
        connection.execute("update dtsched.workers set draining = true where name = 'w-2'")
        assert "w-2" in until_said(process, "is not started again")
        connection.execute("update dtsched.workers set draining = true")
        assert process.wait(timeout=PATIENCE_SECONDS) == 0


def assert_ended_at_once(ended: Ended, code: int, sentence: str) -> None:
    assert ended.code == code
    assert ended.err.count(sentence) == 1, "only the first worker is to try"
    assert "secret-word" not in ended.err
    assert "Traceback" not in ended.err


def test_an_app_that_is_not_there_is_2_and_said_once() -> None:
    ended = run("worker", "-A", "nothing.here:app", "--processes", "3", env={"DTSCHED_DSN": NOBODY})
    assert_ended_at_once(ended, 2, "there is no module nothing")


def test_a_database_that_does_not_answer_at_the_start_is_6_and_said_once() -> None:
    ended = run("worker", *BUILTIN, "--processes", "3", env={"DTSCHED_DSN": NOBODY})
    assert_ended_at_once(ended, 6, "the database cannot be reached")


def test_a_missing_schema_at_the_start_is_7_and_said_once(empty_database: str) -> None:
    ended = run("worker", *BUILTIN, "--processes", "3", env={"DTSCHED_DSN": empty_database})
    assert_ended_at_once(ended, 7, "migrate up")


@pytest.mark.parametrize("count", ["0", "65", "x"])
def test_a_number_of_processes_that_cannot_be_meant_is_2(count: str) -> None:
    assert run("worker", *BUILTIN, "--processes", count, env={"DTSCHED_DSN": NOBODY}).code == 2


@pytest.mark.parametrize(
    ("code", "proven", "decided"),
    [
        (0, False, Done()),
        (0, True, Done()),
        (1, False, GiveUp(1)),
        (1, True, Restart(1, 0.5)),
        (2, False, GiveUp(2)),
        (2, True, GiveUp(2)),
        (6, False, GiveUp(6)),
        (6, True, Restart(1, 0.5)),
        (7, False, GiveUp(7)),
        (7, True, Restart(1, 0.5)),
        (-signal.SIGKILL, False, Restart(1, 0.5)),
        (-signal.SIGKILL, True, Restart(1, 0.5)),
    ],
)
def test_what_is_done_about_an_end(code: int, proven: bool, decided: Done | GiveUp | Restart) -> None:
    assert verdict(code, proven=proven, failures=0, lived_seconds=0.0) == decided


@pytest.mark.parametrize(
    ("failures", "lived_seconds", "decided"),
    [
        (1, 0.0, Restart(2, 1.0)),
        (5, 0.0, Restart(6, 16.0)),
        (6, 0.0, Restart(7, 30.0)),
        (10_000, 0.0, Restart(10_001, 30.0)),
        (6, 59.99, Restart(7, 30.0)),
        (6, 60.0, Restart(1, 0.5)),
    ],
)
def test_pauses_double_up_to_30_seconds_and_begin_anew_after_a_minute_of_life(
    failures: int, lived_seconds: float, decided: Restart
) -> None:
    assert verdict(1, proven=True, failures=failures, lived_seconds=lived_seconds) == decided


def test_an_end_is_told_by_code_or_signal() -> None:
    assert [how_it_ended(code) for code in (3, -9, -35)] == [
        "ended with code 3",
        "was killed by SIGKILL",
        "was killed by signal 35",
    ]
