"""The test run itself: it fails on what would otherwise pass unseen, and gives every test a database of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Connect

ROOT = Path(__file__).parent.parent
PLUGINS = ("anyio", "pytest_timeout", "xdist")


def run(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / "test_planted.py"
    file.write_text(test)
    # Without our TMPDIR, or what is planted there would count as left behind by this run too; and as a run of its own.
    environment = {
        name: value for name, value in os.environ.items() if name != "TMPDIR" and not name.startswith("PYTEST_XDIST")
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those that nothing here needs take most of the time
    options = [f"-p{name}" for name in (*PLUGINS, "tests.conftest", "no:cacheprovider")]
    command = [sys.executable, "-m", "pytest", *options, str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_run_without_skips_and_leftovers_passes(tmp_path: Path) -> None:
    assert run(tmp_path, "def test_nothing(): pass").returncode == 0


SKIPS = {
    "called": "import pytest\ndef test_nothing(): pytest.skip('no time')",
    "marked": "import pytest\n@pytest.mark.skipif(True, reason='no')\ndef test_nothing(): pass",
    "module": "import pytest\npytest.skip('no module', allow_module_level=True)",
    "xfail": "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_nothing(): assert False",
}


@pytest.mark.parametrize("spread", [[], ["-n", "1"]])
def test_a_skip_that_is_not_listed_fails_the_run(tmp_path: Path, spread: list[str]) -> None:
    for form, test in SKIPS.items():
        (tmp_path / f"test_{form}.py").write_text(test)
    result = run(tmp_path, "def test_nothing(): pass", *spread)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    told = re.findall(r"skipped, but not listed in allowed_skips.txt: \S*test_(\w+)\.py", result.stdout)
    assert sorted(told) == sorted(SKIPS)


PLANTED = """
import json, pathlib, subprocess, tempfile

def test_it():
    with_our_environment = subprocess.Popen(["sleep", "60"])
    in_our_folder = subprocess.Popen(["sleep", "60"], start_new_session=True, env={}, cwd=tempfile.mkdtemp())
    pathlib.Path(%r).write_text(json.dumps([with_our_environment.pid, in_our_folder.pid]))
"""


@pytest.mark.parametrize("spread", [[], ["-n", "1"]])
def test_processes_left_behind_fail_the_run(tmp_path: Path, spread: list[str]) -> None:
    result = run(tmp_path, PLANTED % f"{tmp_path}/pids", "-W", "ignore", *spread)
    pids = json.loads((tmp_path / "pids").read_text())
    for pid in pids:
        os.kill(pid, 9)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert [f"left behind: {pid} sleep 60" in result.stdout for pid in pids] == [True, True]


def test_databases_of_tests_are_migrated_and_empty(connect: Connect) -> None:
    connection = connect()
    assert connection.execute("select count(*) from dtsched.jobs").fetchone() == (0,)
    connection.execute("insert into dtsched.jobs (task, args) values ('left', '{}')")


def test_what_one_test_wrote_the_next_does_not_find(connect: Connect) -> None:
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (0,)


def test_a_database_is_gone_after_its_test(server: str, database: str) -> None:
    with psycopg.connect(server) as connection:
        names = connection.execute("select datname from pg_database where datname like 'dtsched_test_%'").fetchall()
    assert len(names) == 2, "the template and this test's own"
