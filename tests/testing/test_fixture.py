"""The pytest fixture `dts`, as a user's project has it: a sample project whose tests run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from dtsched.errors import InvalidInput
from dtsched.settings import Duration
from dtsched.testing import Dts

PROJECT = {
    "pyproject.toml": '[tool.pytest.ini_options]\ndtsched_app = "shop:app"\naddopts = "-p dtsched.pytest_plugin"\n',
    "shop.py": """
from datetime import date
from dtsched import App, Context, Retry

app = App("postgresql://nobody@127.0.0.1:1/production")
sent = []

@app.task(queue="mail")
async def send(to: str, on: date | None = None) -> str:
    sent.append(to)
    return to

@app.task(retry=Retry(3, base="1m", jitter=0))
def charge(order: int) -> None:
    if order < 0:
        raise ValueError("no such order")

@app.task
async def later(context: Context) -> None:
    if context.attempt == 1:
        raise Retry(after="1h")

def sign_up(address: str) -> None:
    send.submit_sync(to=address)
    send.options(delay="10m").submit_sync(to="later-" + address)
""",
}

TESTS = """
import asyncio
from datetime import date, timedelta

import pytest
import shop
from dtsched.testing import HandlersFailed

@pytest.fixture(autouse=True)
def nothing_sent():
    shop.sent.clear()

def test_sign_up(dts):
    shop.sign_up("a@x.org")
    job = dts.assert_submitted(shop.send, to="a@x.org")
    assert (job.queue, job.state) == ("mail", "ready")
    assert dts.assert_submitted("send", to="later-a@x.org").state == "scheduled"
    assert [done.id for done in dts.drain()] == [job.id]
    assert shop.sent == ["a@x.org"]
    dts.travel("9m")
    assert dts.drain() == []
    dts.travel(timedelta(minutes=1))
    dts.drain()
    assert shop.sent == ["a@x.org", "later-a@x.org"]
    assert [job.result for job in dts.jobs(state="completed")] == ["a@x.org", "later-a@x.org"]

def test_a_test_sees_nothing_of_the_others(dts):
    assert dts.jobs() == []
    dts.assert_not_submitted(shop.send)
    with pytest.raises(AssertionError, match="no job send.to='b'. was submitted; there are no jobs"):
        dts.assert_submitted(shop.send, to="b")
    shop.send.submit_sync("c", date(2030, 1, 31))
    dts.assert_submitted(shop.send, on=date(2030, 1, 31))
    with pytest.raises(AssertionError, match="there are:\\n  job 1: send.on='2030-01-31', to='c'., ready"):
        dts.assert_submitted(shop.send, to="b")
    with pytest.raises(AssertionError, match="was submitted"):
        dts.assert_not_submitted(shop.send, to="c")

def test_errors_of_handlers_fail_the_test(dts):
    shop.charge.submit_sync(-1)
    with pytest.raises(HandlersFailed, match="ValueError: no such order") as failed:
        dts.drain()
    assert failed.value.failures[0].task == "charge"
    assert "shop.py" in failed.value.failures[0].traceback
    for minutes in (1, 2):
        dts.travel(minutes * 60)
        dts.drain(raises=False)
    assert [job.state for job in dts.jobs(task=shop.charge)] == ["failed"]

def test_what_a_handler_asks_for_is_no_error(dts):
    shop.later.submit_sync()
    assert dts.drain() == []
    dts.travel("1h")
    assert [job.attempt for job in dts.drain()] == [2]

def test_jobs_on_a_connection_of_ones_own(dts):
    import psycopg
    with psycopg.connect(dts.dsn) as connection:
        shop.send.on(connection).submit_sync(to="d")
        assert dts.jobs() == []
    dts.assert_submitted(shop.send, to="d")

def test_async_code(dts):
    async def code():
        async with shop.app:
            handle = await shop.send.submit(to="e")
            await dts.adrain()
            return await handle.result()
    assert asyncio.run(code()) == "e"

def test_drain_inside_of_a_loop(dts):
    async def code():
        async with shop.app:
            await shop.send.submit(to="f")
            return dts.drain()
    assert [job.result for job in asyncio.run(code())] == ["f"]

def test_the_environment_names_the_database(dts, monkeypatch):
    import os
    assert os.environ["DTSCHED_DSN"] == dts.dsn

def test_without_the_fixture_the_app_is_where_it_was():
    from dtsched.errors import DatabaseUnreachable
    with pytest.raises(DatabaseUnreachable):
        shop.send.submit_sync(to="g")
"""


OWN_APP = """
import pytest
from dtsched import App
from dtsched.errors import InvalidInput

@pytest.fixture
def dtsched_app():
    return None

def test_the_app_may_be_given_in_the_test(dts):
    app = App()
    @app.task
    def echo(value: int) -> int:
        return value
    with pytest.raises(InvalidInput, match="which app"):
        dts.drain()
    dts.use(app)
    assert echo.submit_sync(1).created
    assert [job.result for job in dts.drain()] == [1]
"""


def run_project(
    folder: Path, tests: str, *options: str, dsn: str | None, more: str = ""
) -> subprocess.CompletedProcess[str]:
    for name, text in {**PROJECT, "test_shop.py": tests, "test_more.py": more}.items():
        (folder / name).write_text(text)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DTSCHED_", "PG", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=prepend", "-W", "error", *options],
        cwd=folder,
        env={**ours, **({"DTSCHED_TEST_DSN": dsn} if dsn else {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def leftovers(server: str) -> list[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        rows = connection.execute("select datname from pg_database where datname like 'dtsched_test_%'").fetchall()
    return [row[0] for row in rows]


def test_a_users_project_tests_its_jobs_and_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    before = leftovers(server)
    ended = run_project(tmp_path, TESTS, dsn=server, more=OWN_APP)
    assert (ended.returncode, "10 passed" in ended.stdout) == (0, True), ended.stdout + ended.stderr
    assert set(leftovers(server)) - set(before) == set() or "PYTEST_XDIST_WORKER" in os.environ


def test_processes_of_xdist_do_not_meet(server: str, tmp_path: Path) -> None:
    tests = """
import pytest, shop

@pytest.mark.parametrize("to", ["a", "b"])
def test_one(dts, to):
    shop.send.submit_sync(to=to)
    assert [job.result for job in dts.drain()] == [to]
"""
    ended = run_project(tmp_path, tests, "-n", "2", "-p", "xdist", dsn=server)
    assert (ended.returncode, "2 passed" in ended.stdout) == (0, True), ended.stdout + ended.stderr


def test_without_a_server_there_is_an_embedded_one(tmp_path: Path) -> None:
    tests = "import shop\ndef test_one(dts):\n    shop.sign_up('a')\n    assert len(dts.drain()) == 1\n"
    ended = run_project(tmp_path, tests, dsn=None)
    assert (ended.returncode, "1 passed" in ended.stdout) == (0, True), ended.stdout + ended.stderr


def test_a_server_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    ended = run_project(tmp_path, "def test_one(dts): ...\n", dsn="postgresql://nobody@127.0.0.1:1/none")
    assert ended.returncode == 1
    assert "the fixture dts has no PostgreSQL" in ended.stdout


def test_the_plugin_is_found_by_pytest() -> None:
    declared = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\n"dtsched.pytest_plugin" = "dtsched.pytest_plugin"' in declared


def test_the_plugin_imports_nothing_that_costs_time() -> None:
    heavy = "'psycopg', 'alembic', 'dtsched.testing'"
    code = f"import sys, dtsched.pytest_plugin; print([name for name in ({heavy}) if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("by", ["soon", -1, timedelta(days=-1)])
def test_time_travel_takes_durations_only(database: str, by: Duration) -> None:
    with closing(Dts(database)) as dts, pytest.raises(InvalidInput, match="travel must be"):
        dts.travel(by)
