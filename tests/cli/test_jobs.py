"""Submitting, listing, showing and cancelling by command line, read back from the tables."""

import datetime as dt
from pathlib import Path

import pytest
from psycopg.rows import dict_row

from tests.cli.command import run
from tests.cli.conftest import Cli
from tests.conftest import Connect


def test_a_job_goes_in_is_listed_shown_and_cancelled(cli: Cli) -> None:
    submitted = cli("submit", "echo", "value=hello", "--queue", "mail", "--tag", "a", "--tag", "b", "--json").json
    assert submitted["created"] is True
    shown = cli("show", str(submitted["id"]), "--json").json
    assert (shown["task"], shown["args"], shown["queue"], shown["tags"]) == (
        "echo",
        {"value": "hello"},
        "mail",
        ["a", "b"],
    )
    assert [job["id"] for job in cli("list", "--json").json["jobs"]] == [submitted["id"]]
    assert cli("cancel", str(submitted["id"]), "--json").json == [{"id": submitted["id"], "outcome": "cancelled"}]
    assert cli("show", str(submitted["id"]), "--json").json["state"] == "cancelled"


def test_the_id_alone_goes_to_stdout(cli: Cli) -> None:
    ended = cli("submit", "echo")
    assert ended.out.strip().isdecimal()
    assert ended.err == ""


def test_values_are_json_where_they_read_as_json_and_text_otherwise(cli: Cli) -> None:
    pairs = [
        "n=3",
        "on=true",
        "nothing=null",
        "list=[1,2]",
        'quoted="3"',
        "name=007",
        "to=a@x.org",
        "sum=1+1=2",
        "empty=",
    ]
    job_id = cli("submit", "echo", *pairs).out.strip()
    assert cli("show", job_id, "--json").json["args"] == {
        "n": 3,
        "on": True,
        "nothing": None,
        "list": [1, 2],
        "quoted": "3",
        "name": "007",
        "to": "a@x.org",
        "sum": "1+1=2",
        "empty": "",
    }


def test_args_come_from_text_a_file_or_stdin_and_pairs_go_over_them(database: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"a": 1, "b": 2}')
    for arguments, stdin in ((['{"a": 1, "b": 2}'], ""), ([f"@{tmp_path}/args.json"], ""), (["-"], '{"a": 1, "b": 2}')):
        ended = run("submit", "echo", "b=3", "--args", *arguments, "--dsn", database, stdin=stdin)
        assert cli("show", ended.out.strip(), "--json").json["args"] == {"a": 1, "b": 3}


def test_every_option_reaches_its_column(cli: Cli, connect: Connect) -> None:
    parent = cli("submit", "echo").out.strip()
    options = ["--priority", "9", "--key", "order-1", "--max-attempts", "7", "--timeout", "2m", "--limit-key", "shop"]
    options += ["--backoff", '{"kind": "fixed", "base": 10}']
    job_id = cli("submit", "echo", *options, "--depends-on", parent).out.strip()
    cursor = connect().cursor(row_factory=dict_row)
    row = cursor.execute(
        "select priority, key, max_attempts, timeout, limit_key, depends_on, state, backoff"
        " from dtsched.jobs where id = %s",
        [job_id],
    ).fetchone()
    assert row == {
        "priority": 9,
        "key": "order-1",
        "max_attempts": 7,
        "timeout": dt.timedelta(minutes=2),
        "limit_key": "shop",
        "depends_on": [int(parent)],
        "state": "blocked",
        "backoff": {"kind": "fixed", "base": 10},
    }
    refused = cli("submit", "echo", "--backoff", "fixed")
    assert (refused.code, "--backoff must be JSON" in refused.err) == (2, True)


def test_in_and_at_delay_a_job(cli: Cli) -> None:
    later = cli("show", cli("submit", "echo", "--in", "10m").out.strip(), "--json").json
    assert later["state"] == "scheduled"
    assert dt.datetime.fromisoformat(later["run_at"]) - dt.datetime.fromisoformat(later["created_at"]) == pytest.approx(
        dt.timedelta(minutes=10), abs=dt.timedelta(seconds=1)
    )
    fixed = cli("show", cli("submit", "echo", "--at", "2040-01-31T09:00:00+01:00").out.strip(), "--json").json
    assert dt.datetime.fromisoformat(fixed["run_at"]) == dt.datetime(2040, 1, 31, 8, tzinfo=dt.UTC)
    local = cli("show", cli("submit", "echo", "--at", "2040-01-31T09:00").out.strip(), "--json").json
    assert dt.datetime.fromisoformat(local["run_at"]) == dt.datetime(2040, 1, 31, 9).astimezone()


def test_a_key_that_is_held_keeps_its_job(cli: Cli) -> None:
    first = cli("submit", "echo", "--key", "order-1")
    second = cli("submit", "echo", "--key", "order-1")
    assert (second.code, second.out) == (0, first.out)
    assert "order-1" in second.err
    assert len(cli("list", "--json").json["jobs"]) == 1


def test_lists_are_filtered_and_paged_newest_first(cli: Cli) -> None:
    ids = [int(cli("submit", "echo", "--queue", queue).out) for queue in ("a", "a", "b", "a")]
    assert [job["id"] for job in cli("list", "queue:a", "--json").json["jobs"]] == [ids[3], ids[1], ids[0]]
    page = cli("list", "queue:a", "--limit", "2", "--json").json
    assert ([job["id"] for job in page["jobs"]], page["next"]) == ([ids[3], ids[1]], str(ids[1]))
    rest = cli("list", "queue:a", "--limit", "2", "--before", page["next"], "--json").json
    assert ([job["id"] for job in rest["jobs"]], rest["next"]) == ([ids[0]], None)
    cli("cancel", str(ids[0]))
    assert [job["id"] for job in cli("list", "state:cancelled", "task:echo", "--json").json["jobs"]] == [ids[0]]
    assert len(cli("list", "state:pending", "--json").json["jobs"]) == 3


def test_a_list_without_a_terminal_is_tab_separated_and_whole(cli: Cli) -> None:
    queue = "q" * 128
    job_id = cli("submit", "echo", "--queue", queue).out.strip()
    header, row = cli("list").out.splitlines()
    assert header.split("\t")[:4] == ["id", "state", "queue", "task"]
    assert row.split("\t")[:4] == [job_id, "ready", queue, "echo"]


def test_control_characters_in_stored_text_do_not_reach_the_terminal(cli: Cli, connect: Connect) -> None:
    job_id = cli("submit", "echo").out.strip()
    connect().execute("update dtsched.jobs set error = E'red \\x1b[31m\\nforged\\u202e' where id = %s", [job_id])
    for out in (cli("list").out, cli("show", job_id).out):
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert r"red \x1b[31m\nforged\u202e" in out


def test_cancelling_says_what_came_of_each(cli: Cli) -> None:
    waiting, ended = (cli("submit", "echo").out.strip() for _ in range(2))
    cli("cancel", ended)
    result = cli("cancel", waiting, ended, "999999", "--json")
    assert result.json == [
        {"id": int(waiting), "outcome": "cancelled"},
        {"id": int(ended), "outcome": "finished"},
        {"id": 999999, "outcome": "missing"},
    ]
    assert result.code == 3


def test_a_job_shows_its_deadline_and_its_key_and_a_result_that_has_expired(cli: Cli, connect: Connect) -> None:
    cli("submit", "echo", "--key", "k", "--key-for", "kept", "--deadline", "2090-01-01T00:00:00Z")
    shown = dict(line.split(None, 1) for line in cli("show", "1").out.splitlines())
    assert (shown["deadline"][:7], shown["key_until"]) == ("2090-01", "as long as the job is kept")
    assert shown["why"].startswith("no live worker serves queue default")
    why = cli("why", "1", "--json").json["reasons"]
    assert [reason["code"] for reason in why] == ["no_worker", "deadline"]

    connect().execute("update dtsched.jobs set state = 'completed', result = '7', finished_at = '2026-01-01 00:00Z'")
    assert cli("result", "1").out == "7\n"
    cli("queue", "retention", "--results", "1h")
    gone = cli("result", "1")
    assert (gone.code, gone.out) == (3, "")
    assert gone.err.startswith("job 1 completed, and its result expired at ")
    assert cli("result", "1", "--json").json["result_expired_at"] == "2026-01-01T01:00:00Z"
