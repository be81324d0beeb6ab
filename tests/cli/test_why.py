"""`dtsched show` and `dtsched why`."""

from collections.abc import Generator
from contextlib import closing

import pytest

from tests.cli.conftest import Cli
from tests.sql.sessions import Worker


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


def failed_twice(worker: Worker, *, lines: int = 3) -> int:
    (job,) = worker.insert()
    for _ in range(2):
        worker.claim()
        worker.finish_as("retry", job, delay=0)
    worker.run(
        "update dtsched.attempts set traceback = %s || attempt",
        "Traceback\n" + "  line\n" * (lines - 2) + "the last line of ",
    )
    return job


def test_show_tells_the_attempts_newest_first_and_the_newest_traceback(cli: Cli, worker: Worker) -> None:
    out = cli("show", str(failed_twice(worker))).out
    lines = out.splitlines()
    attempts = [line for line in lines if line.startswith("attempt ") and "retry" in line]
    assert [line.split()[1] for line in attempts] == ["2", "1"]
    assert all(line.endswith("ValueError: told to") for line in attempts)
    assert "    the last line of 2" in lines
    assert "    the last line of 1" not in lines
    assert any(line.startswith("why ") for line in lines)


@pytest.mark.parametrize(("lines", "fits"), [(20, True), (21, False)])
def test_a_long_traceback_is_shown_when_it_is_asked_for(cli: Cli, worker: Worker, lines: int, fits: bool) -> None:
    job = str(failed_twice(worker, lines=lines))
    short, whole = cli("show", job), cli("show", job, "--traceback")
    assert ("the last line of 2" in short.out) is fits
    assert ("--traceback" in short.err) is not fits
    assert ("the last line of 1" in whole.out, "the last line of 2" in whole.out) == (True, True)


def test_show_as_json_is_the_job_with_attempts_and_reasons(cli: Cli, worker: Worker) -> None:
    job = failed_twice(worker)
    shown = cli("show", str(job), "--json").json
    assert (shown["id"], shown["task"]) == (job, "echo")
    assert [(made["attempt"], made["outcome"], made["error_type"]) for made in shown["attempts"]] == [
        (2, "retry", "ValueError"),
        (1, "retry", "ValueError"),
    ]
    assert shown["reasons"] == cli("why", str(job), "--json").json["reasons"] != []


def test_why_gives_the_decisive_reason_first(cli: Cli) -> None:
    parent = cli("submit", "echo").out.strip()
    child = cli("submit", "echo", "--depends-on", parent, "--in", "1h").out.strip()
    why = cli("why", child, "--json").json
    assert (why["id"], why["state"]) == (int(child), "blocked")
    assert [reason["code"] for reason in why["reasons"]] == ["parents", "later"]
    header, first, second = cli("why", child).out.splitlines()
    assert header == "code\treason"
    assert first.startswith(f"parents\tit waits for a job: {parent}")
    assert second.startswith("later\t")
