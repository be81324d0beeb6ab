"""A command line in this process, pointed at the test's own database."""

import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from dtsched.cli import main
from tests.cli.command import Ended
from tests.support.rest import serving

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


OVER_REST = {"test_drain", "test_emit", "test_queues", "test_tasks", "test_watching", "test_why", "test_workflows"}
"""Modules whose commands are tried over both doors: over the database, and over the REST API."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.stem in OVER_REST and "cli" in metafunc.fixturenames:
        metafunc.parametrize("door", ["database", "rest"], indirect=True)


@pytest.fixture
def door(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "database")


@pytest.fixture
def cli(bare_cli: Cli, database: str, door: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Cli]:
    if door == "database":
        monkeypatch.setenv("DTSCHED_DSN", database)
        yield bare_cli
        return
    with serving(database) as url:
        monkeypatch.setenv("DTSCHED_URL", url)
        yield bare_cli


@pytest.fixture
def refusing_cli(bare_cli: Cli, refusing_database: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """For what changes nothing: quicker, as a module shares a database."""
    monkeypatch.setenv("DTSCHED_DSN", refusing_database)
    return bare_cli
