"""`dtsched watch`, `result` and `submit --wait`: following jobs to their end."""

import signal
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from tests.cli.command import start
from tests.cli.conftest import Cli
from tests.cli.terminal import terminal
from tests.sql.sessions import Worker
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


def test_watching_what_has_completed_is_0_and_says_so_in_one_line(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.finish(*worker.claim())
    ended = cli("watch", str(job))
    assert ended.code == 0
    (line,) = ended.out.splitlines()
    assert line.split("\t")[1:] == [str(job), "completed", "1/5", ""]


@pytest.mark.parametrize("outcome", ["fail", "cancel"])
def test_watching_what_did_not_complete_is_5_and_says_why(cli: Cli, worker: Worker, outcome: str) -> None:
    jobs = worker.insert(2)
    worker.claim()
    worker.finish(jobs[0])
    worker.finish_as(outcome, jobs[1])
    ended = cli("watch", *map(str, jobs), "--json")
    assert ended.code == 5
    lines = [line for line in ended.out.splitlines() if f'"id":{jobs[1]},' in line]
    assert len(lines) == 1
    assert "told to" in lines[0]


def test_one_missing_job_makes_it_3_and_the_others_are_followed_all_the_same(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.finish(*worker.claim())
    ended = cli("watch", "999", str(job))
    assert ended.code == 3
    assert [line.split("\t")[1:3] for line in ended.out.splitlines()] == [["999", "missing"], [str(job), "completed"]]


def test_each_change_of_state_is_a_line(database: str, worker: Worker) -> None:
    (job,) = worker.insert()
    watching = start("watch", str(job), env={"DTSCHED_DSN": database})
    assert watching.stdout is not None
    assert watching.stdout.readline().split("\t")[2:4] == ["ready", "0/5"]
    worker.claim()
    assert watching.stdout.readline().split("\t")[2:4] == ["running", "1/5"]
    worker.finish(job)
    assert watching.stdout.readline().split("\t")[2:4] == ["completed", "1/5"]
    rest, talk = watching.communicate(timeout=PATIENCE_SECONDS)
    assert (watching.returncode, rest, talk) == (0, "", "")


def test_the_jobs_of_a_filter_are_followed_after_they_fit_it_no_longer(database: str, worker: Worker) -> None:
    jobs = worker.insert(2)
    watching = start("watch", "state:ready", env={"DTSCHED_DSN": database})
    assert watching.stdout is not None
    first = [watching.stdout.readline().split("\t")[1] for _ in jobs]
    assert first == [str(job) for job in reversed(jobs)]
    worker.claim()
    worker.finish(*jobs)
    assert watching.wait(timeout=PATIENCE_SECONDS) == 0
    watching.communicate()


def test_a_filter_that_nothing_fits_is_3(cli: Cli) -> None:
    ended = cli("watch", "state:running")
    assert (ended.code, ended.out, ended.err) == (3, "", "dtsched: no job fits the filter\n")


def test_more_than_1000_jobs_are_not_watched(cli: Cli, worker: Worker) -> None:
    worker.insert(1000)
    assert cli("watch", "state:ready", "--timeout", "0").code == 124
    worker.insert()
    ended = cli("watch", "state:ready")
    assert ended.code == 2
    assert "1,000" in ended.err


def test_watching_longer_than_asked_is_124(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    ended = cli("watch", str(job), "--timeout", "50ms")
    assert ended.code == 124
    assert len(ended.out.splitlines()) == 1
    assert worker.state(job) == "ready"


@pytest.mark.parametrize("arguments", [["watch"], ["result", "--wait"]], ids=" ".join)
def test_ctrl_c_ends_the_watching_and_not_the_job(database: str, worker: Worker, arguments: list[str]) -> None:
    (job,) = worker.insert()
    watching = start(*arguments, str(job), env={"DTSCHED_DSN": database})
    until_connected(worker)
    watching.send_signal(signal.SIGINT)
    _, talk = watching.communicate(timeout=PATIENCE_SECONDS)
    assert watching.returncode == 130
    assert "go" in talk
    assert "Traceback" not in talk
    assert worker.state(job) == "ready"


def until_connected(worker: Worker) -> None:
    """It polls by then."""
    query = "select count(*) from pg_stat_activity where application_name = 'dtsched cli' and query ~ 'jobs|job[(]'"
    while worker.value(query) == 0:
        time.sleep(0.02)


def test_a_terminal_shows_a_table_that_follows_the_job(database: str, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    said = '[{"lease": %s, "progress": {"percent": 50, "message": "half"}}]'
    worker.run("select dtsched.report(%s, %s)", worker.id, said % worker.leases[job])
    with terminal("watch", str(job), columns=80, env={"DTSCHED_DSN": database}) as screen:
        screen.until("██████████░░░░░░░░░░ 50% half")
        worker.finish(job)
        assert screen.end() == 0
        assert "completed" in screen.text
        assert "1 of 1 ended" in screen.text
        assert max(map(len, screen.text.split("\n"))) <= 80


def test_a_result_is_printed_as_json(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.run("select dtsched.finish(%s, %s, '[{\"sum\": 3}]')", worker.id, [worker.leases[job]])
    ended = cli("result", str(job))
    assert (ended.code, ended.json, ended.err) == (0, {"sum": 3}, "")
    assert cli("result", str(job), "--json").json["state"] == "completed"


def test_the_result_of_what_failed_is_5_and_a_sentence(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", job)
    ended = cli("result", str(job))
    assert (ended.code, ended.out) == (5, "")
    assert f"job {job} failed: " in ended.err


def test_the_result_of_what_has_not_ended_is_4_or_waited_for(database: str, cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    ended = cli("result", str(job))
    assert (ended.code, ended.out) == (4, "")
    assert "--wait" in ended.err
    assert cli("result", str(job), "--timeout", "50ms").code == 124
    waiting = start("result", str(job), "--wait", env={"DTSCHED_DSN": database})
    worker.finish(*worker.claim())
    out, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, out) == (0, "null\n")


def test_a_job_whose_parent_failed_is_said_to_be_cancelled_at_once(cli: Cli, worker: Worker) -> None:
    parent, fine = worker.insert(2)
    worker.claim()
    worker.finish_as("fail", parent)
    worker.finish(fine)
    ended = cli("submit", "echo", "--depends-on", str(parent), "--depends-on", str(fine))
    assert ended.code == 0
    assert ended.err == f"job {ended.out.strip()} was cancelled at once, because job {parent} has failed\n"
    assert cli("submit", "echo", "--depends-on", str(fine)).err == ""
