"""`dtsched submit` gives its job the correlation id it is told, or a new one."""

import re

from tests.cli.conftest import Cli


def correlation_id(cli: Cli, *arguments: str) -> str:
    submitted = cli("submit", "echo", "value=1", "--json", *arguments)
    return cli("show", str(submitted.json["id"]), "--json").json["correlation_id"]


def test_a_submitted_job_has_the_id_that_was_given(cli: Cli) -> None:
    assert correlation_id(cli, "--correlation-id", "order 17") == "order 17"


def test_each_submission_has_a_new_id_if_none_is_given(cli: Cli) -> None:
    first, second = correlation_id(cli), correlation_id(cli)
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert re.fullmatch("[0-9a-f]{32}", second)
    assert first != second


def test_an_id_that_could_not_be_stored_is_refused(cli: Cli) -> None:
    refused = cli("submit", "echo", "--correlation-id", "a\nb")
    assert refused.code == 2
    assert "correlation_id must be 1 to 128 characters" in refused.err
