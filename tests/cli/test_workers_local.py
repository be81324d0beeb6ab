"""`dtsched workers start`, `status` and `stop`: workers in the background of this machine."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from dtsched.cli.detached import Detached, birth_of, children_of
from tests.cli.command import Ended, run
from tests.cli.conftest import Cli
from tests.cli.test_supervisor import APP, running_job, until_gone, workers
from tests.conftest import Connect
from tests.support.patience import within

BUILTIN = ("-A", "dtsched.workers.builtin:app")

Start = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "dtsched"


@pytest.fixture
def begin(folder: Path, database: str) -> Generator[Start]:
    """`workers start` as a process; what it started is killed when the test ends."""
    variables = {"XDG_STATE_HOME": str(folder.parent), "DTSCHED_DSN": database}

    def call(*arguments: str) -> Ended:
        return run("workers", "start", *arguments, "--json", env=variables)

    yield call
    run("workers", "stop", "--timeout", "0", env=variables)


@pytest.fixture
def bystander() -> Generator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_workers_are_started_listed_at_work_and_stopped_in_order(begin: Start, cli: Cli, connect: Connect) -> None:
    started = begin("2", "--name", "bg", *BUILTIN)
    assert started.code == 0, started.err
    members = {member["name"]: member["pid"] for member in started.json["workers"]}
    assert members == workers(connect())
    assert set(members) == {"bg-1", "bg-2"}
    (standing,) = cli("workers", "status", "--json").json
    assert (standing["name"], standing["pid"], standing["alive"], standing["processes"]) == (
        "bg",
        started.json["pid"],
        True,
        2,
    )
    assert "bg-2" in Path(standing["log"]).read_text()
    assert cli("submit", "echo", "value=1", "--wait").json == 1
    stopped = cli("workers", "stop")
    assert (stopped.code, stopped.err) == (0, "workers bg: stopped\n")
    assert workers(connect()) == {}
    assert [birth_of(pid) for pid in (standing["pid"], *members.values())] == [None, None, None]
    assert cli("workers", "status", "--json").json == []
    assert cli("workers", "stop").code == 0


def test_a_name_whose_workers_run_is_4_to_start_and_another_one_is_not(begin: Start, cli: Cli) -> None:
    assert begin("1", "--name", "bg", *BUILTIN).code == 0
    second = begin("1", "--name", "bg", *BUILTIN)
    assert second.code == 4
    assert "workers bg run already, as process" in second.err
    assert begin("1", "--name", "other", *BUILTIN).code == 0
    assert cli("workers", "stop", "--name", "bg").code == 0
    assert [each["name"] for each in cli("workers", "status", "--json").json] == ["other"]


def test_while_another_command_starts_a_name_it_is_4(begin: Start, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    with (folder / "bg.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = begin("1", "--name", "bg", *BUILTIN)
    assert ended.code == 4
    assert "another command starts them just now" in ended.err


def test_those_that_cannot_work_are_1_with_their_last_words(begin: Start, cli: Cli) -> None:
    ended = begin("2", "--name", "bg", "-A", "nothing.here:app")
    assert ended.code == 1
    assert "there is no module nothing" in ended.err
    assert "workers bg ended with code 2" in ended.err
    assert cli("workers", "status", "--json").json == []


def test_a_pid_that_another_process_has_by_now_is_not_signalled(
    folder: Path, bare_cli: Cli, bystander: subprocess.Popen[bytes]
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    stale = Detached(
        name="bg",
        pid=bystander.pid,
        born=f"{birth_of(bystander.pid)}0",
        since=datetime.now(UTC),
        processes=1,
        grace_seconds=0.0,
        log="bg.log",
    )
    (folder / "bg.json").write_bytes(msgspec.json.encode(stale))
    assert [each["alive"] for each in bare_cli("workers", "status", "--json").json] == [False]
    stopped = bare_cli("workers", "stop", "--timeout", "0")
    assert (stopped.code, stopped.err) == (0, "workers bg: were not running\n")
    assert bystander.poll() is None
    assert not (folder / "bg.json").exists()


def test_after_a_supervisor_was_killed_its_name_can_be_started_again(begin: Start, cli: Cli) -> None:
    first = begin("1", "--name", "bg", *BUILTIN).json
    os.kill(first["pid"], signal.SIGKILL)
    until_gone(first["pid"], *(member["pid"] for member in first["workers"]))
    assert [each["alive"] for each in cli("workers", "status", "--json").json] == [False]
    assert begin("1", "--name", "bg", *BUILTIN).json["pid"] != first["pid"]


def test_who_does_not_stop_in_time_is_killed_with_all_workers(
    begin: Start, cli: Cli, database: str, connect: Connect
) -> None:
    Path("crashing.py").write_text(APP)
    started = begin("1", "--name", "bg", "-A", "crashing:app", "--dsn", database).json
    running_job(connect(), "block", '{"seconds": 600}')
    (worker,) = children_of(started["pid"])
    assert worker == started["workers"][0]["pid"]
    stopped = cli("workers", "stop", "--timeout", "100ms")
    assert stopped.code == 0
    assert "did not stop in time and were killed" in stopped.err
    with within(5):  # an orphan that ends by itself takes 10
        until_gone(started["pid"], worker)


def test_state_is_nobody_elses_and_holds_no_secret(begin: Start, database: str, folder: Path) -> None:
    started = begin("1", "--name", "bg", "--dsn", database, *BUILTIN).json
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o077 for file in folder.iterdir()} == {
        "bg.json": 0,
        "bg.lock": 0,
        "bg.log": 0,
    }
    command_lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (started["pid"], started["workers"][0]["pid"])]
    for text in (*command_lines, *(file.read_text() for file in folder.iterdir())):
        assert "postgresql://" not in text


def test_a_state_folder_that_others_may_write_to_is_refused(folder: Path, begin: Start) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o770)
    ended = begin("1", *BUILTIN)
    assert ended.code == 2
    assert "chmod 700" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [["0"], ["65"], ["1", "--name", "../bg"], ["1", "-q", "mail:0"], ["1", "--grace", "soon"]],
    ids=" ".join,
)
def test_a_start_that_cannot_be_meant_is_2_and_leaves_nothing(
    folder: Path, bare_cli: Cli, arguments: list[str]
) -> None:
    assert bare_cli("workers", "start", *arguments, *BUILTIN).code == 2
    assert not folder.exists()
