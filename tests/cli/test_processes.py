"""The children of a command: ended with it, and told no secrets where others can read them."""

from pathlib import Path

import pytest

from dtsched.cli.processes import Child, Family
from dtsched.errors import DtschedError
from tests.cli.test_worker import until_registered
from tests.conftest import Connect

WORKER = ["worker", "-A", "dtsched.workers.builtin:app"]


def test_leaving_the_block_by_an_exception_ends_every_child(tmp_path: Path, database: str, connect: Connect) -> None:
    children: list[Child] = []

    def be_interrupted() -> None:
        with Family(tmp_path) as family:
            children.extend(family.start(name, WORKER, {"DTSCHED_DSN": database}) for name in ("one", "two"))
            until_registered(connect)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert [child.process.returncode is None for child in children] == [False, False]


def test_the_password_stands_in_no_command_line(tmp_path: Path, database: str, connect: Connect) -> None:
    with Family(tmp_path) as family:
        child = family.start("worker", WORKER, {"DTSCHED_DSN": database})
        until_registered(connect)
        command_line = Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()
    assert "worker" in command_line
    assert database not in command_line
    assert "postgresql://" not in command_line


def test_a_child_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Family(tmp_path) as family:
        child = family.start("worker", ["worker", "-A", "nothing.here:app"], {"DTSCHED_DSN": "host=nowhere"})
        child.process.wait(timeout=30)
        with pytest.raises(DtschedError, match="there is no module nothing"):
            family.require_all()
