"""Each fault of group C once, on a small stage: it strikes, and the jobs come right afterwards. Numbers are those of
the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from random import Random
from time import monotonic_ns
from typing import ClassVar

import httpx
import pytest

from dtsched.torture.faults import clock, network, pool
from dtsched.torture.faults.base import Fault, Member
from dtsched.torture.faults.clock import DatabaseClock, SchedulersDown, WorkerClock, libfaketime
from dtsched.torture.faults.jobs import orders, submit, until_ended
from dtsched.torture.faults.network import ApiKilled, Flapping, HalfOpen, Partition, ReplyLost, Slow
from dtsched.torture.faults.pool import Pooler
from dtsched.torture.history import Recorder, read
from dtsched.torture.pgbouncer import program
from dtsched.torture.stage import Cast, LocalStage
from dtsched.torture.ways import Direction
from dtsched.torture.wire import open_wire
from tests.torture.small_stage import open_small_stage

CAST = Cast(
    workers=3,
    apis=2,
    app="dtsched.torture.sabotage:app",
    queues=["default:4"],
    lease_seconds=1.0,
    poll_seconds=0.2,
    grace_seconds=0.5,
)


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStage]:
    folder = tmp_path_factory.mktemp("stage")
    async with open_small_stage(folder, CAST, open_wire=open_wire, connections=200, surprised=True) as stage:
        yield stage


class Feed:
    """Submits some jobs four times a second; every fourth is delayed by half a second."""

    def __init__(self, stage: LocalStage) -> None:
        self._stage = stage
        self.jobs: list[int] = []

    async def run(self) -> None:
        while True:
            wanted = [
                *orders(Random(), 6, "take_time", {"seconds": 0.2}),
                *orders(Random(), 2, "take_time", {"seconds": 0.2}, delay=0.5),
            ]
            self.jobs += await asyncio.to_thread(submit, self._stage, wanted)
            await asyncio.sleep(0.25)


Lasting = Callable[[LocalStage, Sequence[int]], bool]
"""Whether a fault has had its effect on the jobs that were submitted before it and meanwhile."""


async def struck(
    stage: LocalStage, fault: Fault, *, seconds: float, until: Lasting = lambda _stage, _jobs: True
) -> list[int]:
    """Once, for so long and until that is true. Its exposures, when it is healed and all that was submitted has come
    right."""
    assert fault.missing(stage) is None
    feed = Feed(stage)
    feeding = asyncio.create_task(feed.run())
    try:
        await stage.until("there is something to strike", lambda: len(stage.in_flight()) >= 4)
        exposed = await fault.inject(stage)
        await asyncio.sleep(seconds)
        await stage.until("the fault has had its effect", lambda: until(stage, feed.jobs))
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await fault.heal(stage)
        await fault.heal(stage)  # healed already
    assert len(exposed) == len(set(exposed)) >= 1
    assert await until_ended(stage, feed.jobs, seconds=40)
    assert states(stage, feed.jobs) == {"completed": len(feed.jobs)}
    return [*exposed]


def states(stage: LocalStage, jobs: Sequence[int]) -> dict[str, int]:
    with stage.connect() as connection:
        assert connection.execute("select * from dtsched.check()").fetchall() == []
        rows = connection.execute(
            "select state, count(*) from dtsched.jobs where id = any (%s) group by 1", ([*jobs],)
        ).fetchall()
        return dict(rows)


@pytest.mark.parametrize("seed", [1, 2])
async def test_f41_half_open_lines_of_one_worker(stage: LocalStage, seed: int) -> None:
    fault = HalfOpen(Random(seed))
    await struck(stage, fault, seconds=1.5)
    assert fault.done["silenced"] >= 1


async def test_f42_commits_whose_answers_are_lost(stage: LocalStage) -> None:
    class Often(ReplyLost):
        share: ClassVar[tuple[float, float]] = (0.3, 0.3)

    fault = Often(Random(1))
    await struck(stage, fault, seconds=1.0)
    assert fault.done["commits"] >= fault.done["commits_cut"] == fault.done["cut"] >= 1


@pytest.mark.parametrize("how", ["late", "pieces", "throttled"])
async def test_f43_a_slow_line_costs_nobody_its_lease(stage: LocalStage, how: str) -> None:
    class OneWay(Slow):
        ways: ClassVar[Sequence[str]] = (how,)
        latency: ClassVar[tuple[float, float]] = (0.05, 0.05)

    await struck(stage, OneWay(Random(1)), seconds=0.7)


@pytest.mark.parametrize("direction", ["both", "asked", "answered"])
async def test_f44_a_worker_is_cut_off_from_the_others(stage: LocalStage, direction: Direction) -> None:
    class OneWay(Partition):
        directions: ClassVar[Sequence[Direction]] = (direction,)

    def is_lost(stage: LocalStage, _jobs: Sequence[int]) -> bool:
        """Its last claim may have brought nothing, so that there is nothing to be taken by others."""
        with stage.connect() as connection:
            return connection.execute("select from dtsched.workers where lost_at > %s", (since,)).fetchone() is not None

    with stage.connect() as connection:
        (since,) = connection.execute("select dtsched.now()").fetchone() or (None,)
    fault = OneWay(Random(1))
    await struck(stage, fault, seconds=1.5, until=is_lost)
    assert fault.done["silenced"] >= 1


async def test_f45_a_flapping_line(stage: LocalStage) -> None:
    fault = Flapping(Random(1))
    await struck(stage, fault, seconds=2.5)
    assert fault.done["flaps"] >= 1


@pytest.mark.skipif(program() is None, reason="Debian's package pgbouncer is not installed")
async def test_f46_a_pooler_comes_between_and_is_restarted(stage: LocalStage) -> None:
    fault = Pooler(Random(1))
    await struck(stage, fault, seconds=4.0)
    assert fault.done["reload"] + fault.done.get("stop", 0) + fault.done.get("kill", 0) >= 1
    assert fault.done["left_locks"] == 0


async def test_f47_an_api_is_killed_while_it_is_posted_to(stage: LocalStage) -> None:
    over = asyncio.Event()
    unanswered = 0
    recorder = Recorder(stage.folder / "history", "submitter")

    async def post(http: httpx.AsyncClient, key: str) -> None:
        nonlocal unanswered
        body = {"task": "take_time", "args": {"name": key, "payload": {"seconds": 0}}}
        for number in range(100):
            try:
                url = stage.api_urls[(hash(key) + number) % 2]
                recorder("submit", "invoke", key=key, door="rest")
                answer = await http.post(f"{url}/v1/jobs", json=body, headers={"Idempotency-Key": key})
                if answer.is_success:
                    recorder("submit", "ok", key=key)
                    return
            except httpx.TransportError:
                recorder("submit", "info", key=key)
                unanswered += 1
            await asyncio.sleep(0.05)
        pytest.fail("nobody answered")

    async def client(http: httpx.AsyncClient, name: str) -> int:
        number = 0
        while not over.is_set():
            number += 1
            await post(http, f"{name}-{number}")
        return number

    async with httpx.AsyncClient(timeout=2) as http:
        clients = [asyncio.create_task(client(http, f"client-{number}")) for number in range(4)]
        fault = ApiKilled(Random(1))
        assert fault.missing(stage) is None
        await fault.inject(stage)
        await asyncio.sleep(0.3)
        await fault.heal(stage)
        over.set()
        posted = sum(await asyncio.gather(*clients))
    recorder.close()
    assert 1 <= fault.done["struck"] <= unanswered
    with stage.connect() as connection:
        rows = (
            "select count(*), count(distinct args ->> 'name') from dtsched.jobs where args ->> 'name' like 'client-%'"
        )
        assert connection.execute(rows).fetchone() == (posted, posted)
    await stage.until("both answer again", lambda: len(stage.members("api")) == 2)


@pytest.mark.skipif(libfaketime() is None, reason="Debian's package faketime is not installed")
async def test_f48_the_clock_of_a_worker_jumps(stage: LocalStage) -> None:
    fault = WorkerClock(Random(1))
    await struck(stage, fault, seconds=1.5)
    assert fault.done["jumps"] >= 1
    with stage.connect() as connection:
        early = connection.execute("select count(*) from dtsched.jobs where started_at < run_at")
        assert early.fetchone() == (0,)


async def test_f49_the_clock_of_the_database_jumps_back_and_forward(stage: LocalStage) -> None:
    def hours() -> float:
        with stage.connect() as connection:
            row = connection.execute("select extract(epoch from dtsched.now() - clock_timestamp()) / 3600").fetchone()
            assert row is not None
            return round(row[0], 2)

    fault = DatabaseClock(Random(1))
    striking = asyncio.create_task(struck(stage, fault, seconds=1.5))
    await stage.until("it has jumped", lambda: hours() == -1.0)
    jumped = monotonic_ns()
    await striking
    assert hours() == 0.0
    (told,) = [one.note["moved"] for one in read(stage.folder / "history") if "moved" in one.note]
    assert told[0] < jumped < told[1] < monotonic_ns()
    assert told[2] == -3600


async def test_f51_ticks_that_came_while_no_scheduler_was_there_are_fired_once(stage: LocalStage) -> None:
    with stage.connect() as connection:
        connection.execute(
            """select dtsched.schedule('each', '* * * * * *', 'take_time',
                '{"name": "tick", "payload": {"seconds": 0}}', catchup => 'all')"""
        )
        fault = SchedulersDown(Random(1))
        fired = "select count(*) from dtsched.ticks where schedule = 'each' and outcome = 'fired'"
        await stage.until("it fires", lambda: connection.execute(fired).fetchone() != (0,))
        await struck(stage, fault, seconds=2.2)
        assert fault.done["frozen"] >= 5
        gaps = """select tick from dtsched.ticks where schedule = 'each' and (outcome <> 'fired' or
            (select count(*) from dtsched.jobs where id = ticks.job_id) <> 1)
            union all
            select missing
            from (select min(tick), max(tick) from dtsched.ticks where schedule = 'each') span (low, high),
                generate_series(low, high, interval '1 second') missing
            where not exists (select from dtsched.ticks where schedule = 'each' and tick = missing)"""
        assert connection.execute(gaps).fetchall() == []
        connection.execute("select dtsched.unschedule('each')")


def nobody(_role: str | None = None) -> list[Member]:
    return []


async def test_what_cannot_be_injected_says_why(stage: LocalStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "program", lambda: None)
    monkeypatch.setattr(clock, "libfaketime", lambda: None)
    monkeypatch.setattr(stage, "members", nobody)
    reasons = {fault.number: fault.missing(stage) for fault in (*network.FAULTS, *pool.FAULTS, *clock.FAULTS)}
    assert {number for number, reason in reasons.items() if reason} == {"F46", "F47", "F48", "F51"}
    assert "pgbouncer" in str(reasons["F46"])
    assert "faketime" in str(reasons["F48"])
