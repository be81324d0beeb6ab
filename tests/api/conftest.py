"""The API in this process, and as a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from dtsched.api import create_app
from dtsched.settings import Rate, Settings
from tests.api.processes import ApiProcess, served, with_rights_of_a_server

Api = AsyncTestClient[Litestar]
Serve = Callable[[str], ApiProcess]


@pytest.fixture
async def api(database: str) -> AsyncGenerator[Api]:
    async with api_over(database) as api:
        yield api


@pytest.fixture(scope="module")
async def empty_api(refusing_database: str) -> AsyncGenerator[Api]:
    """For tests that write nothing: their module shares one."""
    async with api_over(refusing_database) as api:
        yield api


@pytest.fixture
def serve_api(tmp_path: Path) -> Generator[Serve]:
    """Starts servers that end with the test."""
    with contextlib.ExitStack() as running:
        yield lambda dsn: running.enter_context(served(dsn, tmp_path / "api.log"))


@pytest.fixture(scope="module")
def refusing_api(refusing_database: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[ApiProcess]:
    with served(refusing_database, tmp_path_factory.mktemp("api") / "api.log") as api:
        yield api


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was made up, by all processes: test_schemathesis.py notes each request."""
    calls: list[pytest.TestReport] = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call" and any(name == "fuzzed" for name, _ in report.user_properties)
    ]
    if calls:
        seeds = sorted({str(value) for call in calls for name, value in call.user_properties if name == "fuzzed"})
        requests = sum(name == "fuzzed" for call in calls for name, _ in call.user_properties)
        findings = sum(call.failed for call in calls)
        terminalreporter.write_line(
            f"schemathesis: seed {', '.join(seeds)}: {requests:,} examples of {len(calls)} operations, "
            f"{findings} with findings"
        )


def api_over(dsn: str, *hosts: str) -> Api:
    return AsyncTestClient(
        create_app(Settings(dsn=with_rights_of_a_server(dsn)), hosts=hosts, wrong_keys=Rate(1_000_000, 1)),
        base_url="http://127.0.0.1",
    )
