"""What becomes of handlers that run in processes of their own: they are ordinary handlers, and they can be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from dtsched import App, Context, InvalidInput
from dtsched.runtime import processes
from dtsched.runtime.relay import SIZE_BYTES
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings
from dtsched.tasks import TaskDefinition
from tests.runtime.handlers import recorded
from tests.runtime.process_handlers import app
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended, worker_process

Connect = Callable[[], psycopg.Connection]
SOON = '{"kind": "fixed", "base": 0.02}'
HANDLERS = "tests.runtime.process_handlers:app"
MODULE = """
from dtsched import App
app = App()
@app.task(executor="process")
def compute() -> int:
    return 1
"""


def result(connection: psycopg.Connection, job: int) -> Any:
    assert state_of(connection, job) == "completed", failures(connection, job)
    return one(connection, "select result from dtsched.job(%s)", job)


def failures(connection: psycopg.Connection, job: int) -> list[tuple[Any, ...]]:
    """Outcome, type and message of each attempt that is not a completed one."""
    statement = "select outcome, error_type, message from dtsched.attempts where job_id = %s order by attempt"
    return connection.execute(cast("Any", statement), (job,)).fetchall()


def alive(pid: int) -> bool:
    """A zombie is not: who should have waited for it may have been killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> list[str]:
    """The command lines of this process's."""
    numbers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{number}/cmdline").read_text() for number in numbers]


def pids(path: Path) -> list[int]:
    return [int(line) for line in recorded(path)]


async def test_a_slot_runs_its_handlers_in_one_other_process_and_keeps_it(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        jobs = [submit(connection, "whereabouts") for _ in range(3)]
        await until_ended(connection, *jobs)
        found = [result(connection, job) for job in jobs]
        assert found[0] == found[1] == found[2]
        assert found[0]["parent"] == os.getpid()
        assert found[0]["group"] == found[0]["pid"] != os.getpid()
        assert alive(found[0]["pid"])
        assert any("dtsched.runtime.child" in command for command in children())
    assert not alive(found[0]["pid"])


async def test_a_slot_that_runs_no_such_handler_starts_no_process(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, "in_a_thread")
        await until_ended(connection, job)
        assert result(connection, job) == os.getpid()
        assert not any("dtsched.runtime.child" in command for command in children())


async def test_args_context_and_result_are_those_of_any_handler(database: str, connect: Connect) -> None:
    connection = connect()
    args = {"point": {"x": 1, "y": 2}, "by": "2030-01-31"}
    async with running_worker(app, database):
        job = submit(connection, "shift", args, correlation_id="order-1")
        misfit = submit(connection, "shift", {"point": {"x": "one", "y": 2}})
        await until_ended(connection, job, misfit)
    assert result(connection, job) == [2, 4, "2030-01-31", 1, "default", "order-1", False]
    assert state_of(connection, misfit) == "failed"
    [(outcome, kind, message)] = failures(connection, misfit)
    assert (outcome, kind) == ("fail", "InvalidInput")
    assert "point" in message


async def test_errors_results_that_cannot_be_stored_and_exits_are_failures_of_the_attempt(
    database: str, connect: Connect
) -> None:
    connection = connect()
    names = ("stumble", "quit_it", "return_nonsense", "ask_for_parents", "return_much")
    async with running_worker(app, database, {"default": 1}):
        jobs = {name: submit(connection, name, max_attempts=1) for name in names}
        await until_ended(connection, *jobs.values())
    [stumble], [quit_it], [nonsense], [parents] = (failures(connection, jobs[name]) for name in names[:4])
    assert stumble == ("fail", "KeyError", "'a\\x00b'")
    assert quit_it == ("fail", "SystemExit", "3")
    assert nonsense[:2] == ("fail", "UnstorableResult")
    assert parents[1] == "dtsched.errors.DtschedError"
    assert "parents() is for async handlers" in parents[2]
    trace = one(connection, "select traceback from dtsched.attempts where job_id = %s", jobs["stumble"])
    assert "in stumble" in trace
    assert "child.py" not in trace
    assert len(result(connection, jobs["return_much"])) == 1024 * 1024 - 2


async def test_retry_snooze_and_cancel_are_told_by_a_process_too(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    kinds = ("retry", "snooze", "cancel")
    path = tmp_path / "answers"
    async with running_worker(app, database):
        jobs = {kind: submit(connection, "answer", {"kind": kind, "path": str(path)}) for kind in kinds}
        await until_ended(connection, *jobs.values())
    assert [state_of(connection, job) for job in jobs.values()] == ["completed", "completed", "cancelled"]
    assert sorted(recorded(path)) == ["cancel", "retry", "retry", "snooze", "snooze"]
    assert [kind for kind, *_ in failures(connection, jobs["retry"])] == ["retry"]
    assert failures(connection, jobs["cancel"]) == [("cancel", "Cancel", "no longer wanted")]


@pytest.mark.parametrize("task", ["compute", "have_computed"])
async def test_a_handler_is_killed_at_its_timeout_with_all_it_started_and_frees_its_slot(
    database: str, connect: Connect, tmp_path: Path, task: str
) -> None:
    connection = connect()
    path = tmp_path / "pids"
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, task, {"path": str(path)}, timeout="300 ms", max_attempts=2, backoff=SOON)
        await until_ended(connection, job)
        assert not any(alive(pid) for pid in pids(path))
        next_one = submit(connection, "whereabouts")
        await until_ended(connection, next_one)
        assert result(connection, next_one)["pid"] not in pids(path)
    assert len(pids(path)) == (2 if task == "compute" else 4)
    assert state_of(connection, job) == "failed"
    message = "still running after 0.3 s, its timeout"
    assert failures(connection, job) == [("retry", "timeout", message), ("fail", "timeout", message)]


async def test_a_process_that_dies_under_its_handler_fails_the_attempt_and_is_replaced(
    database: str, connect: Connect
) -> None:
    connection = connect()
    causes: list[tuple[str, dict[str, int], str]] = [
        ("exit_at_once", {"code": 3}, "its process ended by itself with exit code 3"),
        ("exit_at_once", {"code": 0}, "its process ended by itself with exit code 0"),
        ("kill_itself", {"number": signal.SIGSEGV}, "its process was killed by signal 11 (SIGSEGV)"),
        ("kill_itself", {"number": signal.SIGKILL}, "its process was killed by signal 9 (SIGKILL)"),
        ("kill_itself", {"number": signal.SIGRTMIN + 1}, f"its process was killed by signal {signal.SIGRTMIN + 1}"),
    ]
    async with running_worker(app, database, {"default": 1}):
        jobs = [submit(connection, task, args, max_attempts=1) for task, args, _ in causes]
        again = submit(connection, "exit_at_once", {"code": 4}, max_attempts=2, backoff=SOON)
        await until_ended(connection, *jobs, again)
        await until_ended(connection, last := submit(connection, "whereabouts"))
    assert result(connection, last)["parent"] == os.getpid()
    assert [failures(connection, job) for job in jobs] == [[("fail", "ProcessDied", message)] for *_, message in causes]
    assert [outcome for outcome, *_ in failures(connection, again)] == ["retry", "fail"]


async def test_a_process_that_dies_between_two_jobs_costs_neither(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, first := submit(connection, "whereabouts", max_attempts=1))
        pid = result(connection, first)["pid"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        await until_ended(connection, second := submit(connection, "whereabouts", max_attempts=1))
    assert result(connection, second)["pid"] != pid


async def test_what_a_dead_process_forked_does_not_keep_the_attempt_from_ending(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    path = tmp_path / "pids"
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, "leave_one_behind_and_die", {"path": str(path)}, max_attempts=1)
        await until_ended(connection, job)
        assert failures(connection, job)[0][1] == "ProcessDied"
        await until(lambda: not alive(pids(path)[0]))


async def test_a_cancelled_handler_is_killed_at_once(database: str, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    path = tmp_path / "pids"
    async with running_worker(app, database, {"default": 1}, lease=60.0):
        job = submit(connection, "compute", {"path": str(path)})
        await until(lambda: pids(path))
        connection.execute("select dtsched.cancel(%s)", (job,))
        await until_ended(connection, job)
        await until(lambda: not alive(pids(path)[0]))
        await until_ended(connection, submit(connection, "whereabouts"))
    assert state_of(connection, job) == "cancelled"
    assert [kind for kind, *_ in failures(connection, job)] == ["cancel"]


async def test_a_worker_that_is_told_to_stop_kills_after_the_grace_and_hands_the_job_back(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    path = tmp_path / "pids"
    async with running_worker(app, database, {"default": 1}, grace_seconds=60.0) as worker:
        job = submit(connection, "sleep_unless_retried", {"path": str(path)})
        await until(lambda: pids(path))
        worker.stop()
        await asyncio.sleep(0.1)
        assert alive(pids(path)[0])  # the second stop(), when the block is left, ends the grace
    assert not alive(pids(path)[0])
    assert worker.stuck_slots == 0
    assert state_of(connection, job) == "ready"
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, job)
    assert state_of(connection, job) == "completed"


@pytest.mark.parametrize("task", ["compute", "have_computed"])
async def test_a_killed_worker_leaves_no_process_behind_not_even_a_busy_one(
    database: str, connect: Connect, tmp_path: Path, task: str
) -> None:
    connection = connect()
    path = tmp_path / "pids"
    with worker_process(database, app=HANDLERS, queues="default:1 other:1") as worker:
        await until_ended(connection, idle := submit(connection, "whereabouts", queue="other"))
        submit(connection, task, {"path": str(path)})
        await until(lambda: len(pids(path)) == (1 if task == "compute" else 2))
        worker.kill()
        worker.wait()
        every = [*pids(path), result(connection, idle)["pid"]]
        await until(lambda: not any(alive(pid) for pid in every), seconds=5)


async def test_what_handlers_print_and_log_goes_where_the_worker_logs(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    connection = connect()
    with worker_process(database, app=HANDLERS) as worker:
        job = submit(connection, "say", {"text": "hello"}, correlation_id="order-1", max_attempts=1)
        await until_ended(connection, job)
        worker.terminate()
        _, log = worker.communicate(timeout=30)
    assert "printed hello" in log
    [line] = [line for line in log.splitlines() if "logged hello" in line]
    assert '"correlation_id": "order-1"' in line
    assert f'"job_id": {job}' in line


async def test_signals_for_the_worker_do_not_end_its_children_but_what_those_start(
    database: str, connect: Connect
) -> None:
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        jobs = [submit(connection, "ignore_signals"), submit(connection, "stop_what_it_started")]
        pool = submit(connection, "square_in_a_pool", {"numbers": [1, -2]})
        await until_ended(connection, *jobs, pool)
    assert [state_of(connection, job) for job in jobs] == ["completed", "completed"]
    assert result(connection, jobs[1]) == -signal.SIGTERM
    assert result(connection, pool) == [1, 2]


def deployed(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, App]:
    """A module as this process sees it, and its file, which other processes may see otherwise."""
    module = folder / f"{name}.py"
    module.write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return module, import_module(name).app


async def test_a_timeout_begins_when_the_handlers_are_loaded(
    database: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, app = deployed(tmp_path, "slow_handlers", monkeypatch)
    module.write_text(f"import time\ntime.sleep(1)\n{MODULE}")
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, job := submit(connection, "compute", max_attempts=1, timeout="500 ms"))
    assert result(connection, job) == 1


async def test_a_process_that_does_not_come_up_is_killed(
    database: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, app = deployed(tmp_path, "hanging_handlers", monkeypatch)
    module.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(processes, "START_SECONDS", 0.2)
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, job := submit(connection, "compute", max_attempts=1))
        assert not any("dtsched.runtime.child" in command for command in children())
    message = "its process had not loaded the handlers after 0.2 s"
    assert failures(connection, job) == [("fail", "ProcessDied", message)]


async def test_a_job_is_cancelled_while_its_process_is_coming_up(
    database: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, app = deployed(tmp_path, "waiting_handlers", monkeypatch)
    module.write_text("import time\ntime.sleep(600)\n")
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, "compute")
        await until(lambda: any("dtsched.runtime.child" in command for command in children()))
        connection.execute("select dtsched.cancel(%s)", (job,))
        await until_ended(connection, job)
        assert not any("dtsched.runtime.child" in command for command in children())
    assert state_of(connection, job) == "cancelled"


async def test_a_handler_whose_module_can_no_longer_be_imported_fails_with_the_reason(
    database: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, app = deployed(tmp_path, "vanishing_handlers", monkeypatch)
    module.write_text("raise ValueError('half a deployment')\n")
    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, job := submit(connection, "compute", max_attempts=1))
        module.write_text(MODULE)
        await until_ended(connection, again := submit(connection, "compute", max_attempts=1))
    assert failures(connection, job) == [("fail", "ValueError", "half a deployment")]
    assert result(connection, again) == 1


def test_an_executor_that_does_not_fit_its_function_is_refused() -> None:
    async def waits() -> None: ...

    def computes(ctx: Context) -> None: ...

    for executor in ("thread", "process"):
        with pytest.raises(InvalidInput, match=f"task waits: executor='{executor}' is for plain functions"):
            App().task(executor=executor)(waits)
        assert TaskDefinition(computes, executor=executor).executor == executor
    with pytest.raises(InvalidInput, match="task computes: executor='async' is for async def functions"):
        App().task(executor="async")(computes)
    assert TaskDefinition(waits, executor="async").executor == "async"
    for odd in ("fork", ["process"], 1):
        with pytest.raises(InvalidInput, match=r"task computes: executor must be 'async', 'thread' or 'process', not"):
            App().task(executor=cast("Any", odd))(computes)


async def test_a_worker_refuses_a_handler_that_another_process_could_not_import(database: str) -> None:
    app = App()

    @app.task(executor="process")
    def local() -> None: ...

    with pytest.raises(InvalidInput, match=r"task local: executor=\"process\" imports the handler .*<locals>"):
        Worker(app.registry, Settings(dsn=database), {"default": 1})


def test_a_script_may_submit_such_a_task_of_its_own_but_not_work_on_it(database: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio\nfrom dtsched import App\napp = App()\n"
        "@app.task(executor='process')\ndef compute() -> None: ...\n"
        "print(compute.submit_sync())\nasyncio.run(app.run_worker())\n"
    )
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "DTSCHED_DSN": database},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.stdout.startswith("JobHandle(")
    assert "there is no compute to be found in the module __main__" in ran.stderr


@pytest.mark.parametrize("how", ["end_with_the_worker", "follow"])
def test_a_child_ends_when_the_other_end_of_its_lifeline_is_closed(how: str) -> None:
    """`follow` is for systems whose kernel does not send a signal then; a thread waits for it there."""
    lifeline, held = os.pipe()
    wait = "threading.Thread(target=child.follow, args=(fd,), daemon=True).start()"
    code = (
        "import sys, threading, time; from dtsched.runtime import child; fd = int(sys.argv[1]);"
        f"{wait if how == 'follow' else 'child.end_with_the_worker(fd)'}; print('ready', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, str(lifeline)]
    with subprocess.Popen(
        arguments, pass_fds=[lifeline], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        os.close(lifeline)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert child.poll() is None
        os.close(held)
        assert child.wait(10) == -signal.SIGKILL


def test_a_child_whose_worker_has_gone_before_it_began_ends() -> None:
    lifeline, held = os.pipe()
    os.close(held)
    code = (
        "import sys, time; from dtsched.runtime.child import *; end_with_the_worker(int(sys.argv[1])); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lifeline)], pass_fds=[lifeline], start_new_session=True
    ) as child:
        os.close(lifeline)
        assert child.wait(10) == -signal.SIGKILL


def test_a_frame_may_be_as_long_as_the_longest_result() -> None:
    assert 2 ** (8 * SIZE_BYTES) > 128 * 1024 * 1024
