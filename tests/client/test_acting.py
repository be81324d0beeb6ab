"""The verbs of the client: what SQL, REST and the command line can do to jobs, queues and schedules, Python can too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest

from dtsched import App, InvalidInput, NewJob, NotFound
from dtsched.client import Client
from dtsched.schedules import NewSchedule
from tests.support.bad_input import declare

LATER = datetime(2030, 1, 31, 9, tzinfo=UTC)
MISSING = 987_654_321


@pytest.fixture
async def client(database: str) -> AsyncGenerator[Client]:
    with psycopg.connect(database, autocommit=True) as connection:
        declare(connection)
    async with Client(database) as client:
        yield client


async def submitted(client: Client, **fields: Any) -> int:
    return (await client.submit(NewJob(task="echo", args={"value": 1}, **fields))).id


async def test_jobs_are_put_off_called_in_cancelled_sent_back_and_deleted(client: Client) -> None:
    job = await submitted(client)
    assert await client.reschedule([job], LATER) == {job: "scheduled"}
    assert (await client.get(job)).run_at == LATER
    assert await client.run_now([job]) == {job: "ready"}
    assert await client.cancel([job]) == {job: "cancelled"}
    assert await client.retry([job, MISSING]) == {job: "retried", MISSING: "missing"}
    assert await client.delete([job]) == {job: "deleted"}
    with pytest.raises(NotFound, match=f"there is no job {job}"):
        await client.why(job)


async def test_a_job_says_why_it_waits_and_what_became_of_its_attempts_and_steps(client: Client) -> None:
    job = await submitted(client, delay="10m")
    (reason,) = await client.why(job)
    assert (reason.code, reason.reason.split(" at ")[0]) == ("later", "it is to run")
    assert (await client.attempts(job), await client.steps(job)) == ([], [])


async def test_a_handle_is_sent_back_and_says_why(database: str) -> None:
    app = App(database)

    @app.task
    async def echo(value: int) -> int:
        return value

    async with app:
        job = await echo.submit(1)
        assert await job.retry() == "unfinished"
        await job.cancel()
        assert [reason.code for reason in await job.why()] == ["cancelled"]
        assert await job.retry() == "retried"


async def test_time_zones_are_asked_for(client: Client) -> None:
    job = await submitted(client)
    with pytest.raises(InvalidInput, match="run_at must carry a time zone, as in 2030-01-31T09:00:00Z, not 2030"):
        await client.reschedule([job], datetime(2030, 1, 31))


async def test_lists_take_the_filter_language(client: Client) -> None:
    mail, _ = await submitted(client, queue="mail"), await submitted(client)
    assert [job.id for job in (await client.list_jobs("queue:mail state:pending")).jobs] == [mail]
    assert len((await client.list_jobs()).jobs) == 2
    with pytest.raises(InvalidInput, match="there is no filter 'stat'; there are state, queue"):
        await client.list_jobs("stat:failed")


async def test_a_queue_is_paused_and_resumed(client: Client) -> None:
    assert [await client.pause("mail"), await client.pause("mail")] == [True, False]
    assert (await client.queues("mail"))[0].paused_at is not None
    assert [await client.resume("mail"), await client.resume("mail")] == [True, False]
    with pytest.raises(InvalidInput, match="queue must be 1 to 128 characters"):
        await client.pause("a b")


async def test_retention_is_set_and_what_is_past_it_is_deleted(client: Client) -> None:
    job = await submitted(client)
    await client.cancel([job])
    assert (await client.prune()).jobs == 0
    await client.set_retention({"cancelled": "0s"}, "default")
    assert (await client.retention("default"))[0].cancelled == 0
    assert tuple(await client.prune()) == (1, 0, 0, False)
    with pytest.raises(InvalidInput, match="retention must be an object of completed, failed, cancelled"):
        await client.set_retention({"complete": "1h"})


async def test_schedules_are_made_changed_run_paused_and_removed(client: Client) -> None:
    daily = NewSchedule(spec="@daily", task="echo", args={"value": 1})
    assert [await client.save_schedule("nightly", daily), await client.save_schedule("nightly", daily)] == [True, False]
    changed = await client.change_schedule("nightly", spec="0 3 * * *", timeout="5m")
    assert (changed.spec, changed.timeout, changed.task) == ("0 3 * * *", 300.0, "echo")
    assert (await client.run_schedule("nightly")).created
    assert [await client.pause_schedule("nightly"), await client.resume_schedule("nightly")] == [True, True]
    assert [schedule.name for schedule in await client.schedules()] == ["nightly"]
    await client.unschedule("nightly")
    with pytest.raises(NotFound, match='there is no schedule "nightly"'):
        await client.change_schedule("nightly", spec="@daily")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"spec": "@dayly"}, "spec must be cron fields"),
        ({"spec": None}, "spec has no default: give it, or leave it out"),
        ({"spek": "@daily"}, "a schedule has no field 'spek': known are spec, task, args"),
        ({"overlap": "drop"}, "overlap must be allow, skip or cancel, not 'drop'"),
    ],
)
async def test_changes_of_a_schedule_are_checked_first(client: Client, fields: dict[str, Any], says: str) -> None:
    await client.save_schedule("nightly", NewSchedule(spec="@daily", task="echo"))
    with pytest.raises(InvalidInput) as refused:
        await client.change_schedule("nightly", **cast("Any", fields))
    assert str(refused.value).startswith(says)
    assert (await client.schedule("nightly")).version == 1
