"""Limits, rates and breakers with workers that really run, and how jobs are shared out among quick and slow ones."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dtsched import App
from tests.runtime.limit_handlers import RUNS
from tests.runtime.workers import one, running_worker, states, until, until_ended, worker_process
from tests.support.patience import NEVER_SECONDS, five_tries, timely

Connect = Callable[[], psycopg.Connection]

FAST, SLOW = "tests.runtime.limit_handlers:fast", "tests.runtime.limit_handlers:slow"
WORKERS = "select count(*) from dtsched.workers where lost_at is null"


def set_queue(connection: psycopg.Connection, **settings: object) -> None:
    connection.execute("select dtsched.set_queue('default', %s)", (Jsonb(settings),))


def submit_work(connection: psycopg.Connection, count: int, **args: float) -> None:
    connection.execute(
        "insert into dtsched.jobs (task, args) select 'work', %s from generate_series(1, %s)", (Jsonb(args), count)
    )


def most_at_once(connection: psycopg.Connection, *, killed: str, killed_at: datetime) -> int:
    """What a killed worker ran has ended with it."""
    running: set[tuple[int, int]] = set()
    most = 0
    statement = "select at, job, attempt, worker, ended from public.runs order by at"
    for at, job, attempt, worker, ended in connection.execute(statement).fetchall():
        if at > killed_at:
            running = {each for each in running if each not in lost(connection, killed)}
        running.discard((job, attempt)) if ended else running.add((job, attempt))
        assert worker != killed or at <= killed_at
        most = max(most, len(running))
    return most


def lost(connection: psycopg.Connection, killed: str) -> set[tuple[int, int]]:
    statement = "select job, attempt from public.runs where worker = %s group by 1, 2 having not bool_or(ended)"
    return {(job, attempt) for job, attempt in connection.execute(statement, (killed,)).fetchall()}


async def test_a_killed_worker_takes_no_seats_of_a_limited_queue_with_it(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    told = tmp_path / "told"
    connection.execute(RUNS)
    set_queue(connection, limit=3)
    with worker_process(database, app=FAST) as first, worker_process(database, app=FAST) as second:
        await until(lambda: one(connection, WORKERS) == 2)
        connection.execute(
            "insert into dtsched.jobs (task, args) select 'work_when_told', %s from generate_series(1, 20)",
            (Jsonb({"path": str(told)}),),
        )
        await until(lambda: one(connection, "select count(*) from public.runs") == 3)
        name: str = one(connection, "select worker from public.runs limit 1")
        victim = {f"fast {process.pid}": process for process in (first, second)}[name]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        killed_at = one(connection, "select clock_timestamp()")
        told.touch()
        await until_ended(connection)
    assert states(connection) == {"completed": 20}
    assert len(lost(connection, name)) > 0
    assert most_at_once(connection, killed=name, killed_at=killed_at) == 3
    assert one(connection, "select count(*) from dtsched.leases") == 0
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_a_quick_and_a_slow_worker_share_jobs_by_their_speed(database: str, connect: Connect) -> None:
    connection = connect()
    with worker_process(database, app=FAST, queues="default:2"):
        await until(lambda: one(connection, WORKERS) == 1)
        fast = one(connection, "select id from dtsched.workers")
        with worker_process(database, app=SLOW, queues="default:2"):
            await until(lambda: one(connection, WORKERS) == 2)
            await share_out(connection, fast)


@five_tries
async def share_out(connection: psycopg.Connection, fast: UUID) -> None:
    submitted = connection.execute(
        "insert into dtsched.jobs (task) select 'nap' from generate_series(1, 400) returning id"
    ).fetchall()
    jobs = [job for (job,) in submitted]
    await until_ended(connection, *jobs)
    by_fast, by_slow, late = connection.execute(
        """select count(*) filter (where is_fast), count(*) filter (where not is_fast),
            count(*) filter (where finished_at > last_of_fast)
        from (select *, worker_id = %s as is_fast,
                max(finished_at) filter (where worker_id = %s) over () as last_of_fast
            from dtsched.jobs where id = any (%s) and state = 'completed') job""",
        (fast, fast, jobs),
    ).fetchall()[0]
    assert by_fast + by_slow == 400
    timely(by_fast > 2 * by_slow, by_fast, by_slow)
    # two at a time take it 1.2 s
    timely(late < 48, f"the slow one kept {late} that the quick one could have done")


async def test_no_job_waits_for_long_behind_a_busy_slot_while_another_worker_is_idle(
    database: str, connect: Connect
) -> None:
    """The slot is busy for ever: a job that is kept behind it would not end."""
    connection = connect()
    connection.execute(RUNS)
    with worker_process(database, app=FAST, queues="default:1"), worker_process(database, app=FAST, queues="default:1"):
        await until(lambda: one(connection, WORKERS) == 2)
        submit_work(connection, 100, seconds=0)
        submit_work(connection, 1, seconds=NEVER_SECONDS)
        submit_work(connection, 100, seconds=0)
        quick = "select count(*) from public.runs where ended"
        await until(lambda: one(connection, quick) == 200)
        await until(lambda: states(connection) == {"completed": 200, "running": 1})


async def test_a_rate_is_kept_to_evenly_by_workers_that_have_nothing_else_to_do(
    database: str, connect: Connect
) -> None:
    connection = connect()
    app = App()
    starts: list[float] = []

    @app.task
    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())

    set_queue(connection, rate=20, burst=4)
    async with running_worker(app, database, poll=NEVER_SECONDS), running_worker(app, database, poll=NEVER_SECONDS):
        await keep_to_the_rate(connection, starts)


@five_tries
async def keep_to_the_rate(connection: psycopg.Connection, starts: list[float]) -> None:
    starts.clear()
    submit_work(connection, 64)
    await until_ended(connection)
    after_burst = starts[4:]
    per_second = (len(after_burst) - 1) / (after_burst[-1] - after_burst[0])
    timely(18 <= per_second <= 22, per_second)
    timely(max(later - earlier for earlier, later in pairwise(after_burst)) < 0.5)
    timely(max(sum(start <= each < start + 0.5 for each in after_burst) for start in after_burst) <= 14)


async def test_a_breaker_opens_tries_one_job_and_closes(database: str, connect: Connect) -> None:
    connection = connect()
    app = App()
    starts: list[datetime] = []
    seen = asyncio.Event()

    @app.task
    async def work() -> None:
        starts.append(one(connection, "select dtsched.now()"))
        await asyncio.sleep(0.02)  # short enough for jobs to be fetched ahead where that is allowed
        if len(starts) <= 3:
            raise RuntimeError("the other side is down")
        await seen.wait()

    open_until = "select open_until from dtsched.list_queues()"
    set_queue(connection, breaker={"failures": 3, "within": 60, "cooldown": 1})
    connection.execute("insert into dtsched.jobs (task, max_attempts) select 'work', 1 from generate_series(1, 12)")
    async with running_worker(app, database, {"default": 1}, poll=NEVER_SECONDS):
        await until(lambda: one(connection, open_until) is not None)
        opened = one(connection, open_until)
        seen.set()
        await until_ended(connection)
    assert states(connection) == {"failed": 3, "completed": 9}
    probe, *others = (start for start in starts if start >= opened)
    assert len(others) == 8
    assert all(other >= probe + timedelta(seconds=0.02) for other in others)
    assert one(connection, open_until) is None


@five_tries
async def test_an_open_breaker_lets_two_worker_processes_start_one_job_at_a_time_and_none_that_was_claimed_before(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    connection = connect()
    connection.execute("drop table if exists public.runs")
    connection.execute(RUNS)
    broken = tmp_path / "broken"
    broken.unlink(missing_ok=True)
    before = states(connection)
    set_queue(connection, breaker={"failures": 4, "within": 60, "cooldown": 0.4})
    opened = "select open_until - interval '0.4 s' from dtsched.queues"
    with worker_process(database, app=FAST), worker_process(database, app=FAST):
        await until(lambda: one(connection, WORKERS) == 2)
        connection.execute(
            "insert into dtsched.jobs (task, args, max_attempts) select 'fragile', %s, 1 from generate_series(1, 300)",
            (Jsonb({"broken": str(broken)}),),
        )
        await until(lambda: one(connection, "select count(distinct worker) from public.runs") == 2)
        broken.touch()
        unended = "select count(*) from dtsched.jobs where finished_at is null"
        await until(lambda: one(connection, opened) is not None or one(connection, unended) == 0)
        timely(one(connection, opened) is not None, "all ran before it could open")
        first: datetime = one(connection, opened)
        await until(lambda: one(connection, opened) != first)
        second: datetime = one(connection, opened)
        broken.unlink()
        await until_ended(connection)
    starts: list[datetime] = [at for (at,) in connection.execute("select at from public.runs order by at").fetchall()]
    cooldown, moment = timedelta(seconds=0.4), timedelta(seconds=0.1)
    failing, closing, *rest = (start for start in starts if start > first + moment)
    timely(len(rest) > 100, "it opened when there was little left to do")
    timely(first + cooldown <= failing <= second)
    timely(second + cooldown <= closing <= rest[0])
    ended = {state: count - before.get(state, 0) for state, count in states(connection).items()}
    timely(ended["failed"] <= 3 + 8 + 1, "the first of them, what ran when it opened, and the probe")
    assert ended == {"failed": ended["failed"], "completed": 300 - ended["failed"]}


@pytest.mark.parametrize("limited", ["queue", "keys", "breaker"])
async def test_a_worker_has_no_more_of_what_is_limited_than_it_has_slots(
    database: str, connect: Connect, limited: str
) -> None:
    """Of jobs this long it would fetch some ahead, and hold seats that others could use."""
    connection = connect()
    app = App()
    held: list[int] = []

    @app.task
    async def work() -> None:
        held.append(one(connection, "select count(*) from dtsched.leases"))
        await asyncio.sleep(0.03)

    if limited == "queue":
        set_queue(connection, limit=50)
    elif limited == "breaker":
        set_queue(connection, breaker={"failures": 3, "within": 60, "cooldown": 1})
    statement = "insert into dtsched.jobs (task, limit_key) select 'work', %s || n %% 30 from generate_series(1, 60) n"
    connection.execute(statement, ("k" if limited == "keys" else None,))
    async with running_worker(app, database, {"default": 2}, poll=NEVER_SECONDS):
        await until_ended(connection)
    assert len(held) == 60
    assert max(held) == 2, held


async def test_of_short_jobs_with_limit_keys_a_worker_takes_as_many_at_a_time_as_begin_within_a_moment(
    database: str, connect: Connect
) -> None:
    """One for each free slot would be two at a time."""
    connection = connect()
    app = App()

    @app.task
    async def work() -> None: ...

    connection.execute("select dtsched.set_limit('k-' || n, 100) from generate_series(0, 9) n")
    connection.execute(
        "insert into dtsched.jobs (task, limit_key) select 'work', 'k-' || n % 10 from generate_series(1, 4000) n"
    )
    async with running_worker(app, database, {"default": 2}):
        await until_ended(connection)
    assert states(connection) == {"completed": 4000}
    assert one(connection, "select count(distinct xmin::text) from dtsched.jobs") < 1000


async def test_what_was_fetched_ahead_does_not_start_after_a_pause_and_goes_back_at_once(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtsched.runtime.slots.HOARD_SECONDS", NEVER_SECONDS)
    connection = connect()
    app = App()
    started = 0
    stuck, go_on = asyncio.Event(), asyncio.Event()

    @app.task
    async def work() -> None:
        nonlocal started
        started += 1
        if started >= 300:
            stuck.set()
            await go_on.wait()

    leases = "select count(*) from dtsched.leases"
    async with running_worker(app, database, {"default": 1}, poll=NEVER_SECONDS):
        submit_work(connection, 2000)
        await stuck.wait()
        await until(lambda: one(connection, leases) > 20)
        connection.execute("select dtsched.pause('default')")
        await until(lambda: one(connection, leases) == 1)
        assert one(connection, "select dtsched.drained('default')") is False
        go_on.set()
        await until(lambda: one(connection, "select dtsched.drained('default')"))
        assert states(connection) == {"completed": 300, "ready": 1700}
        assert one(connection, "select sum(attempt) from dtsched.jobs where state = 'ready'") == 0
        assert started == 300
        connection.execute("select dtsched.resume('default')")
        await until_ended(connection)
    assert states(connection) == {"completed": 2000}


@five_tries
async def test_no_slot_is_free_for_long_while_jobs_of_mixed_length_wait_at_a_slower_worker(
    database: str, connect: Connect
) -> None:
    loop = asyncio.get_running_loop()
    choose = random.Random(4)
    runs: dict[str, list[tuple[float, float]]] = {"quick": [], "slow": []}

    def worker(name: str, times: float) -> App:
        app = App()

        @app.task(name="work")
        async def work(seconds: float) -> None:
            began = loop.time()
            await asyncio.sleep(times * seconds)
            runs[name].append((began, loop.time()))

        return app

    connection = connect()
    lengths = [0.15 if choose.random() < 0.01 else 0.001 for _ in range(1000)]
    quick, slow = (
        running_worker(worker(name, times), database, {"default": 1}, poll=NEVER_SECONDS)
        for name, times in {"quick": 1, "slow": 4}.items()
    )
    async with quick, slow:
        await until(lambda: one(connection, WORKERS) == 2)
        connection.execute(
            "insert into dtsched.jobs (task, args) select 'work', jsonb_build_object('seconds', n) from unnest(%s) n",
            (lengths,),
        )
        await until_ended(connection)
    assert set(states(connection)) == {"completed"}
    assert sum(map(len, runs.values())) == 1000
    last_start = max(began for ended in runs.values() for began, _ in ended)
    idle = {
        name: [later - earlier for (_, earlier), (later, _) in pairwise([*sorted(ended), (last_start, last_start)])]
        for name, ended in runs.items()
    }
    # Each gets as much as keeps it at work as long as the other one, at whatever pace the machine lets them go.
    work = {name: sum(end - began for began, end in runs[name]) + len(runs[name]) * median(idle[name]) for name in runs}
    timely(min(work.values()) > 0.6 * max(work.values()), work)
    timely(max(map(max, idle.values())) < 0.6, "it was free while others kept jobs waiting")


async def test_room_of_a_limited_queue_that_comes_free_is_taken_at_once_by_whoever_sleeps(
    database: str, connect: Connect
) -> None:
    """The one that ran the first job takes nothing more: it stops."""
    connection = connect()
    connection.execute(RUNS)
    set_queue(connection, limit=1)
    quick, slow = App(), App()
    ran: list[str] = []
    stopped = asyncio.Event()

    @quick.task(name="work")
    async def work_quickly() -> None:
        ran.append("quick")
        await asyncio.sleep(0.01)  # shorter than it takes to find that there is no room

    @slow.task(name="work")
    async def work_slowly() -> None:
        ran.append("slow")
        await stopped.wait()

    hungry = "select count(distinct pid) from pg_locks where locktype = 'advisory' and mode = 'ShareLock'"
    async with running_worker(slow, database, poll=NEVER_SECONDS, grace_seconds=60) as stopping:
        submit_work(connection, 20)
        await until(lambda: ran)
        async with running_worker(quick, database, poll=NEVER_SECONDS):
            await until(lambda: one(connection, hungry) > 0)
            stopping.stop()
            stopped.set()
            await until_ended(connection)
    assert ran == ["slow", *["quick"] * 19]


async def test_a_probe_that_fails_is_followed_by_another_though_its_worker_has_fallen_asleep(
    database: str, connect: Connect
) -> None:
    connection = connect()
    app = App()
    failures = 3

    @app.task
    async def work() -> None:
        nonlocal failures
        await asyncio.sleep(0.4)
        failures -= 1
        if failures >= 0:
            raise RuntimeError("the other side is down")

    set_queue(connection, breaker={"failures": 1, "within": 60, "cooldown": 0.1})
    connection.execute("insert into dtsched.jobs (task, max_attempts) select 'work', 1 from generate_series(1, 8)")
    async with running_worker(app, database, {"default": 2}, poll=NEVER_SECONDS):
        await until_ended(connection)
    assert states(connection) == {"failed": 3, "completed": 5}
