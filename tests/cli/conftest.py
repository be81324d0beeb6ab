"""A command line in this process, pointed at the test's own database."""

import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from dtsched.cli import main
from tests.cli.command import Ended

Cli = Callable[..., Ended]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the settings of whoever runs the tests, nor of this checkout."""
    for name in list(os.environ):
        if name.startswith(("DTSCHED_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Generator[None]:
    """A command that logs sets up what all of its process log by."""
    root, own = logging.getLogger(), logging.getLogger("dtsched")
    handlers, levels = list(root.handlers), (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.fixture
def bare_cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Without a database."""

    def call(*arguments: str) -> Ended:
        code = main(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def cli(bare_cli: Cli, database: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("DTSCHED_DSN", database)
    return bare_cli
