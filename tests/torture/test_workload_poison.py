"""Handlers that take their process with them do so only where the runner has asked for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtsched.torture.app import perish
from dtsched.torture.behaviour import DEATHS, Behaviour, Death
from dtsched.torture.submitter import new_life

DIE = """
import json, os
from dtsched.torture.app import perish
from dtsched.torture.behaviour import DEATHS, Behaviour

ends = {}
for death in DEATHS:
    child = os.fork()
    if child == 0:
        try:
            perish(Behaviour(death=death))
        except (RecursionError, MemoryError):
            os._exit(77)
        os._exit(78)
    ends[death] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(ends))
"""


@pytest.mark.parametrize("death", DEATHS)
def test_without_leave_poison_is_an_error_like_any_other(death: Death, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DTSCHED_TORTURE_POISON", raising=False)
    with pytest.raises(RuntimeError, match=f"told to die by {death}"):
        perish(Behaviour(death=death))


def test_f08_with_leave_each_poison_ends_its_process_or_its_handler() -> None:
    environment = {"DTSCHED_TORTURE_POISON": "1"}
    said = subprocess.run(
        [sys.executable, "-c", DIE], env=environment, cwd=Path(__file__).parents[2], capture_output=True, check=True
    )
    assert json.loads(said.stdout) == {"kill": -9, "exit": 1, "segfault": -11, "recursion": 77, "memory": 77}


def test_a_submitter_that_is_started_again_has_another_name(tmp_path: Path) -> None:
    assert [new_life(tmp_path, name) for name in ("a", "a", "b", "a")] == ["a.0", "a.1", "b.0", "a.2"]
