"""Schedules in workers: each tick once with five of them and one killed, declared by code, edited while they run, and
wrong ones that harm nobody."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from dtsched import App, InvalidInput
from dtsched.maintenance.link import Link
from dtsched.maintenance.schedules import Schedules
from dtsched.store import open_store
from tests.conftest import Connect
from tests.runtime.scheduled import EVERY_SECOND
from tests.runtime.workers import one, running_worker, until, worker_process
from tests.support.patience import five_tries, timely, within

SECOND = timedelta(seconds=1)


async def step(dsn: str) -> None:
    link = Link(lambda: open_store(dsn, role="test"))
    await Schedules(link).run_once()
    await link.close()


async def test_five_workers_fire_each_tick_once_and_none_is_missing_when_one_is_killed(
    database: str, connect: Connect
) -> None:
    connection = connect()
    with contextlib.ExitStack() as fleet:
        workers = [
            fleet.enter_context(worker_process(database, app="tests.runtime.scheduled:app", lease="2s"))
            for _ in range(5)
        ]
        await until(lambda: one(connection, "select count(*) from dtsched.ticks where outcome = 'fired'") >= 8)
        workers[0].kill()
        enough = one(connection, "select count(*) from dtsched.ticks") + 12
        await until(lambda: one(connection, "select count(*) from dtsched.ticks") >= enough)
    for name in EVERY_SECOND:
        noted = "select tick from dtsched.ticks where schedule = %s and outcome = 'fired' order by tick"
        ticks = [row[0] for row in connection.execute(noted, [name])]
        assert ticks == [ticks[0] + number * SECOND for number in range(len(ticks))]
        assert ticks[-1] == one(connection, "select last_tick from dtsched.schedules where name = %s", name)
    assert one(connection, "select count(*) from dtsched.jobs") == one(connection, "select count(*) from dtsched.ticks")
    assert one(connection, "select count(distinct job_id) = count(*) from dtsched.ticks")


async def test_a_tick_of_an_idle_fleet_is_late_by_less_than_a_second(database: str, connect: Connect) -> None:
    connection = connect()
    app = App(database)
    app.schedule("* * * * * *", name="s")(app.task(name="note")(_note))
    async with running_worker(app, database, poll=1.0):
        await await_three_ticks(connection)


@five_tries
async def await_three_ticks(connection: psycopg.Connection) -> None:
    ticks = "select count(*) from dtsched.ticks"
    enough = one(connection, ticks) + 3
    await until(lambda: one(connection, ticks) >= enough)
    newest = "select max(at - tick) from (select * from dtsched.ticks order by tick desc limit 3) newest"
    timely(one(connection, newest) < SECOND)


async def _note() -> None: ...


async def test_what_code_declares_fires_with_its_arguments_and_edits_survive_a_restart(
    database: str, connect: Connect
) -> None:
    connection = connect()
    app = App(database)
    ran: list[str] = []

    @app.schedule("* * * * * *", args={"word": "code"}, queue="default", overlap="skip")
    async def say(word: str) -> None:
        ran.append(word)

    async with running_worker(app, database):
        await until(lambda: "code" in ran)
        connection.execute("""select dtsched.save_schedule('say', '{"args": {"word": "edited"}}', true)""")
        await until(lambda: "edited" in ran)
    ran.clear()
    async with running_worker(app, database):
        await until(lambda: ran)
    assert set(ran) == {"edited"}


async def test_a_schedule_made_in_sql_is_in_force_within_two_seconds(database: str, connect: Connect) -> None:
    connection = connect()
    app = App(database)
    app.task(name="note")(_note)
    async with running_worker(app, database, poll=1.0):
        numbers = count()

        @five_tries
        async def schedule_another() -> None:
            name = f"s{next(numbers)}"
            connection.execute("select dtsched.schedule(%s, 'every 1s', 'note')", [name])
            with within(3.5):  # a poll to compute it, a second to its tick, and one for a busy machine
                await until(lambda: one(connection, "select count(*) from dtsched.ticks where schedule = %s", name) > 0)

        await schedule_another()


async def test_a_wrong_spec_becomes_a_problem_and_the_others_go_on(database: str, connect: Connect) -> None:
    connection = connect()
    for name, spec in (("a", "0 0 30 2 *"), ("b", "0 25 * * *"), ("z", "every 1s")):
        connection.execute("select dtsched.schedule(%s, %s, 'note')", [name, spec])
    connection.execute("update dtsched.schedules set tz = 'Mars/X' where name = 'z'")
    connection.execute("select dtsched.schedule('good', 'every 1s', 'note')")
    await step(database)
    problems = connection.execute("select name, problem from dtsched.list_schedules() where problem is not null")
    assert dict(problems.fetchall()) == {
        "a": "spec '0 0 30 2 *' never fires: no month has such a day",
        "b": "spec has no valid hour in '0 25 * * *'",
        "z": "tz must be the name of a time zone like Europe/Berlin, not 'Mars/X'",
    }
    assert one(connection, "select next_at > now() - interval '1 s' from dtsched.schedules where name = 'good'")
    connection.execute("select dtsched.schedule('b', '0 23 * * *', 'note')")
    await step(database)
    assert one(connection, "select next_at is not null and problem is null from dtsched.list_schedules('b')")


async def test_a_week_of_seconds_that_nobody_fired_is_made_up_for_up_to_the_limit(
    database: str, connect: Connect
) -> None:
    connection = connect()
    connection.execute("select dtsched.schedule('s', '* * * * * *', 'note', catchup => 'all', catchup_limit => 3,"
                       " tolerance => '0')")  # fmt: skip
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=7)
    connection.execute("update dtsched.schedules set next_at = %s", [long_ago])
    await step(database)
    fired = [row[0] for row in connection.execute(
        "select tick from dtsched.ticks where outcome = 'fired' order by tick")]  # fmt: skip
    newest = one(connection, "select last_tick from dtsched.schedules")
    assert fired == [newest - 2 * SECOND, newest - SECOND, newest]
    assert one(connection, "select min(tick) from dtsched.ticks where outcome = 'missed'") == long_ago
    assert one(connection, "select count(*) from dtsched.ticks") == 1001
    assert one(connection, "select next_at from dtsched.schedules") == newest + SECOND


async def test_a_tick_that_was_announced_happens_although_the_zones_have_changed_since(
    database: str, connect: Connect
) -> None:
    connection = connect()
    connection.execute("select dtsched.schedule('s', '0 9 * * *', 'note')")
    connection.execute("update dtsched.schedules set next_at = date_trunc('minute', now()) - interval '17 s'")
    await step(database)
    assert one(connection, "select outcome from dtsched.ticks where extract(second from tick) = 43") == "fired"


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("0 0 30 2 *", {}, "never fires"),
        ("* * * * *", {"tz": "Europe/Nowhere"}, "tz must be the name of a time zone"),
        ("* * * * *", {"overlap": "never"}, "overlap must be allow, skip or cancel, not 'never'"),
        ("* * * * *", {"catchup_limit": 0}, "catchup_limit must be 1 to 1000, not 0"),
        ("* * * * *", {"tolerance": "1y"}, "tolerance must be a number of seconds"),
        ("* * * * *", {"args": {"nothing": 1}}, "nothing"),
        ("* * * * *", {"name": "a b"}, "name must be 1 to 128 characters"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_in_code(spec: str, options: dict[str, Any], says: str) -> None:
    app = App()
    with pytest.raises(InvalidInput, match=says):
        app.schedule(spec, **options)(_note)


def test_a_name_is_declared_once_and_a_task_may_have_several_schedules() -> None:
    app = App()
    task = app.schedule("@daily")(_note)
    app.schedule("@hourly", name="hourly")(task)
    assert set(app.registry.schedules) == {"_note", "hourly"}
    with pytest.raises(InvalidInput, match="there is a schedule hourly already"):
        app.schedule("@weekly", name="hourly")(task)
