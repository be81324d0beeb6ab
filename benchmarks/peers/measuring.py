"""What is measured of a system on a stage: how fast it finishes jobs, how fast it takes them, how soon it begins."""

import json
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from benchmarks.peers.stage import Broken, Stage

Progress: TypeAlias = Callable[[int, int], None]
"""Takes how many are done, and of how many."""

MOST_SECONDS = 180.0
_READY_SECONDS = 30.0
_IDLE_SECONDS = 3.0
_WARM = 20
_NOTES_SECONDS = 0.02
_TABLES_SECONDS = 0.05


class Finished(Struct, frozen=True, kw_only=True, tag=True):
    """`seconds` are from the start of the first handler to when the tables said that nothing is left."""

    processes: int
    jobs: int
    seconds: float

    @property
    def value(self) -> float:
        return self.jobs / self.seconds


class Taken(Struct, frozen=True, kw_only=True, tag=True):
    """`seconds` are from before the first call to after the last one, in the system's own language."""

    batch: int
    jobs: int
    seconds: float

    @property
    def value(self) -> float:
        return self.jobs / self.seconds


class PickedUp(Struct, frozen=True, kw_only=True, tag=True):
    """From when the submitter knew of the commit to the start of the handler; below zero where that was sooner."""

    jobs: int
    p50_ms: float
    p99_ms: float


def finish(stage: Stage, *, jobs: int, batch: int, processes: int, progress: Progress) -> Finished:
    stage.submit(jobs, batch)
    stage.settle()
    for _ in range(processes):
        stage.start_worker()
    deadline = time.monotonic() + MOST_SECONDS
    while (runs := sum(runs for _, runs in stage.noted())) < jobs:
        progress(runs, jobs)
        stage.require_workers()
        if time.monotonic() > deadline:
            raise Broken(f"{runs:,} of {jobs:,} handlers ran in {MOST_SECONDS:.0f} s")
        time.sleep(_NOTES_SECONDS)
    ended_ns = time.time_ns()
    while left := stage.number(stage.peer.left):
        if time.monotonic() > deadline:
            raise Broken(f"all handlers have run, and the tables say that {left:,} of {jobs:,} jobs are left")
        time.sleep(_TABLES_SECONDS)
        ended_ns = time.time_ns()  # before it is counted: that takes some systems long
    began_ns = min(first_ns for first_ns, _ in stage.noted() if first_ns)
    _require_once(stage, jobs)
    return Finished(processes=processes, jobs=jobs, seconds=(ended_ns - began_ns) / 1e9)


def take(stage: Stage, *, jobs: int, batch: int) -> Taken:
    return Taken(batch=batch, jobs=jobs, seconds=stage.submit(jobs, batch))


def pick_up(stage: Stage, *, pauses: Sequence[float], progress: Progress) -> PickedUp:
    """The first jobs find nothing warm, and do not count."""
    stage.start_worker()
    _wait(stage, lambda: bool(stage.noted()), _READY_SECONDS, "a worker wrote down nothing")
    time.sleep(_IDLE_SECONDS)
    file = stage.folder / "pauses"
    file.write_text(json.dumps([*pauses[:_WARM], *pauses]))
    progress(0, len(pauses))
    committed_ns = stage.say("pickup", file, seconds=MOST_SECONDS)["committed_ns"]
    _wait(stage, lambda: len(stage.picked()) >= len(committed_ns), _READY_SECONDS, "jobs were not picked up")
    picked_ns = dict(stage.picked())
    waited_ms = sorted(
        (picked_ns[number] - at_ns) / 1e6 for number, at_ns in enumerate(committed_ns) if number >= _WARM
    )
    return PickedUp(
        jobs=len(waited_ms),
        p50_ms=waited_ms[len(waited_ms) // 2],
        p99_ms=waited_ms[len(waited_ms) * 99 // 100],
    )


def _require_once(stage: Stage, jobs: int) -> None:
    """Every handler ran once, and what is kept is kept of every job."""
    time.sleep(2 * _NOTES_SECONDS)
    runs = sum(runs for _, runs in stage.noted())
    kept = jobs if stage.peer.kept is None else stage.number(stage.peer.kept)
    if runs != jobs or kept != jobs:
        raise Broken(f"of {jobs:,} jobs {runs:,} handlers ran, and the tables keep {kept:,} as finished")


def _wait(stage: Stage, reached: Callable[[], bool], seconds: float, in_vain: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        stage.require_workers()
        if time.monotonic() > deadline:
            raise Broken(f"{in_vain} in {seconds:.0f} s")
        time.sleep(_NOTES_SECONDS)
