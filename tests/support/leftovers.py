"""Finds processes that the tests started and did not end."""

from __future__ import annotations

import os
import time
from pathlib import Path


def left_behind(folder: Path, *, patience_seconds: float) -> list[str]:
    """Command lines of the processes that stand in `folder` or were started with it as TMPDIR. Linux only."""
    deadline = time.monotonic() + patience_seconds
    while (found := _processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _processes_of(folder: Path) -> list[str]:
    return [
        f"{process.name} {_text(process / 'cmdline').replace(chr(0), ' ')}"
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) != os.getpid() and _belongs(process, folder)
    ]


def _belongs(process: Path, folder: Path) -> bool:
    """The server keeps nothing of our environment, but stands in its data directory."""
    try:
        stands_in = Path(os.readlink(process / "cwd"))
    except OSError:  # it is gone, a zombie, or somebody else's
        return False
    return folder in (stands_in, *stands_in.parents) or f"TMPDIR={folder}" in _text(process / "environ").split("\0")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
