"""A stage: its members are kept running, their ends are written down, and nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest

from dtsched.torture import members
from dtsched.torture.faults.jobs import orders, submit, until_ended
from dtsched.torture.faults.striking import busy_workers
from dtsched.torture.history import Record, read
from dtsched.torture.stage import RESTART_SECONDS, Cast, LocalStage, open_stage
from tests.support.servers import other_programs

CAST = Cast(workers=2, apis=1, app="dtsched.torture.sabotage:app", lease_seconds=1.0, poll_seconds=0.2)

TO_BE_KILLED = """
import asyncio, signal, sys
from pathlib import Path
from dtsched.torture.stage import Cast, open_stage

async def main() -> None:
    cast = Cast(workers=1, app="dtsched.torture.sabotage:app", lease_seconds=1.0)
    async with open_stage(Path(sys.argv[1]), cast) as stage:
        [worker] = stage._children()
        worker.send(signal.SIGSTOP)  # one that is stopped hears of nothing
        print(stage.run_id, worker.pid, stage.cluster.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    async with open_stage(tmp_path_factory.mktemp("stage"), CAST, bin_dir=other_programs()) as stage:
        yield stage
        await stage.workers_at_work()
    assert stage.left_behind() == []
    codes = [end.note["code"] for end in records(stage, "exit")][-3:]
    assert codes == [0, 0, 0]
    assert [end.note["expected"] for end in records(stage, "exit")][-3:] == [True, True, True]


def records(stage: LocalStage, op: str) -> list[Record]:
    return [record for record in read(stage.folder / "history") if record.op == op]


def pids(stage: LocalStage) -> list[int]:
    return [worker.pid for worker in stage.members("worker")]


async def test_a_member_that_ends_is_started_again_and_its_end_is_noted(stage: LocalStage) -> None:
    worker = stage.members("worker")[0]
    os.kill(worker.pid, signal.SIGKILL)
    await stage.until("there are two again", lambda: worker.pid not in pids(stage) and len(pids(stage)) == 2)
    [end] = [end for end in records(stage, "exit") if end.note["pid"] == worker.pid]
    assert (end.note["name"], end.note["code"], end.note["expected"]) == (worker.name, -signal.SIGKILL, False)


async def test_who_is_frozen_by_two_is_not_woken_by_one(stage: LocalStage) -> None:
    worker = stage.members("worker")[0]
    process = psutil.Process(worker.pid)
    worker.freeze()
    worker.freeze()
    worker.thaw()
    assert worker.frozen
    await stage.until("it stands still", lambda: process.status() == psutil.STATUS_STOPPED)
    assert await busy_workers(stage, Random(1), seconds=0.0) == []

    worker.thaw()
    worker.thaw()  # once too often
    assert not worker.frozen
    await stage.until("it goes on", lambda: process.status() != psutil.STATUS_STOPPED)


async def test_an_end_that_a_fault_wants_is_expected(stage: LocalStage) -> None:
    worker = stage.members("worker")[0]
    stage.expect_exit(worker)
    os.kill(worker.pid, signal.SIGKILL)
    await stage.until("there are two again", lambda: worker.pid not in pids(stage) and len(pids(stage)) == 2)
    [end] = [end for end in records(stage, "exit") if end.note["pid"] == worker.pid]
    assert end.note["expected"] is True


async def test_what_a_fault_adds_is_not_started_again(stage: LocalStage) -> None:
    one_more = await stage.add("worker", "one-more", arguments=["-q", "elsewhere:1"])
    assert one_more.pid in pids(stage)
    os.kill(one_more.pid, signal.SIGKILL)
    await stage.until("its end is noted", lambda: "one-more" in {end.note["name"] for end in records(stage, "exit")})
    assert len(pids(stage)) == 2
    await asyncio.sleep(RESTART_SECONDS + 0.2)
    assert "one-more" not in {worker.name for worker in stage.members("worker")}


async def test_the_api_of_a_stage_answers(stage: LocalStage) -> None:
    async with httpx.AsyncClient(base_url=stage.api_urls[0]) as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_the_pulse_tells_of_the_tables_and_of_both_clocks(stage: LocalStage) -> None:
    with stage.connect() as connection:
        row = connection.execute(
            "insert into dtsched.jobs (task, queue) select 'nobody_knows', 'nobodys' from generate_series(1, 3)"
        )
        assert row.rowcount == 3
    await stage.until("they are seen", lambda: "nobodys" in records(stage, "pulse")[-1].note.get("queues", ()))
    pulse = records(stage, "pulse")[-1]
    assert pulse.phase == "ok"
    assert pulse.note["queues"]["nobodys"]["jobs"] == 3
    assert pulse.note["due"] >= 3
    assert pulse.note["connections"] >= 2
    assert pulse.note["oldest_due_seconds"] >= 0
    first, last = stage.clocks[0], stage.clocks[-1]
    assert last.at - first.at == pytest.approx((last.ns - first.ns) / 1e9, abs=0.5)


async def test_the_pulse_and_the_members_outlive_an_outage(stage: LocalStage) -> None:
    await stage.workers_at_work()
    before, answered = pids(stage), len(stage.clocks)
    stage.cluster.stop("immediate")
    assert stage.in_flight() == []
    await stage.until("it is noticed", lambda: records(stage, "pulse")[-1].phase == "fail")
    stage.cluster.start()
    await stage.until("it is over", lambda: len(stage.clocks) > answered and records(stage, "pulse")[-1].phase == "ok")
    assert pids(stage) == before


def test_no_secret_stands_on_a_command_line(stage: LocalStage) -> None:
    password = stage.cluster.dsn.split(":")[2].split("@")[0]
    for member in stage.members():
        assert password not in Path(f"/proc/{member.pid}/cmdline").read_text()
        assert password in Path(f"/proc/{member.pid}/environ").read_text()


def test_what_the_user_has_set_is_not_for_members() -> None:
    assert members.without_settings({"DTSCHED_LEASE": "1d", "PATH": "/bin"}) == {"PATH": "/bin"}


async def test_members_that_are_stopped_by_a_signal_end_too(tmp_path: Path) -> None:
    """A role that has been told to end stays away."""
    async with open_stage(tmp_path, Cast(workers=1, app="dtsched.torture.sabotage:app", lease_seconds=1.0)) as stage:
        os.kill(pids(stage)[0], signal.SIGSTOP)
        await stage.stop("worker")
        [end] = records(stage, "exit")
        assert (end.note["code"], end.note["expected"]) == (0, True)
        assert stage.members() == []
        await asyncio.sleep(0.6)
        assert stage.members() == []


def test_nothing_outlives_a_runner_that_is_killed(tmp_path: Path) -> None:
    runner = subprocess.Popen([sys.executable, "-c", TO_BE_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    run, worker, server = runner.stdout.readline().split()
    assert members.left_behind(run) == [int(worker)]
    runner.kill()
    runner.communicate()
    until_gone(int(worker))
    until_gone(int(server))
    assert members.left_behind(run) == []


def until_gone(pid: int, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


async def test_every_second_worker_delivers_over_a_connection_of_its_own(tmp_path: Path) -> None:
    cast = Cast(workers=2, second_app="dtsched.torture.eager:app", queues=["default:4"], lease_seconds=1.0)
    async with open_stage(tmp_path, cast, bin_dir=other_programs()) as stage:
        for _ in range(3):
            done = submit(stage, orders(Random(), 20, "take_time", {"seconds": 0.2}))
            assert await until_ended(stage, done, seconds=20.0)
        with stage.connect() as connection:
            opened = connection.execute(
                "select count(*) from pg_stat_activity where application_name = 'dtsched deliverer'"
            ).fetchone()
    assert opened == (1,)
