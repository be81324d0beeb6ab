"""The stage of each module of faults, as every test of it finds it."""

from __future__ import annotations

import pytest

from dtsched.torture.stage import LocalStage

pytest.register_assert_rewrite("tests.torture.small_stage")


@pytest.fixture
async def stage(everything: LocalStage) -> LocalStage:
    """With all its workers at work and nothing to do."""
    await everything.workers_at_work()
    return everything
