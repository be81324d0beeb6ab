"""`dtsched schedule`: made, listed, shown, paused, run and removed."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.conftest import Connect


def test_a_schedule_is_made_changed_shown_and_removed(cli: Cli) -> None:
    made = cli("schedule", "add", "nightly", "30 2 * * *", "echo", "value=1", "--tz", "Europe/Berlin", "--tag", "a")
    assert (made.code, made.out) == (0, "name\toutcome\nnightly\tmade\n")
    changed = cli("schedule", "add", "nightly", "30 3 * * *", "echo", "--tz", "Europe/Berlin", "--json")
    assert changed.json == {"name": "nightly", "created": False}
    shown = cli("schedule", "show", "nightly")
    assert "spec           30 3 * * *\n" in shown.out
    assert "state          active\n" in shown.out
    assert cli("schedule", "show", "nightly", "--json").json["schedule"]["tz"] == "Europe/Berlin"
    removed = cli("schedule", "remove", "nightly")
    assert (removed.code, removed.out) == (0, "name\toutcome\nnightly\tremoved\n")
    gone = cli("schedule", "show", "nightly")
    assert (gone.code, gone.err) == (3, "dtsched: there is no schedule nightly\n")


def test_next_prints_the_times_of_its_zone(cli: Cli) -> None:
    cli("schedule", "add", "nightly", "30 2 * * *", "echo", "--tz", "Asia/Kathmandu")
    ended = cli("schedule", "next", "nightly", "--count", "2")
    lines = ended.out.splitlines()
    assert len(lines) == 2
    assert all(line.endswith(" 02:30:00+05:45") for line in lines)
    assert len(cli("schedule", "next", "nightly", "--json").json["times"]) == 5


def test_pausing_and_resuming_say_what_they_changed_and_change_all_or_none(cli: Cli) -> None:
    cli("schedule", "add", "a", "@daily", "echo")
    assert cli("schedule", "pause", "a").out == "name\toutcome\na\tpaused\n"
    assert cli("schedule", "pause", "a", "--json").json == [{"name": "a", "paused": True, "changed": False}]
    assert cli("schedule", "list").out.splitlines()[1].split("\t")[:2] == ["a", "paused"]
    assert cli("schedule", "resume", "a", "nosuch").code == 3
    assert cli("schedule", "show", "a", "--json").json["schedule"]["paused_at"] is not None
    assert cli("schedule", "resume", "a").out == "name\toutcome\na\tresumed\n"


def test_run_prints_the_id_of_the_job_and_says_when_it_kept_another(cli: Cli) -> None:
    cli("schedule", "add", "a", "@daily", "echo", "value=1", "--overlap", "skip")
    job = cli("schedule", "run", "a").out.strip()
    assert cli("show", job, "--json").json["args"] == {"value": 1}
    again = cli("schedule", "run", "a")
    assert (again.out.strip(), "its overlap is skip" in again.err) == (job, True)


def test_what_became_of_the_ticks_is_shown(cli: Cli, connect: Connect) -> None:
    cli("schedule", "add", "a", "@daily", "echo", "--tz", "Europe/Berlin", "--catchup", "skip")
    connect().execute("""
        update dtsched.schedules set next_at = '2026-01-01 23:00Z';
        select dtsched.fire('a', version, next_at, array[next_at], '2100-01-01 23:00Z') from dtsched.schedules;
        """)
    assert "2026-01-02 00:00:00+01:00\tmissed\t\n" in cli("schedule", "show", "a").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a", "0 0 30 2 *", "echo"], "spec '0 0 30 2 *' never fires: no month has such a day"),
        (["a", "* * * *", "echo"], "spec must be cron fields"),
        (
            ["a", "@daily", "echo", "--tz", "Mars/X"],
            "tz must be the name of a time zone like Europe/Berlin, not 'Mars/X'",
        ),
        (["a", "@daily", "echo", "--catchup-limit", "0"], "catchup_limit must be 1 to 1000, not 0"),
        (["a", "@daily", "echo", "--catchup", "some"], "--catchup"),
        (["a b", "@daily", "echo"], "name must be 1 to 128 characters"),
        (["a", "@daily", "echo", "--priority", "11"], "priority must be 1 to 10, not 11"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_in_one_sentence(cli: Cli, arguments: list[str], says: str) -> None:
    ended = cli("schedule", "add", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert cli("schedule", "list", "--json").json == []


def test_what_the_code_of_running_workers_declares_is_not_removed(cli: Cli, connect: Connect) -> None:
    declared = '[{"name": "a", "spec": "@daily", "task": "echo"}]'
    connect().execute("select dtsched.declare_schedules(%s::jsonb)", [declared])
    cli("schedule", "add", "b", "@daily", "echo")
    ended = cli("schedule", "remove", "b", "a")
    assert (ended.code, "declared by the code of running workers" in ended.err) == (4, True)
    assert len(cli("schedule", "list", "--json").json) == 2


@pytest.mark.parametrize("columns", [50, 140])
def test_the_list_fits_the_terminal(cli: Cli, database: str, columns: int) -> None:
    cli("schedule", "add", "s" * 100, "0 9 * * mon-fri", "t" * 100, "--tz", "America/Argentina/Buenos_Aires")
    code, text = on_terminal("schedule", "list", columns=columns, env={"DTSCHED_DSN": database})
    assert code == 0
    assert max(map(len, text.splitlines())) <= columns
