"""Fails a run in which a test was skipped that `allowed_skips.txt` does not list: a skip is a test nobody runs."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parent.parent / "allowed_skips.txt"


class SkipGuard:
    def __init__(self) -> None:
        lines = (line.partition("#")[0].strip() for line in ALLOWED.read_text().splitlines())
        self._allowed = [line for line in lines if line]
        self._unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._judge(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unlisted and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for node in self._unlisted:
            terminalreporter.write_line(f"skipped, but not listed in {ALLOWED.name}: {node}", red=True)

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not any(fnmatchcase(report.nodeid, pattern) for pattern in self._allowed):
            self._unlisted.append(report.nodeid)
