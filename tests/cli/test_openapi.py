"""`dtsched openapi`: the document that a server would serve, without one and without a database."""

from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from tests.cli.conftest import Cli


def test_the_document_is_printed_without_a_database(bare_cli: Cli) -> None:
    ended = bare_cli("openapi")
    assert (ended.code, ended.err) == (0, "")
    assert ended.json == describe(HANDLERS)
