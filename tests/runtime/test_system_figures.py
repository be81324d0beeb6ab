"""What the workers' heartbeats tell of their machines, and that telling it never costs them a lease."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from dtsched import App
from dtsched.runtime.system import SystemFigures, facts
from tests.runtime.workers import one, running_worker, until

Connect = Callable[[], psycopg.Connection]


def info(connection: psycopg.Connection) -> dict[str, Any]:
    return one(connection, "select info from dtsched.workers")


async def test_each_renewal_brings_the_figures_beside_what_was_registered(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(App(), database, lease=0.5):
        await until(lambda: "system_info" in (info(connection) if registered(connection) else {}))
        first = info(connection)["system_info"]
        await until(lambda: info(connection)["system_info"] != first)
        found = info(connection)
    figures = found.pop("system_info")
    assert found == facts()
    assert found["pid"] == os.getpid()
    for share in ("cpu_usage", "memory_usage", "disk_usage"):
        assert 0 <= figures[share] <= 100
    assert figures["memory_usage"] > 0
    assert figures["process_cpu"] >= 0
    assert figures["load_1m"] >= 0
    assert 1024**2 < figures["process_rss_bytes"] < psutil.virtual_memory().total


def registered(connection: psycopg.Connection) -> bool:
    return bool(one(connection, "select count(*) from dtsched.workers"))


def test_the_load_of_the_processor_is_that_since_the_last_reading() -> None:
    figures = SystemFigures()
    while (used := figures.read()).get("process_cpu", 0) < 20 or used.get("cpu_usage", 0) <= 0:
        until_then = time.process_time() + 0.1
        while time.process_time() < until_then:
            pass


def test_a_figure_that_cannot_be_read_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    monkeypatch.setattr(psutil, "Process", refuse)
    figures = SystemFigures().read()
    assert figures.keys() <= {"cpu_usage", "disk_usage", "load_1m"}
    assert {"disk_usage", "load_1m"} <= figures.keys()


def test_a_file_system_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, real = threading.Event(), psutil.disk_usage

    def hang(path: str) -> object:
        answers.wait(60)
        return real(path)

    figures = SystemFigures()
    assert "disk_usage" in figures.read()
    monkeypatch.setattr(psutil, "disk_usage", hang)
    assert "disk_usage" not in figures.read()
    assert "memory_usage" in figures.read()
    assert [thread.name for thread in threading.enumerate()].count("dtsched-disk") == 1
    answers.set()
    deadline = time.monotonic() + 30
    while "disk_usage" not in figures.read():
        assert time.monotonic() < deadline
