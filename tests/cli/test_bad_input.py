"""Bad input at the door of the command line: exit code 2, one sentence, and nothing written."""

import io
import sys
from dataclasses import replace

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_worker import until_registered, worker
from tests.conftest import Connect
from tests.support.bad_input import MISFIT, BadInput, cases, command_line, declare, written


@pytest.mark.parametrize("case", cases("cli"), ids=str)
def test_submit_refuses_bad_input_in_one_sentence_and_writes_nothing(
    case: BadInput, cli: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect()
    declare(connection)
    before = written(connection)
    arguments, stdin = command_line(case)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
    ended = cli("submit", *arguments)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert len(ended.err) < 400
    assert said(case) in ended.err
    assert ended.out == ""
    assert written(connection) == before


def said(case: BadInput) -> str:
    """The flags are what was typed."""
    flags = {"run_at": "--at", "delay": "--in", "deadline": "--deadline", "expires_in": "--expires-in"}
    for field, flag in flags.items():
        case = replace(case, says=case.says.replace(field, flag))
    return case.says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["echo", "novalue"], "KEY=VALUE"),
        (["echo", "=1"], "KEY=VALUE"),
        (["echo", "--args", "[1]"], "object"),
        (["echo", "--args", "{"], "JSON"),
        (["echo", "--args", "@/no/such/file"], "cannot be read"),
        (["echo", "--at", "tomorrow"], "--at must be"),
        (["echo", "--in", "delay"], "--in must be a number of seconds or like 500ms, 30s, 2m, 1h, 7d, not 'delay'"),
        (["echo", "--wait-timeout", "soon"], "--wait-timeout must be"),
        (["echo", "--priority", "high"], "priority"),
        (["echo", "value=\udcff"], "surrogate"),
    ],
)
def test_what_only_a_command_line_can_get_wrong_is_refused_alike(
    cli: Cli, connect: Connect, arguments: list[str], says: str
) -> None:
    connection = connect()
    before = written(connection)
    ended = cli("submit", *arguments)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert says in ended.err
    assert written(connection) == before


def test_args_that_do_not_fit_the_handler_fail_the_job_at_once(database: str, cli: Cli, connect: Connect) -> None:
    with worker(database):
        until_registered(connect)
        ended = cli("submit", MISFIT.fields["task"], "n=many", "--wait", "--json")
    assert ended.code == 5
    assert (ended.json["state"], ended.json["attempt"]) == ("failed", 1)
    assert MISFIT.says in ended.json["error"]
