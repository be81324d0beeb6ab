"""A process that handles jobs in several threads writes one file: records of one job belong together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtsched.torture import sabotage
from dtsched.torture.history import Recorder


def test_threads_that_ask_at_once_are_given_the_same_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_TORTURE_DIR", str(tmp_path))
    together = threading.Barrier(4)

    def ask(process_id: int) -> Recorder:
        together.wait(10)
        return sabotage.recorder(process_id)

    with ThreadPoolExecutor(4) as threads:
        for process_id in range(-20, 0):  # of no process that there is
            assert len({one.process for one in threads.map(ask, [process_id] * 4)}) == 1
