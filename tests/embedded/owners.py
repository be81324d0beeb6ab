"""Starts owners of servers as processes of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SCRIPT = Path(__file__).with_name("owner.py")


@dataclass
class Owner:
    process: subprocess.Popen[str]
    dsn: str = ""
    pid: int = 0
    data_dir: str = ""

    def introduce(self) -> Owner:
        """Waits until it owns its server."""
        assert self.process.stdout
        said = json.loads(self.process.stdout.readline())
        self.dsn, self.pid, self.data_dir = said["dsn"], said["pid"], said["data_dir"]
        return self

    def leave(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def die(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def owner(
    kind: Literal["temporary", "shared", "visits"],
    *arguments: object,
    python: str = sys.executable,
    user: int | None = None,
    groups: Sequence[int] | None = None,
    script: Path = SCRIPT,
) -> Generator[Owner]:
    process = subprocess.Popen(
        [python, str(script), kind, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
        extra_groups=[] if user and groups is None else groups,
    )
    try:
        yield Owner(process)
    finally:
        process.kill()
        with process:
            pass


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool], *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
