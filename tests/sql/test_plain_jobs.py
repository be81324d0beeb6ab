"""A job that is_plain() lets through is one that job_problem() finds nothing wrong with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sql.sessions import Session

VALUES: dict[str, list[Any]] = {
    "task": [None, "", "echo", "e cho", "echo\n", "x" * 128, "x" * 129, "ü", 5, True, ["echo"], {"a": 1}],
    "queue": [None, "", "mail", "ma/il", "mail\n", "x" * 128, "x" * 129, 5, ["mail"]],
    "args": [None, {}, {"a": [1]}, {"a": "x" * 1_048_567}, {"a": "x" * 1_048_568}, [], "{}", 5],
    "priority": [None, 0, 1, 7, 10, 11, 7.5, "7", True, -1],
    "max_attempts": [None, 0, 1, 999, 1000, 1001, 2.5, "5", [5]],
    "correlation_id": [None, "", "a", "x" * 128, "x" * 129, 5, {}],
    "key": [None, "", "a", "a\tb", "x\u007f", "x" * 255, "x" * 256, "ü" * 255, 5, []],
    "limit_key": [None, "", "a", "a\nb", "x" * 255, "x" * 256, 5, {}],
    "key_for": ["kept"],
    "on_conflict": ["replace"],
    "depends_on": [
        *([], [1], [1, 2], [0], [-1], [1.5], "[1]", 5, {"entry": 1}, [{}], [{"entry": 1}], [{"entry": 0}]),
        *([{"entry": "1"}], [{"entry": 1, "on_failure": "run"}], [{"entry": 1, "tusk": 1}], [{"entry": 1}, 7]),
        *([10**17], [10**18], [[1]], [None], ["a"], [""], [1] * 100_000, [1] * 100_001, [{"entry": 10**9}]),
    ],
    "tags": [["a"], [""]],
    "tusk": [None, 1],
}
JOBS: list[dict[str, Any]] = [
    *({"task": "echo", "key": "k", field: value} for field, values in VALUES.items() for value in values),
    {"task": "echo", "depends_on": [1], "args": {"a": {"$parent": 0}}},
    {"task": "echo", "depends_on": [1], "args": {"a": {"$parent": 1}}},
    {"task": "echo", "depends_on": [1], "args": {"a": {"$parent": "x"}}},
]
NO_OBJECTS: list[Any] = [None, 1, "echo", ["task"], [{"task": "echo"}], {}, {"queue": "mail"}]
WRITTEN = [
    *map(json.dumps, [*JOBS, *NO_OBJECTS]),
    '{"task": "echo", "priority": 7.0}',
    '{"task": "echo", "max_attempts": 1e1}',
]


def test_of_a_plain_job_there_is_nothing_to_be_said(session: Session) -> None:
    found = session.rows(
        """select job.it, dtsched.is_plain(job.it::jsonb), dtsched.job_problem(job.it::jsonb)
           from unnest(%s::text[]) job (it)""",
        WRITTEN,
    )

    assert [(job, problem) for job, plain, problem in found if plain and problem is not None] == []
    assert {plain for _, plain, _ in found} == {True, False}
    assert sum(plain for _, plain, _ in found) > 20


@pytest.mark.parametrize(
    "job",
    [
        {"task": "echo"},
        {"task": "echo", "args": {"a": 1}, "queue": "mail", "priority": 10, "max_attempts": 1, "correlation_id": "c"},
        {"task": "echo", "queue": None, "args": None, "key": "k", "limit_key": "l"},
        {"task": "echo", "depends_on": [17, {"entry": 1}], "args": {"a": 1}},
    ],
)
def test_the_usual_job_is_plain(session: Session, job: dict[str, Any]) -> None:
    assert session.rows("select dtsched.is_plain(%s::jsonb)", json.dumps(job)) == [(True,)]
