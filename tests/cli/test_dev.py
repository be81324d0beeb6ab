"""`dtsched dev`: one command for a database, a worker and the API, and one Ctrl-C for the end of all."""

import contextlib
import http.client
import json
import signal
import socket
import threading
from pathlib import Path

from tests.cli.command import Ended, start
from tests.support.leftovers import left_behind


def in_folder(folder: Path, *arguments: str) -> Ended:
    """From where the project is: --dsn embedded means the data that lie there."""
    process = start(*arguments, cwd=folder)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def test_dev_runs_jobs_keeps_them_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    port = free_port()
    for round_number in (1, 2):
        dev = start("dev", "--port", str(port), cwd=tmp_path)
        alarm = threading.Timer(60, dev.kill)
        alarm.start()
        try:
            assert dev.stderr is not None
            assert any("Ctrl-C ends all" in line for line in dev.stderr)
            submitted = in_folder(
                tmp_path, "submit", "echo", "value=hi", "--wait", "--wait-timeout", "30s", "--dsn", "embedded"
            )
            assert (submitted.code, submitted.out) == (0, '"hi"\n'), submitted.err
            assert get(port, "/livez") == 200
            listed = in_folder(tmp_path, "list", "--json", "--dsn", "embedded")
            assert len(json.loads(listed.out)["jobs"]) == round_number
        finally:
            alarm.cancel()
            dev.send_signal(signal.SIGINT)
            dev.communicate(timeout=30)
        assert dev.returncode == 130
        assert left_behind(tmp_path, patience_seconds=10) == []


def test_an_app_that_is_not_there_ends_everything_and_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    ended = in_folder(tmp_path, "dev", "-A", "nothing.here:app", "--port", str(free_port()))
    assert ended.code == 1
    assert "nothing" in ended.err
    assert left_behind(tmp_path, patience_seconds=10) == []


def get(port: int, path: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
