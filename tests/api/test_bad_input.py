"""The table of bad input at the door of REST: a problem that names the field, and nothing written."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import psycopg
import pytest

from tests.api.problems import problem
from tests.api.processes import ApiProcess
from tests.support.bad_input import BadInput, cases, declare, json_body, written


@pytest.fixture(scope="module")
def connection(refusing_database: str) -> Generator[psycopg.Connection]:
    with contextlib.closing(psycopg.connect(refusing_database, autocommit=True)) as connection:
        declare(connection)
        yield connection


@pytest.mark.parametrize("case", cases("rest"), ids=str)
def test_post_refuses_bad_input_in_one_sentence_and_writes_nothing(
    case: BadInput, refusing_api: ApiProcess, connection: psycopg.Connection
) -> None:
    before = written(connection)
    answer = refusing_api.send(json_body(case))
    assert answer.status_code in (400, 422)
    document = problem(answer, answer.status_code)
    assert case.says in document["detail"]
    assert len(document["detail"]) < 300
    assert "\n" not in document["detail"]
    for error in document.get("errors", []):
        assert error["field"] == case.field
    assert written(connection) == before
