"""`dtsched logs`: the lines of a job, whole or as they come; and progress in the lists."""

import json
import re
from collections.abc import Generator, Mapping
from contextlib import closing

import pytest

from tests.cli.command import start
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


def report(worker: Worker, job: int, *lines: Mapping[str, object], **progress: object) -> None:
    said = {"lease": worker.leases[job], "lines": lines, **({"progress": progress} if progress else {})}
    worker.run("select dtsched.report(%s, %s)", worker.id, json.dumps([said]))


def test_each_line_says_when_how_bad_which_attempt_and_who(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    report(worker, job, {"message": "one", "logger": "shop"}, {"message": "two\nforged\x1b[2J", "level": "error"})
    worker.finish_as("retry", job, delay=0)
    worker.claim()
    report(worker, job, {"message": "three"})
    ended = cli("logs", str(job))
    assert (ended.code, ended.err) == (0, "")
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\S*", "AT", line) for line in ended.out.splitlines()] == [
        "AT info     [1] shop: one",
        "AT error    [1] two",
        "    forged\\x1b[2J",
        "AT info     [2] three",
    ]
    assert cli("logs", str(job), "--after", "2").out.endswith("[2] three\n")
    documents = [json.loads(line) for line in cli("logs", str(job), "--attempt", "1", "--json").out.splitlines()]
    assert [(one["line"], one["attempt"], one["level"], one["logger"], one["message"]) for one in documents] == [
        (1, 1, "info", "shop", "one"),
        (2, 1, "error", None, "two\nforged\x1b[2J"),
    ]


def test_more_lines_than_a_page_are_all_printed(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    worker.claim()
    report(worker, job, *[{"message": str(n)} for n in range(2000)])
    assert [line.rpartition(" ")[2] for line in cli("logs", str(job)).out.splitlines()] == list(map(str, range(2000)))


def test_a_job_that_is_not_there_is_3_and_one_that_logs_nothing_prints_nothing(cli: Cli, worker: Worker) -> None:
    (job,) = worker.insert()
    assert cli("logs", "999").code == 3
    silent = cli("logs", str(job))
    assert (silent.code, silent.out, silent.err) == (0, "", "")


@pytest.mark.parametrize(("outcome", "code"), [("complete", 0), ("fail", 5)])
def test_a_job_is_followed_until_it_has_ended_and_no_line_is_missed(
    database: str, worker: Worker, outcome: str, code: int
) -> None:
    (job,) = worker.insert()
    following = start("logs", str(job), "-f", "--json", env={"DTSCHED_DSN": database})
    assert following.stdout is not None
    worker.claim()
    report(worker, job, {"message": "one"})
    assert json.loads(following.stdout.readline())["message"] == "one"
    report(worker, job, {"message": "two"}, {"message": "three"})
    if outcome == "complete":
        worker.finish(job)
    else:
        worker.finish_as(outcome, job)
    out, talk = following.communicate(timeout=20)
    assert [json.loads(line)["message"] for line in out.splitlines()] == ["two", "three"]
    assert following.returncode == code
    assert talk == ("" if code == 0 else f"job {job} failed: ValueError: told to\n")


def test_errors_are_red_on_a_terminal_and_progress_is_seen_in_lists(database: str, worker: Worker, cli: Cli) -> None:
    (job,) = worker.insert()
    worker.claim()
    report(worker, job, {"message": "bad", "level": "error"}, percent=40, message="40 of 100")
    env = {"DTSCHED_DSN": database}
    assert "bad" in on_terminal("logs", str(job), columns=100, env=env)[1]
    assert "40% 40 of 100" in on_terminal("list", columns=120, env=env)[1]
    assert re.search("progress +40% 40 of 100\n", cli("show", str(job)).out)
    assert cli("show", str(job), "--json").json["progress"]["percent"] == 40
