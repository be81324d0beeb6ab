"""`dtsched cancel`, `retry`, `run-now`, `reschedule` and `delete`, of ids and of all that fit a filter."""

import datetime as dt
from collections.abc import Generator
from contextlib import closing

import pytest

from tests.cli.conftest import Cli
from tests.cli.terminal import terminal
from tests.sql.sessions import Worker

CTRL_C = "ctrl-c"


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


@pytest.fixture
def jobs(worker: Worker) -> dict[str, str]:
    """One in each state, by that."""
    running, completed, failed, ready, cancelled, scheduled = worker.insert(6)
    worker.claim(3)
    worker.finish(completed)
    worker.finish_as("fail", failed)
    worker.run("select dtsched.cancel(%s)", cancelled)
    worker.run("select dtsched.reschedule(%s, now() + interval '1 day')", scheduled)
    blocked = worker.value("select dtsched.submit('echo', depends_on => %s)", [ready])
    ids = {
        "running": running,
        "completed": completed,
        "failed": failed,
        "ready": ready,
        "cancelled": cancelled,
        "scheduled": scheduled,
        "blocked": blocked,
    }
    assert {state: worker.state(job) for state, job in ids.items()} == {state: state for state in ids}
    return {state: str(job) for state, job in ids.items()}


ALLOWED = [
    ("cancel", "ready", "cancelled"),
    ("cancel", "blocked", "cancelled"),
    ("cancel", "running", "requested"),
    ("retry", "failed", "retried"),
    ("retry", "cancelled", "retried"),
    ("run-now", "scheduled", "ready"),
    ("run-now", "ready", "ready"),
    ("run-now", "blocked", "blocked"),
    ("reschedule", "scheduled", "scheduled"),
    ("reschedule", "blocked", "blocked"),
    ("delete", "completed", "deleted"),
    ("delete", "scheduled", "deleted"),
]
REFUSED = [
    ("cancel", "completed", "finished"),
    ("retry", "running", "unfinished"),
    ("retry", "completed", "finished"),
    ("run-now", "running", "running"),
    ("run-now", "failed", "finished"),
    ("reschedule", "running", "running"),
    ("delete", "running", "running"),
]


def options(verb: str) -> list[str]:
    return ["--in", "1h"] if verb == "reschedule" else []


@pytest.mark.parametrize(("verb", "state", "outcome"), ALLOWED)
def test_what_a_state_allows_is_0(cli: Cli, jobs: dict[str, str], verb: str, state: str, outcome: str) -> None:
    ended = cli(verb, jobs[state], *options(verb), "--json")
    assert (ended.code, ended.json) == (0, [{"id": int(jobs[state]), "outcome": outcome}])


def test_what_a_state_does_not_allow_is_4_and_changes_nothing(cli: Cli, worker: Worker, jobs: dict[str, str]) -> None:
    told: list[object] = []
    for verb, state, _ in REFUSED:
        ended = cli(verb, jobs[state], *options(verb))
        told.append((verb, ended.code, ended.out.splitlines()[1].split("\t")[:2]))
    assert told == [(verb, 4, [jobs[state], outcome]) for verb, state, outcome in REFUSED]
    assert {state: worker.state(int(job)) for state, job in jobs.items()} == {state: state for state in jobs}


@pytest.mark.parametrize("verb", ["cancel", "retry", "run-now", "reschedule", "delete"])
def test_a_missing_job_is_3_and_the_others_are_dealt_with(cli: Cli, jobs: dict[str, str], verb: str) -> None:
    fit = next(state for name, state, _ in ALLOWED if name == verb)
    ended = cli(verb, "999999", jobs[fit], jobs[fit], *options(verb), "--json")
    assert ended.code == 3
    assert [entry["id"] for entry in ended.json] == [999999, int(jobs[fit])]
    assert ended.json[0]["outcome"] == "missing"


@pytest.mark.parametrize("verb", ["cancel", "run-now", "reschedule", "delete"])
def test_a_job_that_somebody_holds_is_busy_and_4(cli: Cli, database: str, jobs: dict[str, str], verb: str) -> None:
    with closing(Worker(database)) as other:
        other.run("begin")
        other.run("select from dtsched.jobs where id = %s for update", int(jobs["scheduled"]))
        one = cli(verb, jobs["scheduled"], *options(verb), "--json")
        all_of_them = cli(verb, "--where", "state:scheduled", "--yes", *options(verb), "--json")
    assert (one.code, one.json[0]["outcome"]) == (4, "busy")
    assert (all_of_them.code, all_of_them.json) == (4, {"outcomes": {"busy": 1}})


def test_a_job_is_rescheduled_to_a_time_or_by_the_databases_clock(cli: Cli, worker: Worker) -> None:
    job = worker.value("select dtsched.submit('echo', delay => '1 day')")
    assert cli("reschedule", str(job), "--at", "2040-01-31T09:00:00+01:00").code == 0
    assert worker.value("select run_at from dtsched.jobs") == dt.datetime(2040, 1, 31, 8, tzinfo=dt.UTC)
    worker.take_over_the_clock()
    worker.travel("100 days")
    assert cli("reschedule", str(job), "--in", "2h").code == 0
    left = worker.value("select run_at - dtsched.now() from dtsched.jobs")
    assert dt.timedelta(hours=1, minutes=59) < left <= dt.timedelta(hours=2)


def test_all_that_fit_are_dealt_with_in_batches_and_what_fits_still_is_not_met_again(cli: Cli, worker: Worker) -> None:
    worker.insert(1001)
    others = worker.insert(2, queue="mail")
    ended = cli("cancel", "--where", "queue:default", "--yes", "--json")
    assert (ended.code, ended.json) == (0, {"outcomes": {"cancelled": 1001}})
    assert [worker.state(job) for job in others] == ["ready", "ready"]
    again = cli("cancel", "--where", "queue:default", "--yes")  # they all fit still
    assert again.code == 0
    assert again.out.splitlines()[1].split("\t")[:2] == ["finished", "1001"]


def test_children_whose_parents_are_in_a_later_batch_are_retried_with_them(cli: Cli, worker: Worker) -> None:
    (parent,) = worker.insert()
    worker.insert(500)
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    worker.run("select dtsched.cancel(array(select id from dtsched.jobs))")
    assert cli("retry", "--where", "state:cancelled", "--yes", "--json").json == {"outcomes": {"retried": 502}}
    assert (worker.state(parent), worker.state(child)) == ("ready", "blocked")


def test_a_dry_run_shows_how_many_fit_and_changes_nothing(cli: Cli, worker: Worker) -> None:
    ids = worker.insert(7)[::-1]
    ended = cli("delete", "--where", "state:ready", "--dry-run", "--json")
    assert (ended.code, ended.json["count"], ended.json["or_more"]) == (0, 7, False)
    assert [job["id"] for job in ended.json["sample"]] == ids[:5]
    text = cli("delete", "--where", "state:ready", "--dry-run")
    assert text.err == "7 jobs would be met; these are the newest 5\n"
    assert len(text.out.splitlines()) == 6
    assert worker.states() == {"ready": 7}


@pytest.mark.parametrize(("count", "or_more"), [(99_999, False), (100_000, True), (100_001, True)])
def test_the_count_stops_at_100000(cli: Cli, worker: Worker, count: int, or_more: bool) -> None:
    worker.run("set session_replication_role = replica")  # rows alone: nothing is to run them
    worker.run("insert into dtsched.jobs (task) select 'hay' from generate_series(1, %s)", count)
    fitting = cli("delete", "--where", "task:hay", "--dry-run", "--json").json
    assert (fitting["count"], fitting["or_more"]) == (min(count, 100_000), or_more)


def test_without_a_terminal_nothing_is_done_unless_told_yes(cli: Cli, worker: Worker) -> None:
    worker.insert()
    ended = cli("delete", "--where", "state:ready")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert worker.states() == {"ready": 1}


def test_an_empty_filter_does_not_mean_every_job(cli: Cli, worker: Worker) -> None:
    worker.insert()
    assert cli("delete", "--where", "", "--yes").code == 2
    assert worker.states() == {"ready": 1}


def test_nothing_that_fits_is_no_error(cli: Cli) -> None:
    ended = cli("delete", "--where", "state:failed", "--yes")
    assert (ended.code, ended.out, ended.err) == (0, "", "no job fits\n")


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 7), ("", 1, 7), (CTRL_C, 130, 7)])
def test_a_terminal_is_asked_first(database: str, worker: Worker, answer: str, code: int, left: int) -> None:
    worker.insert(7)
    with terminal("delete", "--where", "state:ready", columns=80, env={"DTSCHED_DSN": database}) as screen:
        screen.until("Delete 7 jobs, with results and attempts? [y/N]")
        if answer == CTRL_C:
            assert screen.interrupt() == code
        else:
            screen.type(f"{answer}\n")
            assert screen.end() == code
    assert worker.value("select count(*) from dtsched.jobs") == left
