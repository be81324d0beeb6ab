"""`dtsched edit`, `prune` and `queue retention`."""

from collections.abc import Generator
from contextlib import closing

import pytest

from tests.cli.conftest import Cli
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


def fail(worker: Worker, count: int) -> list[int]:
    jobs = worker.insert(count)
    worker.claim(count)
    worker.finish_as("fail", *jobs)
    return jobs


def test_a_job_is_changed_value_by_value(cli: Cli) -> None:
    job = cli("submit", "echo", "to=wrong@x.org", "copies=2").out.strip()
    changes = ["args.to=right@x.org", "queue=7", "priority=9", "timeout=5m", 'tags=["a"]', "limit_key=smtp"]
    changes += ["deadline=2030-01-31T09:00Z", "max_attempts=2"]
    ended = cli("edit", job, *(part for change in changes for part in ("--set", change)))
    assert (ended.code, ended.out.splitlines()[1].split("\t")[:2]) == (0, [job, "edited"])
    shown = cli("show", job, "--json").json
    shown = shown.get("job", shown)
    assert shown["args"] == {"to": "right@x.org", "copies": 2}
    assert (shown["queue"], shown["priority"], shown["timeout"]) == ("7", 9, 300)
    assert (shown["tags"], shown["limit_key"], shown["max_attempts"]) == (["a"], "smtp", 2)
    assert cli("edit", job, "--set", 'args={"x": 1}', "--set", "timeout=null", "--set", "limit_key=null").code == 0
    shown = cli("show", job, "--json").json
    shown = shown.get("job", shown)
    assert (shown["args"], shown["timeout"], shown["limit_key"]) == ({"x": 1}, None, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("priority=11", "priority must be 1 to 10, not 11"),
        ("priority", "--set takes NAME=VALUE, not 'priority'"),
        ("task=x", "can be changed, not 'task'"),
        ("queue=null", "queue must have a value, not null"),
        ("deadline=soon", "deadline must be a finite time"),
        ("args=1", "args"),
    ],
)
def test_what_no_job_may_have_is_2_and_changes_nothing(cli: Cli, change: str, said: str) -> None:
    job = cli("submit", "echo").out.strip()
    ended = cli("edit", job, "--set", change, "--set", "max_attempts=9")
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert cli("edit", job, "--set", "args={}", "--set", "args.x=1").code == 2
    shown = cli("show", job, "--json").json
    assert shown.get("job", shown)["max_attempts"] == 5


def test_what_runs_or_has_completed_is_4_and_what_is_missing_3(cli: Cli, worker: Worker) -> None:
    running, done = worker.insert(2)
    worker.claim()
    worker.finish(done)
    ended = cli("edit", str(running), str(done), "--set", "priority=9", "--json")
    assert (ended.code, [row["outcome"] for row in ended.json]) == (4, ["running", "finished"])
    assert cli("edit", "999", "--set", "priority=9").code == 3


def test_dead_letters_are_mended_and_sent_back_by_a_filter(cli: Cli, worker: Worker) -> None:
    failed = fail(worker, 3)
    other = worker.insert()
    where = ["--where", "state:failed error:told"]
    dry = cli("edit", *where, "--set", "args.host=new", "--dry-run")
    assert "3 jobs would be met" in dry.err
    assert cli("edit", *where, "--set", "args.host=new", "--yes", "--json").json == {"outcomes": {"edited": 3}}
    assert cli("retry", *where, "--yes", "--json").json == {"outcomes": {"retried": 3}}
    assert worker.column("select id from dtsched.jobs where args = '{\"host\": \"new\"}' and state = 'ready'") == failed
    assert sorted(worker.claim()) == sorted([*other, *failed])


def test_prune_deletes_all_that_is_past_its_retention(cli: Cli, worker: Worker) -> None:
    jobs = fail(worker, 1200)
    assert cli("prune", "--json").json == {"jobs": 0, "results": 0, "partitions": 0}
    assert cli("queue", "retention", "default", "--failed", "0").code == 0
    assert cli("prune", "--dry-run", "--json").json == [{"queue": "default", "state": "failed", "jobs": 1200}]
    assert cli("prune").out == f"jobs\tresults\tpartitions\n{len(jobs)}\t0\t0\n"
    assert worker.states() == {}
    assert cli("prune", "--dry-run").out == "queue\tstate\tjobs\n"


def test_retention_is_shown_and_set(cli: Cli) -> None:
    assert cli("queue", "retention").out == (
        "queue\tcompleted\tfailed\tcancelled\tresults\n(others)\t7d\t30d\t30d\tforever\n"
    )
    cli("queue", "retention", "mail", "--completed", "90m", "--failed", "forever", "--results", "30s")
    cli("queue", "retention", "--cancelled", "1d", "--completed", "2d")
    assert cli("queue", "retention").out.splitlines()[1:] == [
        "mail\t90m\tforever\t1d\t30s", "(others)\t2d\t30d\t1d\tforever",
    ]  # fmt: skip
    cli("queue", "retention", "mail", "--completed", "default")
    assert cli("queue", "retention", "mail", "--json").json == [
        {"queue": "mail", "completed": 172800, "failed": None, "cancelled": 86400, "results": 30}
    ]
    cli("queue", "pause", "mail")
    assert "completed 2d, failed forever, cancelled 1d, results 30s" in cli("queue", "show", "mail").out
    refused = cli("queue", "retention", "mail", "--failed", "soon")
    assert (refused.code, refused.err) == (
        2, 'dtsched: --failed must be a duration like 12h or 30d, "forever" or "default", not \'soon\'\n',
    )  # fmt: skip
