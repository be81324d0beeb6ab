"""`dtsched emit`, and what `dtsched show` tells of steps."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest

from tests.cli.conftest import Cli
from tests.sql.sessions import Worker
from tests.sql.test_steps import ask, claimed, park, record, sleep, waiting


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


def test_emit_says_how_many_jobs_went_on_and_the_first_one_wins(cli: Cli, worker: Worker) -> None:
    waiting(worker, "paid:42")
    assert cli("emit", "paid:42", '{"amount": 5}').out == "1\n"
    again = cli("emit", "paid:42")
    assert (again.code, again.out) == (0, "0\n")
    assert again.err == "event paid:42 had been emitted before, and that counts\n"
    assert cli("emit", "other", "--json").json == {"name": "other", "created": True, "woken": 0}
    assert worker.rows("select name, payload from dtsched.events order by name") == [
        ("other", None),
        ("paid:42", {"amount": 5}),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["", "5"], "name must be 1 to 255 characters without control characters, not "),
        (["paid", "{amount}"], "the payload must be JSON, as in '{\"amount\": 5}': "),
        (["paid", "NaN"], "payload must be a finite number, not nan"),
    ],
)
def test_emit_refuses_what_is_no_event(cli: Cli, worker: Worker, arguments: list[str], sentence: str) -> None:
    refused = cli("emit", *arguments)
    assert refused.code == 2
    assert sentence in refused.err
    assert worker.rows("select from dtsched.events") == []


def test_show_lists_the_steps_of_a_job(cli: Cli, worker: Worker) -> None:
    job = claimed(worker)
    record(worker, job, "charge", {"id": 7})
    record(worker, job, "large", "x" * 300)
    sleep(worker, job, 0)
    ask(worker, job, "late", 0, step="late")
    ask(worker, job, "paid:42")
    park(worker, job)
    shown = cli("show", str(job))
    assert shown.out.endswith(
        "why           it waits for event paid:42\n"
        "\n"
        'step charge   {"id":7}\n'
        "step large    302 bytes\n"
        "step sleep:1  has slept\n"
        "step late     event late did not come in time\n"
        "step wait     waits for event paid:42\n"
    )
    assert [step["state"] for step in cli("show", str(job), "--json").json["steps"]] == [
        *("done", "done", "done", "timeout", "waiting"),
    ]
