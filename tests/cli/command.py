"""Runs the command line, in this process where its output and exit code are enough, else as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

COMMAND = [sys.executable, "-P", "-m", "dtsched"]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


def environment(**variables: str) -> dict[str, str]:
    """Ours, without the settings of whoever runs the tests."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DTSCHED_", "PG"))}
    return {**ours, **variables}


def run(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", seconds: float = 60) -> Ended:
    ended = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def start(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: os.PathLike[str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(**env or {}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
