"""What a run is going to do, drawn from its seed before it begins: the seed fixes the plan, not what the operating
system makes of it."""

from pathlib import Path
from random import Random
from typing import Literal

import msgspec
from msgspec import Struct

Mode = Literal["single", "storm"]


class Window(Struct, frozen=True, kw_only=True):
    """One injection: when, in seconds since the run began, and for how long. `seed` is the fault's own dice."""

    fault: str
    at: float
    lasts: float
    seed: int


class Plan(Struct, frozen=True, kw_only=True):
    """`left_out` says of each fault that was asked for and is not in `windows`, why."""

    seed: int
    minutes: float
    mode: Mode
    workers: int
    apis: int
    lease_seconds: float
    baseline_seconds: float
    windows: list[Window]
    left_out: dict[str, str]

    def save(self, folder: Path) -> None:
        (folder / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @staticmethod
    def load(folder: Path) -> "Plan":
        return msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)


def dice(seed: int, stream: str) -> Random:
    """Streams of one seed know nothing of each other: more draws from one change none of the others."""
    return Random(f"{seed}/{stream}")
