"""`dtsched demo` from end to end: true by itself, false when a job is lost or finished twice, and gone when ended."""

import signal
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest

from tests.cli.command import run, start
from tests.support.leftovers import left_behind

LOST = "delete from dtsched.jobs where id = (select max(id) from dtsched.jobs where task = 'note')"
FINISHED_TWICE = """
    update dtsched.jobs set finished_at = dtsched.now()
    where id = (select max(id) from dtsched.jobs where task = 'survey_file' and state = 'completed')
"""


def test_a_demo_on_an_empty_database_is_true(empty_database: str) -> None:
    ended = run("demo", "--no-wait", "--json", "--dsn", empty_database, seconds=120)
    assert ended.code == 0, ended.err
    report = ended.json
    verdict = report["verdict"]
    assert report["true"] is True
    assert (verdict["lost"], verdict["doubled"], verdict["faults"]) == ([], [], [])
    assert verdict["counts"]["submitted"] == verdict["counts"]["finished"] > 300
    assert report["victim"]["job_ids"]
    assert set(report["victim"]["job_ids"]) <= set(verdict["rescued"])
    with psycopg.connect(empty_database) as connection:
        stored = connection.execute("select count(*) from dtsched.jobs").fetchone()
        crashed = connection.execute(
            "select count(*) from dtsched.attempts where outcome = 'crash' and worker_id = %s",
            (report["victim"]["worker_id"],),
        ).fetchone()  # on a machine that stands still for long enough, leases of the other run out as well
    assert stored == (verdict["counts"]["submitted"],)
    assert crashed == (len(verdict["rescued"]),)


def test_a_database_that_has_been_used_is_refused(database: str, empty_database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select dtsched.submit('echo')")
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create table customers (name text)")
    for dsn, found in ((database, "a job in dtsched.jobs"), (empty_database, "public.customers")):
        ended = run("demo", "--no-wait", "--dsn", dsn)
        assert ended.code == 4
        assert found in ended.err
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select to_regnamespace('dtsched')").fetchone() == (None,)


def test_planted_faults_are_exit_code_1(empty_database: str) -> None:
    """Two at once; test_verdict.py has each kind alone."""
    ended = run("demo", "--no-wait", "--tamper", f"{LOST}; {FINISHED_TWICE}", "--dsn", empty_database, seconds=120)
    assert ended.code == 1
    assert "1 lost, 1 finished twice" in ended.out
    assert "verdict: FALSE" in ended.out
    assert "WRONG: " in ended.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_demo_that_is_cut_short_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """In the middle of its work, on a server of its own."""
    tmp_path.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")  # tells on SIGABRT where every thread is
    demo = start("demo", "--no-wait")
    try:
        until_it_says(demo, "submitted")
        demo.send_signal(number)
        demo.wait(timeout=60)
    except subprocess.TimeoutExpired:
        demo.send_signal(signal.SIGABRT)
        _, said = demo.communicate(timeout=20)
        pytest.fail(f"it did not end, and was at: {said}")
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == code
    assert left_behind(tmp_path, patience_seconds=20) == []


def until_it_says(process: subprocess.Popen[str], words: str, seconds: float = 30) -> None:
    assert process.stderr is not None
    alarm = threading.Timer(seconds, process.kill)
    alarm.start()
    try:
        for line in process.stderr:
            if words in line:
                return
    finally:
        alarm.cancel()
    raise AssertionError(f"it ended, or took {seconds} s, without saying {words!r}")
