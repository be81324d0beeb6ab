"""One claimed job in this process: what was claimed, and whether it was told to stop."""

import asyncio
from typing import Literal, TypeAlias

from dtsched.answers import RetryRules
from dtsched.context import Context
from dtsched.correlation import Fields
from dtsched.store import Claimed

NO_RULES = RetryRules()

StopReason: TypeAlias = Literal["timeout", "cancelled", "shutdown", "lost"]


class Attempt:
    """`ended` says that its outcome is decided; a handler given up on may still be running then."""

    __slots__ = ("claimed", "claimed_at", "context", "ended", "rules", "stop_reason", "timeout_seconds", "timer")

    def __init__(self, claimed: Claimed, claimed_at: float) -> None:
        self.claimed = claimed
        self.claimed_at = claimed_at
        self.context: Context | None = None
        self.stop_reason: StopReason | None = None
        self.ended = False
        self.rules = NO_RULES
        self.timeout_seconds: float | None = None
        self.timer: asyncio.TimerHandle | None = None

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
