"""One claimed job in this process: what was claimed, and whether it was told to stop."""

import asyncio
from typing import Literal, TypeAlias

import msgspec

from dtsched.answers import RetryRules
from dtsched.context import Context
from dtsched.correlation import Fields
from dtsched.store import Claimed

NO_RULES = RetryRules()

StopReason: TypeAlias = Literal["timeout", "cancelled", "shutdown", "lost"]


class Attempt(msgspec.Struct, eq=False):
    """`ended` says that its outcome is decided; a handler given up on may still be running then."""

    claimed: Claimed
    claimed_at: float
    context: Context | None = None
    stop_reason: StopReason | None = None
    ended: bool = False
    rules: RetryRules = NO_RULES
    timeout_seconds: float | None = None
    timer: asyncio.TimerHandle | None = None

    def log_fields(self) -> Fields:
        claimed = self.claimed
        return {
            "correlation_id": correlation_id_of(claimed),
            "job_id": claimed.job_id,
            "task": claimed.task,
            "attempt": claimed.attempt,
        }

    def set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer


def correlation_id_of(claimed: Claimed) -> str:
    """A plain INSERT may have left it out."""
    return claimed.correlation_id or f"job-{claimed.job_id}"
