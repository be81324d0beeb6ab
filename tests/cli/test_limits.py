"""`dtsched queue set`, `limit`, `drain`, and `dtsched limit`: what holds jobs back, and why says what does."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Generator

import pytest

from dtsched.cli.settings import duration, parse_settings, rate, shown_settings
from dtsched.errors import InvalidInput
from tests.cli.conftest import Cli
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database, queues=["mail"])) as worker:
        yield worker


def test_settings_are_set_shown_as_they_were_typed_and_taken_away(cli: Cli) -> None:
    typed = ["limit=5", "rate=100/m", "burst=20", "aging=10m", "key_limit=1", "breaker=5/1m/30s", "max_attempts=3"]
    typed += ["timeout=90s", "retention.failed=30d", "retention.results=forever"]
    ended = cli("queue", "set", "mail", *typed, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.json == {
        "limit": 5,
        "rate": 100 / 60,
        "burst": 20,
        "aging": 600,
        "key_limit": 1,
        "breaker": {"failures": 5, "within": 60, "cooldown": 30},
        "max_attempts": 3,
        "timeout": 90,
        "retention": {"failed": 30 * 86400, "results": "forever"},
    }
    shown = cli("queue", "show", "mail").out
    assert {f"settings.{assignment}" for assignment in typed} == {
        "=".join(line.split(None, 1)) for line in shown.splitlines() if line.startswith("settings.")
    }
    assert re.search("^breaker +closed$", shown, re.MULTILINE)
    assert cli("queue", "set", "mail", *(f"{each.partition('=')[0]}=none" for each in typed)).err == (
        "dtsched: queue mail has no settings\n".removeprefix("dtsched: ")
    )


def test_a_queue_is_limited_in_short(cli: Cli) -> None:
    assert re.fullmatch("limit +5\n", cli("queue", "limit", "mail", "5").out)
    assert cli("queue", "limit", "mail", "none", "--json").json == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["set", "mail", "limit"], "settings are like limit=5, not 'limit'"),
        (["set", "mail", "limit=x"], 'limit must be a whole number of jobs from 0, not "x"'),
        (["set", "mail", "rate=10/y"], 'rate must be a number of jobs a second from 0.000001 to 1000000, not "10/y"'),
        (
            ["set", "mail", "breaker=5/1m"],
            "breaker must be like 5/1m/30s: failures, within, ",
        ),
        (["set", "mail", "limit=1", "limit=2"], "limit is there twice"),
        (["set", "mail", "speed=1"], 'there is no setting "speed"'),
        (["set", "mail", "retention.done=1"], "retention must be an object of completed"),
        (["set", "mail", "retention=none", "retention.failed=1"], "retention is there as a whole and in parts"),
        (["set", "a b", "limit=1"], "queue must be 1 to 128 characters"),
        (["limit", "mail", "-1"], "No such option"),
        (["limit", "mail", "many"], "limit must be a whole number of jobs"),
        (["drain", "a b"], "queue must be 1 to 128 characters"),
        (["drain", "mail", "--timeout", "soon"], "--timeout must be"),
    ],
)
def test_what_cannot_hold_is_refused_and_changes_nothing(cli: Cli, arguments: list[str], says: str) -> None:
    ended = cli("queue", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert len(ended.err.splitlines()) == 1
    assert cli("queue", "list", "--json").json == []


def test_limits_of_a_key_are_set_shown_listed_and_taken_away(cli: Cli) -> None:
    ended = cli("limit", "set", "tenant-7", "3", "--rate", "10/s", "--burst", "20", "--json")
    assert ended.json == {
        "limit_key": "tenant-7", "concurrency": 3, "rate": 10, "burst": 20, "running": 0, "waiting": 0,
        "open_until": None,
    }  # fmt: skip
    cli("limit", "set", "a/b", "--rate", "1/d")
    assert cli("limit", "list").out.splitlines() == [
        "key\tlimit\trate\tburst\trunning\twaiting\tbreaker",
        "a/b\t\t1/d\t\t0\t0\t",
        "tenant-7\t3\t10/s\t20\t0\t0\t",
    ]
    shown = dict(line.split(None, 1) for line in cli("limit", "show", "a/b").out.splitlines())
    assert (shown["limit"], shown["rate"], shown["breaker"]) == ("as the queue says", "1/d", "closed")
    assert cli("limit", "set", "a/b", "--default").code == 0
    shown = dict(line.split(None, 1) for line in cli("limit", "show", "a/b").out.splitlines()[:-1])
    assert (shown["limit"], shown["rate"]) == ("as the queue says", "as the queue says")


def test_a_key_that_nobody_has_used_is_shown_with_what_its_queue_says(cli: Cli) -> None:
    cli("queue", "set", "mail", "key_limit=3", "key_rate=90/m")
    assert cli("limit", "show", "new").out.splitlines()[-1].split(None, 3) == ["in", "queue", "default", "1 at once"]
    line = cli("limit", "show", "new", "--queue", "mail").out.splitlines()[-1]
    assert line.endswith("3 at once, 90/m, 2 after a quiet while")
    assert cli("limit", "show", "new", "--queue", "mail", "--json").json["effective"] == {
        "queue": "mail",
        "concurrency": 3,
        "rate": 1.5,
        "burst": 2,
    }
    assert cli("limit", "show", "new", "--queue", "a b").code == 2


def test_limit_keys_are_listed_page_by_page(cli: Cli) -> None:
    for number in range(3):
        cli("limit", "set", f"key-{number}", "1")
    first = cli("limit", "list", "--limit", "2")
    assert [line.split("\t")[0] for line in first.out.splitlines()] == ["key", "key-0", "key-1"]
    assert "--after 'key-1'" in first.err
    assert [each["limit_key"] for each in cli("limit", "list", "--after", "key-1", "--json").json] == ["key-2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["k"], "give N, --rate or --burst, or --default alone"),
        (["k", "3", "--default"], "give N, --rate or --burst, or --default alone"),
        (["k", "x"], 'concurrency must be a whole number of jobs from 0, not "x"'),
        (["k", "--rate", "0"], "rate must be a number of jobs a second"),
        (["k", "--burst", "0"], "burst must be a whole number of jobs from 1, not 0"),
        (["", "1"], "limit_key must be 1 to 255 characters"),
    ],
)
def test_limits_that_cannot_be_are_refused(cli: Cli, arguments: list[str], says: str) -> None:
    ended = cli("limit", "set", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert cli("limit", "list", "--json").json == []


def test_draining_ends_when_the_last_job_has(cli: Cli, worker: Worker) -> None:
    jobs = worker.insert(2, queue="mail")
    assert worker.claim(1, queue="mail") == jobs[:1]
    finishing = threading.Timer(0.7, lambda: worker.finish(jobs[0]))
    began = time.monotonic()
    finishing.start()
    ended = cli("queue", "drain", "mail", "--json")
    assert time.monotonic() - began >= 0.7
    finishing.join()
    assert (ended.code, ended.json["running"], ended.json["ready"]) == (0, 0, 1)
    assert ended.json["paused_at"] is not None
    assert ended.err.splitlines() == [
        "1 job of queue mail still running",
        "queue mail is paused, and none of its jobs runs",
    ]


def test_draining_that_takes_too_long_is_124_and_leaves_the_queue_paused(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert(queue="mail")
    assert worker.claim(queue="mail") == [job]
    ended = cli("queue", "drain", "mail", "--timeout", "100ms")
    assert ended.code == 124
    assert ended.err.splitlines()[-1] == "1 job of queue mail still running after that time; it stays paused"
    assert cli("queue", "show", "mail", "--json").json["paused_at"] is not None


def test_why_names_who_holds_the_seat_and_what_goes_before(cli: Cli, worker: Worker) -> None:
    first, second, third = worker.insert_limited("acme", 3, queue="mail")
    assert worker.claim(queue="mail") == [first]
    held = f"limit key acme runs as many jobs as it may: 1 of 1, held by job {first} on worker test"
    assert [reason["reason"] for reason in cli("why", str(second), "--json").json["reasons"]] == [held]
    assert "a job of its limit key goes before it" in cli("why", str(third)).out


def test_why_names_the_bucket_and_the_breaker(cli: Cli, worker: Worker) -> None:
    cli("queue", "set", "mail", "rate=1/h", "breaker=1/1m/1h")
    first, second = worker.insert(2, queue="mail")
    assert worker.claim(queue="mail") == [first]
    assert "the rate of queue mail" in cli("why", str(second)).out
    worker.finish_as("fail", first)
    assert "too many jobs of queue mail failed: nothing of it starts until" in cli("why", str(second)).out
    shown = cli("queue", "show", "mail")
    assert re.search("^breaker +open until 2", shown.out, re.MULTILINE)
    assert cli("queue", "list").out.splitlines()[1].split("\t")[1] == "breaker open"


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(10, "10/s"), (100 / 60, "100/m"), (5000 / 3600, "5000/h"), (1 / 86400, "1/d"), (0.5, "30/m"), (1e-6, "1e-06/s")],
)
def test_a_rate_is_shown_as_it_may_be_typed(per_second: float, text: str) -> None:
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(600, "10m"), (90, "90s"), (1.5, "1500ms"), (0.25, "250ms"), (2592000, "30d"), (3600, "1h"), (0, "0s")],
)
def test_a_duration_is_shown_as_it_may_be_typed(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_setting_that_a_newer_schema_has_is_shown_as_it_is() -> None:
    assert shown_settings({"colour": {"a": 1}, "limit": 5}) == [("limit", "5"), ("colour", '{"a":1}')]


def test_an_assignment_without_a_value_takes_the_setting_away() -> None:
    assert parse_settings(["limit=", "retention.failed=none"]) == {"limit": None, "retention": {"failed": None}}
    with pytest.raises(InvalidInput):
        parse_settings(["=5"])
