"""Schedules over REST: made, changed, paused, run and removed, refused in sentences, and fired by the server itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.api.conftest import Api, Serve
from tests.conftest import Connect
from tests.runtime.workers import one, until

URL = "/v1/schedules/nightly"
NIGHTLY = {"spec": "30 2 * * *", "task": "echo", "tz": "Europe/Berlin"}


async def test_a_schedule_is_made_replaced_changed_and_removed(api: Api) -> None:
    made = await api.put(URL, json={**NIGHTLY, "timeout": "10m", "args": {"value": 1}})
    assert made.status_code == 201
    assert (made.json()["timeout"], made.json()["args"], made.json()["catchup"]) == (600.0, {"value": 1}, "latest")
    replaced = await api.put(URL, json=NIGHTLY)
    assert (replaced.status_code, replaced.json()["timeout"]) == (200, None)
    changed = await api.patch(URL, json={"overlap": "skip", "tolerance": "5m", "tz": None})
    told = changed.json()
    assert (told["overlap"], told["tolerance"], told["tz"], told["spec"]) == ("skip", 300.0, "UTC", "30 2 * * *")
    assert told["version"] > replaced.json()["version"]
    assert [each["name"] for each in (await api.get("/v1/schedules")).json()["schedules"]] == ["nightly"]
    assert (await api.delete(URL)).status_code == 204
    assert (await api.get(URL)).status_code == 404
    assert (await api.delete(URL)).status_code == 404


async def test_next_times_are_told_as_the_clocks_of_the_zone_show_them(api: Api) -> None:
    await api.put(URL, json=NIGHTLY)
    told = (await api.get(f"{URL}/next?count=3")).json()
    assert told["tz"] == "Europe/Berlin"
    times = [datetime.fromisoformat(time) for time in told["times"]]
    assert len(times) == 3
    assert all(time.hour in (2, 3) and time.utcoffset() for time in times)
    assert len((await api.get(f"{URL}/next")).json()["times"]) == 5


async def test_null_leaves_the_arguments_to_their_default(api: Api) -> None:
    made = await api.put(URL, json={**NIGHTLY, "args": None})
    assert (made.status_code, made.json()["args"]) == (201, {})
    await api.patch(URL, json={"args": {"value": 1}})
    changed = await api.patch(URL, json={"args": None})
    assert (changed.status_code, changed.json()["args"]) == (200, {})


@pytest.mark.parametrize("query", ["count=0", "count=101", "count=x", "count=1&count=2", "nothing=1"])
async def test_a_query_that_is_none_is_refused(api: Api, query: str) -> None:
    await api.put(URL, json=NIGHTLY)
    assert (await api.get(f"{URL}/next?{query}")).status_code == 400


async def test_a_paused_schedule_shows_no_next_time_and_runs_on_request(api: Api) -> None:
    await api.put(URL, json={**NIGHTLY, "overlap": "skip"})
    paused = await api.post(f"{URL}/pause")
    assert (paused.json()["paused_at"] is not None, paused.json()["next_at"]) == (True, None)
    ran = await api.post(f"{URL}/run")
    assert (ran.status_code, ran.json()["created"]) == (201, True)
    assert (await api.get(ran.headers["location"])).json()["task"] == "echo"
    again = await api.post(f"{URL}/run")
    assert (again.status_code, again.json()) == (200, {"id": ran.json()["id"], "created": False, "outcome": "kept"})
    assert (await api.post(f"{URL}/resume")).json()["paused_at"] is None


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"spec": "0 0 30 2 *"}, 422, "spec"),
        ({"spec": "61 * * * *"}, 422, "spec"),
        ({"spec": None}, 400, "spec"),
        ({"tz": "Mars/X"}, 422, "tz"),
        ({"catchup": "some"}, 400, "catchup"),
        ({"catchup_limit": 0}, 422, "catchup_limit"),
        ({"overlap": "never"}, 400, "overlap"),
        ({"tolerance": "1 year"}, 422, "tolerance"),
        ({"priority": 11}, 422, "priority"),
        ({"args": []}, 400, "args"),
        ({"run_at": "2030-01-01T00:00:00Z"}, 400, "run_at"),
        ({"task": "a b"}, 422, "task"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused_in_a_sentence_that_names_the_field(
    empty_api: Api, fields: dict[str, Any], status: int, field: str
) -> None:
    refused = await empty_api.put(URL, json={**NIGHTLY, **fields})
    problem = refused.json()
    assert (refused.status_code, problem["errors"][0]["field"]) == (status, field), problem
    assert (await empty_api.get(URL)).status_code == 404


async def test_a_change_is_checked_as_a_whole_and_changes_nothing_when_it_is_refused(api: Api) -> None:
    await api.put(URL, json=NIGHTLY)
    for change in ({"spec": "0 0 30 2 *"}, {"task": None}, {"tz": "Mars/X"}, {"nothing": 1}, {"priority": "x"}):
        assert (await api.patch(URL, json=change)).status_code in (400, 422)
    told = (await api.get(URL)).json()
    assert {name: told[name] for name in NIGHTLY} == NIGHTLY


async def test_what_the_code_of_running_workers_declares_is_not_removed(api: Api, connect: Connect) -> None:
    declared = '[{"name": "nightly", "spec": "@daily", "task": "echo"}]'
    connect().execute("select dtsched.declare_schedules(%s::jsonb)", [declared])
    refused = await api.delete(URL)
    assert refused.status_code == 409
    assert "declared by the code of running workers" in refused.json()["detail"]


async def test_a_server_alone_fires_schedules_and_makes_due_jobs_ready(
    serve_api: Serve, database: str, connect: Connect
) -> None:
    connection = connect()
    serve_api(database)
    connection.execute("select dtsched.schedule('s', 'every 1s', 'echo')")
    connection.execute("select dtsched.submit('echo', delay => '0.5 s')")
    await until(lambda: one(connection, "select count(*) from dtsched.ticks where outcome = 'fired'") >= 2)
    await until(lambda: one(connection, "select count(*) from dtsched.jobs where state = 'scheduled'") == 0)
