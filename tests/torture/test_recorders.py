"""A process that handles jobs in several threads writes one file: records of one job belong together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtsched.torture import app, sabotage
from dtsched.torture.history import Recorder


@pytest.mark.parametrize("recorder", [app.recorder, sabotage.recorder])
def test_threads_that_ask_at_once_are_given_the_same_recorder(
    recorder: Callable[[int], Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTSCHED_TORTURE_DIR", str(tmp_path))
    together = threading.Barrier(4)

    def ask(process_id: int) -> Recorder:
        together.wait(10)
        return recorder(process_id)

    with ThreadPoolExecutor(4) as threads:
        for process_id in range(-20, 0):  # of no process that there is
            assert len({one.process for one in threads.map(ask, [process_id] * 4)}) == 1
